// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title NormalDistribution
/// @notice N and φ, the standard normal distribution and its density. N is read from the code of a NormalTable, which
/// says how it is cut and packed: load it once, then look up any number of values.
/// Domain: every int256. No function but `load` reverts.
library NormalDistribution {
    /// @notice The table in memory: a pointer to its 512 words, a multiple of 32.
    type Table is uint256;

    error NotANormalTable(address data, uint256 codeSize);

    uint256 internal constant TABLE_SIZE = 16_384;

    /// @dev N is 0 below −8 and 1 from 8 on, off by 6.3e-16 at most.
    uint256 private constant LIMIT = 8e18;

    /// @dev φ is below half a unit of 1e-18 from here on.
    uint256 private constant DENSITY_LIMIT = 9e18;

    /// @dev 1/√(2π) [wad].
    uint256 private constant DENSITY_AT_ZERO = 398_942_280_401_432_678;

    /// @notice Copy the table to memory.
    /// @param data Where a NormalTable is deployed.
    function load(address data) internal view returns (Table table) {
        if (data.code.length != TABLE_SIZE) revert NotANormalTable(data, data.code.length);
        assembly ("memory-safe") {
            // A multiple of 32, which RevaluationGrid counts on.
            table := and(add(mload(0x40), 31), not(31))
            extcodecopy(data, table, 0, TABLE_SIZE)
            mstore(0x40, add(table, TABLE_SIZE))
        }
    }

    /// @notice N(x), error below 1e-13; 0 below −8 and 1 from 8 on.
    /// @param x [wad] @return value [wad]
    function cdf(Table table, int256 x) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            // One comparison for both ends: below −8 the sum wraps to a huge number.
            let shifted := add(x, LIMIT)
            switch lt(shifted, mul(2, LIMIT))
            case 0 { value := mul(sgt(x, 0), 1000000000000000000) }
            default {
                // d + 8 with 57 fraction bits: five of them and the whole part are the cell, the others the place in it.
                let d := div(shl(57, shifted), 1000000000000000000)
                let word := mload(add(table, shl(5, shr(52, d))))
                let t := sub(and(d, 0xfffffffffffff), 0x8000000000000)
                let sum := sar(228, shl(196, word))
                sum := add(sar(214, shl(154, word)), sar(51, mul(sum, t)))
                sum := add(signextend(3, word), sar(51, mul(sum, t)))
                sum := add(sar(202, shl(100, word)), sar(51, mul(sum, t)))
                sum := add(and(shr(156, word), 0x7ffffffffffff), sar(51, mul(sum, t)))
                sum := add(shr(207, word), sar(51, mul(sum, t)))
                // Rounding can carry a value at an end of the domain past 0 or 1 by a few units of 2⁻⁴⁸.
                sum := mul(sgt(sum, 0), sum)
                value := shr(48, mul(sum, 1000000000000000000))
                if gt(value, 1000000000000000000) { value := 1000000000000000000 }
            }
        }
    }

    /// @notice φ(x) = e^(−x²/2) / √(2π), error below 2e-18.
    /// @param x [wad] @return [wad], rounded down
    function pdf(int256 x) internal pure returns (uint256) {
        uint256 size = FixedPoint.abs(x);
        if (size >= DENSITY_LIMIT) return 0;
        // size < 2⁶³, and the exponential is at most 1e18.
        unchecked {
            return uint256(FixedPoint.expWad(-int256(size * size / 2e18))) * DENSITY_AT_ZERO / 1e18;
        }
    }
}
