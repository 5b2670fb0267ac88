// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Instrument
/// @notice What is traded, in one 128-bit id: kind (8 bits) | underlying (16) | expiry (40) | strike (64).
/// A perpetual has no expiry and no strike. The id 0 is never an instrument, and underlying 0 is the dollar itself.
type Instrument is uint128;

using InstrumentLibrary for Instrument global;

function equals(Instrument a, Instrument b) pure returns (bool) {
    return Instrument.unwrap(a) == Instrument.unwrap(b);
}

using { equals as == } for Instrument global;

library InstrumentLibrary {
    /// @dev Kinds are numbered from 1, so that an empty word is no instrument.
    uint8 internal constant PERPETUAL = 1;

    uint256 private constant KIND_SHIFT = 120;
    uint256 private constant UNDERLYING_SHIFT = 104;

    function perpetual(uint16 underlyingId) internal pure returns (Instrument) {
        return Instrument.wrap(
            (uint128(PERPETUAL) << uint128(KIND_SHIFT)) | (uint128(underlyingId) << uint128(UNDERLYING_SHIFT))
        );
    }

    function kind(Instrument self) internal pure returns (uint8) {
        return uint8(Instrument.unwrap(self) >> KIND_SHIFT);
    }

    function underlying(Instrument self) internal pure returns (uint16) {
        return uint16(Instrument.unwrap(self) >> UNDERLYING_SHIFT);
    }
}
