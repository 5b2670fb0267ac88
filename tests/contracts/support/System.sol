// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManager } from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { InstrumentRegistry } from "contracts/InstrumentRegistry.sol";
import { InsuranceFund } from "contracts/InsuranceFund.sol";
import { LiquidationEngine } from "contracts/LiquidationEngine.sol";
import { MarginEngine } from "contracts/MarginEngine.sol";
import { MarginLens } from "contracts/MarginLens.sol";
import { NormalTable } from "contracts/NormalTable.sol";
import { OrderGateway } from "contracts/OrderGateway.sol";
import { ReferenceMargin } from "contracts/ReferenceMargin.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "contracts/interfaces/IVolatilityOracle.sol";
import { PriceOracle } from "contracts/oracles/PriceOracle.sol";
import { PushedFeed } from "contracts/oracles/PushedFeed.sol";
import { VolatilityOracle } from "contracts/oracles/VolatilityOracle.sol";
import { ParameterSteward } from "contracts/parameters/ParameterSteward.sol";
import { RiskParameters } from "contracts/parameters/RiskParameters.sol";
import { TestToken } from "contracts/testing/TestToken.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Order } from "contracts/types/Order.sol";
import { ParameterChange, Provenance } from "contracts/types/ParameterChange.sol";
import { Test } from "forge-std/Test.sol";

