// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Instrument
/// @notice What is traded, in one 128-bit id: kind (8 bits) | underlying (16) | expiry (40) | strike (64).
/// Expiry in unix seconds, strike in hundred-millionths of a dollar a unit. A perpetual has neither. Options are European
/// and settled in cash. The id 0 is never an instrument, and underlying 0 is the dollar itself.
type Instrument is uint128;

using InstrumentLibrary for Instrument global;

function equals(Instrument a, Instrument b) pure returns (bool) {
    return Instrument.unwrap(a) == Instrument.unwrap(b);
}

using { equals as == } for Instrument global;

library InstrumentLibrary {
    /// @dev Kinds are numbered from 1, so that an empty word is no instrument.
    uint8 internal constant PERPETUAL = 1;
    uint8 internal constant CALL = 2;
    uint8 internal constant PUT = 3;

    /// @dev Wad per unit of strike.
    uint256 internal constant STRIKE_UNIT = 1e10;

    uint256 private constant KIND_SHIFT = 120;
    uint256 private constant UNDERLYING_SHIFT = 104;
    uint256 private constant EXPIRY_SHIFT = 64;

    function perpetual(uint16 underlyingId) internal pure returns (Instrument) {
        return _pack(PERPETUAL, underlyingId, 0, 0);
    }

    /// @param expiryTime Unix seconds. @param strikeUnits Hundred-millionths of a dollar.
    function option(bool isPutOption, uint16 underlyingId, uint40 expiryTime, uint64 strikeUnits)
        internal
        pure
        returns (Instrument)
    {
        return _pack(isPutOption ? PUT : CALL, underlyingId, expiryTime, strikeUnits);
    }

    function kind(Instrument self) internal pure returns (uint8) {
        return uint8(Instrument.unwrap(self) >> KIND_SHIFT);
    }

    function isOption(Instrument self) internal pure returns (bool) {
        return self.kind() > PERPETUAL;
    }

    function isPut(Instrument self) internal pure returns (bool) {
        return self.kind() == PUT;
    }

    function underlying(Instrument self) internal pure returns (uint16) {
        return uint16(Instrument.unwrap(self) >> UNDERLYING_SHIFT);
    }

    /// @return Unix seconds; 0 for a perpetual.
    function expiry(Instrument self) internal pure returns (uint40) {
        return uint40(Instrument.unwrap(self) >> EXPIRY_SHIFT);
    }

    /// @return Dollars a unit [wad]; 0 for a perpetual.
    function strike(Instrument self) internal pure returns (uint256) {
        return uint256(uint64(Instrument.unwrap(self))) * STRIKE_UNIT;
    }

    /// @notice What an option pays at a price of the underlying. Dollars a unit [wad].
    function payoff(Instrument self, uint256 price) internal pure returns (uint256) {
        (uint256 more, uint256 less) = self.isPut() ? (self.strike(), price) : (price, self.strike());
        return more > less ? more - less : 0;
    }

    function _pack(uint8 kind_, uint16 underlying_, uint40 expiry_, uint64 strike_) private pure returns (Instrument) {
        return Instrument.wrap(
            (uint128(kind_) << uint128(KIND_SHIFT)) | (uint128(underlying_) << uint128(UNDERLYING_SHIFT))
                | (uint128(expiry_) << uint128(EXPIRY_SHIFT)) | strike_
        );
    }
}
