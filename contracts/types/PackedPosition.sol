// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "./Instrument.sol";

/// @title PackedPosition
/// @notice A position in one word of storage: most of what a trade, a liquidation or a margin costs is words of storage.
///
///     perpetual   kind (8) | underlying (16) | quote (128)                | size (104)
///     option      kind (8) | underlying (16) | expiry (40) | strike (64) | 0 (24) | size (104)
///
/// An option has no quote and a perpetual neither expiry nor strike, so they share the room.
/// The size is signed, in wad units, and must fit 104 bits; the quote is signed, in wad dollars.
type PackedPosition is uint256;

using PackedPositionLibrary for PackedPosition global;

library PackedPositionLibrary {
    uint256 private constant SIZE_BITS = 104;
    uint256 private constant HEAD_SHIFT = 232;
    uint256 private constant INSTRUMENT_SHIFT = 128;
    /// @dev Kind and underlying within an instrument.
    uint256 private constant HEAD_IN_INSTRUMENT = 104;

    /// @param instrument_ What is held. @param size_ Units [wad]. @param quote_ Left out where it is an option.
    function pack(Instrument instrument_, int256 size_, int256 quote_) internal pure returns (PackedPosition) {
        uint256 word =
            (uint256(Instrument.unwrap(instrument_)) << INSTRUMENT_SHIFT) | (uint256(size_) & ((1 << SIZE_BITS) - 1));
        if (!instrument_.isOption()) word |= uint256(uint128(int128(quote_))) << SIZE_BITS;
        return PackedPosition.wrap(word);
    }

    function instrument(PackedPosition self) internal pure returns (Instrument result) {
        uint256 word = PackedPosition.unwrap(self);
        result = Instrument.wrap(uint128(word >> INSTRUMENT_SHIFT));
        if (!result.isOption()) {
            result = Instrument.wrap(uint128(word >> HEAD_SHIFT << HEAD_IN_INSTRUMENT));
        }
    }

    /// @notice Units [wad].
    function size(PackedPosition self) internal pure returns (int256) {
        return int104(uint104(PackedPosition.unwrap(self)));
    }

    /// @notice Dollars [wad], before funding; 0 for an option.
    function quote(PackedPosition self) internal pure returns (int256) {
        return self.instrument().isOption() ? int256(0) : int128(uint128(PackedPosition.unwrap(self) >> SIZE_BITS));
    }
}
