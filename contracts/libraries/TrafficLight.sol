// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { LibBit } from "solady/src/utils/LibBit.sol";

/// @title TrafficLight
/// @notice A backtest's last 250 outcomes in one word, and what the Basel Committee makes of them (Supervisory framework for the use of
/// "backtesting" in conjunction with the internal models approach to market risk capital requirements, 1996, table 2).
///
/// The newest outcome is the lowest bit, 1 for an exception. A bit above the oldest marks where the outcomes end, so that the
/// word says by itself how many there are; 0 is an empty window.
library TrafficLight {
    uint256 internal constant WINDOW = 250;
    uint256 internal constant MILLION = 1e6;

    /// @dev The committee's additions to its factor of 3, a byte each in hundredths, for 0 to 9 exceptions from the lowest byte on.
    uint256 private constant ADDITIONS = 85 << 72 | 75 << 64 | 65 << 56 | 50 << 48 | 40 << 40;
    uint256 private constant RED = 10;
    uint256 private constant RED_ADDITION = 100;
    uint256 private constant FACTOR = 300;

    /// @notice The window with one more outcome, and without the oldest where it was full.
    function record(uint256 window, bool exception) internal pure returns (uint256) {
        unchecked {
            uint256 longer = (window == 0 ? 1 : window) << 1 | (exception ? 1 : 0);
            if (longer >> WINDOW <= 1) return longer;
            return longer & ((1 << WINDOW) - 1) | 1 << WINDOW;
        }
    }

    /// @notice Exceptions in the window.
    function exceptions(uint256 window) internal pure returns (uint256) {
        return window == 0 ? 0 : LibBit.popCount(window) - 1;
    }

    /// @notice Outcomes in the window, 250 at most.
    function observations(uint256 window) internal pure returns (uint256) {
        return window == 0 ? 0 : LibBit.fls(window);
    }

    /// @notice What the range is multiplied by: 1 + addition / 3, rounded up. A window that is not full is held to the same counts.
    /// @return [millionths]
    function multiplierUp(uint256 window) internal pure returns (uint256) {
        uint256 count = exceptions(window);
        unchecked {
            uint256 addition = count >= RED ? RED_ADDITION : ADDITIONS >> (count << 3) & 0xff;
            return MILLION + (addition * MILLION + FACTOR - 1) / FACTOR;
        }
    }
}
