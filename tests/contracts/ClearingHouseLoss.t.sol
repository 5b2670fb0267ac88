// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";

/// @notice LOSS: what the fund can't carry. Fees go first, withdrawals wait, and after an hour positive cash shares the rest
/// by one index. The house holds 10,000,000 dollars; losses come as the liquidation engine would bring them.
contract ClearingHouseLossTest is Accounts {
    uint256 private constant RAY = 1e27;

    uint64 private saver;
    uint64 private fallen;

    function setUp() public override {
        super.setUp();
        withdraw(makerAccount, CASH, 91_000_000e6);
        withdraw(keeperAccount, CASH, 10_000_000e6);
        saver = openAccount(stranger, 1_000_000);
        fallen = openAccount(trader, 0);
        assertEq(house.positiveCash(), 10_000_000e18);
    }

    // ─── It arises

    function test_liquidate_leavesALossPending() public {
        _strike(100_000e18);
        vm.expectEmit();
        emit IClearingHouse.LossPending(100_000e18, 0, block.timestamp + 1 hours);
        _writeOff(fallen, 100_000e18);
        assertEq(house.pendingLoss(), 100_000e18);
        assertEq(house.lossDueAt(), block.timestamp + 1 hours);
        assertEq(house.cashOf(saver), 1_000_000e18); // not yet
        requireBooks(0);
    }

    function test_liquidate_feesCarryTheLossFirst() public {
        trade(saver, makerAccount, btcPerpetual, 16e18, 50_250e18);
        assertEq(house.fees(), 500e18);
        _lose(200e18);
        assertEq(house.fees(), 300e18);
        assertEq(house.pendingLoss(), 0);
        withdraw(makerAccount, CASH, 1e6); // so that nobody has to wait
        _strike(1000e18);
        vm.expectEmit();
        emit IClearingHouse.LossPending(1000e18, 300e18, block.timestamp + 1 hours);
        _writeOff(fallen, 1000e18);
        assertEq(house.fees(), 0);
        assertEq(house.pendingLoss(), 700e18);
        requireBooks(0);
    }

    function test_withdraw_waitsForThePendingLoss() public {
        deposit(saver, WETH, 1e18);
        _lose(100_000e18);
        vm.startPrank(stranger);
        bytes memory locked =
            abi.encodeWithSelector(IClearingHouse.ClearingHouseWithdrawalsLocked.selector, 100_000e18, 0);
        vm.expectRevert(locked);
        house.withdraw(saver, CASH, 1, stranger);
        vm.expectRevert(locked);
        house.withdraw(saver, WETH, 1, stranger);
        vm.stopPrank();
        pass(1 hours);
        vm.prank(stranger);
        vm.expectRevert(locked); // till it has been shared, not till it may be
        house.withdraw(saver, CASH, 1, stranger);
        house.shareLoss();
        withdraw(saver, WETH, 1e18);
        assertApproxEqAbs(house.cashOf(saver), int256(1_000_000e18) * 100 / 101, 1);
        withdraw(saver, CASH, uint256(house.cashOf(saver)) / 1e12);
        requireBooks(10);
    }

    // ─── It is shared

    function test_shareLoss_waitsAnHour() public {
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseNoLossDue.selector, 0, 0));
        house.shareLoss();
        _lose(100_000e18);
        uint256 due = block.timestamp + 1 hours;
        pass(1 hours - 1);
        bytes memory notDue = abi.encodeWithSelector(IClearingHouse.ClearingHouseNoLossDue.selector, 100_000e18, due);
        vm.expectRevert(notDue);
        house.shareLoss();
        _lose(50_000e18); // another does not put it off
        assertEq(house.lossDueAt(), due);
        pass(1);
        vm.prank(stranger); // anyone may
        assertEq(house.shareLoss(), 150_000e18);
        assertEq(house.pendingLoss(), 0);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseNoLossDue.selector, 0, due));
        house.shareLoss();
        // The next one has an hour of its own.
        pass(1 days);
        _lose(1e18);
        assertEq(house.lossDueAt(), block.timestamp + 1 hours);
    }

    function test_shareLoss_fallsOnPositiveCashInProportion() public {
        uint64 debtor = _leaveADebt();
        int256 debt = house.cashOf(debtor);
        _lose(250_000e18);
        uint256 before_ = house.positiveCash();
        pass(1 hours);
        int256 debtNow = house.cashOf(debtor);
        assertLt(debtNow, debt);
        vm.expectEmit();
        emit IClearingHouse.LossShared(250_000e18, RAY * (before_ - 250_000e18) / before_);
        house.shareLoss();
        assertEq(house.lossIndex(), RAY * (before_ - 250_000e18) / before_);
        assertEq(house.positiveCash(), before_ - 250_000e18);
        assertApproxEqAbs(uint256(house.cashOf(saver)), uint256(1_000_000e18) * (before_ - 250_000e18) / before_, 1);
        assertEq(house.cashOf(debtor), debtNow); // what is owed stays owed
        // Who comes later has no part in it.
        uint64 late = openAccount(backer, 500);
        assertEq(house.cashOf(late), 500e18);
        withdraw(late, CASH, 500e6);
        requireBooks(10);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_shareLoss_takesWhatItSaysAndNoMore(uint256[5] memory losses, uint256[5] memory deposits) public {
        for (uint256 i; i < losses.length; ++i) {
            uint256 loss = bound(losses[i], 1, 8_000_000e18);
            _lose(loss);
            pass(1 hours);
            uint256 total = house.positiveCash();
            assertEq(house.shareLoss(), loss);
            assertEq(house.positiveCash(), total - loss);
            requireBooks(20 * (i + 1));
            uint256 amount = bound(deposits[i], 0, 1_000_000e6);
            if (amount != 0) deposit(saver, CASH, amount);
            requireBooks(20 * (i + 1));
        }
    }

    // ─── Nobody hides from it

    /// @notice The winner keeps a million in unrealised profit while the loser has paid: it is out of the share's reach.
    function test_shareLoss_reachesUnrealisedProfitOnceItIsSettled() public {
        trade(saver, makerAccount, btcPerpetual, 100e18, 50_000e18);
        setPrice(BTC, 60_000);
        house.settleVariation(makerAccount);
        _lose(900_000e18);
        pass(1 hours);
        uint256 snapshot = vm.snapshot();

        int256 equity = equityOf(saver);
        house.shareLoss();
        int256 hidden = equity - equityOf(saver);
        vm.revertTo(snapshot);

        vm.prank(keeper); // anyone may
        house.settleVariation(saver);
        house.shareLoss();
        int256 carried = equity - equityOf(saver);
        // Of 0.9 million a share of one million in 9.9, and of two in 10.9.
        assertApproxEqAbs(hidden, int256(900_000e18) * 10 / 99, 10);
        assertApproxEqAbs(carried, int256(900_000e18) * 20 / 109, 10);
        requireBooks(100);
    }

    // ─── More than all there is

    /// @notice That takes profits nobody has settled yet: what cash there is loses all but a millionth, the rest waits for them.
    function test_shareLoss_leavesTheRestPendingIfThereIsNotEnoughCash() public {
        uint64 winner = _loseToUnrealisedProfit();
        assertEq(house.pendingLoss(), 20_000_000e18);
        pass(1 hours);
        assertEq(house.shareLoss(), 10_000_000e18 - 10e18);
        assertEq(house.lossIndex(), RAY / 1e6);
        assertEq(house.positiveCash(), 10e18);
        assertEq(house.cashOf(saver), 1e18);
        assertEq(house.pendingLoss(), 10_000_010e18);
        requireBooks(100);
        vm.prank(stranger);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseWithdrawalsLocked.selector, 10_000_010e18, 0)
        );
        house.withdraw(saver, CASH, 1, stranger);
        house.settleVariation(winner);
        assertEq(house.shareLoss(), 10_000_010e18);
        assertEq(house.pendingLoss(), 0);
        assertApproxEqRel(uint256(house.cashOf(winner)), 10_000_000e18, 1e13);
        requireBooks(1e10);
        withdraw(winner, CASH, 5_000_000e6);
        requireBooks(1e10);
    }

    function test_shareLoss_revertsIfNobodyHasCash() public {
        withdraw(saver, CASH, 1_000_000e6);
        withdraw(makerAccount, CASH, 9_000_000e6);
        uint64 winner = _loseToUnrealisedProfit();
        pass(1 hours);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseNoLossDue.selector, 20_000_000e18, block.timestamp)
        );
        house.shareLoss();
        assertEq(house.lossIndex(), RAY);
        house.settleVariation(winner);
        house.shareLoss();
        requireBooks(100);
    }

    /// @notice The index keeps nine digits however often nearly everything is lost: from then on a loss only waits.
    function test_shareLoss_neverTakesTheIndexBelowItsMinimum() public {
        withdraw(saver, CASH, 999_999e6);
        withdraw(makerAccount, CASH, 9_000_000e6);
        for (uint256 i; i < 3; ++i) {
            _lose(10_000_000e18);
            pass(1 hours);
            house.shareLoss();
            assertApproxEqRel(house.lossIndex(), RAY / 1e6 ** (i + 1), 1e6);
            assertGe(house.lossIndex(), 1e9);
        }
        _lose(10_000_000e18);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseNoLossDue.selector);
        house.shareLoss();
        requireBooks(1e17);
    }

    // ─── Helpers

    /// @dev `fallen` loses so much to the keeper, has nothing to pay it with and is written off at once.
    function _lose(uint256 amount) private {
        _strike(amount);
        _writeOff(fallen, amount);
    }

    function _strike(uint256 amount) private {
        IClearingHouse.Liquidation memory order;
        (order.account, order.bidder, order.keeper) = (fallen, keeperAccount, keeperAccount);
        (order.accountCash, order.bidderCash) = (-int256(amount), int256(amount));
        vm.prank(address(liquidation));
        house.liquidate(order);
    }

    function _writeOff(uint64 account, uint256 amount) private {
        IClearingHouse.Liquidation memory order;
        (order.account, order.bidder) = (account, keeperAccount);
        (order.accountCash, order.shared) = (int256(amount), amount);
        vm.prank(address(liquidation));
        house.liquidate(order);
        assertEq(house.cashOf(account), 0);
    }

    /// @dev 20,000,000 dollars, which the winner has not turned into cash yet.
    function _loseToUnrealisedProfit() private returns (uint64 winner) {
        winner = openAccount(actor("winner"), 0);
        deposit(winner, WETH, 10_000e18);
        uint64 loser = openAccount(trader, 0);
        deposit(loser, WETH, 10_000e18);
        trade(winner, loser, btcPerpetual, 200e18, 50_000e18);
        setPrice(BTC, 150_000);
        house.settleVariation(loser);
        _writeOff(loser, 20_000_000e18);
    }

    /// @dev Owes 5,000 dollars and has twenty ether.
    function _leaveADebt() private returns (uint64 debtor) {
        debtor = openAccount(actor("debtor"), 0);
        deposit(debtor, WETH, 20e18);
        trade(debtor, makerAccount, ethPerpetual, 10e18, 2000e18);
        setPrice(ETH, 1500);
        trade(debtor, makerAccount, ethPerpetual, -10e18, 1500e18);
        setPrice(ETH, 2000);
    }
}
