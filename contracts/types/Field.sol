// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Field
/// @notice The numbers of RiskParameters, by name. Each is an int32 in one lane of a word of eight; a field's id is
/// slot · 8 + lane. Fractions, rates and volatilities are in millionths, times in seconds.
/// Scope: slots 0–6 hold one underlying's numbers, slot 7 the numbers common to all, slot 8 and on those of a pair.
type Field is uint8;

using FieldLibrary for Field global;

library FieldLibrary {
    // One underlying, slot 0.
    /// @dev Expected-shortfall tail multiplier at the initial horizon, millionths.
    Field internal constant TAIL_INITIAL = Field.wrap(0);
    /// @dev The same at the maintenance horizon.
    Field internal constant TAIL_MAINTENANCE = Field.wrap(1);
    /// @dev Stressed volatility blended into the live level, annualised, millionths.
    Field internal constant VOLATILITY_STRESS = Field.wrap(2);
    /// @dev Weight w of the stressed level, millionths (EMIR RTS 153/2013 art. 28(1)(b): at least 25%).
    Field internal constant VOLATILITY_STRESS_WEIGHT = Field.wrap(3);
    /// @dev Lowest effective volatility, annualised, millionths.
    Field internal constant VOLATILITY_FLOOR = Field.wrap(4);
    /// @dev Highest effective volatility, annualised, millionths.
    Field internal constant VOLATILITY_CAP = Field.wrap(5);
    /// @dev κ, how much of the realised volatility kept on-chain the level may never fall below, millionths.
    Field internal constant REALISED_WEIGHT = Field.wrap(6);
    /// @dev How fast the maintenance level may rise: natural logarithm per hour, millionths.
    Field internal constant VOLATILITY_RISE_RATE = Field.wrap(7);
    // One underlying, slot 1.
    /// @dev Half the bid–ask spread, relative to the price, millionths.
    Field internal constant HALF_SPREAD = Field.wrap(8);
    /// @dev Y of the square-root impact law, millionths.
    Field internal constant IMPACT = Field.wrap(9);
    /// @dev Average daily volume, thousands of dollars.
    Field internal constant AVERAGE_DAILY_VOLUME = Field.wrap(10);
    /// @dev Half-life of the realised volatility kept on-chain, seconds.
    Field internal constant REALISED_HALF_LIFE = Field.wrap(11);
    // Common to all, slot 7.
    /// @dev Initial horizon, seconds.
    Field internal constant HORIZON_INITIAL = Field.wrap(56);
    /// @dev Maintenance horizon, seconds.
    Field internal constant HORIZON_MAINTENANCE = Field.wrap(57);
    /// @dev Offset allowed between underlyings, 1 − λ, millionths.
    Field internal constant OFFSET = Field.wrap(58);
    /// @dev Requirement multiplier m, millionths.
    Field internal constant MULTIPLIER = Field.wrap(59);
    // A pair of underlyings, slot 8.
    /// @dev Correlation in the low matrix, millionths, signed.
    Field internal constant CORRELATION_LOW = Field.wrap(64);
    /// @dev Correlation in the high matrix, millionths, signed.
    Field internal constant CORRELATION_HIGH = Field.wrap(65);

    uint256 internal constant SLOTS_PER_UNDERLYING = 2;
    uint256 internal constant COMMON_SLOT = 7;
    uint256 internal constant PAIR_SLOT = 8;

    function slot(Field self) internal pure returns (uint256) {
        return Field.unwrap(self) >> 3;
    }

    /// @notice The field's value in the word that holds it.
    function read(Field self, uint256 word) internal pure returns (int256) {
        return int32(uint32(word >> (uint256(Field.unwrap(self) & 7) << 5)));
    }

    /// @notice The word with the field set to a value.
    function write(Field self, uint256 word, int32 value) internal pure returns (uint256) {
        uint256 shift = uint256(Field.unwrap(self) & 7) << 5;
        return (word & ~(uint256(type(uint32).max) << shift)) | (uint256(uint32(value)) << shift);
    }

    /// @notice One bit, at the number of the field's lane.
    function laneBit(Field self) internal pure returns (uint256) {
        return 1 << (Field.unwrap(self) & 7);
    }

    function id(Field self) internal pure returns (uint8) {
        return Field.unwrap(self);
    }
}
