// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title PositiveDefinite
/// @notice Whether a correlation matrix is one.
library PositiveDefinite {
    int256 private constant WAD = 1e18;
    /// @dev Least pivot [wad]: a matrix this close to singular calls a portfolio free of risk that is not.
    int256 internal constant LEAST_PIVOT = 1e13;

    /// @notice Elimination without exchanges (Golub & Van Loan, Matrix Computations, §4.1.2: LDLᵀ exists with positive pivots if and
    /// only if the matrix is positive definite). Works in place.
    /// @param a Row by row, n · n entries [wad] of at most one, symmetric, with ones on the diagonal; its lower triangle is read and
    /// written.
    /// @return row A row whose pivot is too small; n where all are large enough. A rounding error of 1e-18 grows from row to row, at
    /// most by 2 / √pivot, so that the answer is exact but for matrices within a hair of the least pivot.
    function firstBadPivot(int256[] memory a, uint256 n) internal pure returns (uint256 row) {
        unchecked {
            // Entries on the diagonal only fall. As none is let below the least pivot, a² of any entry is at most the product of
            // the two on its row's and its column's diagonal, so all stay below one and quotients below 1e5.
            for (uint256 k; k < n; ++k) {
                int256 pivot = a[k * n + k];
                for (uint256 i = k + 1; i < n; ++i) {
                    int256 factor = a[i * n + k] * WAD / pivot;
                    a[i * n + i] -= factor * a[i * n + k] / WAD;
                    if (a[i * n + i] < LEAST_PIVOT) return i;
                    for (uint256 j = k + 1; j < i; ++j) {
                        a[i * n + j] -= factor * a[j * n + k] / WAD;
                    }
                }
            }
            return n;
        }
    }
}
