// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { InsuranceFund } from "contracts/InsuranceFund.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";

/// @notice Attacks on the two vaults by gifts, by timing and by having a foot in the door.
contract VaultTest is Coalition {
    /// @notice Attack: send tokens to the clearing house or to the fund without a deposit, in the hope that a ledger is read from
    /// a balance: cash credited to nobody, a cap or a check upset, shares worth more than they cost.
    /// Fails: the clearing house counts its own ledger and only looks whether the balance falls short of it; the fund's
    /// shares rise for everybody, so that a donor who holds less than all of them has given the rest away.
    function testFuzz_donationToTheVault(uint256 gift, uint256 stake, bool toTheFund) public {
        uint64 account = member("attacker", 100_000);
        address attacker = house.ownerOf(account);
        back(attacker, bound(stake, 1, 10_000_000e6));
        dollar.mint(attacker, bound(gift, 1, 10_000_000e6));
        int256 before_ = wealth();
        uint256 shareBefore = fund.convertToAssets(1e18);
        gift = dollar.balanceOf(attacker);
        vm.prank(attacker);
        dollar.transfer(toTheFund ? address(fund) : address(house), gift);

        assertLe(wealth(), before_, "no gain");
        assertEq(house.heldOf(CASH), 110_100_000e6);
        assertEq(house.cashOf(account), 100_000e18);
        assertGe(fund.convertToAssets(1e18), shareBefore, "nobody else's loss");
        // All goes on as before: in, out, fees.
        deposit(account, CASH, 5e6);
        assertEq(house.heldOf(CASH), 110_100_005e6, "a gift is not held");
        withdraw(account, CASH, 100_005e6);
        house.sweepFees();
        assertLe(wealth(), before_ + 5e18);
        vm.prank(attacker);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseInsufficientCollateral.selector, account, CASH, 0, 1)
        );
        house.withdraw(account, CASH, 1, attacker);
    }

    /// @notice Attack: be the first in an empty fund with next to nothing, donate, and let the next deposit round down to no
    /// shares, so that it is the attacker's.
    /// Fails: a million virtual shares a token unit: what the next depositor loses costs the attacker a million times as much.
    function testFuzz_donationToTheVault_inflation(uint256 seed, uint256 gift, uint256 amount) public {
        leaveInFund(0);
        address attacker = makeAddr("attacker");
        uint256 shares = back(attacker, bound(seed, 1, 1e6));
        uint256 spent = bound(seed, 1, 1e6) + bound(gift, 1, 1e15);
        dollar.mint(address(fund), bound(gift, 1, 1e15));
        amount = bound(amount, 1e6, 1e14);
        uint256 kept = fund.previewRedeem(back(trader, amount));
        uint256 attackers = fund.previewRedeem(shares);
        assertLe(attackers, spent, "no gain");
        uint256 lost = kept < amount ? amount - kept : 0;
        assertLe(lost, (spent - attackers) / 1e6 + 2);
    }

    /// @notice Attack: withdrawals are locked because a known loss exceeds the fund; the attacker gives the fund what it lacks,
    /// leaves, and hopes that others carry the loss.
    /// Fails: his gift is what carries it. Nobody else pays more than if he had stayed.
    function test_donationToTheVault_unlockingWithdrawals() public {
        leaveInFund(1000e6);
        uint64 account = member("attacker", 4_000_000);
        address attacker = house.ownerOf(account);
        uint64 bankrupt = openAccount(trader, 10_000);
        trade(bankrupt, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 40_000);
        liquidation.flag(bankrupt, keeperAccount);
        int256 before_ = wealth();
        int256 makers = equityOf(makerAccount);
        dollar.mint(attacker, 5010e6);
        vm.prank(attacker);
        dollar.transfer(address(fund), 5010e6);
        withdraw(account, CASH, 4_000_000e6);
        bid(bankrupt, WAD);
        assertEq(house.pendingLoss(), 0);
        assertEq(equityOf(makerAccount), makers, "nobody else's loss");
        assertEq(wealth(), before_, "he paid 5010 for what would have cost him 176");
    }

    /// @notice Attack: fees gather in the clearing house until somebody sweeps them. The attacker buys into the fund for a moment
    /// before the sweep, takes most of it and asks his shares back.
    /// Fails: whoever deposits pays for what has been collected and not swept yet.
    function testFuzz_donationToTheVault_buyingInBeforeTheSweep(uint256 stake, uint256 index) public {
        uint64 account = openAccount(trader, 1_000_000);
        trade(account, makerAccount, btcPerpetual, 10e18, 50_250e18);
        assertGt(house.fees(), 300e18);
        address attacker = house.ownerOf(member("attacker", 0));
        stake = bound(stake, 1e6, 100_000_000e6);
        dollar.mint(attacker, stake);
        int256 before_ = wealth();
        vm.startPrank(attacker);
        dollar.approve(address(fund), stake);
        if (index % 2 == 0) fund.deposit(stake, attacker);
        else fund.mint(fund.previewDeposit(stake), attacker);
        vm.stopPrank();
        house.sweepFees();
        assertLe(wealth(), before_ + ROUNDING);
        assertApproxEqAbs(wealth(), before_, 1e15);
    }

    /// @notice Attack: have shares that can be redeemed at any moment, so as to leave on the first sign of a loss: nine wallets
    /// ask for theirs a day apart and start again whenever a window has passed.
    /// Fails: a request is good for two days in nine, so at no time are more than two ninths of the capital ready; and what
    /// waits in the cooldown bears losses like all the rest.
    function test_keepingRedemptionsReady() public {
        address[9] memory wallets;
        for (uint256 i; i < 9; ++i) {
            wallets[i] = house.ownerOf(member(string(abi.encodePacked("attacker ", bytes1(uint8(48 + i)))), 0));
            back(wallets[i], 100_000e6);
        }
        uint256 capital = 900_000e6;
        uint256 most;
        for (uint256 day; day < 40; ++day) {
            address turn = wallets[day % 9];
            // The window of the last request has just passed.
            if (day >= 9) {
                assertEq(fund.maxRedeem(turn), 0, "lapsed");
                vm.prank(turn);
                fund.cancelRedemption();
            }
            requestRedemption(turn);
            pass(1 days + 1);
            uint256 ready;
            for (uint256 i; i < 9; ++i) {
                ready += fund.maxWithdraw(wallets[i]);
            }
            if (ready > most) most = ready;
        }
        assertGt(most, 0);
        assertLe(most, capital * 2 / 9);

        // The calibration is forty days old by now.
        riskParameters.applyBundle(new ParameterChange[](0), provenance());
        // A loss: those that are ready have to wait for it, and then carry their share like the rest.
        uint64 bankrupt = openAccount(trader, 10_000);
        trade(bankrupt, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 40_000);
        int256 before_ = wealth();
        liquidation.flag(bankrupt, keeperAccount);
        for (uint256 i; i < 9; ++i) {
            assertEq(fund.maxRedeem(wallets[i]), 0);
        }
        uint256 cover = bid(bankrupt, WAD).cover;
        assertApproxEqAbs(before_ - wealth(), int256(cover * 900_000 / 1_900_000), 1e14);
    }
}
