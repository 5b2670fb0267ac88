// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { ERC4626 } from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";

/// @notice Attacks on the loss waterfall: to be gone, or hidden, or in the way, when a loss is shared. A stranger's account is
/// long 1.6 BTC from 50,000 on 10,000 dollars, and owes 6,000 at 40,000.
contract LossTest is Coalition {
    uint64 private bankrupt;

    /// @notice Attack: an attacker with cash in two accounts and shares of the fund that are ready to be redeemed sees a loss
    /// coming that the fund can't carry, and wants his money out before it is shared.
    /// Fails: from the flag on, withdrawals wait while known losses exceed the fund and redemptions while there are any; a
    /// transfer to another account changes nothing; from the bid to the sharing withdrawals wait for what is pending.
    function test_withdrawBeforeBadDebt() public {
        leaveInFund(0);
        uint64 first = member("attacker", 900_000);
        uint64 second = member("attacker 2", 100_000);
        address attacker = house.ownerOf(first);
        uint256 shares = back(attacker, 1000e6);
        requestRedemption(attacker);
        pass(7 days);
        assertEq(fund.maxRedeem(attacker), shares, "ready before the crash");
        _becomeBankrupt();
        int256 before_ = wealth();

        liquidation.flag(bankrupt, keeperAccount);
        _expectLocked(first, 6000e18, 1000e18);
        vm.prank(attacker);
        house.transfer(first, second, CASH, 900_000e6);
        _expectLocked(second, 6000e18, 1000e18);
        vm.prank(attacker);
        vm.expectRevert(abi.encodeWithSelector(ERC4626.ERC4626ExceededMaxRedeem.selector, attacker, shares, 0));
        fund.redeem(shares, attacker, attacker);

        ILiquidationEngine.Bid memory taken = bid(bankrupt, WAD);
        uint256 loss = taken.cover - 1000e18; // the fund carried a thousand
        assertEq(house.pendingLoss(), loss);
        _expectLocked(second, loss, 0);
        uint256 positive = house.positiveCash();
        pass(1 hours);
        _expectLocked(second, loss, 0);
        assertEq(house.shareLoss(), loss);

        // What he lost is his share to the wei, and all he had in the fund.
        int256 share = int256(1_000_000e18 * loss / positive);
        assertApproxEqAbs(before_ - wealth(), share + 1000e18, 1e6);
        assertGt(share, 0);
        withdraw(second, CASH, uint256(house.cashOf(second)) / 1e12);
        assertLt(wealth(), before_ - share - 1000e18 + ROUNDING);
    }

    /// @notice Not defended: nobody knows of a loss before somebody flags the account. What there is of a race is between a
    /// withdrawal and the flag, and whoever flags is paid for being first.
    function test_withdrawBeforeBadDebt_theLossIsKnownFromTheFlagOn() public {
        leaveInFund(1000e6);
        uint64 account = member("attacker", 2000);
        _becomeBankrupt();
        withdraw(account, CASH, 1000e6);
        liquidation.flag(bankrupt, keeperAccount);
        _expectLocked(account, 6000e18, 1000e18);
    }

    /// @notice Attack: two own accounts hold the two sides of a perpetual. When a loss is about to be shared over positive cash
    /// the attacker turns only the loser's side into cash, so that as much of his money as the position has moved stands
    /// in unrealised profit, out of reach; and calls for the sharing in the same block.
    /// Fails: a loss is shared an hour after it arose, and meanwhile anybody may settle the variation of any account. With
    /// the winner settled he bears what he would have borne without the position.
    function test_hidingCashFromASharedLoss() public {
        leaveInFund(0);
        uint64 long = member("attacker", 200_000);
        uint64 short = member("attacker 2", 200_000);
        trade(long, short, btcPerpetual, 10e18, 50_000e18);
        _becomeBankrupt();
        liquidation.flag(bankrupt, keeperAccount);
        uint256 shared = bid(bankrupt, WAD).cover;
        int256 before_ = wealth();

        house.settleVariation(long); // the loser, at 40,000
        assertApproxEqAbs(house.cashOf(long), 100_000e18, 10);
        assertEq(house.cashOf(short), 200_000e18, "a hundred thousand are hidden");
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseNoLossDue.selector, shared, block.timestamp + 1 hours)
        );
        house.shareLoss();

        pass(30 minutes);
        vm.prank(keeper); // whoever does not want to pay for him
        house.settleVariation(short);
        pass(30 minutes);
        uint256 positive = house.positiveCash();
        house.shareLoss();
        int256 share = int256(400_000e18 * shared / positive);
        assertApproxEqAbs(before_ - wealth(), share, 1e6, "all that he has bears its share");
        requireBooks(1e12);
    }

    /// @notice Attack: withdrawals wait for a pending loss, so the attacker adds another of a few cents whenever the first is
    /// about to be shared, from accounts he lets go bankrupt.
    /// Fails: the hour counts from the first loss and later ones are shared with it; whoever wants to leave shares what is due
    /// and withdraws in the same block.
    function test_griefingWithdrawals_aPermanentPendingLoss() public {
        leaveInFund(0);
        uint64[3] memory dust;
        for (uint256 i; i < 3; ++i) {
            dust[i] = member(i == 0 ? "dust" : i == 1 ? "dust 1" : "dust 2", 10);
            trade(dust[i], makerAccount, btcPerpetual, 0.0015e18, 50_000e18);
        }
        _becomeBankrupt();
        int256 before_ = wealth();
        liquidateAtOnce(bankrupt);
        uint256 dueAt = house.lossDueAt();
        uint256 loss = house.pendingLoss();
        for (uint256 i; i < 3; ++i) {
            pass(i == 0 ? 30 minutes : 10 minutes);
            liquidateAtOnce(dust[i]);
            assertEq(house.lossDueAt(), dueAt, "no later than the first");
            assertGt(house.pendingLoss(), loss, "a dust loss");
            loss = house.pendingLoss();
        }
        pass(10 minutes);
        vm.prank(stranger); // anybody
        house.shareLoss();
        assertEq(house.pendingLoss(), 0);
        withdraw(makerAccount, CASH, 1_000_000e6);
        assertLe(wealth(), before_);
    }

    /// @notice Attack: a flagged account with a shortfall that nobody updates locks withdrawals and redemptions for good: its
    /// owner lets the price recover, or never bids.
    /// Fails: anybody may end the auction of an account that is above maintenance again, bring a shortfall up to date, or take
    /// what is insolvent whole, and then nothing is reserved.
    function test_griefingWithdrawals_aPermanentFlag() public {
        leaveInFund(1000e6);
        uint64 own = member("attacker", 10_000);
        trade(own, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 40_000);
        liquidation.flag(own, member("attacker 2", 0));
        int256 before_ = wealth();
        _expectLocked(keeperAccount, 6000e18, 1000e18);

        uint256 now_ = states.snapshotState();
        setPrice(BTC, 44_000); // solvent again, and still below maintenance
        vm.prank(stranger);
        liquidation.reserve(own);
        withdraw(keeperAccount, CASH, 1e6);
        setPrice(BTC, 40_000);
        liquidation.reserve(own);
        setPrice(BTC, 52_000);
        vm.prank(stranger);
        liquidation.end(own);
        assertEq(liquidation.reservedShortfall(), 0);
        withdraw(keeperAccount, CASH, 1e6);

        states.revertToState(now_);
        bid(own, WAD);
        assertEq(liquidation.reservedShortfall(), 0);
        pass(1 hours);
        house.shareLoss();
        withdraw(keeperAccount, CASH, 1e6);
        assertLe(wealth(), before_ + 10e18); // the flag fee he was owed for a service
    }

    function _becomeBankrupt() private {
        bankrupt = openAccount(trader, 10_000);
        trade(bankrupt, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 40_000);
    }

    function _expectLocked(uint64 account, uint256 shortfall, uint256 capital) private {
        address owner = house.ownerOf(account);
        vm.prank(owner);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseWithdrawalsLocked.selector, shortfall, capital)
        );
        house.withdraw(account, CASH, 1e6, owner);
    }
}
