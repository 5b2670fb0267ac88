// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import { Oracles } from "../support/Oracles.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { ParameterChange, Provenance } from "contracts/types/ParameterChange.sol";

/// @notice What is made of the numbers on their way from where they were to where they are pushed: ramps, coverage, age.
contract RiskParametersInForceTest is Oracles {
    uint16 private constant ETH = 2;
    uint16 private constant SOL = 3;
    uint256 private constant RAMP = 6 hours;

    function setUp() public override {
        super.setUp();
        set(Fields.TAIL_INITIAL, BTC, 0, 3e6);
        set(Fields.TAIL_MAINTENANCE, BTC, 0, 4e6);
        set(Fields.MULTIPLIER, 0, 0, 1.1e6);
        set(Fields.IMPACT, BTC, 0, 1000);
    }

    function push(Field field, uint16 underlying, uint16 other, int32 value) private {
        riskParameters.applyBundle(changes(field, underlying, other, value), provenance());
    }

    function inForce(Field field) private view returns (int256) {
        return riskParameters.inForce(field, BTC, 0);
    }

    function snapshotWord(uint256 slot) private view returns (uint256) {
        uint16[] memory ids = new uint16[](1);
        ids[0] = BTC;
        (, uint256[] memory words,) = riskParameters.snapshot(ids, true);
        return words[slot];
    }

    // ─── Ramps

    /// @notice PUSH.
    function test_applyBundle_movesInitialMarginAtOnceAndTheRestAlongARamp() public {
        push(Fields.TAIL_INITIAL, BTC, 0, 6e6);
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 10e6);
        assertEq(inForce(Fields.TAIL_INITIAL), 6e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 4e6);
        assertEq(riskParameters.get(Fields.TAIL_MAINTENANCE, BTC, 0), 10e6);
        assertEq(Fields.TAIL_MAINTENANCE.read(snapshotWord(0)), 4e6);
        pass(RAMP / 3);
        assertEq(inForce(Fields.TAIL_INITIAL), 6e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 6e6);
        assertEq(Fields.TAIL_MAINTENANCE.read(snapshotWord(0)), 6e6);
        (uint256 live, uint256 maintenance,) = riskParameters.levelWordsOf(BTC);
        assertEq(Fields.TAIL_MAINTENANCE.read(live), 10e6);
        assertEq(maintenance, snapshotWord(0));
        pass(RAMP - RAMP / 3);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 10e6);
    }

    function test_applyBundle_goesOnFromWhereARampIs() public {
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 10e6);
        pass(RAMP / 2);
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 1e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 7e6);
        assertEq(riskParameters.rampOf(Fields.TAIL_MAINTENANCE, BTC, 0).startedAt, START + RAMP / 2);
        pass(RAMP / 2);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 4e6);
        pass(RAMP / 2);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 1e6);
    }

    /// @notice Numbers of one word share a ramp; those of another go their own way.
    function test_applyBundle_beginsTheWholeWordAnew() public {
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 10e6);
        push(Fields.IMPACT, BTC, 0, 2000);
        pass(RAMP / 2);
        push(Fields.VOLATILITY_RISE_RATE, BTC, 0, 0.6e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 7e6);
        pass(RAMP / 2);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 8.5e6);
        assertEq(inForce(Fields.VOLATILITY_RISE_RATE), 0.45e6);
        assertEq(inForce(Fields.IMPACT), 2000);
    }

    /// @notice There is nowhere to come from, be another number of the word on its way or not.
    function test_applyBundle_setsTheFirstValueAtOnce() public {
        set(Fields.HALF_SPREAD, ETH, 0, 300);
        assertEq(riskParameters.inForce(Fields.HALF_SPREAD, ETH, 0), 300);
        riskParameters.setBounds(Fields.HALF_SPREAD, IRiskParameters.Bounds(0, 1000));
        riskParameters.setBounds(Fields.CARRY, IRiskParameters.Bounds(-1000, 1000));
        push(Fields.IMPACT, BTC, 0, 2000);
        pass(RAMP / 2);
        push(Fields.HALF_SPREAD, BTC, 0, 300);
        push(Fields.CARRY, BTC, 0, -500);
        assertEq(inForce(Fields.HALF_SPREAD), 300);
        assertEq(inForce(Fields.CARRY), -500);
        assertEq(inForce(Fields.IMPACT), 1500);
    }

    /// @notice Whatever is pushed and when: in the block of a push what is in force along a ramp is what it was just before.
    function testFuzz_applyBundle_movesNothingInItsBlock(int32[12] memory values, uint16[12] memory gaps) public {
        Field[4] memory fields =
            [Fields.TAIL_MAINTENANCE, Fields.VOLATILITY_RISE_RATE, Fields.REALISED_WEIGHT, Fields.IMPACT];
        for (uint256 i; i < values.length; ++i) {
            pass(gaps[i] % (RAMP * 3 / 2));
            (uint256 word, uint256 word1) = (snapshotWord(0), snapshotWord(1));
            int32 value = int32(int256(bound(uint256(int256(values[i])), 1, 2e9)));
            push(fields[i % 4], BTC, 0, value);
            assertEq(snapshotWord(0), word);
            assertEq(snapshotWord(1), word1);
        }
        pass(RAMP);
        for (uint256 i = 8; i < 12; ++i) {
            assertEq(inForce(fields[i % 4]), riskParameters.get(fields[i % 4], BTC, 0));
        }
    }

    function test_setRampDuration_bindsTheNextRamp() public {
        push(Fields.IMPACT, BTC, 0, 2000);
        vm.expectEmit(address(riskParameters));
        emit IRiskParameters.RampDurationSet(1 hours);
        riskParameters.setRampDuration(1 hours);
        (, uint256 duration,,,) = riskParameters.status();
        assertEq(duration, 1 hours);
        pass(RAMP / 2);
        assertEq(inForce(Fields.IMPACT), 1500);
        push(Fields.IMPACT, BTC, 0, 2500);
        pass(30 minutes);
        assertEq(inForce(Fields.IMPACT), 2000);
        for (uint256 i; i < 2; ++i) {
            uint32 wrong = i == 0 ? 15 minutes - 1 : 7 days + 1;
            vm.expectRevert(abi.encodeWithSelector(IRiskParameters.RiskParametersBadRamp.selector, wrong));
            riskParameters.setRampDuration(wrong);
            riskParameters.setRampDuration(i == 0 ? 15 minutes : 7 days);
        }
    }

    // ─── Age

    /// @notice 14 days of grace, then 5% a day, up to 150%; a bundle with a report ends it, one without does not.
    function test_ageMultiplier_risesBySchedule() public {
        push(Fields.IMPACT, BTC, 0, 1000);
        pass(14 days);
        assertEq(riskParameters.ageMultiplier(), 1e6);
        pass(12 hours);
        assertEq(riskParameters.ageMultiplier(), 1.025e6);
        pass(1);
        assertEq(riskParameters.ageMultiplier(), 1.025e6 + 1, "rounded up");
        pass(12 hours - 1);
        // 1.1 times 1.05, in what margin reads; the number that was pushed is what it was.
        assertEq(riskParameters.inForce(Fields.MULTIPLIER, 0, 0), 1.155e6);
        (uint256 common,,) = riskParameters.snapshot(new uint16[](0), false);
        assertEq(Fields.MULTIPLIER.read(common), 1.155e6);
        assertEq(riskParameters.get(Fields.MULTIPLIER, 0, 0), 1.1e6);
        pass(9 days);
        assertEq(riskParameters.ageMultiplier(), 1.5e6);
        pass(1000 days);
        assertEq(riskParameters.ageMultiplier(), 1.5e6);
        Provenance memory none;
        riskParameters.applyBundle(changes(Fields.IMPACT, BTC, 0, 1001), none);
        assertEq(riskParameters.ageMultiplier(), 1.5e6);
        riskParameters.applyBundle(new ParameterChange[](0), provenance());
        assertEq(riskParameters.ageMultiplier(), 1e6);
        (uint256 calibratedAt,,,,) = riskParameters.status();
        assertEq(calibratedAt, vm.getBlockTimestamp());
    }

    function testFuzz_ageMultiplier_neverFallsWithTime(uint256 one, uint256 other) public {
        (one, other) = (one % 40 days, other % 40 days);
        if (one > other) (one, other) = (other, one);
        vm.warp(START + one);
        uint256 earlier = riskParameters.ageMultiplier();
        vm.warp(START + other);
        assertGe(riskParameters.ageMultiplier(), earlier);
        // Slowly, too: 5% a day.
        assertLe(riskParameters.ageMultiplier() - earlier, (other - one) * 50_000 / 1 days + 1);
    }

    function test_setAgeSchedule_mayNotRaiseWhatIsInForce() public {
        push(Fields.IMPACT, BTC, 0, 1000);
        vm.expectEmit(address(riskParameters));
        emit IRiskParameters.AgeScheduleSet(7 days, 100_000, 2_000_000);
        riskParameters.setAgeSchedule(7 days, 100_000, 2_000_000);
        (,, uint256 grace, uint256 rate, uint256 cap) = riskParameters.status();
        assertEq(grace, 7 days);
        assertEq(rate, 100_000);
        assertEq(cap, 2_000_000);
        pass(8 days);
        assertEq(riskParameters.ageMultiplier(), 1.1e6);
        expectBadSchedule(7 days - 1, 100_000, 2_000_000);
        expectBadSchedule(7 days, 100_001, 2_000_000);
        riskParameters.setAgeSchedule(7 days, 50_000, 3_000_000);
        expectBadSchedule(1 days - 1, 0, 1_000_000);
        expectBadSchedule(1 days, 0, 999_999);
        expectBadSchedule(1 days, 0, 10_000_001);
    }

    function expectBadSchedule(uint32 grace, uint32 rate, uint32 cap) private {
        vm.expectRevert(abi.encodeWithSelector(IRiskParameters.RiskParametersBadAgeSchedule.selector, grace, rate, cap));
        riskParameters.setAgeSchedule(grace, rate, cap);
    }

    // ─── Coverage

    function test_setCoverage_scalesTheTails() public {
        vm.expectEmit(address(riskParameters));
        emit IRiskParameters.CoverageSet(BTC, 1.25e6, 1_333_333);
        riskParameters.setCoverage(BTC, 1.25e6, 1_333_333);
        assertEq(inForce(Fields.TAIL_INITIAL), 3.75e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 4e6);
        assertEq(riskParameters.get(Fields.TAIL_INITIAL, BTC, 0), 3e6);
        assertEq(riskParameters.get(Fields.TAIL_MAINTENANCE, BTC, 0), 4e6);
        pass(RAMP);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 5_333_332);

        // What is pushed then is scaled too, rounded up.
        push(Fields.TAIL_INITIAL, BTC, 0, 3_000_001);
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 2_000_001);
        assertEq(inForce(Fields.TAIL_INITIAL), 3_750_002);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 5_333_332);
        pass(RAMP);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 2_666_668);
        assertEq(riskParameters.get(Fields.TAIL_MAINTENANCE, BTC, 0), 2_000_001);
        assertEq(
            abi.encode(riskParameters.coverageOf(BTC)),
            abi.encode(IRiskParameters.Coverage(1.25e6, 1_333_333, 3_000_001, 2_000_001))
        );

        riskParameters.setCoverage(BTC, 1e6, 1e6);
        pass(RAMP);
        assertEq(inForce(Fields.TAIL_INITIAL), 3_000_001);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 2_000_001);
    }

    /// @notice A number that is pushed as it was is no change, scaled or not.
    function test_setCoverage_makesNoChangeOfTheSameTail() public {
        riskParameters.setCoverage(BTC, 2e6, 2e6);
        pass(RAMP);
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 4e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 8e6);
        assertEq(riskParameters.rampOf(Fields.TAIL_MAINTENANCE, BTC, 0).startedAt, START);
    }

    /// @notice Nothing along the ramp begins anew because initial margin is scaled.
    function test_setCoverage_ofTheInitialTailAloneLeavesTheRamp() public {
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 6e6);
        pass(RAMP / 2);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 5e6);
        riskParameters.setCoverage(BTC, 1.5e6, 1e6);
        assertEq(inForce(Fields.TAIL_INITIAL), 4.5e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 5e6);
        pass(RAMP / 2);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), 6e6);
    }

    function testFuzz_setCoverage_andPushesInAnyOrder(uint32[4] memory scales, int32[2] memory tails, bool first)
        public
    {
        for (uint256 i; i < 4; ++i) {
            scales[i] = uint32(bound(scales[i], 1e6, 2e6));
        }
        (tails[0], tails[1]) =
        (int32(int256(bound(uint32(tails[0]), 1, 15e6))), int32(int256(bound(uint32(tails[1]), 1, 15e6))));
        if (first) riskParameters.setCoverage(BTC, scales[0], scales[1]);
        push(Fields.TAIL_INITIAL, BTC, 0, tails[0]);
        riskParameters.setCoverage(BTC, scales[2], scales[3]);
        push(Fields.TAIL_MAINTENANCE, BTC, 0, tails[1]);
        pass(RAMP);
        assertEq(riskParameters.get(Fields.TAIL_INITIAL, BTC, 0), tails[0]);
        assertEq(riskParameters.get(Fields.TAIL_MAINTENANCE, BTC, 0), tails[1]);
        assertEq(inForce(Fields.TAIL_INITIAL), (int256(tails[0]) * int256(uint256(scales[2])) + 999_999) / 1e6);
        assertEq(inForce(Fields.TAIL_MAINTENANCE), (int256(tails[1]) * int256(uint256(scales[3])) + 999_999) / 1e6);
    }

    function test_setCoverage_revertsIfOutOfRange() public {
        uint32[2][4] memory wrong =
            [[uint32(999_999), 1e6], [uint32(1e6), 999_999], [uint32(2_000_001), 1e6], [uint32(1e6), 2_000_001]];
        for (uint256 i; i < wrong.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IRiskParameters.RiskParametersBadCoverage.selector, BTC, wrong[i][0], wrong[i][1]
                )
            );
            riskParameters.setCoverage(BTC, wrong[i][0], wrong[i][1]);
        }
    }

    function test_setCoverage_revertsIfTheTailDoesNotFit() public {
        push(Fields.TAIL_INITIAL, BTC, 0, type(int32).max);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRiskParameters.RiskParametersTailTooLarge.selector, type(int32).max, uint32(1_000_001)
            )
        );
        riskParameters.setCoverage(BTC, 1_000_001, 1e6);
    }

    // ─── At target

    function test_measureAtTarget_leavesOutRampsAndAge() public {
        push(Fields.TAIL_MAINTENANCE, BTC, 0, 10e6);
        riskParameters.setRampDuration(7 days);
        riskParameters.setAgeSchedule(1 days, 100_000, 2e6);
        push(Fields.IMPACT, BTC, 0, 2000);
        pass(3 days);
        riskParameters.measureAtTarget(true);
        assertEq(Fields.TAIL_MAINTENANCE.read(snapshotWord(0)), 10e6);
        assertEq(Fields.IMPACT.read(snapshotWord(1)), 2000);
        (uint256 common,,) = riskParameters.snapshot(new uint16[](0), false);
        assertEq(Fields.MULTIPLIER.read(common), 1.1e6);
        (uint256 live, uint256 maintenance,) = riskParameters.levelWordsOf(BTC);
        assertEq(live, maintenance);
        riskParameters.measureAtTarget(false);
        assertLt(Fields.IMPACT.read(snapshotWord(1)), 1500);
        (common,,) = riskParameters.snapshot(new uint16[](0), false);
        assertEq(Fields.MULTIPLIER.read(common), 1.32e6);
    }

    // ─── Correlations

    function correlate(uint16 a, uint16 b, int32 low, int32 high) private {
        ParameterChange[] memory list = new ParameterChange[](2);
        list[0] = ParameterChange(Fields.CORRELATION_LOW, a, b, low);
        list[1] = ParameterChange(Fields.CORRELATION_HIGH, a, b, high);
        riskParameters.applyBundle(list, provenance());
    }

    function _three() private {
        riskParameters.setBounds(Fields.CORRELATION_LOW, IRiskParameters.Bounds(-1e6, 1e6));
        riskParameters.setBounds(Fields.CORRELATION_HIGH, IRiskParameters.Bounds(-1e6, 1e6));
        // In no order.
        set(Fields.TAIL_INITIAL, SOL, 0, 3e6);
        set(Fields.TAIL_INITIAL, ETH, 0, 3e6);
        ParameterChange[] memory list = new ParameterChange[](6);
        for (uint256 i; i < 3; ++i) {
            (uint16 a, uint16 b) = (i == 2 ? ETH : BTC, i == 0 ? ETH : SOL);
            list[2 * i] = ParameterChange(Fields.CORRELATION_LOW, a, b, 0.5e6);
            list[2 * i + 1] = ParameterChange(Fields.CORRELATION_HIGH, a, b, 0.9e6);
        }
        riskParameters.applyBundle(list, provenance());
    }

    function test_applyBundle_revertsIfTheCorrelationsCannotBe() public {
        _three();
        uint16[] memory ids = riskParameters.underlyings();
        assertEq(ids.length, 3);
        // Both close to BTC, and not to each other: 1 + 2abc − a² − b² − c² < 0.
        vm.expectRevert(
            abi.encodeWithSelector(
                IRiskParameters.RiskParametersNotPositiveDefinite.selector, Fields.CORRELATION_HIGH, ETH
            )
        );
        correlate(ETH, SOL, 0.5e6, 0.6e6);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRiskParameters.RiskParametersNotPositiveDefinite.selector, Fields.CORRELATION_LOW, ETH
            )
        );
        correlate(ETH, SOL, -0.6e6, 0.9e6);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRiskParameters.RiskParametersNotPositiveDefinite.selector, Fields.CORRELATION_HIGH, SOL
            )
        );
        correlate(BTC, SOL, 0.5e6, 1e6);
        correlate(ETH, SOL, 0.5e6, 0.7e6);
    }

    /// @notice Whatever is pushed and when, the matrices in force are positive definite: their determinants are above zero on
    /// the way, too.
    function testFuzz_applyBundle_keepsTheMatricesInForcePositiveDefinite(
        int256[12] memory values,
        uint16[12] memory gaps
    ) public {
        _three();
        for (uint256 i; i < values.length; ++i) {
            (uint16 a, uint16 b) = i % 3 == 0 ? (BTC, ETH) : i % 3 == 1 ? (BTC, SOL) : (ETH, SOL);
            int32 high = int32(values[i] % 1e6);
            ParameterChange[] memory list = new ParameterChange[](2);
            list[0] = ParameterChange(Fields.CORRELATION_LOW, a, b, high < 0.5e6 ? high : int32(0.5e6));
            list[1] = ParameterChange(Fields.CORRELATION_HIGH, a, b, high);
            try riskParameters.applyBundle(list, provenance()) { } catch { }
            for (uint256 j; j < 3; ++j) {
                pass(gaps[i] % (RAMP / 2));
                assertGt(determinant(Fields.CORRELATION_LOW), 0);
                assertGt(determinant(Fields.CORRELATION_HIGH), 0);
            }
        }
    }

    /// @notice Correlations that come down together do so in step, even where one is pushed again and again: left behind at 0.72
    /// while the other arrives at 0.3, the two would contradict each other.
    function test_applyBundle_keepsPairsInStep() public {
        _three();
        correlate(BTC, ETH, 0, 0.95e6);
        correlate(ETH, SOL, 0, 0.85e6);
        pass(RAMP);
        correlate(BTC, ETH, 0, 0.6e6);
        correlate(ETH, SOL, 0, 0.3e6);
        for (int32 i; i < 6; ++i) {
            correlate(BTC, ETH, 0, 0.6e6 + i % 2);
            pass(1 hours);
            assertGt(determinant(Fields.CORRELATION_HIGH), 0);
        }
        pass(RAMP);
        assertEq(riskParameters.inForce(Fields.CORRELATION_HIGH, ETH, SOL), 0.3e6);
    }

    /// @dev Times 1e18.
    function determinant(Field field) private view returns (int256) {
        int256 a = riskParameters.inForce(field, BTC, ETH);
        int256 b = riskParameters.inForce(field, BTC, SOL);
        int256 c = riskParameters.inForce(field, ETH, SOL);
        return 1e18 + 2 * a * b * c - (a * a + b * b + c * c) * 1e6;
    }

    function test_everything_revertsIfNotAuthorised() public {
        bytes memory unauthorised = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker);
        vm.startPrank(attacker);
        vm.expectRevert(unauthorised);
        riskParameters.setCoverage(BTC, 1e6, 1e6);
        vm.expectRevert(unauthorised);
        riskParameters.measureAtTarget(true);
        vm.expectRevert(unauthorised);
        riskParameters.setRampDuration(1 hours);
        vm.expectRevert(unauthorised);
        riskParameters.setAgeSchedule(1 days, 0, 1e6);
    }
}
