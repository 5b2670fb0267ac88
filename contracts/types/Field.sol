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
    /// @dev Open interest up to which initial margin is not scaled, thousands of dollars.
    Field internal constant OPEN_INTEREST_LOWER = Field.wrap(12);
    /// @dev Open interest from which initial margin is scaled in full, thousands of dollars; 0 for never.
    Field internal constant OPEN_INTEREST_UPPER = Field.wrap(13);
    /// @dev Scale of initial margin at the upper open interest, millionths, at least one.
    Field internal constant OPEN_INTEREST_SCALE = Field.wrap(14);
    /// @dev Carry of the forward over the price, continuous, a year, millionths, signed.
    Field internal constant CARRY = Field.wrap(15);
    // One underlying, slot 2: notional brackets. Bracket n has its own rate; the last has no upper end.
    /// @dev Least initial margin in the bracket, part of its notional, millionths; rates rise with the bracket.
    Field internal constant TIER_RATE_1 = Field.wrap(16);
    Field internal constant TIER_RATE_2 = Field.wrap(17);
    Field internal constant TIER_RATE_3 = Field.wrap(18);
    Field internal constant TIER_RATE_4 = Field.wrap(19);
    /// @dev Notional at which the bracket ends, thousands of dollars; rising.
    Field internal constant TIER_NOTIONAL_1 = Field.wrap(20);
    Field internal constant TIER_NOTIONAL_2 = Field.wrap(21);
    Field internal constant TIER_NOTIONAL_3 = Field.wrap(22);
    /// @dev Half the spread of options in volatility, relative to the volatility, millionths.
    Field internal constant OPTION_HALF_SPREAD = Field.wrap(23);
    // One underlying, slot 3: the volatility surface and its shocks.
    /// @dev ρ of SSVI, millionths, signed.
    Field internal constant SURFACE_RHO = Field.wrap(24);
    /// @dev η of SSVI, millionths.
    Field internal constant SURFACE_ETA = Field.wrap(25);
    /// @dev γ of SSVI, millionths, at most a half.
    Field internal constant SURFACE_GAMMA = Field.wrap(26);
    /// @dev ℓ: long-dated over short-dated at-the-money variance, millionths.
    Field internal constant TERM_RATIO = Field.wrap(27);
    /// @dev κ: how fast the term structure goes from short to long, a year, millionths.
    Field internal constant TERM_SPEED = Field.wrap(28);
    /// @dev Relative rise of 30-day implied volatility at the upper volatility nodes, initial horizon, millionths.
    Field internal constant VOLATILITY_SHOCK_INITIAL = Field.wrap(29);
    /// @dev The same at the maintenance horizon.
    Field internal constant VOLATILITY_SHOCK_MAINTENANCE = Field.wrap(30);
    /// @dev p: the shock to an option of tenor τ is (30 d / τ)^p of the 30-day shock, millionths, at most a half.
    Field internal constant VOLATILITY_SHOCK_EXPONENT = Field.wrap(31);
    // Common to all, slot 7.
    /// @dev Initial horizon, seconds.
    Field internal constant HORIZON_INITIAL = Field.wrap(56);
    /// @dev Maintenance horizon, seconds.
    Field internal constant HORIZON_MAINTENANCE = Field.wrap(57);
    /// @dev Offset allowed between underlyings, 1 − λ, millionths.
    Field internal constant OFFSET = Field.wrap(58);
    /// @dev Requirement multiplier m, millionths.
    Field internal constant MULTIPLIER = Field.wrap(59);
    /// @dev Weight of the two extreme nodes, at twice the range, millionths (SPAN: 35%).
    Field internal constant EXTREME_WEIGHT = Field.wrap(60);
    /// @dev Short option minimum: least margin for a unit net short at a strike, part of the price, millionths.
    Field internal constant SHORT_OPTION_MINIMUM = Field.wrap(61);
    /// @dev Fall of volatility at the lower volatility nodes, part of the rise at the upper ones, millionths.
    Field internal constant VOLATILITY_FALL = Field.wrap(62);
    // A pair of underlyings, slot 8.
    /// @dev Correlation in the low matrix, millionths, signed.
    Field internal constant CORRELATION_LOW = Field.wrap(64);
    /// @dev Correlation in the high matrix, millionths, signed.
    Field internal constant CORRELATION_HIGH = Field.wrap(65);

    /// @dev One bit a field: those of initial margin alone. TAIL_INITIAL, OPEN_INTEREST_*, TIER_*, VOLATILITY_SHOCK_INITIAL,
    /// HORIZON_INITIAL.
    uint256 private constant INITIAL_ONLY = 1 << 0 | 7 << 12 | 0x7f << 16 | 1 << 29 | 1 << 56;
    /// @dev Those that lower margin as they rise: AVERAGE_DAILY_VOLUME, OPEN_INTEREST_LOWER, OPEN_INTEREST_UPPER, TIER_NOTIONAL_*,
    /// OFFSET, CORRELATION_LOW.
    uint256 private constant LOOSER_UP = 1 << 10 | 3 << 12 | 7 << 20 | 1 << 58 | 1 << 64;
    /// @dev Those that help some accounts and cost others, or are no more than times: REALISED_HALF_LIFE, CARRY, SURFACE_*, TERM_*,
    /// VOLATILITY_SHOCK_EXPONENT.
    uint256 private constant NEUTRAL = 1 << 11 | 1 << 15 | 0x1f << 24 | 1 << 31;

    uint256 internal constant SLOTS_PER_UNDERLYING = 4;
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

    /// @notice Whether nothing but initial margin depends on it.
    function isInitialOnly(Field self) internal pure returns (bool) {
        return INITIAL_ONLY >> Field.unwrap(self) & 1 != 0;
    }

    /// @notice The lanes of a slot that nothing but initial margin depends on, one bit each.
    function initialOnlyLanes(uint256 slot_) internal pure returns (uint256) {
        return INITIAL_ONLY >> (slot_ << 3) & 0xff;
    }

    /// @return 1 where margin rises with it, −1 where it falls, 0 where it does neither or both.
    function direction(Field self) internal pure returns (int256) {
        uint256 bit = 1 << Field.unwrap(self);
        return NEUTRAL & bit != 0 ? int256(0) : LOOSER_UP & bit != 0 ? int256(-1) : int256(1);
    }
}
