// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { ERC4626 } from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import { InsuranceFund } from "contracts/InsuranceFund.sol";
import { IInsuranceFund } from "contracts/interfaces/IInsuranceFund.sol";

/// @notice The fund as its backers see it. What it pays for liquidations is in LiquidationEngine.
contract InsuranceFundTest is Accounts {
    function test_deposit_givesSharesOfTheFund() public {
        assertEq(fund.asset(), address(dollar));
        assertEq(fund.decimals(), 12); // six of the dollar's and six of the offset
        assertEq(fund.totalAssets(), 1_000_000e6);
        uint256 shares = _deposit(trader, 500_000e6);
        assertEq(shares, fund.balanceOf(trader));
        assertEq(fund.maxWithdraw(trader), 500_000e6);
        vm.prank(trader);
        assertEq(fund.redeem(shares, trader, trader), 500_000e6);
        assertEq(dollar.balanceOf(trader), 500_000e6);
    }

    /// @notice ROUND: in and out, by assets or by shares, never earns.
    function testFuzz_redeem_neverPaysMoreThanWasDeposited(uint256 amount, uint256 gift, uint256 part) public {
        amount = bound(amount, 1, 1e15);
        dollar.mint(address(fund), bound(gift, 0, 1e13));
        uint256 shares = _deposit(trader, amount);
        part = bound(part, 0, shares);
        vm.startPrank(trader);
        uint256 paid = fund.redeem(part, trader, trader);
        paid += fund.redeem(shares - part, trader, trader);
        vm.stopPrank();
        assertLe(paid, amount);
        assertGe(paid + 3, amount);
    }

    /// @notice A donation to an empty fund, meant to round the next depositor's shares to nothing, costs the donor a
    /// million times what it costs the depositor.
    function testFuzz_deposit_inflationCostsTheAttacker(uint256 seed, uint256 donation, uint256 amount) public {
        InsuranceFund empty = new InsuranceFund(house, dollar);
        seed = bound(seed, 1, 1e6);
        donation = bound(donation, 1, 1e15);
        amount = bound(amount, 1e6, 1e14);
        address attacker = makeAddr("attacker");
        uint256 attackerShares = _depositIn(empty, attacker, seed);
        dollar.mint(address(empty), donation);
        uint256 shares = _depositIn(empty, trader, amount);
        uint256 back = empty.previewRedeem(shares);
        uint256 attackerBack = empty.previewRedeem(attackerShares);
        uint256 lost = back < amount ? amount - back : 0;
        assertLe(attackerBack, seed + donation);
        assertLe(lost, (seed + donation - attackerBack) / 1e6 + 2);
    }

    function test_cover_isForTheClearingHouseOnly() public {
        address[3] memory others = [stranger, address(liquidation), address(this)];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundOnlyClearingHouse.selector, others[i]));
            fund.cover(1);
        }
    }

    function testFuzz_cover_paysAsFarAsItGoes(uint256 amount) public {
        amount = bound(amount, 0, 3_000_000e6);
        uint256 before_ = dollar.balanceOf(address(house));
        vm.prank(address(house));
        uint256 paid = fund.cover(amount);
        assertEq(paid, amount < 1_000_000e6 ? amount : 1_000_000e6);
        assertEq(dollar.balanceOf(address(house)), before_ + paid);
        assertEq(fund.totalAssets(), 1_000_000e6 - paid);
    }

    /// @notice LOSS: no backer leaves between the moment a loss is known and the moment it is paid.
    function test_redeem_revertsWhileALossIsKnownAndNotSettled() public {
        uint64 account = openAccount(trader, 10_000);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 40_000);
        liquidation.flag(account, keeperAccount);
        uint256 shares = fund.balanceOf(backer);
        assertEq(fund.maxRedeem(backer), 0);
        assertEq(fund.maxWithdraw(backer), 0);
        vm.startPrank(backer);
        vm.expectRevert(abi.encodeWithSelector(ERC4626.ERC4626ExceededMaxRedeem.selector, backer, shares, 0));
        fund.redeem(shares, backer, backer);
        vm.expectRevert(abi.encodeWithSelector(ERC4626.ERC4626ExceededMaxWithdraw.selector, backer, 1, 0));
        fund.withdraw(1, backer, backer);
        vm.stopPrank();

        uint64 second = openAccount(stranger, 1_000_000);
        vm.prank(stranger);
        liquidation.bid(account, second, WAD, ANY_PRICE, ANY_NONCE);
        assertEq(fund.maxRedeem(backer), shares);
        vm.prank(backer);
        assertEq(fund.redeem(shares, backer, backer), 1_000_000e6 - 6010e6);
    }

    function _deposit(address who, uint256 amount) private returns (uint256) {
        return _depositIn(fund, who, amount);
    }

    function _depositIn(InsuranceFund vault, address who, uint256 amount) private returns (uint256 shares) {
        dollar.mint(who, amount);
        vm.startPrank(who);
        dollar.approve(address(vault), amount);
        shares = vault.deposit(amount, who);
        vm.stopPrank();
    }
}
