// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "./Instrument.sol";

/// @notice One position. The quote is what has been paid (negative) or received (positive) for it so far and not yet
/// settled into cash, so that the position is worth size · price + quote.
/// @param instrument What is held.
/// @param size Units of the underlying [wad], positive long.
/// @param quote Dollars [wad].
struct Position {
    Instrument instrument;
    int128 size;
    int128 quote;
}

/// @notice Collateral other than cash, in the units of its underlying.
/// @param asset The asset's id in the clearing house.
/// @param underlying Whose price it carries.
/// @param amount Units of the underlying [wad].
struct Collateral {
    uint16 asset;
    uint16 underlying;
    uint256 amount;
}

/// @notice All that margin depends on.
/// @param cash Settled dollars [wad]; negative is a debt to the clearing house.
struct Portfolio {
    int256 cash;
    Position[] positions;
    Collateral[] collateral;
}
