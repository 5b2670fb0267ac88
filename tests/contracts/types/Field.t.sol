// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
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

    function contains(Field[] memory fields, uint8 id) private pure returns (bool found) {
        for (uint256 i; i < fields.length; ++i) {
            found = found || fields[i].id() == id;
        }
    }

    /// @notice PUSH rests on it: nothing that maintenance or a mark depends on may be here.
    function test_isInitialOnly_ofEveryField() public pure {
        Field[] memory fields = new Field[](13);
        fields[0] = Fields.TAIL_INITIAL;
        fields[1] = Fields.OPEN_INTEREST_LOWER;
        fields[2] = Fields.OPEN_INTEREST_UPPER;
        fields[3] = Fields.OPEN_INTEREST_SCALE;
        for (uint8 i; i < 4; ++i) {
            fields[4 + i] = Field.wrap(Fields.TIER_RATE_1.id() + i);
            if (i < 3) fields[8 + i] = Field.wrap(Fields.TIER_NOTIONAL_1.id() + i);
        }
        fields[11] = Fields.VOLATILITY_SHOCK_INITIAL;
        fields[12] = Fields.HORIZON_INITIAL;
        for (uint256 id; id < 256; ++id) {
            Field field = Field.wrap(uint8(id));
            assertEq(field.isInitialOnly(), contains(fields, uint8(id)));
            assertEq(Fields.initialOnlyLanes(field.slot()) >> id % 8 & 1 == 1, field.isInitialOnly());
        }
    }

    function test_direction_ofEveryField() public pure {
        Field[] memory looser = new Field[](8);
        looser[0] = Fields.AVERAGE_DAILY_VOLUME;
        looser[1] = Fields.OPEN_INTEREST_LOWER;
        looser[2] = Fields.OPEN_INTEREST_UPPER;
        looser[3] = Fields.TIER_NOTIONAL_1;
        looser[4] = Fields.TIER_NOTIONAL_2;
        looser[5] = Fields.TIER_NOTIONAL_3;
        looser[6] = Fields.OFFSET;
        looser[7] = Fields.CORRELATION_LOW;
        Field[] memory neutral = new Field[](8);
        neutral[0] = Fields.REALISED_HALF_LIFE;
        neutral[1] = Fields.CARRY;
        neutral[2] = Fields.SURFACE_RHO;
        neutral[3] = Fields.SURFACE_ETA;
        neutral[4] = Fields.SURFACE_GAMMA;
        neutral[5] = Fields.TERM_RATIO;
        neutral[6] = Fields.TERM_SPEED;
        neutral[7] = Fields.VOLATILITY_SHOCK_EXPONENT;
        for (uint256 id; id < 256; ++id) {
            int256 expected =
                contains(looser, uint8(id)) ? int256(-1) : contains(neutral, uint8(id)) ? int256(0) : int256(1);
            assertEq(Field.wrap(uint8(id)).direction(), expected);
        }
    }
}
