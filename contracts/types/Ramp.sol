// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Ramp
/// @notice A word of eight numbers on its way to new ones. Each goes in a straight line from where it was to where it is pushed, so
/// that in the block of a push nothing has moved yet (PUSH), and at the end it is exactly what was pushed.
/// @param from The word in force when the way began.
/// @param startedAt When that was; 0 for never.
/// @param duration Seconds the way takes.
struct Ramp {
    uint256 from;
    uint40 startedAt;
    uint32 duration;
}

using RampLibrary for Ramp global;

library RampLibrary {
    /// @notice The word in force now.
    /// @param target Where it goes. @param atOnce One bit a lane: those that are there already.
    function wordAt(Ramp memory self, uint256 target, uint256 atOnce) internal view returns (uint256 word) {
        uint256 elapsed = block.timestamp - self.startedAt;
        word = target;
        if (elapsed >= self.duration) return word;
        uint256 different = self.from ^ target;
        unchecked {
            // Differences of int32s times seconds of a uint32: far below 2^256. Lanes that stay need no look.
            for (uint256 shift; different >> shift != 0; shift += 32) {
                if (uint32(different >> shift) == 0 || atOnce >> (shift >> 5) & 1 != 0) continue;
                int256 was = int32(uint32(self.from >> shift));
                int256 to = int32(uint32(target >> shift));
                int256 value = was + (to - was) * int256(elapsed) / int256(uint256(self.duration));
                word ^= uint256(uint32(int32(value ^ to))) << shift;
            }
        }
    }
}
