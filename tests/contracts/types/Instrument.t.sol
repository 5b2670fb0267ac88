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

    function testFuzz_option_readsBack(bool isPut, uint16 underlying, uint40 expiry, uint64 strike) public pure {
        Instrument instrument = InstrumentLibrary.option(isPut, underlying, expiry, strike);
        assertEq(instrument.kind(), isPut ? InstrumentLibrary.PUT : InstrumentLibrary.CALL);
        assertEq(instrument.isPut(), isPut);
        assertTrue(instrument.isOption());
        assertEq(instrument.underlying(), underlying);
        assertEq(instrument.expiry(), expiry);
        assertEq(instrument.strike(), uint256(strike) * 1e10);
        assertEq(
            uint256(Instrument.unwrap(instrument)),
            uint256(isPut ? 3 : 2) << 120 | uint256(underlying) << 104 | uint256(expiry) << 64 | strike
        );
    }

    function testFuzz_isOption_ofAPerpetualIsFalse(uint16 underlying) public pure {
        Instrument instrument = InstrumentLibrary.perpetual(underlying);
        assertFalse(instrument.isOption());
        assertFalse(instrument.isPut());
        assertEq(instrument.expiry(), 0);
        assertEq(instrument.strike(), 0);
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
