// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Order } from "contracts/types/Order.sol";

/// @notice The pause: it bars new risk and nothing else, it ends by itself and it can't be renewed without end.
/// The trader is long one BTC against the maker.
contract ClearingHousePauseTest is Accounts {
    uint64 private constant GUARDIAN = 7;

    uint64 private account;
    uint64 private idle;
    address private guardian;

    function setUp() public override {
        super.setUp();
        guardian = actor("guardian");
        bytes4[] memory selectors = new bytes4[](2);
        (selectors[0], selectors[1]) = (ClearingHouse.pause.selector, ClearingHouse.unpause.selector);
        manager.setTargetFunctionRole(address(house), selectors, GUARDIAN);
        manager.grantRole(GUARDIAN, guardian, 0);
        account = openAccount(trader, 20_000);
        idle = openAccount(stranger, 5000);
        trade(account, makerAccount, btcPerpetual, 1e18, 50_000e18);
    }

    // ─── Who, how long, how often

    function test_pause_isTheGuardiansAlone() public {
        bytes[2] memory calls = [abi.encodeCall(house.pause, (1 days)), abi.encodeCall(house.unpause, ())];
        for (uint256 i; i < 2; ++i) {
            // Not even the administrator's: this test's own.
            (bool ok, bytes memory answer) = address(house).call(calls[i]);
            assertFalse(ok);
            assertEq(answer, abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, address(this)));
        }
        vm.expectEmit();
        emit IClearingHouse.Paused(block.timestamp + 1 days);
        _pause(1 days);
        assertEq(house.pausedUntil(), block.timestamp + 1 days);
    }

    function test_pause_revertsIfTooLongOrForNoTime() public {
        _expectBadPause(0, 0);
        _expectBadPause(3 days + 1, 0);
        _pause(3 days);
    }

    function test_pause_endsByItself() public {
        _pause(1 hours);
        pass(1 hours - 1);
        _expectRefused(account, 0.1e18);
        pass(1);
        trade(account, makerAccount, btcPerpetual, 0.1e18, 50_000e18);
        withdraw(account, CASH, 1000e6);
    }

    function test_pause_comesNotAgainForThreeDays() public {
        _pause(1 hours);
        uint256 next = block.timestamp + 1 hours + 3 days;
        _expectBadPause(1 hours, next); // nor is it drawn out while it lasts
        vm.warp(next - 1);
        _expectBadPause(1, next);
        vm.warp(next);
        _pause(3 days);
    }

    function test_unpause_endsItAtOnceAndTheThreeDaysBegin() public {
        vm.prank(guardian);
        vm.expectRevert(IClearingHouse.ClearingHouseNotPaused.selector);
        house.unpause();
        _pause(3 days);
        pass(10);
        vm.prank(guardian);
        house.unpause();
        uint256 end = block.timestamp;
        assertEq(house.pausedUntil(), end);
        trade(account, makerAccount, btcPerpetual, 0.1e18, 50_000e18);
        _expectBadPause(1, end + 3 days);
        vm.prank(guardian);
        vm.expectRevert(IClearingHouse.ClearingHouseNotPaused.selector);
        house.unpause();
        vm.warp(end + 3 days);
        _pause(1);
    }

    // ─── What it bars

    function test_trade_thatAddsRiskWaits() public {
        _pause(1 days);
        _expectRefused(account, 0.1e18);
        _expectRefused(idle, 0.001e18);
        _expectRefused(account, -2.1e18); // through zero to more than before
        // The other side may not add risk either: to reduce takes somebody who reduces too.
        Order memory sell = orderOf(account, btcPerpetual, -0.1e18, 50_000e18);
        Order memory buy = orderOf(keeperAccount, btcPerpetual, 0.1e18, 50_000e18);
        _expectRefused(buy, sell, 0.1e18);
    }

    function test_withdraw_withPositionsOrDebtsWaits() public {
        uint64 debtor = _leaveADebt();
        _pause(1 days);
        bytes memory paused = abi.encodeWithSelector(IClearingHouse.ClearingHousePaused.selector, house.pausedUntil());
        vm.startPrank(trader);
        vm.expectRevert(paused);
        house.withdraw(account, CASH, 1, trader);
        vm.expectRevert(paused);
        house.transfer(account, idle, CASH, 1);
        vm.stopPrank();
        assertEq(house.portfolioOf(debtor).positions.length, 0);
        vm.prank(keeper);
        vm.expectRevert(paused);
        house.withdraw(debtor, WETH, 1, keeper);
    }

    // ─── What it does not

    function test_withdraw_ofWhoHasNoPositionAndNoDebtGoesOn() public {
        deposit(idle, WETH, 1e18);
        _pause(1 days);
        withdraw(idle, CASH, 4000e6);
        withdraw(idle, WETH, 0.5e18);
        vm.prank(stranger);
        house.transfer(idle, account, CASH, 1000e6);
        assertEq(house.cashOf(idle), 0);
    }

    function test_trade_thatReducesBothGoesOn() public {
        _pause(1 days);
        trade(account, makerAccount, btcPerpetual, -0.4e18, 50_000e18);
        trade(makerAccount, account, btcPerpetual, 0.6e18, 50_000e18);
        assertEq(sizeOf(account, btcPerpetual), 0);
        // Who has closed all is free.
        withdraw(account, CASH, 20_000e6);
    }

    function test_deposit_andRepaymentGoOn() public {
        uint64 debtor = _leaveADebt();
        _pause(1 days);
        deposit(account, CASH, 100e6);
        deposit(account, WETH, 1e18);
        assertLt(house.cashOf(debtor), 0);
        deposit(debtor, CASH, 10_000e6);
        assertGt(house.cashOf(debtor), 0);
        withdraw(debtor, WETH, 1e18); // its debt is paid
    }

    function test_settlement_goesOn() public {
        uint40 expiry = uint40(block.timestamp + 1 days);
        Instrument call = listOption(BTC, expiry, 50_000, false);
        trade(account, makerAccount, call, 0.1e18, 1000e18);
        pass(1 days - 1 hours);
        _pause(1 days);
        house.settleVariation(account);
        settleAt(BTC, expiry, 51_000);
        assertEq(house.settleExpired(account), 100e18);
        house.sweepFees();
    }

    function test_liquidation_goesOn() public {
        _pause(1 days);
        setPrice(BTC, 29_000);
        liquidation.flag(account, keeperAccount);
        pass(60);
        bid(account, WAD);
        assertEq(sizeOf(keeperAccount, btcPerpetual), 1e18);
        assertEq(sizeOf(account, btcPerpetual), 0);
        requireBooks(1);
    }

    function test_liquidation_ofTheSolventGoesOnInParts() public {
        _pause(1 days);
        setPrice(BTC, 31_400);
        assertGt(equityOf(account), 0);
        liquidation.flag(account, keeperAccount);
        pass(60);
        uint256 fraction = bid(account, 0.3e18).fraction;
        assertEq(fraction, 0.3e18);
        assertEq(sizeOf(keeperAccount, btcPerpetual), 0.3e18);
    }

    // ─── Helpers

    function _pause(uint256 duration) private {
        vm.prank(guardian);
        house.pause(duration);
    }

    function _expectBadPause(uint256 duration, uint256 allowedAt) private {
        vm.prank(guardian);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseBadPause.selector, duration, allowedAt));
        house.pause(duration);
    }

    /// @dev Three ether and a debt of 500 dollars, no position.
    function _leaveADebt() private returns (uint64 debtor) {
        debtor = openAccount(keeper, 0);
        deposit(debtor, WETH, 3e18);
        trade(debtor, makerAccount, ethPerpetual, 1e18, 2000e18);
        setPrice(ETH, 1500);
        trade(debtor, makerAccount, ethPerpetual, -1e18, 1500e18);
        assertEq(house.cashOf(debtor), -500e18);
    }

    function _expectRefused(uint64 taker, int256 size) private {
        Order memory first = orderOf(makerAccount, btcPerpetual, -size, 50_000e18);
        _expectRefused(first, orderOf(taker, btcPerpetual, size, 50_000e18), absolute(size));
    }

    function _expectRefused(Order memory first, Order memory second, uint256 size) private {
        (bytes memory firstSignature, bytes memory secondSignature) = (sign(first), sign(second));
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHousePaused.selector, house.pausedUntil()));
        gateway.settleTrade(first, firstSignature, second, secondSignature, uint128(size));
    }
}
