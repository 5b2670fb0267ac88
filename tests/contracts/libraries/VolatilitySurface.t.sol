// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { VolatilitySurface } from "contracts/libraries/VolatilitySurface.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Test } from "forge-std/Test.sol";

/// @notice Domain, shape and refusals. tests/unit/test_option_math.py has the accuracy, against the formulas in floats.
contract VolatilitySurfaceTest is Test {
    using VolatilitySurface for VolatilitySurface.Slice;

    uint256 private constant WAD = 1e18;
    uint16 private constant UNDERLYING = 7;

    /// @dev A smile of a crypto underlying with its shocks.
    function _word() private pure returns (uint256 word) {
        word = Fields.SURFACE_RHO.write(word, -300_000);
        word = Fields.SURFACE_ETA.write(word, 800_000);
        word = Fields.SURFACE_GAMMA.write(word, 400_000);
        word = Fields.TERM_RATIO.write(word, 1_100_000);
        word = Fields.TERM_SPEED.write(word, 2_000_000);
        word = Fields.VOLATILITY_SHOCK_INITIAL.write(word, 350_000);
        word = Fields.VOLATILITY_SHOCK_MAINTENANCE.write(word, 250_000);
        word = Fields.VOLATILITY_SHOCK_EXPONENT.write(word, 300_000);
    }

    /// @dev Floor and cap of the level.
    function _levels(int32 floor, int32 cap) private pure returns (uint256) {
        return Fields.VOLATILITY_CAP.write(Fields.VOLATILITY_FLOOR.write(0, floor), cap);
    }

    function check(uint256 word0, uint256 word3) external pure {
        VolatilitySurface.requireArbitrageFree(UNDERLYING, word0, word3);
    }

    // ─── Smile

    function test_slice_atThirtyDaysIsTheLevel() public pure {
        VolatilitySurface.Slice memory smile = VolatilitySurface.slice(0.6e18, 30 days, _word());
        assertApproxEqRel(smile.theta, 0.36e36 * uint256(30) / 365, 10);
        assertEq(smile.rho, -0.3e18);
        // At the money SSVI is θ.
        assertApproxEqRel(smile.deviation(0) * smile.deviation(0), smile.theta, 100);
    }

    function testFuzz_deviation_isPositiveAllOverTheDomain(
        uint256 level,
        uint256 time,
        int256 k,
        int256 rho,
        uint256 numbers
    ) public pure {
        level = bound(level, 0.001e18, 20e18);
        time = bound(time, 1, 3650 days);
        k = bound(k, -100e18, 100e18);
        uint256 word = Fields.SURFACE_RHO.write(0, int32(bound(rho, -999_999, 999_999)));
        word = Fields.SURFACE_ETA.write(word, int32(uint32(bound(numbers & 0xffffffff, 1, 2 ** 31 - 1))));
        word = Fields.SURFACE_GAMMA.write(word, int32(uint32(bound(numbers >> 32 & 0xffffffff, 1, 500_000))));
        word = Fields.TERM_RATIO.write(word, int32(uint32(bound(numbers >> 64 & 0xffffffff, 1, 2 ** 31 - 1))));
        word = Fields.TERM_SPEED.write(word, int32(uint32(bound(numbers >> 96 & 0xffffffff, 0, 2 ** 31 - 1))));
        assertGt(VolatilitySurface.slice(level, time, word).deviation(k), 0);
    }

    /// @notice A surface that was never set has no smile, and still prices.
    function testFuzz_deviation_isTheLevelWhereNoSurfaceIsSet(uint256 level, uint256 time, int256 k) public pure {
        level = bound(level, 0.001e18, 20e18);
        time = bound(time, 1, 3650 days);
        VolatilitySurface.Slice memory smile = VolatilitySurface.slice(level, time, 0);
        assertApproxEqRel(smile.deviation(bound(k, -100e18, 100e18)) ** 2, level * level * time / 365 days, 1e10);
    }

    function testFuzz_theta_neverFallsWithTime(uint256 time, uint256 later, uint256 ratio, uint256 speed) public pure {
        time = bound(time, 1, 3650 days);
        later = bound(later, time, 3650 days);
        uint256 word = Fields.TERM_RATIO.write(_word(), int32(uint32(bound(ratio, 1, 10e6))));
        word = Fields.TERM_SPEED.write(word, int32(uint32(bound(speed, 0, 2 ** 31 - 1))));
        uint256 theta = VolatilitySurface.slice(0.6e18, time, word).theta;
        assertGe(VolatilitySurface.slice(0.6e18, later, word).theta + theta / 1e13, theta);
    }

    /// @notice The upper node of a surface that passes: total variance under the shock never falls with time, at strikes
    /// from a tenth to ten times the forward and any level between floor and cap.
    function testFuzz_shockedVariance_neverFallsWithTime(uint256 level, uint256 time, uint256 later, int256 k)
        public
        view
    {
        this.check(_levels(250_000, 5_000_000), _word());
        level = bound(level, 0.25e18, 5e18);
        time = bound(time, 1 hours, 730 days);
        later = bound(later, time, 730 days);
        k = bound(k, -2.3e18, 2.3e18);
        uint256 shocked = _shocked(level, time, k);
        assertGe(_shocked(level, later, k) + shocked / 1e9 + 1, shocked);
    }

    function _shocked(uint256 level, uint256 time, int256 k) private pure returns (uint256) {
        uint256 f = WAD + VolatilitySurface.shock(0.35e18, 300_000, time);
        return VolatilitySurface.slice(level, time, _word()).deviation(k) * f / WAD;
    }

    function test_shock_isFlatBelowADay() public pure {
        assertEq(VolatilitySurface.shock(0.3e18, 300_000, 1), VolatilitySurface.shock(0.3e18, 300_000, 1 days));
        assertEq(VolatilitySurface.shock(0, 300_000, 1), 0);
        assertApproxEqAbs(VolatilitySurface.shock(0.3e18, 500_000, 120 days), 0.15e18, 100);
    }

    // ─── No arbitrage on push

    function test_requireArbitrageFree_passesAnUncalibratedSurface() public view {
        this.check(0, 0);
        this.check(_levels(250_000, 5_000_000), 0);
    }

    function test_requireArbitrageFree_passesOrdinarySurfaces() public view {
        this.check(_levels(250_000, 5_000_000), _word());
        this.check(_levels(250_000, 5_000_000), Fields.VOLATILITY_SHOCK_EXPONENT.write(_word(), 0));
        // An equity index: a steep skew under a lower cap.
        uint256 word = Fields.SURFACE_RHO.write(_word(), -750_000);
        this.check(_levels(80_000, 2_000_000), Fields.SURFACE_ETA.write(word, 1_000_000));
    }

    function _expectDomain(Field field, int32 value) private {
        vm.expectRevert(
            abi.encodeWithSelector(VolatilitySurface.SurfaceFieldOutOfDomain.selector, UNDERLYING, field, int256(value))
        );
        this.check(_levels(250_000, 5_000_000), field.write(_word(), value));
    }

    function test_requireArbitrageFree_revertsIfAFieldIsOutOfDomain() public {
        _expectDomain(Fields.SURFACE_RHO, 1_000_000);
        _expectDomain(Fields.SURFACE_RHO, -1_000_000);
        _expectDomain(Fields.SURFACE_ETA, 0);
        _expectDomain(Fields.SURFACE_GAMMA, 0);
        _expectDomain(Fields.SURFACE_GAMMA, 500_001);
        _expectDomain(Fields.TERM_RATIO, 0);
        _expectDomain(Fields.TERM_SPEED, -1);
        _expectDomain(Fields.VOLATILITY_SHOCK_INITIAL, -1);
        _expectDomain(Fields.VOLATILITY_SHOCK_MAINTENANCE, -1);
        _expectDomain(Fields.VOLATILITY_SHOCK_EXPONENT, -1);
        _expectDomain(Fields.VOLATILITY_SHOCK_EXPONENT, 500_001);
    }

    /// @dev The error's name, underlying and tenor; its figures are for people.
    function _expectRefusal(bytes4 selector, uint256 tenor, uint256 word0, uint256 word3) private {
        try this.check(word0, word3) {
            fail();
        } catch (bytes memory reason) {
            assertEq(bytes4(reason), selector);
            (uint16 underlying, uint256 found, uint256 value, uint256 limit) = this.read(reason);
            assertEq(underlying, UNDERLYING);
            assertEq(found, tenor);
            assertGe(value, limit);
        }
    }

    function read(bytes calldata reason) external pure returns (uint16, uint256, uint256, uint256) {
        return abi.decode(reason[4:], (uint16, uint256, uint256, uint256));
    }

    /// @dev A surface without shocks, so that only its own shape counts.
    function _unshocked(int32 rho, int32 eta, int32 gamma) private pure returns (uint256 word) {
        word = Fields.SURFACE_GAMMA.write(Fields.SURFACE_ETA.write(_word(), eta), gamma);
        word = Fields.VOLATILITY_SHOCK_INITIAL.write(Fields.SURFACE_RHO.write(word, rho), 0);
        word = Fields.VOLATILITY_SHOCK_MAINTENANCE.write(word, 0);
    }

    /// @notice θφ(1 + |ρ|) goes to η·(1 + |ρ|) = 4.75 for long options: too steep from where θ/(1 + θ) is 0.83 on.
    function test_requireArbitrageFree_revertsIfAWingIsTooSteep() public {
        uint256 word = _unshocked(-900_000, 2_500_000, 100_000);
        this.check(_levels(250_000, 2_000_000), Fields.SURFACE_ETA.write(word, 2_100_000));
        _expectRefusal(VolatilitySurface.SurfaceWingTooSteep.selector, 90 days, _levels(250_000, 5_000_000), word);
    }

    /// @notice θφ² is largest at θ = 1 − 2γ, which here lies between the floor and the cap: neither end shows it.
    function test_requireArbitrageFree_revertsIfTooCurvedBetweenFloorAndCap() public {
        uint256 word = _unshocked(-300_000, 2_900_000, 250_000);
        this.check(_levels(250_000, 250_001), word);
        this.check(_levels(20_000_000, 20_000_001), word);
        _expectRefusal(VolatilitySurface.SurfaceTooCurved.selector, 1 days, _levels(250_000, 20_000_000), word);
    }

    /// @notice The shock makes a smile too curved that is not so without it, at whichever horizon it is larger.
    function test_requireArbitrageFree_revertsIfTooCurvedUnderTheShock() public {
        uint256 word = Fields.SURFACE_ETA.write(_word(), 1_100_000);
        uint256 levels = _levels(250_000, 5_000_000);
        this.check(levels, word);
        bytes4 selector = VolatilitySurface.SurfaceTooCurved.selector;
        _expectRefusal(selector, 1 days, levels, Fields.VOLATILITY_SHOCK_INITIAL.write(word, 1_000_000));
        _expectRefusal(selector, 1 days, levels, Fields.VOLATILITY_SHOCK_MAINTENANCE.write(word, 1_000_000));
    }

    function test_requireArbitrageFree_revertsIfTheShockFallsTooFast() public {
        uint256 word = Fields.VOLATILITY_SHOCK_INITIAL.write(Fields.SURFACE_ETA.write(_word(), 100_000), 1_000_000);
        this.check(_levels(250_000, 5_000_000), word);
        _expectRefusal(
            VolatilitySurface.SurfaceShockFallsTooFast.selector,
            1 days,
            _levels(250_000, 5_000_000),
            Fields.VOLATILITY_SHOCK_EXPONENT.write(word, 500_000)
        );
    }

    /// @notice The range of levels in one step is too coarse here, in steps of two it is seen to be free of arbitrage.
    function test_requireArbitrageFree_looksCloserWhereOneStepIsTooCoarse() public view {
        uint256 word = Fields.SURFACE_ETA.write(_word(), 300_000);
        word = Fields.VOLATILITY_SHOCK_INITIAL.write(word, 800_000);
        this.check(_levels(250_000, 5_000_000), Fields.VOLATILITY_SHOCK_EXPONENT.write(word, 400_000));
    }

    function test_requireArbitrageFree_costsLittleForAnOrdinarySurface() public view {
        uint256 gas_ = gasleft();
        this.check(_levels(250_000, 5_000_000), _word());
        assertLt(gas_ - gasleft(), 250_000);
    }
}
