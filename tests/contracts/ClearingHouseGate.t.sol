// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { FundingMath } from "contracts/libraries/FundingMath.sol";
import { Funding } from "contracts/types/Funding.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Order } from "contracts/types/Order.sol";
import { Portfolio, Position } from "contracts/types/Portfolio.sol";

/// @notice GATE below initial margin. The house knows only what a trade has changed and undoes that to see the account as it was;
/// here the portfolio is taken before the trade and the one after it is put together by hand, both are margined, and the
/// rule is applied to the two: whatever the trade, the house must come to the same answer.
contract ClearingHouseGateTest is Accounts {
    using FundingMath for Funding;

    uint64 private account;
    Instrument private call;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 20_000);
        call = listOption(BTC, uint40(block.timestamp + 30 days), 50_000, false);
        // A premium that runs, so that quotes are stored off their value.
        trade(keeperAccount, makerAccount, btcPerpetual, 1e18, 50_100e18);
        trade(account, makerAccount, btcPerpetual, 1e18, 50_000e18);
        trade(account, makerAccount, ethPerpetual, -5e18, 2000e18);
        pass(1 hours);
    }

    /// @notice Of the leg that is held: less of it, more of it, all of it, through zero and beyond.
    function testFuzz_settleTrade_ofALegHeldIsGatedAsByItsTwoPortfolios(uint256 kind, uint256 size, uint256 price)
        public
    {
        _fall();
        price = bound(price, 32_800e18, 33_200e18);
        kind = bound(kind, 0, 4);
        if (kind == 0) _check(btcPerpetual, -int256(bound(size, 1e12, 1e18 - 1)), price); // in part
        else if (kind == 1) _check(btcPerpetual, -1e18, price); // closes
        else if (kind == 2) _check(btcPerpetual, -int256(bound(size, 1e18 + 1, 2e18)), price); // turns, to no more
        else if (kind == 3) _check(btcPerpetual, -int256(bound(size, 2e18, 4e18)), price); // turns, to more
        else _check(btcPerpetual, int256(bound(size, 1e12, 1e18)), price); // adds
    }

    /// @notice Of what is not held yet: an option against the perpetual, which may hedge or not.
    function testFuzz_settleTrade_openingIsGatedAsByItsTwoPortfolios(uint256 size, uint256 price, bool sells) public {
        _fall();
        (uint256 mark,) = lens.markOf(call);
        price = bound(price, mark * 9 / 10, mark * 11 / 10);
        int256 amount = int256(bound(size, 1e12, 2e18));
        _check(call, sells ? -amount : amount, price);
    }

    function testFuzz_settleTrade_ofTheOtherLegIsGatedAsByItsTwoPortfolios(uint256 size, uint256 price, bool sells)
        public
    {
        _fall();
        int256 amount = int256(bound(size, 1e12, 30e18));
        _check(ethPerpetual, sells ? -amount : amount, bound(price, 1990e18, 2010e18));
    }

    /// @notice Insolvent: nothing may be lost any more.
    function testFuzz_settleTrade_ofTheInsolventIsGatedAsByItsTwoPortfolios(uint256 size, uint256 price) public {
        setPrice(BTC, 25_000);
        assertLt(equityOf(account), 0);
        _check(btcPerpetual, -int256(bound(size, 1e12, 1.5e18)), bound(price, 24_950e18, 25_050e18));
    }

    /// @notice The fuzz above reaches both answers: one trade of each.
    function test_settleTrade_reductionsPassAndOthersDoNot() public {
        _fall();
        assertFalse(_check(btcPerpetual, 0.1e18, 33_000e18), "more of it");
        assertFalse(_check(btcPerpetual, -0.2e18, 28_000e18), "less of it at a loss");
        assertFalse(_check(ethPerpetual, 10e18, 2000e18), "a hedge turned into more of the same");
        assertTrue(_check(btcPerpetual, -0.1e18, 33_000e18), "less of it");
        assertTrue(_check(btcPerpetual, -0.5e18, 33_000e18), "much less of it");
        assertTrue(_check(btcPerpetual, -0.4e18, 33_000e18), "none of it");
    }

    // ─── Helpers

    /// @dev Equity about 3,000, between the two requirements.
    function _fall() private {
        setPrice(BTC, 33_000);
        (int256 equity, uint256 initial,) = requirementsOf(account);
        assertLt(equity, int256(initial));
        assertGt(equity, 0);
    }

    /// @return passes Whether the house lets the trade through: what the rule says of the two portfolios.
    function _check(Instrument instrument, int256 size, uint256 price) private returns (bool passes) {
        Portfolio memory before_ = house.portfolioOf(account);
        Portfolio memory after_ = _after(before_, instrument, size, price);
        passes = _isAllowed(engine.marginOfPortfolio(before_), engine.marginOfPortfolio(after_));
        _settle(instrument, size, price, passes);
        // A wei apart: the funding of the two parts is rounded once here and twice there.
        if (passes) assertApproxEqAbs(engine.marginOf(account).equity, engine.marginOfPortfolio(after_).equity, 2);
    }

    function _settle(Instrument instrument, int256 size, uint256 price, bool passes) private {
        Order memory first = orderOf(makerAccount, instrument, -size, price);
        Order memory second = orderOf(account, instrument, size, size > 0 ? type(uint128).max : 0);
        (bytes memory firstSignature, bytes memory secondSignature) = (sign(first), sign(second));
        if (!passes) cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        gateway.settleTrade(first, firstSignature, second, secondSignature, uint128(absolute(size)));
    }

    function _isAllowed(Margin memory before_, Margin memory after_) private pure returns (bool) {
        if (after_.equity >= int256(after_.initial.total)) return true;
        if (after_.initial.total > before_.initial.total) return false;
        if (after_.maintenance.total > before_.maintenance.total) return false;
        if (before_.equity < 0) return after_.equity >= before_.equity;
        return after_.equity * int256(before_.maintenance.total) >= before_.equity * int256(after_.maintenance.total)
            && after_.equity >= 0;
    }

    /// @dev The account buys (positive) or sells as the taker.
    function _after(Portfolio memory before_, Instrument instrument, int256 size, uint256 price)
        private
        view
        returns (Portfolio memory result)
    {
        int256 quote =
            size > 0 ? -int256((uint256(size) * price + WAD - 1) / WAD) : int256(uint256(-size) * price / WAD);
        result.cash = before_.cash;
        result.collateral = before_.collateral;
        if (instrument.isOption()) {
            result.cash += quote;
            quote = 0;
        } else {
            quote -= int256(_feeOf(instrument.underlying(), absolute(size), price));
        }
        uint256 count = before_.positions.length;
        result.positions = new Position[](count + 1);
        bool held;
        for (uint256 i; i < count; ++i) {
            Position memory position = before_.positions[i];
            if (position.instrument == instrument) {
                size += position.size;
                quote += position.quote;
                (position, held) = (Position(instrument, int128(size), int128(quote)), true);
            }
            result.positions[i] = position;
        }
        if (!held) result.positions[count] = Position(instrument, int128(size), int128(quote));
        return _withoutEmpty(result);
    }

    /// @dev A closed position leaves its quote in cash.
    function _withoutEmpty(Portfolio memory portfolio) private pure returns (Portfolio memory result) {
        (result.cash, result.collateral) = (portfolio.cash, portfolio.collateral);
        uint256 count;
        for (uint256 i; i < portfolio.positions.length; ++i) {
            if (portfolio.positions[i].size != 0) ++count;
            else result.cash += portfolio.positions[i].quote;
        }
        result.positions = new Position[](count);
        for (uint256 i = portfolio.positions.length; i != 0; --i) {
            if (portfolio.positions[i - 1].size != 0) result.positions[--count] = portfolio.positions[i - 1];
        }
    }

    function _feeOf(uint16 underlying, uint256 size, uint256 price) private view returns (uint256 fee) {
        (uint256 index,) = priceOracle.price(underlying);
        (, fee) = house.fundingOf(underlying).tradeUp(size, price, index, house.openInterestOf(underlying));
    }
}
