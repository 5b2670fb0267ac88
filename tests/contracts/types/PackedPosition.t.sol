// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { PackedPosition, PackedPositionLibrary as Packed } from "contracts/types/PackedPosition.sol";
import { Test } from "forge-std/Test.sol";

contract PackedPositionTest is Test {
    /// @notice The layout the type's own page states, put together by hand.
    function test_pack_putsEachPartInItsPlace() public pure {
        PackedPosition position = Packed.pack(InstrumentLibrary.perpetual(0xabcd), 3, 5);
        assertEq(PackedPosition.unwrap(position), (uint256(0x01abcd) << 232) | (5 << 104) | 3);
        position = Packed.pack(InstrumentLibrary.perpetual(7), -1, -1);
        assertEq(PackedPosition.unwrap(position), (uint256(0x010007) << 232) | ((1 << 232) - 1));
        position = Packed.pack(InstrumentLibrary.option(true, 7, 11, 13), -1, 0);
        uint256 head = (uint256(0x030007) << 232) | (uint256(11) << 192) | (uint256(13) << 128);
        assertEq(PackedPosition.unwrap(position), head | ((1 << 104) - 1));
    }

    function testFuzz_pack_ofAPerpetualLosesNothing(uint16 underlying, int104 size, int128 quote) public pure {
        _assertPerpetual(underlying, size, quote);
    }

    function test_pack_ofAPerpetualAtTheExtremes() public pure {
        int104[5] memory sizes = [type(int104).min, -1, int104(0), 1, type(int104).max];
        int128[5] memory quotes = [type(int128).min, -1, int128(0), 1, type(int128).max];
        for (uint256 i; i < 25; ++i) {
            _assertPerpetual(i % 2 == 0 ? 0 : type(uint16).max, sizes[i / 5], quotes[i % 5]);
        }
        // The largest the clearing house allows.
        _assertPerpetual(1, 1e28, 1e38);
        _assertPerpetual(1, -1e28, -1e38);
    }

    /// @notice A quote given for an option is left out, whatever its sign: it must not run into expiry or strike.
    function testFuzz_pack_ofAnOptionLosesNothing(
        bool isPut,
        uint16 underlying,
        uint40 expiry,
        uint64 strike,
        int104 size,
        int256 quote
    ) public pure {
        _assertOption(InstrumentLibrary.option(isPut, underlying, expiry, strike), size, quote);
    }

    function test_pack_ofAnOptionAtTheExtremes() public pure {
        int104[5] memory sizes = [type(int104).min, -1, int104(0), 1, type(int104).max];
        for (uint256 i; i < 20; ++i) {
            bool full = i % 2 == 0;
            Instrument option = InstrumentLibrary.option(
                i % 4 < 2, full ? type(uint16).max : 0, full ? type(uint40).max : 0, full ? type(uint64).max : 0
            );
            _assertOption(option, sizes[i / 4], i % 3 == 0 ? int256(-1) : type(int128).max);
        }
    }

    function test_instrument_ofAnEmptyWordIsNone() public pure {
        assertEq(Instrument.unwrap(PackedPosition.wrap(0).instrument()), 0);
        assertEq(PackedPosition.wrap(0).size(), 0);
        assertEq(PackedPosition.wrap(0).quote(), 0);
    }

    function _assertPerpetual(uint16 underlying, int256 size, int256 quote) private pure {
        Instrument perpetual = InstrumentLibrary.perpetual(underlying);
        PackedPosition position = Packed.pack(perpetual, size, quote);
        assertEq(Instrument.unwrap(position.instrument()), Instrument.unwrap(perpetual));
        assertEq(position.size(), size);
        assertEq(position.quote(), quote);
    }

    function _assertOption(Instrument option, int256 size, int256 quote) private pure {
        PackedPosition position = Packed.pack(option, size, quote);
        assertEq(Instrument.unwrap(position.instrument()), Instrument.unwrap(option));
        assertEq(position.size(), size);
        assertEq(position.quote(), 0);
    }
}
