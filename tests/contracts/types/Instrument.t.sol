// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Test } from "forge-std/Test.sol";

contract InstrumentTest is Test {
    function testFuzz_perpetual_readsBack(uint16 underlying) public pure {
        Instrument instrument = InstrumentLibrary.perpetual(underlying);
        assertEq(instrument.kind(), InstrumentLibrary.PERPETUAL);
        assertEq(instrument.underlying(), underlying);
        // kind (8) | underlying (16) | expiry (40) | strike (64): the last two are empty
        assertEq(uint256(Instrument.unwrap(instrument)), 1 << 120 | uint256(underlying) << 104);
    }

    function testFuzz_perpetual_isAnotherForAnotherUnderlying(uint16 a, uint16 b) public pure {
        assertEq(InstrumentLibrary.perpetual(a) == InstrumentLibrary.perpetual(b), a == b);
    }

    function testFuzz_kind_readsItsOwnBitsOnly(uint128 word) public pure {
        Instrument instrument = Instrument.wrap(word);
        assertEq(instrument.kind(), word >> 120);
        assertEq(instrument.underlying(), word >> 104 & 0xffff);
    }

    function test_kind_ofTheEmptyWordIsNone() public pure {
        assertTrue(Instrument.wrap(0).kind() != InstrumentLibrary.PERPETUAL);
    }
}
