// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title NormalTable
/// @notice A data contract: its code is a table of the standard normal distribution function N, which the constructor
/// works out, so that there is no blob to trust. libraries/NormalDistribution reads it. It has no functions and no
/// storage; its first byte is STOP.
///
/// Domain: d in [−8, 8), cut into 512 cells of width 1/32. Word i (32 bytes) is the Taylor polynomial of N of degree 5
/// about the centre a = −8 + (i + ½)/32 in t = 64·(d − a), which lies in [−1, 1):
///   N(d) = c0 + c1·t + c2·t² + c3·t³ + c4·t⁴ + c5·t⁵, c_k = N⁽ᵏ⁾(a) / (64ᵏ·k!), rounded to 48 fraction bits.
/// Layout, from the highest bit: c0 (49 bits, unsigned), c1 (51, unsigned), c2 (54, two's complement, as are the rest),
/// c4 (42), c5 (28), c3 (32). With what lies below it left in place, too small to count, a coefficient is brought to where
/// Horner's rule needs it, for t with 51 fraction bits, by at most two shifts: see RevaluationGrid.
/// Error: |polynomial − N| ≤ max|φ⁽⁵⁾| / (64⁶·6!) + 6·2⁻⁴⁹ < 7e-14.
contract NormalTable {
    uint256 private constant CELLS = 512;

    /// @dev φ(0) = 1/√(2π), 128 fraction bits, as N and φ below.
    int256 private constant DENSITY_AT_ZERO = 0x662114cf50d942343f2cf1402eae38bf;

    /// @dev Terms of a step; the first left out is below 2⁻⁹⁰.
    uint256 private constant TERMS = 16;

    constructor() {
        uint256[] memory words = new uint256[](CELLS);
        // N and φ march from 0 to the first centre, 1/64, and from centre to centre.
        (int256 value, int256 density,) = _step(1 << 127, DENSITY_AT_ZERO, 0, 64);
        for (uint256 i; i < CELLS / 2; ++i) {
            int256[6] memory c;
            int256 centre = int256(2 * i + 1);
            (int256 nextValue, int256 nextDensity, int256[6] memory terms) = _step(value, density, centre, 32);
            // A term of the step to the next centre, 1/32 away, is 2ᵏ times that to the end of the cell, 1/64 away.
            for (uint256 k; k < 6; ++k) {
                c[k] = (terms[k] + int256(1 << (79 + k))) >> (80 + k);
            }
            words[CELLS / 2 + i] = _pack(c);
            // N(−d) = 1 − N(d): t changes its sign, so the odd terms stay and the even ones turn over.
            c[0] = (1 << 48) - c[0];
            c[2] = -c[2];
            c[4] = -c[4];
            words[CELLS / 2 - 1 - i] = _pack(c);
            (value, density) = (nextValue, nextDensity);
        }
        assembly ("memory-safe") {
            return(add(words, 32), mul(CELLS, 32))
        }
    }

    /// @dev N and φ at a + h by their Taylor series about a. With u_k = φ⁽ᵏ⁾·hᵏ/k!, the rule φ⁽ᵏ⁺¹⁾ = −a·φ⁽ᵏ⁾ − k·φ⁽ᵏ⁻¹⁾
    /// reads u_{k+1} = −(a·h·u_k + h²·u_{k−1})/(k + 1), and N's term of order k is h·u_{k−1}/k.
    /// Every quantity is below 2¹²⁸, its factors below 2²⁴ in all and the divisors above 0: nothing here can overflow.
    /// @param a64 a in 64ths. @param steps 1/h.
    /// @return N(a + h). @return φ(a + h). @return terms N's terms of order 0 to 5.
    function _step(int256 value, int256 density, int256 a64, int256 steps)
        private
        pure
        returns (int256, int256, int256[6] memory terms)
    {
        int256 previous; // u_{k−1}
        int256 current = density; // u_k
        terms[0] = value;
        density = 0;
        unchecked {
            for (uint256 k; k < TERMS; ++k) {
                int256 order = int256(k + 1);
                density += current;
                int256 term = current / (steps * order);
                value += term;
                if (order < 6) terms[k + 1] = term;
                int256 next = -(a64 * steps * current + 64 * previous) / (64 * steps * steps * order);
                (previous, current) = (current, next);
            }
        }
        return (value, density, terms);
    }

    function _pack(int256[6] memory c) private pure returns (uint256) {
        return uint256(c[0]) << 207 | uint256(c[1]) << 156 | (uint256(c[2]) & ((1 << 54) - 1)) << 102
            | (uint256(c[4]) & ((1 << 42) - 1)) << 60 | (uint256(c[5]) & ((1 << 28) - 1)) << 32
            | (uint256(c[3]) & ((1 << 32) - 1));
    }
}
