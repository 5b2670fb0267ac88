// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import { Oracles } from "../support/Oracles.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { ParameterChange, Provenance } from "contracts/types/ParameterChange.sol";

contract RiskParametersTest is Oracles {
    uint16 private constant ETH = 2;
    uint16 private constant SOL = 3;

    function setUp() public override {
        super.setUp();
        _bounds(Fields.IMPACT, 10, 1000);
        _bounds(Fields.CORRELATION_LOW, -1e6, 1e6);
        _bounds(Fields.CORRELATION_HIGH, -1e6, 1e6);
        _bounds(Fields.HORIZON_INITIAL, 60, 30 days);
        _bounds(Fields.HORIZON_MAINTENANCE, 60, 30 days);
    }

    function _bounds(Field field, int32 minimum, int32 maximum) private {
        riskParameters.setBounds(field, IRiskParameters.Bounds(minimum, maximum));
    }

    function applyBundle(ParameterChange[] memory bundle) private {
        riskParameters.applyBundle(bundle, provenance());
    }

    function two(ParameterChange memory a, ParameterChange memory b)
        private
        pure
        returns (ParameterChange[] memory list)
    {
        list = new ParameterChange[](2);
        (list[0], list[1]) = (a, b);
    }

    function test_applyBundle_setsEmitsAndRemembers() public {
        (, uint64 appliedAt, uint64 before) = riskParameters.latest();
        pass(60);
        assertFalse(riskParameters.isSet(Fields.IMPACT, BTC, 0));
        vm.expectEmit(address(riskParameters));
        emit IRiskParameters.ParameterChanged(Fields.IMPACT, BTC, 0, 0, 500);
        Provenance memory expected = provenance();
        vm.expectEmit(address(riskParameters));
        emit IRiskParameters.BundleApplied(
            expected.report, expected.data, expected.market, 3, 991_000, address(this), 1
        );
        applyBundle(changes(Fields.IMPACT, BTC, 0, 500));
        assertEq(riskParameters.get(Fields.IMPACT, BTC, 0), 500);
        assertTrue(riskParameters.isSet(Fields.IMPACT, BTC, 0));
        assertFalse(riskParameters.isSet(Fields.IMPACT, ETH, 0));
        Provenance memory latest;
        uint64 count;
        (latest, appliedAt, count) = riskParameters.latest();
        assertEq(abi.encode(latest), abi.encode(expected));
        assertEq(appliedAt, START + 60);
        assertEq(count, before + 1);
    }

    function test_isSet_seesAnExplicitZero() public {
        applyBundle(changes(Fields.CORRELATION_LOW, BTC, ETH, 0));
        assertTrue(riskParameters.isSet(Fields.CORRELATION_LOW, BTC, ETH));
        assertFalse(riskParameters.isSet(Fields.CORRELATION_HIGH, BTC, ETH));
    }

    function testFuzz_applyBundle_keepsBounds(int32 value) public {
        if (value < 10 || value > 1000) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IRiskParameters.RiskParametersOutOfBounds.selector, Fields.IMPACT, value, 10, 1000
                )
            );
            applyBundle(changes(Fields.IMPACT, BTC, 0, value));
        } else {
            applyBundle(changes(Fields.IMPACT, BTC, 0, value));
            assertEq(riskParameters.get(Fields.IMPACT, BTC, 0), value);
        }
    }

    function test_applyBundle_isAllOrNothing() public {
        ParameterChange[] memory bundle =
            two(ParameterChange(Fields.IMPACT, BTC, 0, 500), ParameterChange(Fields.IMPACT, ETH, 0, 1001));
        vm.expectRevert(
            abi.encodeWithSelector(IRiskParameters.RiskParametersOutOfBounds.selector, Fields.IMPACT, 1001, 10, 1000)
        );
        applyBundle(bundle);
        assertEq(riskParameters.get(Fields.IMPACT, BTC, 0), 0);
    }

    function test_applyBundle_revertsIfTheFieldIsUnknown() public {
        Field unknown = Field.wrap(15);
        vm.expectRevert(abi.encodeWithSelector(IRiskParameters.RiskParametersUnknownField.selector, unknown));
        applyBundle(changes(unknown, BTC, 0, 1));
    }

    function testFuzz_applyBundle_revertsIfScopeIsWrong(uint8 id, uint16 underlying, uint16 other) public {
        Field field = Field.wrap(id);
        _bounds(field, 0, 1e6);
        bool fits = id < 56
            ? underlying > 0 && other == 0
            : id < 64 ? underlying == 0 && other == 0 : underlying > 0 && other > underlying;
        if (!fits) {
            vm.expectRevert(
                abi.encodeWithSelector(IRiskParameters.RiskParametersWrongScope.selector, field, underlying, other)
            );
        }
        applyBundle(changes(field, underlying, other, 0));
    }

    function test_applyBundle_acceptsTheRightScopes() public {
        applyBundle(changes(Fields.HORIZON_INITIAL, 0, 0, 1 days));
        applyBundle(changes(Fields.CORRELATION_HIGH, BTC, ETH, 900_000));
        assertEq(riskParameters.get(Fields.HORIZON_INITIAL, 0, 0), 1 days);
        assertEq(riskParameters.get(Fields.CORRELATION_HIGH, BTC, ETH), 900_000);
    }

    function expectInconsistent(Field smaller, Field larger, uint16 underlying, uint16 other) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IRiskParameters.RiskParametersInconsistent.selector, smaller, larger, underlying, other
            )
        );
    }

    function test_applyBundle_revertsIfNumbersContradict() public {
        // Present: floor 20%, stress 120%, cap 400%.
        expectInconsistent(Fields.VOLATILITY_FLOOR, Fields.VOLATILITY_STRESS, BTC, 0);
        applyBundle(changes(Fields.VOLATILITY_FLOOR, BTC, 0, 1.3e6));
        expectInconsistent(Fields.VOLATILITY_STRESS, Fields.VOLATILITY_CAP, BTC, 0);
        applyBundle(changes(Fields.VOLATILITY_CAP, BTC, 0, 1.1e6));
        expectInconsistent(Fields.HORIZON_MAINTENANCE, Fields.HORIZON_INITIAL, 0, 0);
        applyBundle(changes(Fields.HORIZON_MAINTENANCE, 0, 0, 3600));
        expectInconsistent(Fields.CORRELATION_LOW, Fields.CORRELATION_HIGH, BTC, ETH);
        applyBundle(changes(Fields.CORRELATION_HIGH, BTC, ETH, -1));
    }

    function test_applyBundle_looksAtTheWholeBundleAtOnce() public {
        // Either alone contradicts the present numbers; both together do not, in any order.
        applyBundle(
            two(
                ParameterChange(Fields.VOLATILITY_FLOOR, BTC, 0, 1.3e6),
                ParameterChange(Fields.VOLATILITY_STRESS, BTC, 0, 1.5e6)
            )
        );
        assertEq(riskParameters.get(Fields.VOLATILITY_FLOOR, BTC, 0), 1.3e6);
    }

    function test_applyBundle_revertsIfNotAuthorised() public {
        ParameterChange[] memory bundle = changes(Fields.IMPACT, BTC, 0, 500);
        bytes memory unauthorised = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker);
        vm.startPrank(attacker);
        vm.expectRevert(unauthorised);
        applyBundle(bundle);
        vm.expectRevert(unauthorised);
        riskParameters.setBounds(Fields.IMPACT, IRiskParameters.Bounds(0, 1));
    }

    function test_setBounds_setsAndEmits() public {
        vm.expectEmit(address(riskParameters));
        emit IRiskParameters.BoundsSet(Fields.IMPACT, -5, 7);
        _bounds(Fields.IMPACT, -5, 7);
        assertEq(riskParameters.boundsOf(Fields.IMPACT).minimum, -5);
        assertEq(riskParameters.boundsOf(Fields.IMPACT).maximum, 7);
    }

    function test_setBounds_bindsTheNextChangeAndCanTakeTheFieldAway() public {
        applyBundle(changes(Fields.IMPACT, BTC, 0, 500));
        _bounds(Fields.IMPACT, 10, 400);
        assertEq(riskParameters.get(Fields.IMPACT, BTC, 0), 500);
        vm.expectRevert(
            abi.encodeWithSelector(IRiskParameters.RiskParametersOutOfBounds.selector, Fields.IMPACT, 499, 10, 400)
        );
        applyBundle(changes(Fields.IMPACT, BTC, 0, 499));
        _bounds(Fields.IMPACT, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IRiskParameters.RiskParametersUnknownField.selector, Fields.IMPACT));
        applyBundle(changes(Fields.IMPACT, BTC, 0, 0));
    }

    function test_setBounds_revertsIfMinimumIsAboveMaximum() public {
        vm.expectRevert(abi.encodeWithSelector(IRiskParameters.RiskParametersBadBounds.selector, Fields.IMPACT, 2, 1));
        _bounds(Fields.IMPACT, 2, 1);
    }

    function test_snapshot_returnsWordsAndPairsInOrder() public {
        applyBundle(changes(Fields.HORIZON_INITIAL, 0, 0, 1 days));
        uint16[] memory underlyings = new uint16[](3);
        (underlyings[0], underlyings[1], underlyings[2]) = (BTC, ETH, SOL);
        for (uint16 i; i < 3; ++i) {
            applyBundle(changes(Fields.IMPACT, underlyings[i], 0, int32(uint32(100 + i))));
            for (uint16 j = i + 1; j < 3; ++j) {
                applyBundle(changes(Fields.CORRELATION_HIGH, underlyings[i], underlyings[j], int32(uint32(10 * i + j))));
            }
        }
        (uint256 common, uint256[] memory words, uint256[] memory pairs) = riskParameters.snapshot(underlyings);
        assertEq(Fields.HORIZON_INITIAL.read(common), 1 days);
        assertEq(words.length, 6);
        assertEq(pairs.length, 3);
        for (uint256 i; i < 3; ++i) {
            assertEq(Fields.IMPACT.read(words[2 * i + 1]), int256(100 + i));
        }
        assertEq(Fields.CORRELATION_HIGH.read(pairs[0]), 1);
        assertEq(Fields.CORRELATION_HIGH.read(pairs[1]), 2);
        assertEq(Fields.CORRELATION_HIGH.read(pairs[2]), 12);
        (uint256 word, uint256 word1) = riskParameters.wordsOf(BTC);
        assertEq(word, words[0]);
        assertEq(word1, words[1]);
        assertEq(Fields.VOLATILITY_CAP.read(word), 4e6);
    }

    function test_snapshot_revertsIfIdsDoNotRise() public {
        uint16[] memory underlyings = new uint16[](2);
        (underlyings[0], underlyings[1]) = (ETH, BTC);
        vm.expectRevert(
            abi.encodeWithSelector(IRiskParameters.RiskParametersWrongScope.selector, Fields.CORRELATION_LOW, ETH, BTC)
        );
        riskParameters.snapshot(underlyings);
        riskParameters.snapshot(new uint16[](0));
    }
}
