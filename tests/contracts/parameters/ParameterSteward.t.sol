// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import { Oracles } from "../support/Oracles.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { ParameterSteward } from "contracts/parameters/ParameterSteward.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { ParameterChange, Provenance } from "contracts/types/ParameterChange.sol";

contract ParameterStewardTest is Oracles {
    uint16 private constant ETH = 2;
    uint64 private constant STEWARD = 1;
    uint64 private constant CALIBRATOR = 2;
    uint256 private constant INTERVAL = 1 hours;

    ParameterSteward private steward;
    address private calibrator = makeAddr("calibrator");

    function setUp() public override {
        super.setUp();
        steward = new ParameterSteward(address(manager), riskParameters);
        bytes4[] memory selectors = new bytes4[](1);
        // Governance may still apply bundles itself, for first values and for moves outside the steward's limits.
        selectors[0] = IRiskParameters.applyBundle.selector;
        manager.setTargetFunctionRole(address(riskParameters), selectors, STEWARD);
        manager.grantRole(STEWARD, address(steward), 0);
        manager.grantRole(STEWARD, address(this), 0);
        selectors[0] = IParameterSteward.push.selector;
        manager.setTargetFunctionRole(address(steward), selectors, CALIBRATOR);
        manager.grantRole(CALIBRATOR, calibrator, 0);

        steward.setMarket(keccak256("market"));
        limit(Fields.IMPACT, 100_000, 50_000, false);
        limit(Fields.CORRELATION_LOW, 50_000, 50_000, true);
        govern(Fields.IMPACT, BTC, 0, 10, 100_000, 1000);
        govern(Fields.IMPACT, ETH, 0, 10, 100_000, 1000);
        govern(Fields.CORRELATION_HIGH, BTC, ETH, -1e6, 1e6, 900_000);
        govern(Fields.CORRELATION_LOW, BTC, ETH, -1e6, 1e6, 0);
    }

    function limit(Field field, uint32 stepUp, uint32 stepDown, bool absolute) private {
        steward.setLimits(field, IParameterSteward.Limits(stepUp, stepDown, uint32(INTERVAL), absolute));
    }

    function govern(Field field, uint16 underlying, uint16 other, int32 minimum, int32 maximum, int32 value) private {
        riskParameters.setBounds(field, IRiskParameters.Bounds(minimum, maximum));
        riskParameters.applyBundle(changes(field, underlying, other, value), provenance());
    }

    function push(ParameterChange[] memory bundle) private {
        vm.prank(calibrator);
        steward.push(bundle, provenance());
    }

    function impact(int32 value) private pure returns (ParameterChange[] memory) {
        return changes(Fields.IMPACT, BTC, 0, value);
    }

    function current() private view returns (int256) {
        return riskParameters.get(Fields.IMPACT, BTC, 0);
    }

    function expectStep(int256 previous, int256 value, uint256 step) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardStep.selector, Fields.IMPACT, BTC, 0, previous, value, step
            )
        );
    }

    function test_push_movesWithinItsSteps() public {
        vm.expectEmit(address(steward));
        emit IParameterSteward.ParametersPushed(keccak256("report"), calibrator, 1);
        push(impact(1100));
        assertEq(current(), 1100);
        pass(INTERVAL);
        push(impact(1045));
        assertEq(current(), 1045);
    }

    function test_push_revertsIfBeyondAStep() public {
        expectStep(1000, 1101, 100);
        push(impact(1101));
        expectStep(1000, 949, 50);
        push(impact(949));
    }

    function test_push_movesAbsoluteStepsThroughZero() public {
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, -50_000));
        pass(INTERVAL);
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, 0));
        pass(INTERVAL);
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardStep.selector, Fields.CORRELATION_LOW, BTC, ETH, 0, 50_001, 50_000
            )
        );
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, 50_001));
    }

    function test_push_movesSmallIntegersByOne() public {
        govern(Fields.IMPACT, BTC, 0, -10, 100_000, 3);
        push(impact(4));
        pass(INTERVAL);
        push(impact(3));
        pass(INTERVAL);
        expectStep(3, 5, 1);
        push(impact(5));
        govern(Fields.IMPACT, BTC, 0, -10, 100_000, 0);
        push(impact(1));
        assertEq(current(), 1);
    }

    function test_push_movesOneWayOnlyIfTheOtherStepIsZero() public {
        limit(Fields.IMPACT, 100_000, 0, false);
        expectStep(1000, 999, 0);
        push(impact(999));
        push(impact(1100));
    }

    function test_push_revertsIfTooSoon() public {
        push(impact(1100));
        pass(INTERVAL - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardTooSoon.selector, Fields.IMPACT, BTC, 0, START + INTERVAL
            )
        );
        push(impact(1101));
        // Another underlying's number is another number.
        push(changes(Fields.IMPACT, ETH, 0, 1100));
        pass(1);
        push(impact(1101));
    }

    function test_push_allowsTheSameValueAtAnyTime() public {
        push(impact(1000));
        push(impact(1100));
        push(impact(1100));
        pass(INTERVAL);
        push(impact(1200));
    }

    function test_push_revertsIfDuplicate() public {
        ParameterChange[] memory bundle = new ParameterChange[](2);
        (bundle[0], bundle[1]) = (impact(1000)[0], impact(1100)[0]);
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardDuplicate.selector, Fields.IMPACT, BTC, 0)
        );
        push(bundle);
    }

    function test_push_isAllOrNothing() public {
        ParameterChange[] memory bundle = new ParameterChange[](2);
        (bundle[0], bundle[1]) = (impact(1100)[0], ParameterChange(Fields.IMPACT, ETH, 0, 1101));
        vm.expectRevert();
        push(bundle);
        assertEq(current(), 1000);
        (,, uint256 allowedAt) = steward.allowed(Fields.IMPACT, BTC, 0);
        assertEq(allowedAt, 0);
    }

    function test_push_revertsIfTheFieldHasNoLimits() public {
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardNotAllowed.selector, Fields.VOLATILITY_CAP)
        );
        push(changes(Fields.VOLATILITY_CAP, BTC, 0, 4e6));
        limit(Fields.IMPACT, 0, 0, false);
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardNotAllowed.selector, Fields.IMPACT));
        push(impact(1000));
    }

    function test_push_revertsIfNeverSet() public {
        bytes memory never =
            abi.encodeWithSelector(IParameterSteward.ParameterStewardNotInitialised.selector, Fields.IMPACT, 3, 0);
        vm.expectRevert(never);
        push(changes(Fields.IMPACT, 3, 0, 1));
        vm.expectRevert(never);
        steward.allowed(Fields.IMPACT, 3, 0);
    }

    function test_push_revertsIfOutOfBoundsOrInconsistent() public {
        govern(Fields.IMPACT, BTC, 0, 990, 1050, 1000);
        vm.expectRevert(
            abi.encodeWithSelector(IRiskParameters.RiskParametersOutOfBounds.selector, Fields.IMPACT, 1051, 990, 1050)
        );
        push(impact(1051));
        govern(Fields.CORRELATION_HIGH, BTC, ETH, -1e6, 1e6, 10_000);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRiskParameters.RiskParametersInconsistent.selector,
                Fields.CORRELATION_LOW,
                Fields.CORRELATION_HIGH,
                BTC,
                ETH
            )
        );
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, 10_001));
    }

    function test_push_revertsWithoutProvenance() public {
        Provenance memory from = provenance();
        from.report = 0;
        vm.startPrank(calibrator);
        vm.expectRevert(IParameterSteward.ParameterStewardNoProvenance.selector);
        steward.push(impact(1100), from);
        from = provenance();
        from.data = 0;
        vm.expectRevert(IParameterSteward.ParameterStewardNoProvenance.selector);
        steward.push(impact(1100), from);
        vm.expectRevert(IParameterSteward.ParameterStewardEmptyBundle.selector);
        steward.push(new ParameterChange[](0), provenance());
    }

    function test_push_revertsIfTheReportIsFromAnotherMarket() public {
        Provenance memory from = provenance();
        from.market = keccak256("another");
        vm.prank(calibrator);
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardWrongMarket.selector, keccak256("market"), keccak256("another")
            )
        );
        steward.push(impact(1100), from);

        steward.setMarket(0);
        from.market = 0;
        vm.prank(calibrator);
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardWrongMarket.selector, bytes32(0), bytes32(0))
        );
        steward.push(impact(1100), from);
    }

    function test_push_passesProvenanceOn() public {
        push(impact(1100));
        (Provenance memory latest, uint64 appliedAt,) = riskParameters.latest();
        assertEq(abi.encode(latest), abi.encode(provenance()));
        assertEq(appliedAt, START);
    }

    function test_allowed_isWhatAPushAccepts() public {
        (int256 minimum, int256 maximum, uint256 allowedAt) = steward.allowed(Fields.IMPACT, BTC, 0);
        assertEq(minimum, 950);
        assertEq(maximum, 1100);
        assertEq(allowedAt, 0);
        push(impact(1100));
        govern(Fields.IMPACT, ETH, 0, 1080, 1150, 1100);
        (minimum, maximum, allowedAt) = steward.allowed(Fields.IMPACT, BTC, 0);
        assertEq(minimum, 1080);
        assertEq(maximum, 1150);
        assertEq(allowedAt, START + INTERVAL);
    }

    /// @notice BOUNDS: whatever a calibrator sends and when, each number stays within bounds and moves by a step at most,
    /// once an interval; and what `allowed` says is what a push accepts.
    function testFuzz_push_keepsBoundsAndSteps(int32[12] calldata values, uint16[12] calldata gaps) public {
        uint256 movedAt;
        for (uint256 i; i < values.length; ++i) {
            pass(gaps[i] % (2 * INTERVAL));
            int256 previous = current();
            // Half of them near the present value, where the limits are.
            int32 value = i % 2 == 0 ? values[i] : int32(previous + int256(values[i]) % (previous / 8 + 2));
            (int256 minimum, int256 maximum, uint256 allowedAt) = steward.allowed(Fields.IMPACT, BTC, 0);
            bool admitted =
                value == previous || (value >= minimum && value <= maximum && vm.getBlockTimestamp() >= allowedAt);
            vm.prank(calibrator);
            try steward.push(impact(value), provenance()) {
                assertTrue(admitted);
                assertEq(current(), value);
            } catch {
                assertFalse(admitted);
                assertEq(current(), previous);
            }
            int256 moved = current();
            assertGe(moved, 10);
            assertLe(moved, 100_000);
            assertLe((moved - previous) * 1_000_000, previous * 100_000 + 1_000_000);
            assertLe((previous - moved) * 1_000_000, previous * 50_000 + 1_000_000);
            if (moved != previous) {
                if (movedAt != 0) assertGe(vm.getBlockTimestamp() - movedAt, INTERVAL);
                movedAt = vm.getBlockTimestamp();
            }
        }
    }

    function test_set_emitsAndReads() public {
        IParameterSteward.Limits memory limits = IParameterSteward.Limits(1, 2, 3, true);
        vm.expectEmit(address(steward));
        emit IParameterSteward.LimitsSet(Fields.OFFSET, limits);
        steward.setLimits(Fields.OFFSET, limits);
        assertEq(abi.encode(steward.limitsOf(Fields.OFFSET)), abi.encode(limits));
        vm.expectEmit(address(steward));
        emit IParameterSteward.MarketSet(keccak256("another"));
        steward.setMarket(keccak256("another"));
        assertEq(steward.market(), keccak256("another"));
    }

    function test_setLimits_revertsWithoutAnInterval() public {
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardBadLimits.selector, Fields.IMPACT));
        steward.setLimits(Fields.IMPACT, IParameterSteward.Limits(1, 0, 0, false));
    }

    function test_everything_revertsIfNotAuthorised() public {
        bytes memory unauthorised = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker);
        vm.startPrank(attacker);
        vm.expectRevert(unauthorised);
        steward.push(impact(1100), provenance());
        vm.expectRevert(unauthorised);
        steward.setLimits(Fields.IMPACT, IParameterSteward.Limits(1, 1, 1, true));
        vm.expectRevert(unauthorised);
        steward.setMarket(0);
    }
}
