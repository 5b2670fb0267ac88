// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { Order } from "contracts/types/Order.sol";

/// @notice Positions, variation margin and the gate: what a trade does to the books, and which trades are let through.
contract ClearingHouseTradingTest is Accounts {
    uint64 private account;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 10_000);
    }

    // ─── Positions (ZERO-SUM, CASH)

    function test_settleTrade_flipsAPositionThroughZero() public {
        trade(account, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        trade(account, makerAccount, btcPerpetual, -0.8e18, 50_000e18);
        (int256 size, int256 quote) = house.positionOf(account, btcPerpetual);
        assertEq(size, -0.3e18);
        assertEq(quote, 15_000e18);
        assertEq(house.portfolioOf(account).positions.length, 1);
        assertEq(house.cashOf(account), 10_000e18);
        requireBooks(0);
    }

    function test_settleTrade_closingLeavesTheGainInCash() public {
        trade(account, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        setPrice(BTC, 51_000);
        trade(account, makerAccount, btcPerpetual, -0.5e18, 51_000e18);
        (int256 size, int256 quote) = house.positionOf(account, btcPerpetual);
        assertEq(size, 0);
        assertEq(quote, 0);
        assertEq(house.cashOf(account), 10_500e18);
        assertEq(house.cashOf(makerAccount), 100_000_000e18 - 500e18);
        assertEq(house.portfolioOf(account).positions.length, 0);
        assertEq(house.portfolioOf(makerAccount).positions.length, 0);
        requireBooks(0);
    }

    function testFuzz_settleTrade_isZeroSumToTheWei(
        uint256[6] memory sizes,
        uint256[6] memory prices,
        uint256 directions
    ) public {
        deposit(account, CASH, 1_000_000_000e6);
        int256 equity = totalEquity();
        for (uint256 i; i < sizes.length; ++i) {
            int256 size = int256(bound(sizes[i], 1, 10e18));
            if (directions >> i & 1 == 0) size = -size;
            uint256 price = bound(prices[i], 63e18, 100_000e18); // from where on a seller gets more than the fee takes
            bool btc = directions >> (i + 8) & 1 == 0;
            trade(account, makerAccount, btc ? btcPerpetual : ethPerpetual, size, price);
            requireBooks(0);
        }
        // EQUITY: the two sides' values are rounded apart by a wei a position.
        assertApproxEqAbs(totalEquity() + int256(house.fees()), equity, 4);
    }

    /// @notice ROUND: the amount that changes sides rounds against the taker, whichever side that is.
    function test_settleTrade_roundsAgainstTheTaker() public {
        priceFeeds[BTC].push(1.5e8);
        priceFeeds[ETH].push(1.5e8);
        trade(account, makerAccount, btcPerpetual, 1, 1.5e18);
        (, int256 quote) = house.positionOf(account, btcPerpetual);
        assertEq(quote, -2);
        trade(account, makerAccount, ethPerpetual, -1, 1.5e18);
        (, quote) = house.positionOf(account, ethPerpetual);
        assertEq(quote, 1);
        requireBooks(0);
    }

    /// @notice ROUND: buying and selling again at one price never earns.
    function testFuzz_settleTrade_roundTripNeverEarns(uint256 size, uint256 price, uint256 parts) public {
        size = bound(size, 10, 1e17);
        price = bound(price, 63e18, 100_000e18);
        parts = bound(parts, 1, 5);
        int256 cash = house.cashOf(account);
        trade(account, makerAccount, btcPerpetual, int256(size), price);
        for (uint256 i; i < parts; ++i) {
            uint256 part = i == parts - 1 ? absolute(sizeOf(account, btcPerpetual)) : size / parts;
            if (part != 0) trade(account, makerAccount, btcPerpetual, -int256(part), price);
        }
        assertEq(sizeOf(account, btcPerpetual), 0);
        assertLe(house.cashOf(account), cash);
        assertGe(house.cashOf(account) + int256(house.fees()), cash - int256(parts) - 1);
    }

    // ─── Variation margin

    function test_settleVariation_movesTheGainIntoCash() public {
        trade(account, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        setPrice(BTC, 52_000);
        uint64 nonce = house.nonceOf(account);
        vm.prank(stranger); // anyone may
        assertEq(house.settleVariation(account), 1000e18);
        assertEq(house.cashOf(account), 11_000e18);
        assertGt(house.nonceOf(account), nonce);
        assertEq(house.settleVariation(account), 0);
        assertEq(house.settleVariation(makerAccount), -1000e18);
        requireBooks(0);
    }

    function test_settleVariation_mayLeaveADebt() public {
        deposit(account, WETH, 20e18);
        trade(account, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        setPrice(BTC, 25_000);
        house.settleVariation(account);
        assertEq(house.cashOf(account), -2500e18);
        requireBooks(0);
    }

    function test_settleVariation_revertsIfAccountIsUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAccount.selector, 99));
        house.settleVariation(99);
    }

    /// @notice EQUITY: settling changes where value is kept, not how much there is.
    function testFuzz_settleVariation_leavesEquityAsItWas(uint256 size, uint256 other, uint256 price) public {
        deposit(account, CASH, 1_000_000_000e6);
        int256 btc = int256(bound(size, 1, 1000e18));
        int256 eth = int256(bound(other, 1, 1000e18));
        trade(account, makerAccount, btcPerpetual, size % 2 == 0 ? btc : -btc, 50_000.123456789e18);
        trade(account, makerAccount, ethPerpetual, other % 2 == 0 ? eth : -eth, 1999.999999999999999999e18);
        priceFeeds[BTC].push(int256(bound(price, 1e8, 500_000e8)));
        (int256 equity, uint256 initial, uint256 maintenance) = requirementsOf(account);
        int256 others = equityOf(makerAccount);
        int256 cash = house.cashOf(account);
        int256 amount = house.settleVariation(account);
        assertEq(house.cashOf(account), cash + amount);
        (int256 equityAfter, uint256 initialAfter, uint256 maintenanceAfter) = requirementsOf(account);
        assertEq(equityAfter, equity);
        assertEq(initialAfter, initial);
        assertEq(maintenanceAfter, maintenance);
        assertEq(equityOf(makerAccount), others);
        assertEq(engine.marginOf(account).unrealised, 0);
        requireBooks(0);
    }

    // ─── The gate (GATE)

    function test_settleTrade_revertsIfBelowInitialMargin() public {
        // Initial margin is about 11.8% of the notional, so 10,000 carry 85,000 and not 90,000.
        _expectRefused(account, 1.8e18, 50_000e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        _expectRefused(account, 0.2e18, 50_000e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
    }

    function test_settleTrade_checksTheMakerToo() public {
        Order memory sell = orderOf(account, btcPerpetual, -1.8e18, 50_000e18);
        Order memory buy = orderOf(makerAccount, btcPerpetual, 1.8e18, 50_000e18);
        (bytes memory sellSignature, bytes memory buySignature) = (sign(sell), sign(buy));
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        gateway.settleTrade(sell, sellSignature, buy, buySignature, 1.8e18);
    }

    function test_settleTrade_inAMarginCallMayOnlyReduce() public {
        _leaveInMarginCall();
        _expectRefused(account, 0.01e18, 46_000e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        trade(account, makerAccount, btcPerpetual, -0.1e18, 46_000e18);
        // To the other side with as much is no reduction either.
        (, uint256 initial,) = requirementsOf(account);
        _expectRefused(account, -3.2e18, 46_000e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        trade(account, makerAccount, btcPerpetual, -0.5e18, 46_000e18);
        (, uint256 less,) = requirementsOf(account);
        assertLt(less, initial);
    }

    /// @notice Risk may be reduced, but not by giving equity away: equity over maintenance may not fall.
    function testFuzz_settleTrade_reductionNeverLowersHealth(uint256 size, uint256 price) public {
        _leaveInMarginCall();
        size = bound(size, 1e15, 1.5e18);
        price = bound(price, 40_000e18, 52_000e18);
        (int256 equity,, uint256 maintenance) = requirementsOf(account);
        Order memory buy = orderOf(makerAccount, btcPerpetual, int256(size), price);
        Order memory sell = orderOf(account, btcPerpetual, -int256(size), 0);
        (bytes memory buySignature, bytes memory sellSignature) = (sign(buy), sign(sell));
        try gateway.settleTrade(buy, buySignature, sell, sellSignature, uint128(size)) {
            (int256 equityAfter, uint256 initialAfter, uint256 maintenanceAfter) = requirementsOf(account);
            assertTrue(
                equityAfter >= int256(initialAfter)
                    || equityAfter * int256(maintenance) >= equity * int256(maintenanceAfter)
            );
        } catch (bytes memory why) {
            assertEq(bytes4(why), IClearingHouse.ClearingHouseInsufficientMargin.selector);
            assertLt(price, 46_000e18); // at the index price or better it is always let through
        }
    }

    function test_settleTrade_reductionAtABadPriceIsRefused() public {
        _leaveInMarginCall();
        _expectRefused(account, -0.5e18, 42_000e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        trade(account, makerAccount, btcPerpetual, -0.5e18, 45_990e18);
    }

    function test_settleTrade_theInsolventMayCloseButLoseNoMore() public {
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 43_000);
        assertLt(equityOf(account), 0);
        _expectRefused(account, -0.5e18, 42_999e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        _expectRefused(account, 0.5e18, 43_000e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        trade(account, makerAccount, btcPerpetual, -0.5e18, 43_000e18);
        trade(account, makerAccount, btcPerpetual, -1.1e18, 43_000e18);
        assertEq(house.cashOf(account), -1200e18);
        requireBooks(0);
    }

    /// @notice Closing the leg that hedges another adds risk, though it makes a position smaller.
    function test_settleTrade_takingAHedgeAwayAddsRisk() public {
        trade(account, makerAccount, btcPerpetual, 1.2e18, 50_000e18);
        trade(account, makerAccount, ethPerpetual, -25e18, 2000e18);
        setPrice(BTC, 46_000);
        (int256 equity, uint256 initial,) = requirementsOf(account);
        assertLt(equity, int256(initial));
        Order memory buy = orderOf(account, ethPerpetual, 20e18, 2000e18);
        Order memory sell = orderOf(makerAccount, ethPerpetual, -20e18, 2000e18);
        (bytes memory buySignature, bytes memory sellSignature) = (sign(buy), sign(sell));
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        gateway.settleTrade(sell, sellSignature, buy, buySignature, 20e18);
    }

    // ─── Feeds (ORACLE)

    function test_settleTrade_revertsIfAPriceIsStale() public {
        trade(account, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        vm.warp(block.timestamp + 2 hours + 1);
        bytes4 stale = IPriceOracle.PriceOracleStale.selector;
        _expectRefused(account, 0.1e18, 50_000e18, stale);
        _expectRefused(account, -0.2e18, 50_000e18, stale); // even a reduction: nobody knows at what price
        cheats.expectPartialRevert(stale);
        house.settleVariation(account);
        vm.startPrank(trader);
        cheats.expectPartialRevert(stale);
        house.withdraw(account, CASH, 1e6, trader);
        cheats.expectPartialRevert(stale);
        house.transfer(account, makerAccount, CASH, 1e6);
        vm.stopPrank();
        // Nor how far off the index it is to close. Money may still come in.
        _expectRefused(account, -0.5e18, 50_000e18, stale);
        deposit(account, CASH, 1e6);
        assertEq(house.cashOf(account), 10_001e18);
    }

    function test_settleTrade_staleVolatilityBarsNewRiskOnly() public {
        trade(account, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        uint64 idle = openAccount(stranger, 1000);
        // The maker stands far from its margin; it may trade only because closing reduces its risk too.
        vm.warp(block.timestamp + 1 days + 1);
        priceFeeds[BTC].push(50_000e8);
        bytes4 staleVolatility = IClearingHouse.ClearingHouseStaleVolatility.selector;
        _expectRefused(account, 0.1e18, 50_000e18, staleVolatility);
        vm.prank(trader);
        cheats.expectPartialRevert(staleVolatility);
        house.withdraw(account, CASH, 1e6, trader);
        trade(account, makerAccount, btcPerpetual, -0.2e18, 50_000e18);
        assertEq(sizeOf(account, btcPerpetual), 0.3e18);
        // An account that depends on no volatility is free.
        withdraw(idle, CASH, 1000e6);
    }

    function test_trade_revertsIfNotFromTheOrderGateway() public {
        IClearingHouse.Trade memory agreed =
            IClearingHouse.Trade(btcPerpetual, account, makerAccount, 0.1e18, 50_000e18, true);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseOnlyOrderGateway.selector, address(this)));
        house.trade(agreed);
    }

    // ─── Helpers

    /// @dev Long 1.6 BTC from 50,000 and the price at 46,000: equity 3,600, initial about 8,700, maintenance about 4,000.
    function _leaveInMarginCall() private {
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 46_000);
        (int256 equity, uint256 initial,) = requirementsOf(account);
        assertLt(equity, int256(initial));
        assertGt(equity, 0);
    }

    function _expectRefused(uint64 taker, int256 size, uint256 price, bytes4 selector) private {
        Order memory first = orderOf(makerAccount, btcPerpetual, -size, price);
        Order memory second = orderOf(taker, btcPerpetual, size, price);
        (bytes memory firstSignature, bytes memory secondSignature) = (sign(first), sign(second));
        cheats.expectPartialRevert(selector);
        gateway.settleTrade(first, firstSignature, second, secondSignature, uint128(absolute(size)));
    }
}
