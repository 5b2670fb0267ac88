// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Auctions } from "./support/Auctions.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Portfolio } from "contracts/types/Portfolio.sol";

/// @notice Portfolios that go whole to a bidder that held nothing, whose gate is then not computed anew; and auctions while
/// cash is worth less than a dollar.
contract LiquidationEngineTakeoverTest is Auctions {
    // ─── The gate of a whole takeover is the margin engine's, to the wei

    function test_bid_wholeOfAnInsolventPerpetual() public {
        flagAt(40_000);
        _requireSameGate(account);
    }

    function test_bid_wholeOfASmallSolventAccount() public {
        uint64 small = openAccount(trader, 100);
        trade(small, makerAccount, btcPerpetual, 0.015e18, 50_000e18);
        setPrice(BTC, 45_700);
        liquidation.flag(small, flagger);
        vm.warp(block.timestamp + 100);
        _requireSameGate(small);
    }

    function test_bid_wholeOfOptionsPerpetualAndCollateral() public {
        _requireSameGate(_mixed());
    }

    function test_bid_wholeWhileCashIsBelowADollar() public {
        setCashPrice(0.97e8);
        _requireSameGate(_mixed());
        flagAt(40_000);
        _requireSameGate(account);
    }

    /// @notice A bidder whose only option has expired holds nothing, once that is cash.
    function test_bid_wholeByABidderWithAnExpiredOption() public {
        uint40 expiry = uint40(block.timestamp + 1 days);
        Instrument option = listOption(BTC, expiry, 50_000, false);
        uint64 bidder = openAccount(stranger, 100_000);
        trade(bidder, makerAccount, option, 1e18, 100e18);
        settleAt(BTC, expiry, 51_000);
        assertEq(house.portfolioOf(bidder).positions.length, 1);
        flagAt(40_000);
        (, uint256 needed,) = engine.initialMarginOf(account);
        vm.prank(stranger);
        liquidation.bid(account, bidder, WAD, ANY_PRICE, ANY_NONCE);
        (int256 equity, uint256 requirement,) = engine.initialMarginOf(bidder);
        assertEq(requirement, needed);
        assertApproxEqAbs(equity, 100_900e18, 10); // the premium paid, the payoff received
        assertEq(sizeOf(bidder, btcPerpetual), 1.6e18);
    }

    // ─── Cash below a dollar

    /// @notice The bidder's cash counts for less in the account's hands, so it pays more of it: the account loses the discount
    /// and the fee, no more.
    function test_bid_whileCashIsBelowADollar() public {
        setCashPrice(0.95e8);
        flagAt(45_500);
        vm.warp(block.timestamp + 240);
        (int256 before_,, uint256 maintenance) = requirementsOf(account);
        assertApproxEqAbs(before_, 0.95e18 * 2800, 10);
        int256 bidderBefore = equityOf(keeperAccount);
        ILiquidationEngine.Bid memory taken = bid(account, 0.4e18);
        assertEq(taken.fraction, 0.4e18);
        uint256 discount = maintenance / 10 * 4 / 10;
        uint256 proceeds = (uint256(before_) - maintenance / 10) * 4 / 10;
        assertApproxEqAbs(uint256(taken.price) - taken.fundFee, proceeds * 100 / 95, 10);
        assertApproxEqAbs(uint256(before_ - equityOf(account)), discount + 9.5e18, 10);
        // The other side of it: the discount, less the fund's share at what that is worth.
        assertApproxEqAbs(uint256(equityOf(keeperAccount) - bidderBefore), discount - taken.fundFee * 95 / 100, 1e6);
        requireBooks(0);
    }

    /// @notice A debt is paid off in full by cash of whatever price.
    function test_bid_onADebtWhileCashIsBelowADollar() public {
        uint64 indebted = _inDebt(5e18);
        setCashPrice(0.9e8);
        setPrice(ETH, 1700);
        liquidation.flag(indebted, flagger);
        (int256 before_,, uint256 maintenance) = requirementsOf(indebted);
        ILiquidationEngine.Bid memory taken = bid(indebted, 0.3e18);
        assertApproxEqAbs(uint256(taken.price), uint256(before_) * 3 / 10, 10);
        assertApproxEqAbs(before_ - equityOf(indebted), 10e18, 10);
        assertLt(before_, int256(maintenance));
        requireBooks(100);
    }

    /// @notice Nobody whose equity rests on cash can be valued while its feed is dead, but a debt can.
    function test_bid_onADebtWhileTheFeedOfCashIsDead() public {
        uint64 indebted = _inDebt(5e18);
        uint64 shelter = openAccount(stranger, 0);
        deposit(shelter, WETH, 100e18);
        setCashPrice(1e8);
        pass(1 days + 1);
        setPrice(ETH, 1700);
        cheats.expectPartialRevert(IPriceOracle.PriceOracleStale.selector);
        engine.marginOf(keeperAccount);
        liquidation.flag(indebted, flagger);
        vm.prank(stranger);
        liquidation.bid(indebted, shelter, WAD, ANY_PRICE, ANY_NONCE);
        assertEq(liquidation.auctionOf(indebted).startedAt, 0);
    }

    function testFuzz_bid_neverHarmsWhateverCashIsWorth(
        uint256 cashPrice,
        uint256[2] memory prices,
        uint256 elapsed,
        uint256 part,
        bool debt
    ) public {
        uint64 which = debt ? _inDebt(bound(part, 1e18, 20e18)) : account;
        setCashPrice(int256(bound(cashPrice, 0.5e8, 1.1e8)));
        setPrice(BTC, bound(prices[0], 42_000, 48_000));
        setPrice(ETH, bound(prices[1], 1200, 2000));
        (int256 equity,, uint256 maintenance) = requirementsOf(which);
        if (equity >= int256(maintenance)) return;
        liquidation.flag(which, flagger);
        vm.warp(block.timestamp + bound(elapsed, 0, 1300));
        for (uint256 i; i < 4 && liquidation.auctionOf(which).startedAt != 0; ++i) {
            (equity,, maintenance) = requirementsOf(which);
            ILiquidationEngine.Bid memory taken = bid(which, i == 0 ? bound(part, 1e12, WAD) : WAD);
            (int256 left,, uint256 needed) = requirementsOf(which);
            if (equity < 0) assertGe(left, equity - 1e9);
            else assertGe(uint256(left + 1e9) * maintenance, uint256(equity) * (needed > 1e9 ? needed - 1e9 : 0));
            uint256 cost = taken.discount * taken.maintenance / WAD * taken.fraction / WAD + taken.fee;
            if (taken.cover == 0) assertGe(left + 1e9, equity - int256(cost));
        }
        assertEq(liquidation.auctionOf(which).startedAt, 0, "every auction ends");
        requireBooks(1000);
    }

    // ─── Helpers

    /// @dev A bidder with nothing but cash takes all of a flagged account: with a cent too little it reverts, and names what the
    /// margin engine would find; with the least it needs it passes.
    function _requireSameGate(uint64 which) private {
        uint256 rich = 1_000_000e6;
        uint64 bidder = openAccount(stranger, 1_000_000);
        uint256 state = vm.snapshot();
        vm.prank(stranger);
        ILiquidationEngine.Bid memory taken = liquidation.bid(which, bidder, WAD, ANY_PRICE, ANY_NONCE);
        assertEq(taken.fraction, WAD);
        Portfolio memory after_ = house.portfolioOf(bidder);
        vm.revertTo(state);

        // The least cash it can do with, token units, by bisection on the margin engine.
        int256 cash = after_.cash;
        (uint256 low, uint256 high) = (0, rich);
        while (low < high) {
            uint256 middle = (low + high) / 2;
            after_.cash = cash - int256((rich - middle) * 1e12);
            Margin memory margin = engine.marginOfPortfolio(after_);
            if (margin.equity >= int256(margin.initial.total)) high = middle;
            else low = middle + 1;
        }
        assertGt(low, 0.01e6);
        withdraw(bidder, CASH, rich - low);

        vm.startPrank(stranger);
        house.transfer(bidder, flagger, CASH, 0.01e6);
        after_.cash = cash - int256((rich - low + 0.01e6) * 1e12);
        Margin memory short = engine.marginOfPortfolio(after_);
        vm.expectRevert(
            abi.encodeWithSelector(
                IClearingHouse.ClearingHouseInsufficientMargin.selector, bidder, short.equity, short.initial.total
            )
        );
        liquidation.bid(which, bidder, WAD, ANY_PRICE, ANY_NONCE);
        vm.stopPrank();

        deposit(bidder, CASH, 0.01e6);
        vm.prank(stranger);
        liquidation.bid(which, bidder, WAD, ANY_PRICE, ANY_NONCE);
        (int256 equity, uint256 requirement,) = engine.initialMarginOf(bidder);
        assertGe(equity, int256(requirement));
        assertLe(equity, int256(requirement) + 2e12);
        requireBooks(100);
    }

    /// @dev Insolvent: short options, long a perpetual and ether, flagged.
    function _mixed() private returns (uint64 mixed) {
        mixed = openAccount(trader, 15_000);
        deposit(mixed, WETH, 2e18);
        uint40 expiry = uint40(block.timestamp + 7 days);
        Instrument put = listOption(BTC, expiry, 48_000, true);
        Instrument call = listOption(BTC, expiry, 60_000, false);
        (uint256 mark,) = lens.markOf(put);
        trade(mixed, makerAccount, put, -1e18, mark);
        (mark,) = lens.markOf(call);
        trade(mixed, makerAccount, call, 0.5e18, mark);
        trade(mixed, makerAccount, ethPerpetual, 5e18, 2000e18);
        uint256 price = 50_000;
        while (equityOf(mixed) >= 0) setPrice(BTC, price -= 2000);
        liquidation.flag(mixed, flagger);
    }

    /// @dev Holds ether and owes cash, near its limit.
    function _inDebt(uint256 ether_) private returns (uint64 indebted) {
        indebted = openAccount(trader, 0);
        deposit(indebted, WETH, ether_);
        trade(indebted, makerAccount, btcPerpetual, int256(ether_ / 25), 50_000e18);
        setPrice(BTC, 10_000);
        house.settleVariation(indebted);
        trade(indebted, makerAccount, btcPerpetual, -int256(ether_ / 25), 10_000e18);
        setPrice(BTC, 50_000);
        assertLt(house.cashOf(indebted), 0);
    }
}
