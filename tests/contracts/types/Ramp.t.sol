// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Ramp } from "contracts/types/Ramp.sol";
import { Test } from "forge-std/Test.sol";

contract RampTest is Test {
    uint256 private constant START = 1_700_000_000;
    uint32 private constant DURATION = 6 hours;

    function setUp() public {
        vm.warp(START);
    }

    function lane(uint256 word, uint256 index) private pure returns (int256) {
        return int32(uint32(word >> (32 * index)));
    }

    function test_wordAt_goesInAStraightLine() public {
        Ramp memory ramp = Ramp(uint256(uint32(int32(-100))) << 32 | 1000, uint40(START), DURATION);
        uint256 target = uint256(uint32(int32(500))) << 32 | 400;
        vm.warp(START + 2 hours);
        uint256 word = ramp.wordAt(target, 0);
        assertEq(lane(word, 0), 800);
        assertEq(lane(word, 1), 100);
        vm.warp(START + 2 hours + 1);
        // 799.97 and 100.03: towards where it came from.
        assertEq(ramp.wordAt(target, 0), word);
    }

    /// @notice PUSH: in the block in which it starts nothing has moved, at the end everything has.
    function testFuzz_wordAt_isWhereItWasAndThenWhereItGoes(uint256 from, uint256 target, uint32 duration, uint256 late)
        public
    {
        Ramp memory ramp = Ramp(from, uint40(START), duration);
        if (duration != 0) assertEq(ramp.wordAt(target, 0), from);
        vm.warp(START + duration + late % 1000 days);
        assertEq(ramp.wordAt(target, 0), target);
    }

    /// @notice Each lane as if it were alone, exactly; those that are there at once are.
    function testFuzz_wordAt_moveEachLaneForItself(uint256 from, uint256 target, uint8 atOnce, uint256 elapsed) public {
        Ramp memory ramp = Ramp(from, uint40(START), DURATION);
        elapsed %= DURATION;
        vm.warp(START + elapsed);
        uint256 word = ramp.wordAt(target, atOnce);
        for (uint256 i; i < 8; ++i) {
            (int256 a, int256 b) = (lane(from, i), lane(target, i));
            int256 expected = b;
            if (atOnce >> i & 1 == 0) expected = a + (b - a) * int256(elapsed) / int256(uint256(DURATION));
            if (from != target) assertEq(lane(word, i), expected);
        }
    }

    function testFuzz_wordAt_isMonotone(uint256 from, uint256 target, uint256 one, uint256 other) public {
        Ramp memory ramp = Ramp(from, uint40(START), DURATION);
        (one, other) = (one % DURATION, other % DURATION);
        if (one > other) (one, other) = (other, one);
        vm.warp(START + one);
        uint256 earlier = ramp.wordAt(target, 0);
        vm.warp(START + other);
        uint256 later = ramp.wordAt(target, 0);
        for (uint256 i; i < 8; ++i) {
            if (lane(from, i) <= lane(target, i)) assertLe(lane(earlier, i), lane(later, i));
            else assertGe(lane(earlier, i), lane(later, i));
        }
    }

    /// @notice What is ordered at both ends is ordered in between, so that floor ≤ stress ≤ cap holds on the way.
    function testFuzz_wordAt_keepsOrder(int32[2] memory from, int32[2] memory target, uint256 elapsed) public {
        if (from[0] > from[1]) (from[0], from[1]) = (from[1], from[0]);
        if (target[0] > target[1]) (target[0], target[1]) = (target[1], target[0]);
        Ramp memory ramp = Ramp(_word(from), uint40(START), DURATION);
        vm.warp(START + elapsed % DURATION);
        uint256 word = ramp.wordAt(_word(target), 0);
        assertLe(lane(word, 0), lane(word, 1));
    }

    /// @notice A way begun anew from where it is goes on from there, and no lane leaves the range of its ends.
    function testFuzz_wordAt_continuesWhereItIsBegunAnew(uint256[3] memory words, uint256 first, uint256 second)
        public
    {
        Ramp memory ramp = Ramp(words[0], uint40(START), DURATION);
        vm.warp(START + first % DURATION);
        uint256 there = ramp.wordAt(words[1], 0);
        ramp = Ramp(there, uint40(block.timestamp), DURATION);
        assertEq(ramp.wordAt(words[2], 0), there);
        vm.warp(block.timestamp + second % DURATION);
        uint256 word = ramp.wordAt(words[2], 0);
        for (uint256 i; i < 8; ++i) {
            (int256 low, int256 high) = (lane(there, i), lane(words[2], i));
            if (low > high) (low, high) = (high, low);
            assertGe(lane(word, i), low);
            assertLe(lane(word, i), high);
        }
    }

    function _word(int32[2] memory lanes) private pure returns (uint256) {
        return uint256(uint32(lanes[1])) << 32 | uint32(lanes[0]);
    }
}
