// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { System } from "./System.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { SignedWad } from "contracts/libraries/SignedWad.sol";
import { TestToken } from "contracts/testing/TestToken.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";
import { Portfolio } from "contracts/types/Portfolio.sol";

/// @notice Cheats that the forge-std interface at hand does not name.
interface Cheats {
    function cool(address target) external;
    function expectPartialRevert(bytes4 selector) external;
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
}

/// @notice The system with people in it: a trader who tests act as, a maker with deep pockets who takes the other side, a
/// keeper with money to bid, a stranger with nothing. And what must always be true of the books.
abstract contract Accounts is System {
    Cheats internal constant cheats = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint64 internal constant ANY_NONCE = type(uint64).max;
    int256 internal constant ANY_PRICE = type(int128).max;

    address internal trader;
    address internal maker;
    address internal keeper;
    address internal stranger;
    uint64 internal makerAccount;
    uint64 internal keeperAccount;

    function setUp() public virtual override {
        super.setUp();
        (trader, maker, keeper, stranger) = (actor("trader"), actor("maker"), actor("keeper"), actor("stranger"));
        makerAccount = openAccount(maker, 100_000_000);
        keeperAccount = openAccount(keeper, 10_000_000);
    }

    /// @dev Bounds that leave plain numbers easy to read in a call.
    function bound(uint256 x, uint256 low, uint256 high) internal pure override returns (uint256) {
        return low + x % (high - low + 1);
    }

    function absolute(int256 x) internal pure returns (uint256) {
        return x < 0 ? uint256(-x) : uint256(x);
    }

    /// @dev The keeper takes up to `fraction` of a flagged account at any price.
    function bid(uint64 account, uint256 fraction) internal returns (ILiquidationEngine.Bid memory) {
        vm.prank(keeper);
        return liquidation.bid(account, keeperAccount, fraction, ANY_PRICE, ANY_NONCE);
    }

    /// @dev CASH, ZERO-SUM and the open interest. `rounding` [wad] is what shared losses, payoffs, funding and interest may have
    /// left behind, a wei or so for each position and settlement; exact without them.
    function requireBooks(uint256 rounding) internal view {
        int256 claims = int256(house.fees());
        uint256 positive;
        uint256[] memory collateral = new uint256[](house.assetCount());
        int256[3] memory long;
        int256[3] memory net;
        for (uint64 account = 1; account <= house.accountCount(); ++account) {
            Portfolio memory portfolio = house.portfolioOf(account);
            claims += portfolio.cash;
            if (portfolio.cash > 0) positive += uint256(portfolio.cash);
            for (uint256 i; i < portfolio.positions.length; ++i) {
                claims += portfolio.positions[i].quote;
                Instrument instrument = portfolio.positions[i].instrument;
                int256 size = portfolio.positions[i].size;
                if (instrument.underlying() > ETH) continue;
                if (size > 0) long[instrument.underlying()] += size;
                if (instrument.isOption()) {
                    assertEq(portfolio.positions[i].quote, 0, "an option with a quote");
                    uint256 price = registry.settlementPriceOf(instrument.underlying(), instrument.expiry());
                    if (price != 0) {
                        claims += SignedWad.mulDown(size, instrument.payoff(price));
                        continue;
                    }
                }
                // Of all instruments together with what tells them apart as weight, so that one sum speaks for each.
                net[instrument.underlying()] += size * int256(uint256(keccak256(abi.encode(instrument))) >> 140);
            }
            for (uint16 asset = 1; asset < collateral.length; ++asset) {
                collateral[asset] += house.collateralOf(account, asset);
            }
        }
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            assertEq(net[underlying], 0, "ZERO-SUM");
            assertEq(uint256(long[underlying]), house.openInterestOf(underlying), "open interest");
        }
        uint256 held = house.heldOf(CASH);
        int256 backed = int256(held * 1e12 + house.pendingLoss());
        assertLe(claims, backed, "CASH: claims above what is held");
        assertGe(claims, backed - int256(rounding), "CASH: money without an owner");
        assertEq(dollar.balanceOf(address(house)), held, "CASH: dollars");
        assertLe(positive, house.positiveCash(), "LOSS: positive cash undercounted");
        assertGe(positive + rounding, house.positiveCash(), "LOSS: positive cash overcounted");
        for (uint16 asset = 1; asset < collateral.length; ++asset) {
            assertEq(collateral[asset], house.heldOf(asset), "CASH: collateral ledger");
            assertEq(TestToken(house.assetOf(asset).token).balanceOf(address(house)), collateral[asset], "CASH: tokens");
        }
    }

    /// @dev Σ equity over all accounts (EQUITY).
    function totalEquity() internal view returns (int256 total) {
        for (uint64 account = 1; account <= house.accountCount(); ++account) {
            total += equityOf(account);
        }
    }

    function requirementsOf(uint64 account)
        internal
        view
        returns (int256 equity, uint256 initial, uint256 maintenance)
    {
        Margin memory margin = engine.marginOf(account);
        return (margin.equity, margin.initial.total, margin.maintenance.total);
    }

    function sizeOf(uint64 account, Instrument instrument) internal view returns (int256 size) {
        (size,) = house.positionOf(account, instrument);
    }

    /// @dev Gives underlyings `first` to `last` the numbers of `model`. Their correlations stay zero.
    function calibrateLike(uint16 model, uint16 first, uint16 last) internal {
        uint256 fields = Fields.SLOTS_PER_UNDERLYING * 8;
        ParameterChange[] memory changes = new ParameterChange[](fields * (last - first + 1));
        uint256 count;
        for (uint16 underlying = first; underlying <= last; ++underlying) {
            for (uint8 id; id < fields; ++id) {
                int256 value = riskParameters.get(Field.wrap(id), model, 0);
                changes[count++] = ParameterChange(Field.wrap(id), underlying, 0, int32(value));
            }
        }
        riskParameters.applyBundle(changes, provenance());
    }
}
