// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "../types/Instrument.sol";
import { Order } from "../types/Order.sol";

/// @title IOrderGateway
/// @notice Where signed orders (EIP-712) come in and trades go on to the clearing house: who agreed to what, how much of it
/// is filled and what has been cancelled. It holds no money and has no say over margin.
interface IOrderGateway {
    event OrderFilled(
        bytes32 indexed order, uint64 indexed account, Instrument indexed instrument, bool bought, uint256 size
    );
    event OrderCancelled(bytes32 indexed order, uint64 indexed account);
    event OrdersCancelled(uint64 indexed account, uint64 epoch);

    error OrderGatewayNotAuthorised(uint64 account, address sender);
    error OrderGatewayZeroSize();
    error OrderGatewayExpired(bytes32 order, uint64 expiry);
    /// @notice Cancelled alone, or with every order of its epoch.
    error OrderGatewayCancelled(bytes32 order);
    error OrderGatewayOverfilled(bytes32 order, uint256 remaining, uint256 size);
    error OrderGatewayBadSignature(bytes32 order, address signer);
    error OrderGatewaySignerNotAuthorised(bytes32 order, uint64 account, address signer);
    /// @notice The two orders do not cross: same side, other instrument, or limits apart.
    error OrderGatewayDoNotMatch(bytes32 maker, bytes32 taker);
    /// @notice With the premium fee the taker would pay more, or get less, than its limit.
    error OrderGatewayTakerLimit(bytes32 taker, uint256 limit, uint256 quote, uint256 fee);

    /// @notice Settle two signed orders that cross, at the maker's limit price. Anyone may. A perpetual's price is owed through
    /// its quote, an option's premium paid in cash. The taker pays the fee for moving a perpetual's premium, within its limit.
    /// @param size Units [wad], at most what is left of each order.
    /// @return price The price [wad]. @return quote Dollars that changed sides [wad].
    function settleTrade(
        Order calldata maker,
        bytes calldata makerSignature,
        Order calldata taker,
        bytes calldata takerSignature,
        uint128 size
    ) external returns (uint256 price, uint256 quote);

    /// @notice Cancel what is left of one order. Owner, or an operator that may trade.
    function cancelOrder(Order calldata order) external;

    /// @notice Cancel every order signed so far under the present owner. Owner, or an operator that may trade.
    function cancelAllOrders(uint64 account) external returns (uint64 epoch);

    /// @notice EIP-712 digest of an order for this contract on this chain.
    function orderHash(Order calldata order) external view returns (bytes32);

    /// @notice Units of an order already filled [wad]; type(uint128).max once cancelled.
    function filledOf(bytes32 order) external view returns (uint256);

    /// @notice The epoch an order must carry to be valid. Every owner of an account has a count of its own.
    function epochOf(uint64 account) external view returns (uint64);
}
