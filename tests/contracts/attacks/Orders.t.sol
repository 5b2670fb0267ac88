// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { OrderGateway } from "contracts/OrderGateway.sol";
import { IOrderGateway } from "contracts/interfaces/IOrderGateway.sol";
import { Order } from "contracts/types/Order.sol";

/// @notice Order replay: a victim once signed to buy a BTC at 55,000 while it trades at 50,000. The attacker holds the signed order
/// and wants to sell to it where, when and as often as he likes. He gains 5,000 with every fill that goes through.
contract OrdersTest is Coalition {
    uint64 private victimAccount;
    uint64 private attackerAccount;
    Order private order;
    bytes private signature;

    function setUp() public override {
        super.setUp();
        victimAccount = openAccount(trader, 100_000);
        attackerAccount = member("attacker", 100_000);
        order = orderOf(victimAccount, btcPerpetual, 1e18, 55_000e18);
        signature = sign(order);
    }

    /// @notice Attack: use the order for another account of the same owner.
    /// Fails: the account is part of what is signed.
    function test_orderReplay_acrossAccounts() public {
        Order memory other = order;
        other.account = openAccount(trader, 100_000);
        _expectRefused(
            gateway,
            other,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(other), trader)
        );
    }

    /// @notice Attack: use it on another chain on which everything has the same addresses.
    /// Fails: the chain id is part of the domain, and read anew where the chain forks.
    function test_orderReplay_acrossChains() public {
        bytes32 hash = gateway.orderHash(order);
        vm.chainId(31_338);
        assertTrue(gateway.orderHash(order) != hash);
        _expectRefused(
            gateway,
            order,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(order), trader)
        );
    }

    /// @notice Attack: bring it to another gateway for the same clearing house, whose ledger of fills is empty.
    /// Fails: the gateway is part of the domain; and the clearing house trades for its own gateway alone.
    function test_orderReplay_acrossGateways() public {
        OrderGateway second = new OrderGateway(house);
        _expectRefused(
            second,
            order,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, second.orderHash(order), trader)
        );
    }

    /// @notice Attack: buy the account, or sell it, while an order of its last owner is about.
    /// Fails: the signer must be the owner, or an operator of the owner, at the time of the fill.
    function test_orderReplay_afterATransferOfOwnership() public {
        vm.prank(trader);
        house.transferOwnership(victimAccount, stranger);
        bytes memory refusal = abi.encodeWithSelector(
            IOrderGateway.OrderGatewaySignerNotAuthorised.selector, gateway.orderHash(order), victimAccount, trader
        );
        _expectRefused(gateway, order, refusal);
        // Nor can the signature be passed off as the new owner's.
        Order memory other = order;
        other.signer = stranger;
        _expectRefused(
            gateway,
            other,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(other), stranger)
        );
    }

    /// @notice Attack: use it after it was cancelled, by itself or with all others, or when its time is over.
    function test_orderReplay_afterCancel() public {
        uint256 fresh = states.snapshotState();
        bytes32 hash = gateway.orderHash(order);
        bytes memory cancelled = abi.encodeWithSelector(IOrderGateway.OrderGatewayCancelled.selector, hash);
        vm.prank(trader);
        gateway.cancelOrder(order);
        _expectRefused(gateway, order, cancelled);
        states.revertToState(fresh);
        vm.prank(trader);
        gateway.cancelAllOrders(victimAccount);
        _expectRefused(gateway, order, cancelled);
        states.revertToState(fresh);
        pass(1 hours + 1);
        _expectRefused(
            gateway, order, abi.encodeWithSelector(IOrderGateway.OrderGatewayExpired.selector, hash, order.expiry)
        );
    }

    /// @notice Attack: fill it again: as it is, in a part more than is left, or with the other signature of the same key and hash.
    /// Fails: what has been filled is kept by the hash, and a signature has one form.
    function test_orderReplay_afterTheFill() public {
        _fill(gateway, order, signature, 0.75e18);
        bytes32 hash = gateway.orderHash(order);
        bytes memory overfilled =
            abi.encodeWithSelector(IOrderGateway.OrderGatewayOverfilled.selector, hash, 0.25e18, 1e18);
        _expectRefused(gateway, order, overfilled);
        _fill(gateway, order, signature, 0.25e18);
        _expectRefused(
            gateway, order, abi.encodeWithSelector(IOrderGateway.OrderGatewayOverfilled.selector, hash, 0, 1e18)
        );

        Order memory again = orderOf(victimAccount, btcPerpetual, 1e18, 55_000e18);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[trader], gateway.orderHash(again));
        uint256 mirrored = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s);
        signature = abi.encodePacked(r, mirrored, v == 27 ? uint8(28) : uint8(27));
        _expectRefused(
            gateway,
            again,
            abi.encodeWithSelector(IOrderGateway.OrderGatewayBadSignature.selector, gateway.orderHash(again), trader)
        );
    }

    /// @dev The attacker sells a BTC to the order, is refused for this reason, and has gained nothing.
    function _expectRefused(OrderGateway at, Order memory replayed, bytes memory why) private {
        (int256 before_, int256 held) = (wealth(), sizeOf(victimAccount, btcPerpetual));
        (Order memory sell, bytes memory own) = _sell(at, 1e18);
        vm.expectRevert(why);
        at.settleTrade(replayed, signature, sell, own, 1e18);
        assertEq(wealth(), before_);
        assertEq(sizeOf(victimAccount, btcPerpetual), held);
    }

    function _fill(OrderGateway at, Order memory filled, bytes memory signed, uint128 size) private {
        (Order memory sell, bytes memory own) = _sell(at, int256(uint256(size)));
        at.settleTrade(filled, signed, sell, own, size);
    }

    function _sell(OrderGateway at, int256 size) private returns (Order memory sell, bytes memory own) {
        sell = orderOf(attackerAccount, btcPerpetual, -size, 50_000e18);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[sell.signer], at.orderHash(sell));
        own = abi.encodePacked(r, s, v);
    }
}
