// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title SignedWad
/// @notice The product of a signed amount that money depends on: of a position and its price, of cash and a fraction.
library SignedWad {
    uint256 private constant WAD = 1e18;

    /// @notice amount · factor, rounded towards minus infinity. Unchecked: the result is below 2^255.
    /// @param factor [wad]
    function mulDown(int256 amount, uint256 factor) internal pure returns (int256) {
        unchecked {
            return amount >= 0
                ? int256(FixedPoint.fullMulDiv(uint256(amount), factor, WAD))
                : -int256(FixedPoint.fullMulDivUp(uint256(-amount), factor, WAD));
        }
    }
}
