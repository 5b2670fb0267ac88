// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Funding of one underlying's perpetual, as of `updatedAt`.
/// @param index Dollars a unit held long has paid so far [wad], negative where longs were paid.
/// @param premium Clamped EWMA of trade price less index price, dollars a unit [wad].
/// @param updatedAt Unix seconds.
struct Funding {
    int128 index;
    int88 premium;
    uint40 updatedAt;
}