/// @notice The whole system on the test chain: dollars, BTC and ETH, as a deployment would set it up. Tests of contracts
/// inherit it and speak in accounts and actors.
abstract contract System is Test {
    uint256 internal constant WAD = 1e18;
    uint16 internal constant BTC = 1;
    uint16 internal constant ETH = 2;
    uint16 internal constant CASH = 0;
    uint16 internal constant WETH = 1;
    uint16 internal constant WBTC = 2;
    bytes32 internal constant MARKET = keccak256("test");

    AccessManager internal manager;
    PriceOracle internal priceOracle;
    VolatilityOracle internal volatilityOracle;
    RiskParameters internal riskParameters;
    ParameterSteward internal steward;
    InstrumentRegistry internal registry;
    ClearingHouse internal house;
    MarginEngine internal engine;
    MarginLens internal lens;
    LiquidationEngine internal liquidation;
    InsuranceFund internal fund;
    OrderGateway internal gateway;
    TestToken internal dollar;
    TestToken internal weth;
    TestToken internal wbtc;
    mapping(uint16 underlying => PushedFeed) internal priceFeeds;
    mapping(uint16 underlying => PushedFeed) internal volatilityFeeds;
    Instrument internal btcPerpetual;
    Instrument internal ethPerpetual;

    address internal calibrator = makeAddr("calibrator");
    address internal backer = makeAddr("backer");
    mapping(address => uint256) internal keys;
    uint256 private _salt;

    function setUp() public virtual {
        // Governance is older than the rest, so that `setParameter` may look back.
        vm.warp(1_700_000_000 - 1 days);
        manager = new AccessManager(address(this));
        vm.warp(1_700_000_000);
        priceOracle = new PriceOracle(address(manager));
        riskParameters = new RiskParameters(address(manager));
        volatilityOracle = new VolatilityOracle(address(manager), priceOracle, riskParameters);
        steward = new ParameterSteward(address(manager), riskParameters, priceOracle);
        dollar = new TestToken("Test Dollar", "USDT6", 6);
        weth = new TestToken("Wrapped Ether", "WETH", 18);
        wbtc = new TestToken("Wrapped Bitcoin", "WBTC", 8);
        registry = new InstrumentRegistry(address(manager), priceOracle);
        house = new ClearingHouse(address(manager), priceOracle, registry, address(dollar), type(uint128).max);
        engine = new MarginEngine(
            house, priceOracle, volatilityOracle, riskParameters, registry, address(new NormalTable())
        );
        lens = new MarginLens(house, priceOracle, volatilityOracle, riskParameters, registry, engine.normalTable());
        liquidation = new LiquidationEngine(address(manager), house, riskParameters, auctionParameters());
        fund = new InsuranceFund(house, dollar);
        gateway = new OrderGateway(house);
        steward.setReferenceMargin(
            new ReferenceMargin(house, priceOracle, volatilityOracle, riskParameters, registry, engine.normalTable())
        );
        house.setModules(address(engine), address(liquidation), address(fund), address(gateway));

        _addUnderlying(BTC, 50_000e8, 0.6e5);
        _addUnderlying(ETH, 2000e8, 0.8e5);
        _setParameters();
        btcPerpetual = registry.listPerpetual(BTC);
        ethPerpetual = registry.listPerpetual(ETH);
        house.listAsset(address(weth), ETH, type(uint128).max);
        house.listAsset(address(wbtc), BTC, type(uint128).max);
        volatilityOracle.poke(BTC, 100);
        volatilityOracle.poke(ETH, 100);

        _fundInsurance(1_000_000e6);
        pass(12);
    }

    function auctionParameters() internal pure virtual returns (ILiquidationEngine.AuctionParameters memory) {
        return ILiquidationEngine.AuctionParameters({
            duration: 1200,
            maximumDiscount: 0.5e18,
            target: 0.5e18,
            fundShare: 0.2e18,
            nativeUnderlying: ETH,
            minimumRemainder: 50e18,
            minimumFee: 10e18,
            throughput: 0.01e18,
            maximumFee: 100e18,
            minimumThroughput: 50_000_000e18,
            throughputWindow: 600
        });
    }

    // ─── Market

    function _addUnderlying(uint16 underlying, int256 price, int256 volatility) internal {
        priceFeeds[underlying] = new PushedFeed(address(manager), 8, "price");
        volatilityFeeds[underlying] = new PushedFeed(address(manager), 5, "volatility");
        priceFeeds[underlying].push(price);
        volatilityFeeds[underlying].push(volatility);
        IPriceOracle.PriceFeed memory priceFeed;
        priceFeed.feed = address(priceFeeds[underlying]);
        priceFeed.heartbeat = 2 hours;
        priceFeed.minimum = 1e12;
        priceFeed.maximum = 1e27;
        priceOracle.setPriceFeed(underlying, priceFeed);
        IVolatilityOracle.VolatilityFeed memory volatilityFeed;
        volatilityFeed.feed = address(volatilityFeeds[underlying]);
        volatilityFeed.heartbeat = 1 days;
        volatilityFeed.scale = 1e18;
        volatilityFeed.minimum = 0.01e18;
        volatilityFeed.maximum = 10e18;
        volatilityOracle.setVolatilityFeed(underlying, volatilityFeed);
    }

    function setPrice(uint16 underlying, uint256 dollars) internal {
        priceFeeds[underlying].push(int256(dollars * 1e8));
    }

    function setVolatility(uint16 underlying, uint256 percent) internal {
        volatilityFeeds[underlying].push(int256(percent * 1e3));
    }

    /// @dev Time passes and the same prices and volatilities are reported again.
    function pass(uint256 time) internal {
        vm.warp(vm.getBlockTimestamp() + time);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            (, int256 price,,,) = priceFeeds[underlying].latestRoundData();
            (, int256 volatility,,,) = volatilityFeeds[underlying].latestRoundData();
            priceFeeds[underlying].push(price);
            volatilityFeeds[underlying].push(volatility);
        }
    }

    // ─── Parameters

    function _setParameters() private {
        for (uint8 id; id <= Fields.VOLATILITY_FALL.id(); ++id) {
            if (id < Fields.SLOTS_PER_UNDERLYING * 8 || id >= Fields.COMMON_SLOT * 8) {
                _setBounds(Field.wrap(id), 0, type(int32).max);
            }
        }
        _setBounds(Fields.CARRY, -500_000, 500_000);
        _setBounds(Fields.SURFACE_RHO, -950_000, 950_000);
        _setBounds(Fields.VOLATILITY_STRESS_WEIGHT, 250_000, 1_000_000);
        _setBounds(Fields.OFFSET, 0, 800_000);
        _setBounds(Fields.MULTIPLIER, 1_000_000, 5_000_000);
        _setBounds(Fields.CORRELATION_LOW, -1_000_000, 1_000_000);
        _setBounds(Fields.CORRELATION_HIGH, -1_000_000, 1_000_000);

        ParameterChange[] memory changes = new ParameterChange[](73);
        uint256 count;
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            changes[count++] = ParameterChange(Fields.TAIL_INITIAL, underlying, 0, 3_200_000);
            changes[count++] = ParameterChange(Fields.TAIL_MAINTENANCE, underlying, 0, 3_600_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_STRESS, underlying, 0, 1_000_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_STRESS_WEIGHT, underlying, 0, 250_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_FLOOR, underlying, 0, 300_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_CAP, underlying, 0, 4_000_000);
            changes[count++] = ParameterChange(Fields.REALISED_WEIGHT, underlying, 0, 800_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_RISE_RATE, underlying, 0, 200_000);
            changes[count++] = ParameterChange(Fields.HALF_SPREAD, underlying, 0, 300);
            changes[count++] = ParameterChange(Fields.IMPACT, underlying, 0, 800_000);
            changes[count++] = ParameterChange(Fields.AVERAGE_DAILY_VOLUME, underlying, 0, 2_000_000);
            changes[count++] = ParameterChange(Fields.REALISED_HALF_LIFE, underlying, 0, 86_400);
            changes[count++] = ParameterChange(Fields.OPEN_INTEREST_LOWER, underlying, 0, 0);
            changes[count++] = ParameterChange(Fields.OPEN_INTEREST_UPPER, underlying, 0, 0);
            changes[count++] = ParameterChange(Fields.OPEN_INTEREST_SCALE, underlying, 0, 1_000_000);
            changes[count++] = ParameterChange(Fields.CARRY, underlying, 0, 0);
            changes[count++] = ParameterChange(Fields.TIER_RATE_1, underlying, 0, 5000);
            changes[count++] = ParameterChange(Fields.TIER_RATE_2, underlying, 0, 10_000);
            changes[count++] = ParameterChange(Fields.TIER_RATE_3, underlying, 0, 20_000);
            changes[count++] = ParameterChange(Fields.TIER_RATE_4, underlying, 0, 50_000);
            changes[count++] = ParameterChange(Fields.TIER_NOTIONAL_1, underlying, 0, 1000);
            changes[count++] = ParameterChange(Fields.TIER_NOTIONAL_2, underlying, 0, 10_000);
            changes[count++] = ParameterChange(Fields.TIER_NOTIONAL_3, underlying, 0, 100_000);
            changes[count++] = ParameterChange(Fields.OPTION_HALF_SPREAD, underlying, 0, 20_000);
            changes[count++] = ParameterChange(Fields.SURFACE_RHO, underlying, 0, -200_000);
            changes[count++] = ParameterChange(Fields.SURFACE_ETA, underlying, 0, 900_000);
            changes[count++] = ParameterChange(Fields.SURFACE_GAMMA, underlying, 0, 400_000);
            changes[count++] = ParameterChange(Fields.TERM_RATIO, underlying, 0, 1_000_000);
            changes[count++] = ParameterChange(Fields.TERM_SPEED, underlying, 0, 2_000_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_SHOCK_INITIAL, underlying, 0, 400_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_SHOCK_MAINTENANCE, underlying, 0, 200_000);
            changes[count++] = ParameterChange(Fields.VOLATILITY_SHOCK_EXPONENT, underlying, 0, 300_000);
        }
        changes[count++] = ParameterChange(Fields.HORIZON_INITIAL, 0, 0, 86_400);
        changes[count++] = ParameterChange(Fields.HORIZON_MAINTENANCE, 0, 0, 14_400);
        changes[count++] = ParameterChange(Fields.OFFSET, 0, 0, 600_000);
        changes[count++] = ParameterChange(Fields.MULTIPLIER, 0, 0, 1_000_000);
        changes[count++] = ParameterChange(Fields.EXTREME_WEIGHT, 0, 0, 350_000);
        changes[count++] = ParameterChange(Fields.SHORT_OPTION_MINIMUM, 0, 0, 2000);
        changes[count++] = ParameterChange(Fields.VOLATILITY_FALL, 0, 0, 750_000);
        changes[count++] = ParameterChange(Fields.CORRELATION_LOW, BTC, ETH, 600_000);
        changes[count++] = ParameterChange(Fields.CORRELATION_HIGH, BTC, ETH, 950_000);
        riskParameters.applyBundle(changes, provenance());
    }

    function _setBounds(Field field, int32 minimum, int32 maximum) internal {
        riskParameters.setBounds(field, IRiskParameters.Bounds(minimum, maximum));
    }

    function provenance() internal pure returns (Provenance memory) {
        return Provenance(keccak256("report"), keccak256("data"), MARKET, 1, 990_000);
    }

    /// @dev As if it had been set so long ago that its ramp ends now: in force at once.
    function setParameter(Field field, uint16 underlying, uint16 other, int32 value) internal {
        uint256 time = vm.getBlockTimestamp();
        (, uint256 rampDuration,,,) = riskParameters.status();
        vm.warp(time - rampDuration);
        riskParameters.applyBundle(change(field, underlying, other, value), provenance());
        vm.warp(time);
    }

    function change(Field field, uint16 underlying, uint16 other, int32 value)
        internal
        pure
        returns (ParameterChange[] memory changes)
    {
        changes = new ParameterChange[](1);
        changes[0] = ParameterChange(field, underlying, other, value);
    }

    // ─── Money and accounts

    function _fundInsurance(uint256 amount) internal {
        dollar.mint(backer, amount);
        vm.startPrank(backer);
        dollar.approve(address(fund), amount);
        fund.deposit(amount, backer);
        vm.stopPrank();
    }

    /// @dev An actor with a key, so that it can sign.
    function actor(string memory name) internal returns (address who) {
        uint256 key;
        (who, key) = makeAddrAndKey(name);
        keys[who] = key;
    }

    /// @dev A new account holding so many dollars.
    function openAccount(address owner, uint256 dollars) internal returns (uint64 account) {
        vm.prank(owner);
        account = house.createAccount();
        if (dollars != 0) deposit(account, CASH, dollars * 1e6);
    }

    function deposit(uint64 account, uint16 asset, uint256 amount) internal {
        address owner = house.ownerOf(account);
        TestToken token = TestToken(house.assetOf(asset).token);
        token.mint(owner, amount);
        vm.startPrank(owner);
        token.approve(address(house), amount);
        house.deposit(account, asset, amount);
        vm.stopPrank();
    }

    function withdraw(uint64 account, uint16 asset, uint256 amount) internal {
        address owner = house.ownerOf(account);
        vm.prank(owner);
        house.withdraw(account, asset, amount, owner);
    }

    // ─── Trading

    /// @dev Lists the call and the put at a strike in dollars and returns one of them.
    function listOption(uint16 underlying, uint40 expiry, uint256 strike, bool isPut)
        internal
        returns (Instrument instrument)
    {
        instrument = InstrumentLibrary.option(isPut, underlying, expiry, uint64(strike * 1e8));
        uint64[] memory strikes = new uint64[](1);
        strikes[0] = uint64(strike * 1e8);
        registry.listOptions(underlying, expiry, strikes);
    }

    /// @dev To a second after the expiry, the same volatilities reported again, and this price at the expiry itself, which
    /// settles it.
    function settleAt(uint16 underlying, uint40 expiry, uint256 dollars) internal returns (uint256 price) {
        vm.warp(expiry + 1);
        for (uint16 other = BTC; other <= ETH; ++other) {
            (, int256 answer,,,) = priceFeeds[other].latestRoundData();
            (, int256 volatility,,,) = volatilityFeeds[other].latestRoundData();
            priceFeeds[other].pushAt(other == underlying ? int256(dollars * 1e8) : answer, expiry);
            volatilityFeeds[other].push(volatility);
        }
        return registry.settle(underlying, expiry, priceOracle.latestRound(underlying));
    }

    function orderOf(uint64 account, Instrument instrument, int256 size, uint256 price)
        internal
        returns (Order memory order)
    {
        order = Order({
            account: account,
            signer: house.ownerOf(account),
            instrument: instrument,
            size: int128(size),
            limitPrice: uint128(price),
            expiry: uint64(vm.getBlockTimestamp() + 1 hours),
            epoch: gateway.epochOf(account),
            salt: ++_salt
        });
    }

    function sign(Order memory order) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[order.signer], gateway.orderHash(order));
        return abi.encodePacked(r, s, v);
    }

    /// @dev `taker` buys (positive size) from or sells to `maker` at a price in wad, whatever the fee for moving the premium.
    function trade(uint64 taker, uint64 maker, Instrument instrument, int256 size, uint256 price) internal {
        Order memory makerOrder = orderOf(maker, instrument, -size, price);
        Order memory takerOrder = orderOf(taker, instrument, size, size > 0 ? type(uint128).max : 0);
        bytes memory makerSignature = sign(makerOrder);
        bytes memory takerSignature = sign(takerOrder);
        gateway.settleTrade(
            makerOrder, makerSignature, takerOrder, takerSignature, uint128(uint256(size < 0 ? -size : size))
        );
    }

    function equityOf(uint64 account) internal view returns (int256) {
        return engine.marginOf(account).equity;
    }
}
