// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field } from "contracts/types/Field.sol";
import { Test } from "forge-std/Test.sol";

contract FieldTest is Test {
    function testFuzz_write_readsBackAndLeavesTheOtherLanes(uint256 word, uint8 id, int32 value) public pure {
        Field field = Field.wrap(id);
        uint256 written = field.write(word, value);
        assertEq(field.read(written), value);
        for (uint8 lane; lane < 8; ++lane) {
            Field other = Field.wrap((id & ~uint8(7)) | lane);
            if (lane != id & 7) assertEq(other.read(written), other.read(word));
        }
    }

    function testFuzz_id_isSlotTimesEightPlusLane(uint8 id) public pure {
        Field field = Field.wrap(id);
        assertEq(field.slot() * 8 + id % 8, field.id());
        assertEq(field.laneBit(), 2 ** (id % 8));
    }
}
