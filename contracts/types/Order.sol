// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "./Instrument.sol";

/// @notice A signed order (EIP-712). Anyone may settle two that cross.
/// @param account Account that trades.
/// @param signer Owner of the account or an operator with permission to trade; a wallet or a contract (ERC-1271).
/// @param instrument What is traded.
/// @param size Units wanted [wad], positive to buy, negative to sell; may be filled in parts.
/// @param limitPrice Highest price paid or lowest price taken [wad dollars a unit].
/// @param expiry Last second at which it may be filled.
/// @param epoch The account's order epoch at signing: raising it cancels every earlier order.
/// @param salt Anything that makes the order unique.
struct Order {
    uint64 account;
    address signer;
    Instrument instrument;
    int128 size;
    uint128 limitPrice;
    uint64 expiry;
    uint64 epoch;
    uint256 salt;
}
