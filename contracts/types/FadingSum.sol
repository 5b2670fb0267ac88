// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @notice A sum of what was added of late, as of `at`, that fades to nothing in a straight line over a window. Kept below a
/// limit it allows twice that in any window: a full sum, and what has faded meanwhile.
/// @param amount In the unit of what is added. @param at Unix seconds.
struct FadingSum {
    uint128 amount;
    uint64 at;
}

using FadingSumLibrary for FadingSum global;

/// @title FadingSumLibrary
/// @notice The window [seconds, above 0] is the owner's, who may change it between two calls.
library FadingSumLibrary {
    using SafeCast for uint256;

    /// @notice What is left of it now, rounded down.
    function current(FadingSum storage self, uint256 window) internal view returns (uint256) {
        (uint256 amount, uint256 at) = (self.amount, self.at);
        uint256 elapsed = FixedPoint.min(block.timestamp - at, window);
        return amount * (window - elapsed) / window;
    }

    /// @notice Adds to what is left. Reverts where the sum does not fit.
    function add(FadingSum storage self, uint256 amount, uint256 window) internal {
        self.amount = (current(self, window) + amount).toUint128();
        self.at = uint64(block.timestamp);
    }
}
