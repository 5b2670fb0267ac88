// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { PositiveDefinite } from "contracts/libraries/PositiveDefinite.sol";
import { Test } from "forge-std/Test.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @notice Against what is known of matrices without elimination: 2 × 2 and 3 × 3 by their determinants, equicorrelated ones by
/// their eigenvalues, Gram matrices by what they are, and indefinite ones by a direction in which they are.
contract PositiveDefiniteTest is Test {
    int256 private constant WAD = 1e18;

    function equicorrelated(uint256 n, int256 correlation) private pure returns (int256[] memory a) {
        a = new int256[](n * n);
        for (uint256 i; i < n * n; ++i) {
            a[i] = i % (n + 1) == 0 ? WAD : correlation;
        }
    }

    function accepts(int256[] memory a, uint256 n) private pure returns (bool) {
        return PositiveDefinite.firstBadPivot(a, n) == n;
    }

    function test_firstBadPivot_ofNoneAndOne() public pure {
        assertTrue(accepts(new int256[](0), 0));
        assertTrue(accepts(equicorrelated(1, 0), 1));
    }

    /// @notice Eigenvalues 1 − ρ and 1 + (n − 1)·ρ.
    function test_firstBadPivot_ofEquicorrelatedMatrices() public pure {
        for (uint256 n = 2; n <= 12; ++n) {
            int256 lowest = -WAD / int256(n - 1);
            assertTrue(accepts(equicorrelated(n, 0.999e18), n));
            assertTrue(accepts(equicorrelated(n, lowest * 99 / 100), n));
            assertFalse(accepts(equicorrelated(n, WAD), n), "singular");
            assertFalse(accepts(equicorrelated(n, lowest), n), "singular");
            assertFalse(accepts(equicorrelated(n, lowest * 101 / 100), n), "indefinite");
        }
    }

    /// @notice The example of every textbook: each pair is possible, the three together are not. It is the third that can't be.
    function test_firstBadPivot_saysWhichRow() public pure {
        int256[] memory a = equicorrelated(3, 0.9e18);
        a[3 * 2 + 1] = a[3 * 1 + 2] = -0.9e18;
        assertEq(PositiveDefinite.firstBadPivot(a, 3), 2);
        a = equicorrelated(3, 0);
        a[3] = a[1] = -WAD;
        assertEq(PositiveDefinite.firstBadPivot(a, 3), 1);
    }

    /// @notice Close to the least pivot, 1e-5: 1 − ρ² is 1.2e-5 and 0.8e-5.
    function test_firstBadPivot_keepsAwayFromSingularOnes() public pure {
        assertTrue(accepts(equicorrelated(2, 0.999994e18), 2));
        assertFalse(accepts(equicorrelated(2, 0.999996e18), 2));
    }

    /// @notice det = 1 + 2abc − a² − b² − c², and the 2 × 2 minors (Sylvester).
    function testFuzz_firstBadPivot_ofThree(int256 x, int256 y, int256 z) public pure {
        (x, y, z) = (x % (WAD + 1), y % (WAD + 1), z % (WAD + 1));
        int256 determinant = WAD + 2 * (x * y / WAD * z / WAD) - x * x / WAD - y * y / WAD - z * z / WAD;
        // A pivot is the determinant over the minor before it.
        int256 minor = WAD - x * x / WAD;
        int256 pivot = minor < 1e13 ? minor : FixedPoint.min(minor, determinant * WAD / minor);
        // Where the first column leaves the third row too little, it is refused there.
        pivot = FixedPoint.min(pivot, WAD - y * y / WAD);
        if (pivot > 0.999e13 && pivot < 1.001e13) return;
        int256[] memory a = new int256[](9);
        (a[0], a[4], a[8]) = (WAD, WAD, WAD);
        (a[1], a[3], a[2], a[6], a[5], a[7]) = (x, x, y, y, z, z);
        assertEq(accepts(a, 3), pivot >= 1e13);
    }

    /// @notice Cosines between vectors are correlations, and with a little of the identity beside them never singular.
    function testFuzz_firstBadPivot_acceptsGramMatrices(uint256 seed, uint256 n, uint256 rank) public pure {
        n = 2 + n % 9;
        assertTrue(accepts(gram(seed, n, 1 + rank % n, 0.001e18), n));
    }

    /// @notice With one pair of it turned so far that xᵀAx < 0 for x = eᵢ ∓ eⱼ it is refused, whatever the rest is.
    function testFuzz_firstBadPivot_refusesIndefiniteOnes(uint256 seed, uint256 n, uint256 i, uint256 j, bool up)
        public
        pure
    {
        n = 2 + n % 9;
        int256[] memory a = gram(seed, n, n, 0.001e18);
        (i, j) = (i % n, j % n);
        if (i == j) j = (i + 1) % n;
        a[i * n + j] = a[j * n + i] = up ? WAD + 1 : -WAD - 1;
        assertFalse(accepts(a, n));
    }

    /// @notice A matrix that is positive definite but for one direction v: A − (vᵀAv + δ) / (vᵀv)² · vvᵀ on the cosines of n
    /// vectors around v, found by its quadratic form alone.
    function testFuzz_firstBadPivot_refusesWhatHasANegativeDirection(uint256 seed, uint256 n) public pure {
        n = 3 + n % 8;
        int256[] memory a = new int256[](n * n);
        int256[] memory v = new int256[](n);
        for (uint256 i; i < n; ++i) {
            v[i] = seed >> i & 1 == 0 ? int256(1) : int256(-1);
        }
        // vᵀAv = n + n(n − 1)·ρ for aᵢⱼ = ρ·vᵢ·vⱼ: below zero from ρ < −1 / (n − 1).
        int256 correlation = -WAD / int256(n - 1) - 1e12 - int256(seed % 0.3e18);
        if (correlation < -WAD) correlation = -WAD;
        for (uint256 i; i < n; ++i) {
            for (uint256 j; j < n; ++j) {
                a[i * n + j] = i == j ? WAD : correlation * v[i] * v[j];
            }
        }
        assertFalse(accepts(a, n));
    }

    /// @dev (1 − ε)·cosines of n random vectors in `dimension` dimensions + ε·I.
    function gram(uint256 seed, uint256 n, uint256 dimension, int256 epsilon) private pure returns (int256[] memory a) {
        int256[] memory x = new int256[](n * dimension);
        for (uint256 i; i < x.length; ++i) {
            x[i] = int256(uint256(keccak256(abi.encode(seed, i))) % 2e9) - 1e9;
        }
        a = new int256[](n * n);
        for (uint256 i; i < n; ++i) {
            for (uint256 j; j <= i; ++j) {
                (int256 product, int256 squares, int256 others) = (int256(0), int256(0), int256(0));
                for (uint256 k; k < dimension; ++k) {
                    (int256 p, int256 q) = (x[i * dimension + k], x[j * dimension + k]);
                    (product, squares, others) = (product + p * q, squares + p * p, others + q * q);
                }
                int256 norm = int256(FixedPoint.sqrt(uint256(squares) * uint256(others)));
                int256 cosine = norm == 0 ? int256(0) : product * (WAD - epsilon) / norm;
                a[i * n + j] = a[j * n + i] = i == j ? WAD : cosine;
            }
        }
    }
}
