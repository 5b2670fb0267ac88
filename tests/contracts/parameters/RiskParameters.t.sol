// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import { Oracles } from "../support/Oracles.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { VolatilitySurface } from "contracts/libraries/VolatilitySurface.sol";
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
        Field unknown = Field.wrap(32); // slot 4: nothing yet
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

    function test_applyBundle_revertsIfBracketsDoNotRise() public {
        Field[7] memory fields = [
            Fields.TIER_RATE_4,
            Fields.TIER_RATE_3,
            Fields.TIER_RATE_2,
            Fields.TIER_RATE_1,
            Fields.TIER_NOTIONAL_3,
            Fields.TIER_NOTIONAL_2,
            Fields.TIER_NOTIONAL_1
        ];
        for (uint256 i; i < fields.length; ++i) {
            set(fields[i], BTC, 0, 50_000);
        }
        for (uint256 i; i < fields.length; ++i) {
            if (i != 3 && i != 6) {
                expectInconsistent(fields[i + 1], fields[i], BTC, 0);
                applyBundle(changes(fields[i], BTC, 0, 49_999));
            }
            if (i != 0 && i != 4) {
                expectInconsistent(fields[i], fields[i - 1], BTC, 0);
                applyBundle(changes(fields[i], BTC, 0, 50_001));
            }
        }
        applyBundle(changes(Fields.TIER_RATE_1, BTC, 0, 49_999));
        applyBundle(changes(Fields.TIER_NOTIONAL_3, BTC, 0, 50_001));
    }

    function test_applyBundle_revertsIfTheOpenInterestScaleMakesNoSense() public {
        _bounds(Fields.OPEN_INTEREST_LOWER, 0, type(int32).max);
        _bounds(Fields.OPEN_INTEREST_UPPER, 0, type(int32).max);
        _bounds(Fields.OPEN_INTEREST_SCALE, 0, 5e6);
        expectInconsistent(Fields.OPEN_INTEREST_LOWER, Fields.OPEN_INTEREST_UPPER, BTC, 0);
        applyBundle(changes(Fields.OPEN_INTEREST_LOWER, BTC, 0, 1));
        // Without an upper open interest nothing is scaled, so any scale will do.
        applyBundle(changes(Fields.OPEN_INTEREST_SCALE, BTC, 0, 1e6 - 1));
        bytes memory below = abi.encodeWithSelector(
            IRiskParameters.RiskParametersOutOfBounds.selector, Fields.OPEN_INTEREST_SCALE, 1e6 - 1, 1e6, 5e6
        );
        vm.expectRevert(below);
        applyBundle(changes(Fields.OPEN_INTEREST_UPPER, BTC, 0, 1));
        applyBundle(
            two(
                ParameterChange(Fields.OPEN_INTEREST_UPPER, BTC, 0, 1),
                ParameterChange(Fields.OPEN_INTEREST_SCALE, BTC, 0, 1e6)
            )
        );
        vm.expectRevert(below);
        applyBundle(changes(Fields.OPEN_INTEREST_SCALE, BTC, 0, 1e6 - 1));
    }

    function _surfaceBounds() private {
        for (uint8 id = Fields.SURFACE_RHO.id(); id <= Fields.VOLATILITY_SHOCK_EXPONENT.id(); ++id) {
            _bounds(Field.wrap(id), type(int32).min, type(int32).max);
        }
    }

    /// @dev One number on top of a good surface is refused, and nothing of it stays behind.
    function expectArbitrage(Field field, int32 value, bytes4 selector) private {
        int256 before = riskParameters.get(field, BTC, 0);
        assertRefused(changes(field, BTC, 0, value), selector);
        assertEq(riskParameters.get(field, BTC, 0), before);
    }

    /// @dev What VolatilitySurface found is its own business and tested there; here only which condition failed.
    function assertRefused(ParameterChange[] memory bundle, bytes4 selector) private {
        try riskParameters.applyBundle(bundle, provenance()) {
            fail();
        } catch (bytes memory reason) {
            assertEq(bytes4(reason), selector);
        }
    }

    function test_applyBundle_revertsIfTheSurfaceIsOutOfItsDomain() public {
        _surfaceBounds();
        applyBundle(surface(BTC));
        bytes4 selector = VolatilitySurface.SurfaceFieldOutOfDomain.selector;
        expectArbitrage(Fields.SURFACE_RHO, 1e6, selector);
        expectArbitrage(Fields.SURFACE_RHO, -1e6, selector);
        expectArbitrage(Fields.SURFACE_ETA, 0, selector);
        expectArbitrage(Fields.SURFACE_GAMMA, 0, selector);
        expectArbitrage(Fields.SURFACE_GAMMA, 0.5e6 + 1, selector);
        expectArbitrage(Fields.TERM_RATIO, 0, selector);
        expectArbitrage(Fields.TERM_SPEED, -1, selector);
        expectArbitrage(Fields.VOLATILITY_SHOCK_INITIAL, -1, selector);
        expectArbitrage(Fields.VOLATILITY_SHOCK_MAINTENANCE, -1, selector);
        expectArbitrage(Fields.VOLATILITY_SHOCK_EXPONENT, -1, selector);
    }

    function test_applyBundle_revertsIfTheSurfaceAllowsArbitrage() public {
        _surfaceBounds();
        applyBundle(surface(BTC));
        // A butterfly near the money, one in the wings once shocked, and a calendar spread.
        expectArbitrage(Fields.SURFACE_ETA, 4e6, VolatilitySurface.SurfaceTooCurved.selector);
        expectArbitrage(Fields.VOLATILITY_SHOCK_INITIAL, 1.5e6, VolatilitySurface.SurfaceWingTooSteep.selector);
        expectArbitrage(Fields.TERM_RATIO, 1, VolatilitySurface.SurfaceShockFallsTooFast.selector);
    }

    /// @dev Good up to the cap of 400%: θφ(1 + |ρ|)f² is 3.96 at two years, and 4.02 in the limit of a level without end.
    function steep() private pure returns (ParameterChange[] memory bundle) {
        bundle = surface(BTC);
        (bundle[5].value, bundle[7].value) = (0.89e6, 0);
    }

    function test_applyBundle_revertsIfTheLevelsLeaveTheSurface() public {
        _surfaceBounds();
        applyBundle(steep());
        expectArbitrage(Fields.VOLATILITY_CAP, 20e6, VolatilitySurface.SurfaceWingTooSteep.selector);
    }

    function test_applyBundle_asksNoSurfaceOfWhatHasNoOptions() public {
        _surfaceBounds();
        applyBundle(changes(Fields.VOLATILITY_CAP, BTC, 0, 20e6));
        assertRefused(steep(), VolatilitySurface.SurfaceWingTooSteep.selector);
    }

    function test_applyBundle_checksTheSurfacesOfEveryUnderlyingItTouches() public {
        _surfaceBounds();
        for (uint16 underlying = ETH; underlying <= SOL; ++underlying) {
            set(Fields.VOLATILITY_CAP, underlying, 0, 4e6);
            set(Fields.VOLATILITY_STRESS, underlying, 0, 1.2e6);
            set(Fields.VOLATILITY_FLOOR, underlying, 0, 0.2e6);
            applyBundle(surface(underlying));
        }
        ParameterChange[] memory bundle = surface(SOL);
        ParameterChange[] memory both = new ParameterChange[](9);
        both[0] = surface(ETH)[0];
        for (uint256 i; i < 8; ++i) {
            both[i + 1] = bundle[i];
        }
        applyBundle(both);
        both[4].value = 1; // SOL's term ratio
        assertRefused(both, VolatilitySurface.SurfaceShockFallsTooFast.selector);
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
        applyBundle(changes(Fields.IMPACT, BTC, 0, 10));
        applyBundle(changes(Fields.IMPACT, BTC, 0, 400));
        assertEq(riskParameters.get(Fields.IMPACT, BTC, 0), 400, "both bounds are allowed values");
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
        _surfaceBounds();
        applyBundle(surface(BTC));
        (uint256 common, uint256[] memory words, uint256[] memory pairs) = riskParameters.snapshot(underlyings, true);
        assertEq(Fields.HORIZON_INITIAL.read(common), 1 days);
        assertEq(words.length, 12);
        assertEq(pairs.length, 3);
        for (uint256 i; i < 3; ++i) {
            assertEq(Fields.IMPACT.read(words[4 * i + 1]), int256(100 + i));
        }
        assertEq(Fields.CORRELATION_HIGH.read(pairs[0]), 1);
        assertEq(Fields.CORRELATION_HIGH.read(pairs[1]), 2);
        assertEq(Fields.CORRELATION_HIGH.read(pairs[2]), 12);
        (uint256 live, uint256 word, uint256 word1) = riskParameters.levelWordsOf(BTC);
        assertEq(live, words[0]);
        assertEq(word, words[0]);
        assertEq(word1, words[1]);
        assertEq(Fields.VOLATILITY_CAP.read(word), 4e6);
        assertEq(Fields.SURFACE_RHO.read(words[3]), -0.25e6);

        (, uint256[] memory withoutOptions,) = riskParameters.snapshot(underlyings, false);
        words[3] = 0;
        assertEq(withoutOptions, words);
    }

    function test_snapshot_revertsIfIdsDoNotRise() public {
        uint16[] memory underlyings = new uint16[](2);
        (underlyings[0], underlyings[1]) = (ETH, BTC);
        vm.expectRevert(
            abi.encodeWithSelector(IRiskParameters.RiskParametersWrongScope.selector, Fields.CORRELATION_LOW, ETH, BTC)
        );
        riskParameters.snapshot(underlyings, false);
        underlyings[1] = ETH;
        vm.expectRevert(
            abi.encodeWithSelector(IRiskParameters.RiskParametersWrongScope.selector, Fields.CORRELATION_LOW, ETH, ETH)
        );
        riskParameters.snapshot(underlyings, false);
        riskParameters.snapshot(new uint16[](0), true);
    }
}
