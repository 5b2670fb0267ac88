// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ReentrantToken } from "contracts/testing/ReentrantToken.sol";
import { TestToken } from "contracts/testing/TestToken.sol";

/// @notice Re-entry through a collateral token: the cash token itself calls the attacker, before balances move or after, in
/// everything that moves it (in and out of an account, the cover of a loss, the payment of a claim, the sweep of fees, in
/// and out of the fund), and he calls everything he may call. The token has his permissions and shares of its own.
contract TokensTest is Coalition {
    uint256 private constant OUTER = 7;
    uint256 private constant INNER = 13;

    ReentrantToken private token;
    address private attacker;
    uint64 private first;
    uint64 private second;
    uint64 private bankrupt;
    uint64 private nextBankrupt;

    function setUp() public override {
        super.setUp();
        ReentrantToken hooked = new ReentrantToken(6);
        vm.etch(address(dollar), address(hooked).code);
        token = ReentrantToken(address(dollar));
        leaveInFund(18_000e6);
        first = member("attacker", 50_000);
        attacker = house.ownerOf(first);
        vm.prank(attacker);
        second = house.createAccount();
        enlist(second);
        enlistWallet(address(token));
        deposit(second, CASH, 300_000e6);
        trade(first, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        vm.startPrank(attacker);
        house.setOperator(first, address(token), 3);
        house.setOperator(second, address(token), 3);
        vm.stopPrank();

        // Shares on both hands, ready to be redeemed; a claim that may be paid; fees; and two bankrupts.
        back(attacker, 1000e6);
        back(address(token), 1000e6);
        requestRedemption(attacker);
        requestRedemption(address(token));
        pass(7 days);
        uint64 earlier = _leverage("earlier");
        bankrupt = _leverage("bankrupt");
        nextBankrupt = _leverage("next bankrupt");
        setPrice(BTC, 40_000);
        liquidation.flag(earlier, keeperAccount);
        _bid(earlier);
        assertGt(fund.owed(), 0);
        pass(1 hours);
        assertGt(fund.allowanceNow(), 0);
        assertGt(house.fees(), 0);
        dollar.mint(attacker, 10_000e6);
        dollar.mint(address(token), 10_000e6);
        for (uint256 i; i < 2; ++i) {
            vm.startPrank(i == 0 ? attacker : address(token));
            dollar.approve(address(house), type(uint256).max);
            dollar.approve(address(fund), type(uint256).max);
            vm.stopPrank();
        }
    }

    /// @notice Hope: to find the books between two states: money out and not yet taken off, a loss paid and not yet booked, shares
    /// priced by tokens that have arrived before the shares for them are made.
    /// Fails: every contract refuses to be entered twice, books before it moves tokens and checks what has arrived; across
    /// contracts a call finds the books as they are before or after the other, so that the attacker never has more than by
    /// doing the first alone or the two one after the other. Not defended, and the reason not to choose such a token as
    /// cash: one that calls its sender before it moves lets him buy into the fund while fees are on their way to it. What
    /// he can have by it is a part of those fees.
    function test_reentryThroughACollateralToken() public {
        uint256 start = states.snapshotState();
        int256 unswept = int256(house.fees());
        uint256 refused;
        uint256 done;
        for (uint256 outer; outer < OUTER; ++outer) {
            for (uint256 inner; inner < INNER; ++inner) {
                _prepare(outer);
                uint256 ready = states.snapshotState();
                _outer(outer);
                int256 most = wealth();
                _inner(inner);
                if (wealth() > most) most = wealth();
                states.revertToState(ready);
                _inner(inner);
                _outer(outer);
                if (wealth() > most) most = wealth();
                for (uint256 when; when < 2; ++when) {
                    states.revertToState(ready);
                    (address target, bytes memory data) = _call(inner);
                    if (when == 0) token.armBefore(target, data);
                    else token.arm(target, data);
                    _outer(outer);
                    int256 slack = outer == 4 && inner == 10 && when == 0 ? unswept : ROUNDING;
                    assertLe(
                        wealth(), most + slack, string.concat("gain: ", vm.toString(outer), "/", vm.toString(inner))
                    );
                    requireBooks(1e12);
                    token.arm(address(0), "");
                    if (token.succeeded()) ++done;
                    if (!_mustRefuse(outer, inner)) continue;
                    ++refused;
                    assertFalse(token.succeeded(), "entered twice");
                    assertEq(
                        token.result(),
                        abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector)
                    );
                }
                states.revertToState(start);
            }
        }
        emit log_named_uint("calls refused by a guard", refused);
        emit log_named_uint("calls that went through", done);
        assertGt(done, 0);
    }

    /// @dev Into the clearing house while it moves tokens, and into the fund while it does.
    function _mustRefuse(uint256 outer, uint256 inner) private pure returns (bool) {
        bool houseBusy = outer < 2 || outer == 3 || outer == 4;
        bool fundBusy = outer == 2 || outer == 3 || outer == 5 || outer == 6;
        return (houseBusy && inner < 6) || (fundBusy && (inner == 10 || inner == 11 || inner == 12));
    }

    function _prepare(uint256 outer) private {
        if (outer == 2) liquidation.flag(bankrupt, keeperAccount);
    }

    /// @dev The attacker's, and refused where the other call has left nothing to do.
    function _outer(uint256 outer) private {
        address target = outer == 2 ? address(liquidation) : outer < 2 || outer == 4 ? address(house) : address(fund);
        bytes memory data;
        if (outer == 0) data = abi.encodeCall(house.deposit, (first, CASH, 100e6));
        else if (outer == 1) data = abi.encodeCall(house.withdraw, (first, CASH, 100e6, attacker));
        else if (outer == 2) data = abi.encodeCall(liquidation.bid, (bankrupt, second, WAD, ANY_PRICE, ANY_NONCE));
        else if (outer == 3) data = abi.encodeCall(fund.payClaims, (10));
        else if (outer == 4) data = abi.encodeCall(house.sweepFees, ());
        else if (outer == 5) data = abi.encodeCall(fund.deposit, (5000e6, attacker));
        else data = abi.encodeCall(fund.withdraw, (100e6, attacker, attacker));
        _try(attacker, target, data);
    }

    /// @dev By itself.
    function _inner(uint256 inner) private {
        (address target, bytes memory data) = _call(inner);
        _try(address(token), target, data);
    }

    function _try(address sender, address target, bytes memory data) private returns (bool ok) {
        vm.prank(sender);
        (ok,) = target.call(data);
    }

    function _call(uint256 inner) private view returns (address target, bytes memory data) {
        target = inner < 6 ? address(house) : inner < 10 ? address(liquidation) : address(fund);
        if (inner == 0) data = abi.encodeCall(house.withdraw, (second, CASH, 50e6, address(token)));
        else if (inner == 1) data = abi.encodeCall(house.deposit, (second, CASH, 50e6));
        else if (inner == 2) data = abi.encodeCall(house.transfer, (second, first, CASH, 100_000e6));
        else if (inner == 3) data = abi.encodeCall(house.settleVariation, (first));
        else if (inner == 4) data = abi.encodeCall(house.settleExpired, (first));
        else if (inner == 5) data = abi.encodeCall(house.sweepFees, ());
        else if (inner == 6) data = abi.encodeCall(liquidation.flag, (nextBankrupt, second));
        else if (inner == 7) data = abi.encodeCall(liquidation.bid, (bankrupt, second, WAD, ANY_PRICE, ANY_NONCE));
        else if (inner == 8) data = abi.encodeCall(liquidation.reserve, (bankrupt));
        else if (inner == 9) data = abi.encodeCall(liquidation.end, (bankrupt));
        else if (inner == 10) data = abi.encodeCall(fund.deposit, (5000e6, address(token)));
        else if (inner == 11) data = abi.encodeCall(fund.withdraw, (200e6, address(token), address(token)));
        else data = abi.encodeCall(fund.payClaims, (10));
    }

    function _leverage(string memory name) private returns (uint64 account) {
        account = openAccount(actor(name), 10_000);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_050e18);
    }

    function _bid(uint64 account) private {
        vm.prank(attacker);
        liquidation.bid(account, second, WAD, ANY_PRICE, ANY_NONCE);
    }
}
