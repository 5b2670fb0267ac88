// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import { Oracles } from "../support/Oracles.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { IReferenceMargin } from "contracts/interfaces/IReferenceMargin.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { ParameterSteward } from "contracts/parameters/ParameterSteward.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { ParameterChange, Provenance } from "contracts/types/ParameterChange.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

contract ParameterStewardTest is Oracles {
    uint16 private constant ETH = 2;
    uint64 private constant STEWARD = 1;
    uint64 private constant CALIBRATOR = 2;
    uint64 private constant GUARDIAN = 3;
    uint256 private constant INTERVAL = 1 hours;
    uint256 private constant WINDOW = 1 days;

    ParameterSteward private steward;
    address private calibrator = makeAddr("calibrator");
    address private guardian = makeAddr("guardian");

    function setUp() public override {
        super.setUp();
        steward = new ParameterSteward(address(manager), riskParameters, priceOracle);
        // Governance may still apply bundles itself, for first values and for moves outside the steward's limits.
        allow(address(riskParameters), IRiskParameters.applyBundle.selector, STEWARD);
        allow(address(riskParameters), IRiskParameters.measureAtTarget.selector, STEWARD);
        manager.grantRole(STEWARD, address(steward), 0);
        manager.grantRole(STEWARD, address(this), 0);
        allow(address(steward), IParameterSteward.push.selector, CALIBRATOR);
        allow(address(steward), IParameterSteward.schedule.selector, CALIBRATOR);
        manager.grantRole(CALIBRATOR, calibrator, 0);
        allow(address(steward), IParameterSteward.veto.selector, GUARDIAN);
        allow(address(steward), IParameterSteward.freezeField.selector, GUARDIAN);
        allow(address(steward), IParameterSteward.freezeMarket.selector, GUARDIAN);
        manager.grantRole(GUARDIAN, guardian, 0);

        steward.setMarket(keccak256("market"));
        limit(Fields.IMPACT, 100_000, 50_000, false);
        limit(Fields.CORRELATION_LOW, 50_000, 50_000, true);
        govern(Fields.IMPACT, BTC, 0, 10, 100_000, 1000);
        govern(Fields.IMPACT, ETH, 0, 10, 100_000, 1000);
        govern(Fields.CORRELATION_HIGH, BTC, ETH, -1e6, 1e6, 900_000);
        govern(Fields.CORRELATION_LOW, BTC, ETH, -1e6, 1e6, 0);
    }

    function allow(address target, bytes4 selector, uint64 role) private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = selector;
        manager.setTargetFunctionRole(target, selectors, role);
    }

    function limit(Field field, uint32 stepUp, uint32 stepDown, bool absolute) private {
        steward.setLimits(
            field,
            IParameterSteward.Limits(
                stepUp, stepDown, uint32(INTERVAL), absolute, 3 * stepUp, 3 * stepDown, uint32(WINDOW)
            )
        );
    }

    function govern(Field field, uint16 underlying, uint16 other, int32 minimum, int32 maximum, int32 value) private {
        riskParameters.setBounds(field, IRiskParameters.Bounds(minimum, maximum));
        riskParameters.applyBundle(changes(field, underlying, other, value), provenance());
    }

    function push(ParameterChange[] memory bundle) private {
        vm.prank(calibrator);
        steward.push(bundle, provenance());
    }

    /// @dev Scheduled, waited for and executed, by nobody in particular.
    function loosen(ParameterChange[] memory bundle) private {
        schedule(bundle);
        pass(1 days);
        execute(bundle);
    }

    function schedule(ParameterChange[] memory bundle) private {
        vm.prank(calibrator);
        steward.schedule(bundle, provenance());
    }

    function execute(ParameterChange[] memory bundle) private {
        vm.prank(attacker);
        steward.execute(bundle, provenance());
    }

    function hashOf(ParameterChange[] memory bundle) private pure returns (bytes32) {
        return keccak256(abi.encode(bundle, provenance()));
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

    function expectBudget(int256 value, int256 minimum, int256 maximum, uint256 endsAt) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardBudget.selector,
                Fields.IMPACT,
                BTC,
                0,
                value,
                minimum,
                maximum,
                endsAt
            )
        );
    }

    // ─── Steps, intervals, budgets

    function test_push_movesWithinItsSteps() public {
        vm.expectEmit(address(steward));
        emit IParameterSteward.ParametersPushed(keccak256("report"), calibrator, 1);
        push(impact(1100));
        assertEq(current(), 1100);
        pass(INTERVAL);
        loosen(impact(1045));
        assertEq(current(), 1045);
    }

    function test_push_revertsIfBeyondAStep() public {
        expectStep(1000, 1101, 100);
        push(impact(1101));
        expectStep(1000, 949, 50);
        schedule(impact(949));
    }

    function test_push_movesAbsoluteStepsThroughZero() public {
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, -50_000));
        loosen(changes(Fields.CORRELATION_LOW, BTC, ETH, 0));
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardStep.selector, Fields.CORRELATION_LOW, BTC, ETH, 0, 50_001, 50_000
            )
        );
        schedule(changes(Fields.CORRELATION_LOW, BTC, ETH, 50_001));
    }

    function test_push_movesSmallIntegersByOne() public {
        govern(Fields.IMPACT, BTC, 0, -10, 100_000, 3);
        push(impact(4));
        loosen(impact(3));
        pass(INTERVAL);
        expectStep(3, 5, 1);
        push(impact(5));
        govern(Fields.IMPACT, BTC, 0, -10, 100_000, 0);
        pass(WINDOW);
        push(impact(1));
        assertEq(current(), 1);
    }

    /// @notice From a thousand dollars a step down would lead to 0, which is no scale at all; from 0 a step up to one for everybody.
    function test_push_neverTurnsTheOpenInterestScaleOnOrOff() public {
        govern(Fields.OPEN_INTEREST_SCALE, BTC, 0, 1e6, 10e6, 1e6);
        govern(Fields.OPEN_INTEREST_UPPER, BTC, 0, 0, 100_000, 2);
        limit(Fields.OPEN_INTEREST_UPPER, 100_000, 250_000, false);
        push(changes(Fields.OPEN_INTEREST_UPPER, BTC, 0, 1));
        pass(WINDOW);
        for (int32 previous = 1; previous >= 0; --previous) {
            govern(Fields.OPEN_INTEREST_UPPER, BTC, 0, 0, 100_000, previous);
            (int256 minimum,,) = steward.allowed(Fields.OPEN_INTEREST_UPPER, BTC, 0);
            assertEq(minimum, previous);
            bytes memory reason = abi.encodeWithSelector(
                IParameterSteward.ParameterStewardStep.selector,
                Fields.OPEN_INTEREST_UPPER,
                BTC,
                0,
                previous,
                1 - previous,
                0
            );
            vm.expectRevert(reason);
            schedule(changes(Fields.OPEN_INTEREST_UPPER, BTC, 0, 1 - previous));
            if (previous == 0) continue; // what rises there loosens
            vm.expectRevert(reason);
            push(changes(Fields.OPEN_INTEREST_UPPER, BTC, 0, 0));
        }
    }

    function test_push_movesOneWayOnlyIfTheOtherStepIsZero() public {
        limit(Fields.IMPACT, 100_000, 0, false);
        expectStep(1000, 999, 0);
        schedule(impact(999));
        push(impact(1100));
    }

    /// @notice 30% of what the window began with, however it is divided; then another window begins where the number is.
    function test_push_revertsIfBeyondTheBudget() public {
        push(impact(1100));
        pass(INTERVAL);
        push(impact(1200));
        pass(INTERVAL);
        (int256 minimum, int256 maximum,) = steward.allowed(Fields.IMPACT, BTC, 0);
        assertEq(minimum, 1140);
        assertEq(maximum, 1300);
        expectBudget(1301, 850, 1300, START + WINDOW);
        push(impact(1301));
        push(impact(1300));
        (int256 anchor, uint256 endsAt) = steward.windowOf(Fields.IMPACT, BTC, 0);
        assertEq(anchor, 1000);
        assertEq(endsAt, START + WINDOW);
        vm.warp(START + WINDOW - 1);
        expectBudget(1301, 850, 1300, START + WINDOW);
        push(impact(1301));
        vm.warp(START + WINDOW);
        (anchor, endsAt) = steward.windowOf(Fields.IMPACT, BTC, 0);
        assertEq(anchor, 1300);
        assertEq(endsAt, 0);
        push(impact(1430));
        (anchor, endsAt) = steward.windowOf(Fields.IMPACT, BTC, 0);
        assertEq(anchor, 1300);
        assertEq(endsAt, START + 2 * WINDOW);
    }

    function test_push_keepsABudgetDown() public {
        steward.setLooseningDelay(1 hours);
        int32[4] memory values = [int32(950), 903, 858, 850];
        for (uint256 i; i < values.length; ++i) {
            schedule(impact(values[i]));
            pass(1 hours);
            execute(impact(values[i]));
        }
        expectBudget(849, 850, 1300, START + 1 hours + WINDOW);
        schedule(impact(849));
        // By the time that it could be executed another window would have begun.
        vm.warp(START + WINDOW);
        schedule(impact(849));
    }

    /// @notice Governance may move a number beyond a window that runs; from there the steward may only move it back.
    function test_push_afterGovernanceHasMovedTheNumber() public {
        push(impact(1100));
        govern(Fields.IMPACT, BTC, 0, 10, 100_000, 2000);
        pass(INTERVAL);
        expectBudget(2001, 850, 1300, START + WINDOW);
        push(impact(2001));
    }

    // ─── Tightening at once, loosening after a delay

    function test_push_revertsIfItLoosens() public {
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardLoosens.selector, Fields.IMPACT, BTC, 0, 1000, 999)
        );
        push(impact(999));
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardLoosens.selector, Fields.CORRELATION_LOW, BTC, ETH, 0, 1
            )
        );
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, 1));
    }

    function test_push_movesWhatIsNeutralBothWays() public {
        limit(Fields.CARRY, 10_000, 10_000, true);
        govern(Fields.CARRY, BTC, 0, -1e6, 1e6, 0);
        push(changes(Fields.CARRY, BTC, 0, 5000));
        pass(INTERVAL);
        push(changes(Fields.CARRY, BTC, 0, -5000));
    }

    function test_schedule_waitsForTheDelayAndThenAnybodyExecutes() public {
        bytes32 bundle = hashOf(impact(950));
        vm.expectEmit(address(steward));
        emit IParameterSteward.BundleScheduled(
            bundle, keccak256("report"), calibrator, uint40(START + 1 days), impact(950), provenance()
        );
        schedule(impact(950));
        assertEq(current(), 1000);
        assertEq(
            abi.encode(steward.pending()),
            abi.encode(IParameterSteward.Pending(bundle, uint40(START + 1 days), uint40(START + 4 days)))
        );
        pass(1 days - 1);
        bytes memory notReady = abi.encodeWithSelector(
            IParameterSteward.ParameterStewardNotReady.selector, START + 1 days, START + 4 days
        );
        vm.expectRevert(notReady);
        execute(impact(950));
        pass(1);
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardNotPending.selector, hashOf(impact(951)))
        );
        execute(impact(951));
        vm.expectEmit(address(steward));
        emit IParameterSteward.ParametersPushed(keccak256("report"), attacker, 1);
        execute(impact(950));
        assertEq(current(), 950);
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardNotPending.selector, bundle));
        execute(impact(950));
    }

    function test_execute_revertsIfItHasExpired() public {
        schedule(impact(950));
        pass(4 days);
        uint256 state = vm.snapshot();
        execute(impact(950));
        vm.revertTo(state);
        pass(1);
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardNotReady.selector, START + 1 days, START + 4 days)
        );
        execute(impact(950));
    }

    function test_execute_checksProvenanceToo() public {
        schedule(impact(950));
        pass(1 days);
        Provenance memory other = provenance();
        other.report = keccak256("another report");
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardNotPending.selector, keccak256(abi.encode(impact(950), other))
            )
        );
        steward.execute(impact(950), other);
        steward.setMarket(keccak256("another"));
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardWrongMarket.selector, keccak256("another"), keccak256("market")
            )
        );
        execute(impact(950));
    }

    /// @notice Limits are those of the day on which it is executed.
    function test_execute_checksLimitsAgain() public {
        schedule(impact(950));
        pass(1 days - 1);
        push(impact(1001));
        pass(1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardStep.selector, Fields.IMPACT, BTC, 0, 1001, 950, 50
            )
        );
        execute(impact(950));
        limit(Fields.IMPACT, 100_000, 100_000, false);
        vm.expectRevert(
            abi.encodeWithSelector(
                IParameterSteward.ParameterStewardTooSoon.selector, Fields.IMPACT, BTC, 0, START + 1 days - 1 + INTERVAL
            )
        );
        execute(impact(950));
        limit(Fields.IMPACT, 0, 0, false);
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardNotAllowed.selector, Fields.IMPACT));
        execute(impact(950));
    }

    function test_schedule_takesThePlaceOfWhatWaits() public {
        schedule(impact(950));
        pass(1 days);
        schedule(impact(960));
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardNotPending.selector, hashOf(impact(950)))
        );
        execute(impact(950));
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardNotReady.selector, START + 2 days, START + 5 days)
        );
        execute(impact(960));
    }

    function test_veto_dropsWhatWaits() public {
        schedule(impact(950));
        bytes32 bundle = hashOf(impact(950));
        vm.expectEmit(address(steward));
        emit IParameterSteward.BundleVetoed(bundle, guardian);
        vm.prank(guardian);
        steward.veto();
        assertEq(steward.pending().bundle, 0);
        pass(1 days);
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardNotPending.selector, bundle));
        execute(impact(950));
        vm.prank(guardian);
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardNotPending.selector, bytes32(0)));
        steward.veto();
    }

    // ─── Freezes

    function test_freezeField_barsItEverywhere() public {
        vm.expectEmit(address(steward));
        emit IParameterSteward.FieldFrozen(Fields.IMPACT, true);
        vm.prank(guardian);
        steward.freezeField(Fields.IMPACT);
        assertTrue(steward.isFrozen(Fields.IMPACT, ETH));
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardFrozen.selector, Fields.IMPACT, BTC));
        push(impact(1001));
        (int256 minimum, int256 maximum,) = steward.allowed(Fields.IMPACT, BTC, 0);
        assertGt(minimum, maximum);
        // The calibration is alive all the same, and other numbers move.
        push(impact(1000));
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, -1));
        vm.expectEmit(address(steward));
        emit IParameterSteward.FieldFrozen(Fields.IMPACT, false);
        steward.unfreezeField(Fields.IMPACT);
        push(impact(1001));
    }

    function test_freezeMarket_barsItsNumbersAndItsPairs() public {
        vm.expectEmit(address(steward));
        emit IParameterSteward.MarketFrozen(ETH, true);
        vm.prank(guardian);
        steward.freezeMarket(ETH);
        assertTrue(steward.isFrozen(Fields.IMPACT, ETH));
        assertFalse(steward.isFrozen(Fields.IMPACT, BTC));
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardFrozen.selector, Fields.IMPACT, ETH));
        push(changes(Fields.IMPACT, ETH, 0, 1001));
        vm.expectRevert(
            abi.encodeWithSelector(IParameterSteward.ParameterStewardFrozen.selector, Fields.CORRELATION_LOW, BTC)
        );
        push(changes(Fields.CORRELATION_LOW, BTC, ETH, -1));
        push(impact(1001));
        vm.expectEmit(address(steward));
        emit IParameterSteward.MarketFrozen(ETH, false);
        steward.unfreezeMarket(ETH);
        push(changes(Fields.IMPACT, ETH, 0, 1001));
    }

    function test_freeze_barsWhatIsScheduled() public {
        schedule(impact(950));
        pass(1 days);
        vm.prank(guardian);
        steward.freezeMarket(BTC);
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardFrozen.selector, Fields.IMPACT, BTC));
        execute(impact(950));
    }

    // ─── What a bundle is

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
        schedule(changes(Fields.CORRELATION_LOW, BTC, ETH, 10_001));
        pass(1 days);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRiskParameters.RiskParametersInconsistent.selector,
                Fields.CORRELATION_LOW,
                Fields.CORRELATION_HIGH,
                BTC,
                ETH
            )
        );
        execute(changes(Fields.CORRELATION_LOW, BTC, ETH, 10_001));
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
        vm.expectRevert(IParameterSteward.ParameterStewardNoProvenance.selector);
        steward.schedule(impact(1100), from);
    }

    /// @notice A calibration that finds everything as it should be says so.
    function test_push_ofNothingSaysThatTheCalibrationIsAlive() public {
        pass(20 days);
        assertGt(riskParameters.ageMultiplier(), 1e6);
        push(new ParameterChange[](0));
        assertEq(riskParameters.ageMultiplier(), 1e6);
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

    /// @notice BOUNDS: whatever a calibrator sends and when, each number stays within bounds, moves by a step at most, once an
    /// interval, up alone, and no further in a window than its budget; and what `allowed` says is what a push accepts.
    function testFuzz_push_keepsBoundsStepsAndBudgets(int32[16] calldata values, uint16[16] calldata gaps) public {
        uint256 movedAt;
        uint256 windowAt;
        int256 anchor;
        for (uint256 i; i < values.length; ++i) {
            pass(gaps[i] % (4 * INTERVAL));
            int256 previous = current();
            // Most of them near the present value, where the limits are.
            int32 value = i % 4 == 0 ? values[i] : int32(previous + int256(values[i]) % (previous / 8 + 2));
            (int256 minimum, int256 maximum, uint256 allowedAt) = steward.allowed(Fields.IMPACT, BTC, 0);
            bool admitted = value == previous
                || (value > previous && value >= minimum && value <= maximum && vm.getBlockTimestamp() >= allowedAt);
            vm.prank(calibrator);
            try steward.push(impact(value), provenance()) {
                assertTrue(admitted);
                assertEq(current(), value);
            } catch {
                assertFalse(admitted);
                assertEq(current(), previous);
            }
            int256 moved = current();
            assertLe(moved, 100_000);
            assertGe(moved, previous);
            assertLe((moved - previous) * 1_000_000, previous * 100_000 + 1_000_000);
            if (moved == previous) continue;
            if (movedAt != 0) assertGe(vm.getBlockTimestamp() - movedAt, INTERVAL);
            movedAt = vm.getBlockTimestamp();
            if (windowAt == 0 || movedAt >= windowAt + WINDOW) (windowAt, anchor) = (movedAt, previous);
            assertLe(moved, anchor + FixedPoint.max(anchor * 3 / 10, 1));
        }
    }

    /// @notice Up and down at will: never out of the window's budgets, and over any time as long as a window no more than two
    /// budgets up and one down.
    function testFuzz_execute_noTimeAsLongAsAWindowHasMoreThanThreeBudgets(
        int32[24] calldata values,
        uint16[24] calldata gaps
    ) public {
        limit(Fields.CARRY, 10_000, 10_000, true);
        govern(Fields.CARRY, BTC, 0, -1e6, 1e6, 0);
        uint256[25] memory times;
        int256[25] memory path;
        times[0] = START;
        for (uint256 i; i < values.length; ++i) {
            pass(INTERVAL + gaps[i] % (6 * INTERVAL));
            int256 value = path[i] + int256(values[i]) % 10_001;
            (int256 minimum, int256 maximum,) = steward.allowed(Fields.CARRY, BTC, 0);
            // Greedily as far as it goes where it would go too far.
            value = FixedPoint.min(FixedPoint.max(value, minimum), maximum);
            push(changes(Fields.CARRY, BTC, 0, int32(value)));
            (times[i + 1], path[i + 1]) = (vm.getBlockTimestamp(), value);
            (int256 anchor, uint256 endsAt) = steward.windowOf(Fields.CARRY, BTC, 0);
            if (endsAt != 0) assertLe(FixedPoint.dist(value, anchor), 30_000);
            for (uint256 j; j <= i; ++j) {
                if (times[i + 1] - times[j] < WINDOW) assertLe(FixedPoint.dist(value, path[j]), 90_000);
            }
        }
    }

    function test_set_emitsAndReads() public {
        IParameterSteward.Limits memory limits = IParameterSteward.Limits(1, 2, 3, true, 4, 5, 6);
        vm.expectEmit(address(steward));
        emit IParameterSteward.LimitsSet(Fields.OFFSET, limits);
        steward.setLimits(Fields.OFFSET, limits);
        assertEq(abi.encode(steward.limitsOf(Fields.OFFSET)), abi.encode(limits));
        vm.expectEmit(address(steward));
        emit IParameterSteward.MarketSet(keccak256("another"));
        steward.setMarket(keccak256("another"));
        assertEq(steward.market(), keccak256("another"));
    }

    function test_setLooseningDelay_setsWithinItsBounds() public {
        assertEq(steward.looseningDelay(), 1 days);
        for (uint256 i; i < 2; ++i) {
            uint32 wrong = i == 0 ? 1 hours - 1 : 14 days + 1;
            vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardBadDelay.selector, wrong));
            steward.setLooseningDelay(wrong);
            uint32 right = i == 0 ? 1 hours : 14 days;
            vm.expectEmit(address(steward));
            emit IParameterSteward.LooseningDelaySet(right);
            steward.setLooseningDelay(right);
            assertEq(steward.looseningDelay(), right);
        }
    }

    function test_setLimits_revertsIfTheyWouldBindNothing() public {
        IParameterSteward.Limits[6] memory wrong = [
            IParameterSteward.Limits(1, 0, 0, false, 1, 0, 1), // no interval
            IParameterSteward.Limits(1, 0, 2, false, 1, 0, 1), // a window shorter than the interval
            IParameterSteward.Limits(1, 0, 1, false, 0, 0, 1), // no budget for a step
            IParameterSteward.Limits(0, 1, 1, false, 0, 0, 1),
            IParameterSteward.Limits(1, 0, 1, false, 1, 1, 1), // a budget without a step
            IParameterSteward.Limits(0, 1, 1, false, 1, 1, 1)
        ];
        for (uint256 i; i < wrong.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardBadLimits.selector, Fields.IMPACT));
            steward.setLimits(Fields.IMPACT, wrong[i]);
        }
        steward.setLimits(Fields.IMPACT, IParameterSteward.Limits(0, 0, 0, false, 0, 0, 0));
    }

    function test_everything_revertsIfNotAuthorised() public {
        IParameterSteward.Reference memory portfolio;
        bytes[11] memory calls = [
            abi.encodeCall(steward.push, (impact(1100), provenance())),
            abi.encodeCall(steward.schedule, (impact(1100), provenance())),
            abi.encodeCall(steward.veto, ()),
            abi.encodeCall(steward.freezeField, (Fields.IMPACT)),
            abi.encodeCall(steward.freezeMarket, (BTC)),
            abi.encodeCall(steward.unfreezeField, (Fields.IMPACT)),
            abi.encodeCall(steward.unfreezeMarket, (BTC)),
            abi.encodeCall(steward.setLimits, (Fields.IMPACT, IParameterSteward.Limits(1, 1, 1, true, 1, 1, 1))),
            abi.encodeCall(steward.setMarket, (0)),
            abi.encodeCall(steward.setLooseningDelay, (1 days)),
            abi.encodeCall(steward.setReference, (0, portfolio))
        ];
        address[3] memory whom = [attacker, calibrator, guardian];
        for (uint256 i; i < calls.length; ++i) {
            for (uint256 j; j < whom.length; ++j) {
                // The calibrator may do the first two, the guardian the next three.
                if (j == 1 && i < 2 || j == 2 && i >= 2 && i < 5) continue;
                vm.prank(whom[j]);
                (bool through, bytes memory answer) = address(steward).call(calls[i]);
                assertFalse(through);
                assertEq(answer, abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, whom[j]));
            }
        }
        vm.prank(attacker);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker));
        steward.setReferenceMargin(IReferenceMargin(address(0)));
    }
}
