// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IOrderGateway } from "./interfaces/IOrderGateway.sol";
import { Order } from "./types/Order.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { SignatureChecker } from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title OrderGateway
/// @notice Signed orders in, trades out. What is signed is checked here, what can be afforded in the clearing house.
contract OrderGateway is IOrderGateway, EIP712, ReentrancyGuardTransient {
    bytes32 public constant ORDER_TYPEHASH = keccak256(
        "Order(uint64 account,address signer,uint128 instrument,int128 size,uint128 limitPrice,uint64 expiry,uint64 epoch,uint256 salt)"
    );

    uint256 private constant WAD = 1e18;
    uint8 private constant PERMISSION_TRADE = 1;
    uint256 private constant CANCELLED = type(uint128).max;

    IClearingHouse public immutable clearingHouse;

    /// @inheritdoc IOrderGateway
    mapping(bytes32 order => uint256) public filledOf;

    /// @dev By owner, as permissions are: what one owner signed is not the next one's will.
    mapping(uint64 account => mapping(address owner => uint64)) private _epochs;

    constructor(IClearingHouse clearingHouse_) EIP712("Plimsoll", "1") {
        clearingHouse = clearingHouse_;
    }

    /// @inheritdoc IOrderGateway
    function settleTrade(
        Order calldata maker,
        bytes calldata makerSignature,
        Order calldata taker,
        bytes calldata takerSignature,
        uint128 size
    ) external nonReentrant returns (uint256 price, uint256 quote) {
        if (size == 0) revert OrderGatewayZeroSize();
        _requireCrossing(maker, taker);
        _fill(maker, makerSignature, size);
        _fill(taker, takerSignature, size);
        return _trade(maker, taker, size);
    }

    /// @inheritdoc IOrderGateway
    function cancelOrder(Order calldata order) external {
        _onlyTrader(order.account);
        bytes32 hash = orderHash(order);
        filledOf[hash] = CANCELLED;
        emit OrderCancelled(hash, order.account);
    }

    /// @inheritdoc IOrderGateway
    function cancelAllOrders(uint64 account) external returns (uint64 epoch) {
        _onlyTrader(account);
        epoch = ++_epochs[account][clearingHouse.ownerOf(account)];
        emit OrdersCancelled(account, epoch);
    }

    /// @inheritdoc IOrderGateway
    function epochOf(uint64 account) public view returns (uint64) {
        return _epochs[account][clearingHouse.ownerOf(account)];
    }

    /// @inheritdoc IOrderGateway
    function orderHash(Order calldata order) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(ORDER_TYPEHASH, order)));
    }

    function _requireCrossing(Order calldata maker, Order calldata taker) private view {
        bool cross = maker.instrument == taker.instrument && (maker.size > 0) != (taker.size > 0)
            && (taker.size > 0 ? taker.limitPrice >= maker.limitPrice : taker.limitPrice <= maker.limitPrice);
        if (!cross) revert OrderGatewayDoNotMatch(orderHash(maker), orderHash(taker));
    }

    /// @dev Takes `size` from what is left of an order that is valid now.
    function _fill(Order calldata order, bytes calldata signature, uint256 size) private {
        bytes32 hash = orderHash(order);
        if (block.timestamp > order.expiry) revert OrderGatewayExpired(hash, order.expiry);
        uint8 permissions = clearingHouse.permissionsOf(order.account, order.signer);
        if (permissions & PERMISSION_TRADE == 0) {
            revert OrderGatewaySignerNotAuthorised(hash, order.account, order.signer);
        }
        // Only the owner has every permission.
        address owner = permissions == type(uint8).max ? order.signer : clearingHouse.ownerOf(order.account);
        uint256 filled = filledOf[hash];
        if (filled == CANCELLED || order.epoch != _epochs[order.account][owner]) revert OrderGatewayCancelled(hash);
        uint256 remaining = FixedPoint.zeroFloorSub(FixedPoint.abs(order.size), filled);
        if (size > remaining) revert OrderGatewayOverfilled(hash, remaining, size);
        // Before the signature, which a contract may check: what it does in its call must not be undone.
        filledOf[hash] = filled + size;
        if (!_isSigned(order.signer, hash, signature)) revert OrderGatewayBadSignature(hash, order.signer);
        emit OrderFilled(hash, order.account, order.instrument, order.size > 0, size);
    }

    function _trade(Order calldata maker, Order calldata taker, uint256 size)
        private
        returns (uint256 price, uint256 quote)
    {
        bool takerBuys = taker.size > 0;
        (uint64 buyer, uint64 seller) = takerBuys ? (taker.account, maker.account) : (maker.account, taker.account);
        price = maker.limitPrice;
        uint256 fee;
        (quote, fee) =
            clearingHouse.trade(IClearingHouse.Trade(maker.instrument, buyer, seller, size, price, takerBuys));
        if (fee != 0) _requireWithinLimit(taker, size, quote, fee);
    }

    /// @dev The limit holds for what the taker pays or gets in all, to the wei the quote is rounded by.
    function _requireWithinLimit(Order calldata taker, uint256 size, uint256 quote, uint256 fee) private view {
        bool buys = taker.size > 0;
        uint256 limit = buys
            ? FixedPoint.fullMulDivUp(size, taker.limitPrice, WAD)
            : FixedPoint.fullMulDiv(size, taker.limitPrice, WAD);
        if (buys ? quote + fee > limit : quote < limit + fee) {
            revert OrderGatewayTakerLimit(orderHash(taker), limit, quote, fee);
        }
    }

    /// @dev A key's signature first, since it needs no look at the signer's code; then whatever a contract accepts (ERC-1271).
    function _isSigned(address signer, bytes32 hash, bytes calldata signature) private view returns (bool) {
        (address recovered, ECDSA.RecoverError fault,) = ECDSA.tryRecoverCalldata(hash, signature);
        if (fault == ECDSA.RecoverError.NoError && recovered == signer) return true;
        return signer.code.length != 0 && SignatureChecker.isValidERC1271SignatureNowCalldata(signer, hash, signature);
    }

    function _onlyTrader(uint64 account) private view {
        if (clearingHouse.permissionsOf(account, msg.sender) & PERMISSION_TRADE == 0) {
            revert OrderGatewayNotAuthorised(account, msg.sender);
        }
    }
}
