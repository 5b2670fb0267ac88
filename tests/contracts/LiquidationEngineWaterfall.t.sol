// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Auctions } from "./support/Auctions.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice Who bears a loss (LOSS): the account, then the insurance fund, at once or by a claim, then fees, then positive cash.
contract LiquidationEngineWaterfallTest is Auctions {
    // ─── The fund pays

    function test_bid_theFundPaysForAnInsolventAccount() public {
        flagAt(40_000);
        assertEq(equityOf(account), -6000e18);
        uint256 assets = fund.totalAssets();
        int256 bidderBefore = equityOf(keeperAccount);
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(taken.price, -6000e18);
        assertEq(taken.cover, 6010e18);
        assertEq(fund.totalAssets(), assets - 6010e6);
        assertEq(fund.owed(), 0);
        assertEq(equityOf(account), 0);
        assertEq(house.cashOf(account), 0);
        assertEq(house.cashOf(flagger), 10e18);
        assertApproxEqAbs(equityOf(keeperAccount), bidderBefore, 2);
        assertEq(liquidation.reservedShortfall(), 0);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
        assertEq(house.pendingLoss(), 0);
        requireBooks(0);
    }

    /// @notice Solvent, but by less than the discount: nobody pays for it, so the fund pays to have it taken.
    function test_bid_theFundPaysTheRestOfTheDiscount() public {
        flagAt(44_000);
        vm.warp(block.timestamp + 1200);
        ILiquidationEngine.Bid memory taken = bid(account, 0.5e18);
        assertEq(taken.equity, 400e18);
        uint256 payout = (taken.maintenance / 2 - 400e18) / 2;
        assertApproxEqAbs(absolute(taken.price), payout, 1);
        assertApproxEqAbs(equityOf(account), 200e18, 10);
        bid(account, WAD);
        assertEq(equityOf(account), 0);
        requireBooks(0);
    }

    /// @notice Nothing is left and nothing is owed: whoever takes it pays nothing, and is paid nothing until d is above 0.
    function test_bid_worksAtAnEquityOfExactlyNothing() public {
        flagAt(43_750);
        assertEq(equityOf(account), 0);
        ILiquidationEngine.Bid memory taken = liquidation.previewBid(account, WAD);
        assertEq(taken.price, 0);
        assertEq(taken.fraction, WAD);
        vm.warp(block.timestamp + 1);
        taken = bid(account, WAD);
        assertLt(taken.price, 0);
        assertEq(taken.fee, 10e18);
        assertEq(equityOf(account), 0);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
        requireBooks(0);
    }

    /// @notice Beyond its allowance the fund owes the bidder, who must be able to carry what it takes without that.
    function test_bid_theFundOwesWhatIsBeyondItsAllowance() public {
        leaveInFund(10_000e6);
        flagAt(40_000);
        int256 bidderBefore = equityOf(keeperAccount);
        vm.recordLogs();
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(taken.cover, 6010e18);
        assertEq(fund.owed(), 3510e6); // 2,500 paid, the keeper's ten among them
        assertEq(fund.totalAssets(), 10_000e6 - 6010e6);
        assertEq(house.pendingLoss(), 0);
        assertEq(house.cashOf(flagger), 10e18);
        assertApproxEqAbs(equityOf(keeperAccount), bidderBefore - 3510e18, 2);
        (uint256 queued, uint256 shared) = _queuedAndShared();
        assertEq(queued, 3510e6);
        assertEq(shared, 0);
        // Whoever comes later is behind, but for the keeper's fee.
        (uint256 paid, uint256 later) = fund.previewCover(100e6, 10e6);
        assertEq(paid, 10e6);
        assertEq(later, 90e6);
        pass(1 hours);
        fund.payClaims(9);
        assertApproxEqAbs(equityOf(keeperAccount), bidderBefore - 3510e18 + 1875e18, 2);
        requireBooks(0);
    }

    function test_bid_revertsIfTheBidderNeedsWhatIsOnlyOwed() public {
        leaveInFund(10_000e6);
        flagAt(40_000);
        (, uint256 needed,) = engine.initialMarginOf(account);
        // Enough with the whole payout, not with what is paid now.
        uint64 narrow = openAccount(stranger, needed / 1e18 + 1000);
        vm.prank(stranger);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        liquidation.bid(account, narrow, WAD, ANY_PRICE, ANY_NONCE);
        deposit(narrow, CASH, 2520e6);
        vm.prank(stranger);
        liquidation.bid(account, narrow, WAD, ANY_PRICE, ANY_NONCE);
    }

    // ─── Positive cash shares

    /// @notice The sum of what the fund pays and what is shared is the whole of the loss, and the share is exact.
    function test_bid_leavesToPositiveCashWhatTheFundLacks() public {
        leaveInFund(1000e6);
        flagAt(40_000);
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(fund.totalAssets(), 0);
        assertEq(fund.owed(), 750e6);
        uint256 shared = taken.cover - 1000e18;
        assertEq(shared, 5010e18);
        assertEq(house.pendingLoss(), shared);
        assertEq(house.lossIndex(), 1e27, "not yet");
        assertEq(house.lossDueAt(), block.timestamp + 1 hours);
        assertEq(house.cashOf(keeperAccount), 10_000_000e18 + 10_000e18 + 6000e18 - 750e18); // cash moved and payout
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseNoLossDue.selector, shared, house.lossDueAt())
        );
        house.shareLoss();

        pass(1 hours);
        house.shareLoss();
        uint256 positive = 110_015_260e18; // the account's own cash has gone before
        uint256 index = uint256(1e27) * (positive - shared) / positive;
        assertEq(house.lossIndex(), index);
        assertEq(house.pendingLoss(), 0);
        assertEq(house.positiveCash(), positive - shared);
        assertEq(uint256(house.cashOf(makerAccount)), uint256(100_000_000e18) * index / 1e27);
        assertEq(uint256(house.cashOf(flagger)), uint256(10e18) * index / 1e27);
        assertEq(house.cashOf(account), 0);
        assertEq(equityOf(account), 0);
        requireBooks(1e12);
        // New money is whole: the index is behind it.
        uint64 late = openAccount(stranger, 500);
        assertEq(house.cashOf(late), 500e18);
        withdraw(late, CASH, 500e6);
        requireBooks(1e12);
    }

    /// @notice Fees not yet swept are the fund's and go before anybody's cash.
    function test_bid_feesCarryALossBeforeAnybodysCash() public {
        leaveInFund(0);
        flagAt(45_500);
        vm.warp(block.timestamp + 480);
        bid(account, 0.3e18);
        uint256 fees = house.fees();
        assertGt(fees, 10e18);
        setPrice(BTC, 40_000);
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(house.fees(), 0);
        assertEq(house.pendingLoss(), taken.cover - fees);
    }

    /// @notice LOSS and EQUITY through the whole waterfall: Σ cover = paid + owed + carried by fees + pending, then what is owed
    /// is paid and what is pending shared, and nothing was made or lost on the way but what the fund put in.
    /// forge-config: default.fuzz.runs = 128
    function testFuzz_bid_lossEqualsWhatFundFeesAndCashCarry(uint256[3] memory seeds, uint256 time, uint256 part)
        public
    {
        uint256 start = bound(seeds[0], 0, 20_000e6);
        leaveInFund(start);
        // Some fees come first.
        uint64 other = openAccount(stranger, 10_000);
        trade(other, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 45_500);
        liquidation.flag(other, flagger);
        vm.warp(vm.getBlockTimestamp() + bound(seeds[1], 0, 900));
        bid(other, WAD);
        flagAt(bound(seeds[2], 35_000, 43_700));
        vm.warp(vm.getBlockTimestamp() + bound(time, 0, 1500));
        part = bound(part, 0.01e18, WAD);

        uint256 fees = house.fees();
        int256 equity = totalEquity();
        uint256 cover = bid(account, part).cover;
        if (liquidation.auctionOf(account).startedAt != 0) cover += bid(account, WAD).cover;
        uint256 carried = start - fund.totalAssets();
        assertEq(cover, carried * 1e12 + house.pendingLoss() + fees - house.fees(), "LOSS");
        assertEq(carried - fund.owed(), start - dollar.balanceOf(address(fund)));
        if (house.pendingLoss() != 0) assertEq(fund.totalAssets(), 0, "cash before the fund");
        assertEq(equityOf(account), 0);
        assertEq(liquidation.reservedShortfall(), 0);

        uint256 absorbed = fees > house.fees() ? fees - house.fees() : 0;
        uint256 surplus = house.fees() > fees ? house.fees() - fees : 0;
        uint256 left = fund.totalAssets();
        for (uint256 i; i < 100 && fund.owed() != 0; ++i) {
            pass(1 hours);
            fund.payClaims(10);
        }
        assertEq(fund.owed(), 0, "owed for ever");
        assertEq(fund.totalAssets(), left);
        if (house.pendingLoss() != 0) {
            pass(1 hours);
            house.shareLoss();
        }
        assertApproxEqAbs(totalEquity(), equity + int256(carried * 1e12 + absorbed) - int256(surplus), 1e9, "EQUITY");
        requireBooks(1e12);
    }

    /// @notice A bid never waits for there being cash to share its loss over.
    function test_bid_worksIfAllCashTogetherCannotCarryTheLoss() public {
        leaveInFund(0);
        flagAt(40_000);
        uint64 shelter = openAccount(stranger, 0);
        deposit(shelter, WETH, 10_000e18);
        // Everybody else leaves while nothing is known of the loss.
        setPrice(BTC, 50_000);
        liquidation.reserve(account);
        withdraw(makerAccount, CASH, 99_980_000e6);
        withdraw(keeperAccount, CASH, 10_000_000e6);
        setPrice(BTC, 30_000);
        vm.prank(stranger);
        ILiquidationEngine.Bid memory taken = liquidation.bid(account, shelter, WAD, ANY_PRICE, ANY_NONCE);
        assertEq(taken.cover, 22_010e18);
        assertEq(house.pendingLoss(), taken.cover);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
        pass(1 hours);
        // Who made the profit that nobody can pay hides it in vain: anybody may turn it into cash.
        house.settleVariation(makerAccount);
        house.shareLoss();
        assertEq(house.pendingLoss(), 0);
        requireBooks(1e12);
    }

    // ─── Nobody leaves ahead of a loss

    function test_withdraw_revertsWhileAKnownLossExceedsTheFund() public {
        leaveInFund(1000e6);
        flagAt(40_000);
        vm.prank(maker);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseWithdrawalsLocked.selector, 6000e18, 1000e18)
        );
        house.withdraw(makerAccount, CASH, 1e6, maker);
        bid(account, WAD);
        vm.prank(maker);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseWithdrawalsLocked.selector, 5010e18, 0));
        house.withdraw(makerAccount, CASH, 1e6, maker);
        pass(1 hours);
        house.shareLoss();
        withdraw(makerAccount, CASH, 1e6);
    }

    function test_withdraw_isFreeWhileTheFundCoversTheLoss() public {
        flagAt(40_000);
        assertEq(liquidation.reservedShortfall(), 6000e18);
        withdraw(keeperAccount, CASH, 1e6);
    }

    function test_reserve_followsTheMarket() public {
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.reserve(account);
        flagAt(45_500);
        assertEq(liquidation.reservedShortfall(), 0);
        setPrice(BTC, 42_000);
        vm.prank(stranger);
        assertEq(liquidation.reserve(account), 2800e18);
        assertEq(liquidation.reservedShortfall(), 2800e18);
        setPrice(BTC, 43_000);
        assertEq(liquidation.reserve(account), 1200e18);
        assertEq(liquidation.auctionOf(account).shortfall, 1200e18);
        setPrice(BTC, 44_000);
        assertEq(liquidation.reserve(account), 0);
        assertEq(liquidation.reservedShortfall(), 0);
    }

    function test_reserve_addsUpOverAccounts() public {
        uint64 second = openAccount(stranger, 10_000);
        trade(second, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        flagAt(42_000);
        liquidation.flag(second, flagger);
        assertEq(liquidation.reservedShortfall(), 5600e18);
        bid(account, WAD);
        assertEq(liquidation.reservedShortfall(), 2800e18);
        // A part taken leaves a part of the loss.
        bid(second, 0.25e18);
        assertApproxEqAbs(liquidation.reservedShortfall(), 2100e18, 10);
    }

    // ─── Helpers

    /// @dev Of the bid since logs are recorded.
    function _queuedAndShared() private returns (uint256 queued, uint256 shared) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != ILiquidationEngine.BidSettled.selector) continue;
            (, queued, shared) = abi.decode(logs[i].data, (ILiquidationEngine.Bid, uint256, uint256));
            return (queued, shared);
        }
        revert("no bid");
    }
}
