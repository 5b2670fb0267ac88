// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Auctions } from "./support/Auctions.sol";
import { IERC20Errors } from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import { ERC4626 } from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import { InsuranceFund } from "contracts/InsuranceFund.sol";
import { IInsuranceFund } from "contracts/interfaces/IInsuranceFund.sol";

/// @notice The fund as its backers see it, and its claims. What liquidations ask of it is in LiquidationEngineWaterfall.
contract InsuranceFundTest is Auctions {
    // ─── Shares

    function test_deposit_givesSharesOfTheFund() public {
        assertEq(fund.asset(), address(dollar));
        assertEq(fund.decimals(), 12); // six of the dollar's and six of the offset
        assertEq(fund.totalAssets(), 1_000_000e6);
        uint256 shares = _deposit(trader, 500_000e6);
        assertEq(shares, fund.balanceOf(trader));
        _request(trader, shares);
        pass(7 days);
        assertEq(fund.maxWithdraw(trader), 500_000e6);
        vm.prank(trader);
        assertEq(fund.redeem(shares, trader, trader), 500_000e6);
        assertEq(dollar.balanceOf(trader), 500_000e6);
        assertEq(fund.balanceOf(address(fund)), 0);
    }

    /// @notice ROUND: in and out, by assets or by shares, never earns.
    function testFuzz_redeem_neverPaysMoreThanWasDeposited(uint256 amount, uint256 gift, uint256 part) public {
        amount = bound(amount, 1, 1e15);
        dollar.mint(address(fund), bound(gift, 0, 1e13));
        uint256 shares = _deposit(trader, amount);
        part = bound(part, 0, shares);
        _request(trader, shares);
        pass(7 days);
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

    // ─── Leaving

    function test_requestRedemption_opensAWindowAfterAWeek() public {
        uint256 shares = _deposit(trader, 1000e6);
        _requireClosed(trader, shares); // without notice
        _request(trader, shares);
        IInsuranceFund.Redemption memory redemption = fund.redemptionOf(trader);
        assertEq(redemption.shares, shares);
        assertEq(redemption.readyAt, block.timestamp + 7 days);
        assertEq(fund.balanceOf(trader), 0);
        pass(7 days - 1);
        _requireClosed(trader, shares);
        pass(1);
        assertEq(fund.maxRedeem(trader), shares);
        vm.prank(trader);
        fund.redeem(shares / 2, trader, trader);
        pass(2 days);
        assertEq(fund.maxRedeem(trader), shares - shares / 2);
        pass(1);
        _requireClosed(trader, shares - shares / 2);
        // What has lapsed is asked for anew, by taking it back first.
        vm.prank(trader);
        assertEq(fund.cancelRedemption(), shares - shares / 2);
        assertEq(fund.balanceOf(trader), shares - shares / 2);
        _request(trader, shares - shares / 2);
        pass(7 days);
        vm.prank(trader);
        fund.redeem(shares - shares / 2, trader, trader);
        assertEq(dollar.balanceOf(trader), 1000e6);
    }

    function test_requestRedemption_aSecondOneStartsTheTimeAgain() public {
        uint256 shares = _deposit(trader, 1000e6);
        _request(trader, shares / 4);
        pass(7 days);
        assertEq(fund.maxRedeem(trader), shares / 4);
        _request(trader, 1);
        assertEq(fund.redemptionOf(trader).shares, shares / 4 + 1);
        _requireClosed(trader, 1);
        pass(7 days);
        assertEq(fund.maxRedeem(trader), shares / 4 + 1);
    }

    function test_requestRedemption_revertsIfNothingOrMoreThanIsHeld() public {
        uint256 shares = _deposit(trader, 1000e6);
        vm.startPrank(trader);
        vm.expectRevert(IInsuranceFund.InsuranceFundZeroShares.selector);
        fund.requestRedemption(0);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, trader, shares, shares + 1)
        );
        fund.requestRedemption(shares + 1);
        vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundNothingRequested.selector, trader));
        fund.cancelRedemption();
    }

    function test_cancelRedemption_givesTheSharesBackAndNoMore() public {
        uint256 shares = _deposit(trader, 1000e6);
        _request(trader, shares);
        pass(7 days);
        vm.startPrank(trader);
        assertEq(fund.cancelRedemption(), shares);
        assertEq(fund.redemptionOf(trader).shares, 0);
        vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundNothingRequested.selector, trader));
        fund.cancelRedemption();
        vm.stopPrank();
        _requireClosed(trader, shares);
    }

    /// @notice Notice goes with its owner, not with the shares: whoever is handed some starts from the beginning.
    function test_redeem_sharesHandedOverHaveNoNotice() public {
        uint256 shares = _deposit(trader, 1000e6);
        _request(trader, shares / 2);
        pass(7 days);
        vm.prank(trader);
        fund.transfer(stranger, shares / 2);
        _requireClosed(stranger, shares / 2);
        _request(stranger, shares / 2);
        _requireClosed(stranger, shares / 2);
        pass(2 days);
        assertEq(fund.maxRedeem(trader), shares / 2);
        assertEq(fund.maxRedeem(stranger), 0);
    }

    function test_redeem_byAnotherNeedsAnAllowance() public {
        uint256 shares = _deposit(trader, 1000e6);
        _request(trader, shares);
        pass(7 days);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, stranger, 0, shares));
        fund.redeem(shares, stranger, trader);
        vm.prank(trader);
        fund.approve(stranger, shares);
        vm.prank(stranger);
        fund.redeem(shares, stranger, trader);
        assertEq(dollar.balanceOf(stranger), 1000e6);
        assertEq(fund.allowance(trader, stranger), 0);
    }

    /// @notice ERC-4626: what the limits name can be had, exactly, whatever has been earned and lost before.
    function testFuzz_withdraw_ofTheMaximumNeverFails(uint256 amount, uint256 gift, uint256 loss, bool byAssets)
        public
    {
        uint256 shares = _deposit(trader, bound(amount, 1, 1e15));
        dollar.mint(address(fund), bound(gift, 0, 1e13));
        loss = bound(loss, 0, fund.totalAssets());
        _cover(loss / 3, loss - loss / 3, keeperAccount);
        _request(trader, shares);
        pass(7 days);
        assertEq(fund.maxRedeem(trader), shares);
        uint256 assets = fund.maxWithdraw(trader);
        assertEq(assets, fund.previewRedeem(shares));
        vm.startPrank(trader);
        if (byAssets) {
            uint256 preview = fund.previewWithdraw(assets);
            assertLe(preview, shares);
            assertEq(fund.withdraw(assets, trader, trader), preview);
            assertEq(fund.redemptionOf(trader).shares, shares - preview);
            if (preview < shares) assertEq(fund.cancelRedemption(), shares - preview);
        } else {
            assertEq(fund.redeem(shares, trader, trader), assets);
        }
        assertEq(dollar.balanceOf(trader), assets);
        assertEq(fund.balanceOf(address(fund)), 0);
    }

    /// @notice Shares on their way out bear losses as all others do.
    function test_redeem_requestedSharesBearLosses() public {
        uint256 shares = _deposit(trader, 1_000_000e6);
        _request(trader, shares);
        _cover(100_000e6, 300_000e6, keeperAccount);
        pass(7 days);
        assertApproxEqAbs(fund.maxWithdraw(trader), 800_000e6, 1);
        assertApproxEqAbs(fund.previewRedeem(fund.balanceOf(backer)), 800_000e6, 1);
    }

    /// @notice LOSS: no backer leaves between the moment a loss is known and the moment it is paid.
    function test_redeem_revertsWhileALossIsKnownAndNotSettled() public {
        uint256 shares = fund.balanceOf(backer);
        _request(backer, shares);
        pass(7 days);
        assertEq(fund.maxRedeem(backer), shares);
        flagAt(40_000);
        assertEq(fund.maxWithdraw(backer), 0);
        _requireClosed(backer, shares);
        vm.prank(backer);
        vm.expectRevert(abi.encodeWithSelector(ERC4626.ERC4626ExceededMaxWithdraw.selector, backer, 1, 0));
        fund.withdraw(1, backer, backer);
        bid(account, WAD);
        assertEq(fund.maxRedeem(backer), shares);
        vm.prank(backer);
        assertEq(fund.redeem(shares, backer, backer), 1_000_000e6 - 6010e6);
    }

    /// @notice A fund that was emptied and filled again counts in very many shares; they can still be had back.
    function test_redeem_afterTheFundWasEmptiedTwice() public {
        for (uint256 i; i < 2; ++i) {
            _cover(fund.totalAssets(), 0, keeperAccount);
            assertEq(fund.totalAssets(), 0);
            _deposit(backer, 1_000_000e6);
        }
        uint256 shares = fund.balanceOf(backer);
        assertGt(shares, type(uint128).max);
        _request(backer, shares);
        pass(7 days);
        vm.prank(backer);
        assertApproxEqAbs(fund.redeem(shares, backer, backer), 1_000_000e6, 2);
    }

    // ─── Cover

    function test_cover_isForTheLiquidationEngineOnly() public {
        address[3] memory others = [stranger, address(house), address(this)];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(
                abi.encodeWithSelector(IInsuranceFund.InsuranceFundOnlyLiquidationEngine.selector, others[i])
            );
            fund.cover(1, 0, keeperAccount);
        }
    }

    function test_cover_revertsIfTheFundHasLess() public {
        vm.startPrank(address(liquidation));
        vm.expectRevert(
            abi.encodeWithSelector(IInsuranceFund.InsuranceFundShort.selector, 1_000_000e6 + 1, 1_000_000e6)
        );
        fund.cover(1, 1_000_000e6, keeperAccount);
        fund.cover(0, 1_000_000e6, keeperAccount);
        // What is owed is not there to be paid to anybody else.
        vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundShort.selector, 1, 0));
        fund.cover(1, 0, keeperAccount);
    }

    function testFuzz_cover_paysNowAsFarAsTheAllowanceGoes(uint256 amount, uint256 immediate, bool behind) public {
        amount = bound(amount, 0, 3_000_000e6);
        immediate = bound(immediate, 0, amount);
        if (behind) _cover(0, 1e6, keeperAccount);
        uint256 available = fund.totalAssets();
        (uint256 paid, uint256 queued) = fund.previewCover(amount, immediate);
        assertEq(paid + queued, amount < available ? amount : available);
        uint256 allowance = behind ? 0 : 250_000e6;
        if (queued != 0) assertEq(paid, allowance > immediate ? allowance : immediate);
        uint256 before_ = dollar.balanceOf(address(house));
        uint256 owed = fund.owed();
        _cover(paid, queued, keeperAccount);
        assertEq(dollar.balanceOf(address(house)), before_ + paid);
        assertEq(fund.owed(), owed + queued);
        // Owed is gone at once.
        assertEq(fund.totalAssets(), available - paid - queued);
    }

    /// @notice A quarter of the capital an hour, which comes back in a straight line.
    function test_allowanceNow_isAQuarterOfTheCapitalAnHour() public {
        assertEq(fund.allowanceNow(), 250_000e6);
        _cover(100_000e6, 0, keeperAccount);
        assertEq(fund.allowanceNow(), 150_000e6);
        _cover(150_000e6, 0, keeperAccount);
        assertEq(fund.allowanceNow(), 0);
        pass(30 minutes);
        // Half of what was paid is forgotten: 125,000 of 875,000 used.
        assertEq(fund.allowanceNow(), 218_750e6 - 125_000e6);
        pass(30 minutes);
        assertEq(fund.allowanceNow(), 187_500e6);
    }

    /// @notice Whoever drains the fund gets no more than two quarters in any hour.
    function testFuzz_allowanceNow_boundsWhatIsPaidInAnHour(uint256[16] memory gaps, uint256[16] memory amounts)
        public
    {
        uint256[16] memory paid;
        uint256[16] memory at;
        for (uint256 i; i < 16; ++i) {
            pass(bound(gaps[i], 0, 20 minutes));
            (paid[i],) = fund.previewCover(bound(amounts[i], 0, 1_000_000e6), 0);
            at[i] = block.timestamp;
            _cover(paid[i], 0, keeperAccount);
            uint256 total;
            for (uint256 j; j <= i; ++j) {
                if (at[j] + 1 hours > block.timestamp) total += paid[j];
            }
            assertLe(total, 500_000e6);
        }
    }

    /// @notice A token that takes balances away leaves less than is owed: the fund has nothing, and liquidations go on without it.
    function test_previewCover_isNothingIfLessIsHeldThanOwed() public {
        _cover(0, 600_000e6, keeperAccount);
        vm.prank(address(fund));
        dollar.transfer(stranger, 500_000e6);
        assertEq(fund.totalAssets(), 0);
        (uint256 paid, uint256 queued) = fund.previewCover(1e6, 1e6);
        assertEq(paid + queued, 0);
        flagAt(40_000);
        bid(account, WAD);
        assertEq(house.pendingLoss(), 6010e18);
    }

    // ─── Claims

    function test_payClaims_inOrderAndInParts() public {
        uint64[3] memory owners = [openAccount(trader, 0), openAccount(trader, 0), openAccount(trader, 0)];
        _cover(250_000e6, 100_000e6, owners[0]);
        _cover(0, 20_000e6, owners[1]);
        _cover(0, 30_000e6, owners[2]);
        (uint256 first, uint256 next) = fund.openClaims();
        assertEq(next - first, 3);
        assertEq(fund.claimOf(first + 1).account, owners[1]);
        assertEq(fund.claimOf(first + 1).amount, 20_000e6);
        vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundNoClaimDue.selector, 150_000e6, 0));
        fund.payClaims(10);
        pass(15 minutes);
        uint256 allowance = fund.allowanceNow();
        assertEq(allowance, (750_000e6 + 187_500e6) / 4 - 187_500e6); // 46,875
        vm.prank(stranger); // anyone may
        assertEq(fund.payClaims(10), allowance);
        assertEq(house.cashOf(owners[0]), int256(allowance * 1e12));
        assertEq(house.cashOf(owners[1]), 0);
        assertEq(fund.claimOf(first).amount, 100_000e6 - allowance);
        pass(1 hours);
        assertEq(fund.payClaims(1), 100_000e6 - allowance, "one at most");
        (first,) = fund.openClaims();
        assertEq(house.cashOf(owners[0]), 100_000e18);
        assertEq(fund.claimOf(first - 1).amount, 0);
        assertEq(fund.payClaims(10), 50_000e6);
        assertEq(house.cashOf(owners[1]), 20_000e18);
        assertEq(house.cashOf(owners[2]), 30_000e18);
        assertEq(fund.owed(), 0);
        vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundNoClaimDue.selector, 0, fund.allowanceNow()));
        fund.payClaims(10);
    }

    function test_payClaims_revertsIfNoneMayBeLookedAt() public {
        _cover(0, 10e6, keeperAccount);
        vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundNoClaimDue.selector, 10e6, 250_000e6));
        fund.payClaims(0);
    }

    /// @notice A claim outlives everything: a cap that is full, a bidder that has left, a fund that was emptied since.
    function test_payClaims_intoTheAccountEvenWhenTheCapIsFull() public {
        _cover(0, 10e6, keeperAccount);
        house.setAssetCap(CASH, 0);
        vm.prank(keeper);
        house.transferOwnership(keeperAccount, stranger);
        int256 before_ = house.cashOf(keeperAccount);
        uint256 held = house.heldOf(CASH);
        _cover(fund.totalAssets(), 0, makerAccount);
        vm.expectRevert(abi.encodeWithSelector(IInsuranceFund.InsuranceFundNoClaimDue.selector, 10e6, 0));
        fund.payClaims(1);
        uint256 hours_;
        for (; fund.owed() != 0; ++hours_) {
            pass(1 hours);
            fund.payClaims(1);
        }
        // A quarter of what is left an hour, to the last unit.
        assertLt(hours_, 72);
        assertEq(house.cashOf(keeperAccount), before_ + 10e18);
        assertEq(house.heldOf(CASH), held + 10e6);
    }

    /// @notice The work of one call is bounded by what the caller allows.
    function test_payClaims_ofManyCostsOnlyWhatIsAllowed() public {
        for (uint256 i; i < 300; ++i) {
            _cover(0, 1e6, keeperAccount);
        }
        uint256 gas = gasleft();
        assertEq(fund.payClaims(10), 10e6);
        assertLt(gas - gasleft(), 1_000_000);
        assertEq(fund.payClaims(1000), 290e6);
        assertEq(fund.owed(), 0);
    }

    /// @notice Conservation: what was promised is paid or owed, each claim to its own, never twice.
    function testFuzz_payClaims_paysWhatWasPromised(uint256[10] memory amounts, uint256[10] memory gaps, uint256 most)
        public
    {
        uint64[3] memory owners = [openAccount(trader, 0), openAccount(trader, 0), openAccount(trader, 0)];
        uint256[3] memory promised;
        uint256 total;
        uint256 paid;
        uint256 now_;
        for (uint256 i; i < 10; ++i) {
            uint256 ask = bound(amounts[i], 1, 200_000e6);
            (uint256 immediately, uint256 queued) = fund.previewCover(ask, 0);
            _cover(immediately, queued, owners[i % 3]);
            promised[i % 3] += queued;
            total += queued;
            now_ += immediately;
            pass(bound(gaps[i], 0, 40 minutes));
            if (fund.owed() != 0 && fund.allowanceNow() != 0) paid += fund.payClaims(1 + most % 4);
            assertEq(paid + fund.owed(), total);
            assertEq(dollar.balanceOf(address(fund)), 1_000_000e6 - now_ - paid);
            assertEq(fund.totalAssets(), 1_000_000e6 - now_ - total);
        }
        for (uint256 i; i < 100 && fund.owed() != 0; ++i) {
            pass(1 hours);
            fund.payClaims(20);
        }
        for (uint256 i; i < 3; ++i) {
            assertEq(house.cashOf(owners[i]), int256(promised[i] * 1e12), "promised and not paid");
        }
    }

    // ─── Helpers

    function _cover(uint256 paid, uint256 queued, uint64 beneficiary) private {
        vm.prank(address(liquidation));
        fund.cover(paid, queued, beneficiary);
    }

    function _request(address who, uint256 shares) private {
        vm.prank(who);
        fund.requestRedemption(shares);
    }

    function _requireClosed(address who, uint256 shares) private {
        assertEq(fund.maxRedeem(who), 0);
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(ERC4626.ERC4626ExceededMaxRedeem.selector, who, shares, 0));
        fund.redeem(shares, who, who);
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
