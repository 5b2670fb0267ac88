// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./Accounts.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Requirements } from "contracts/types/Margin.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";

/// @notice The system with a calibrator, a guardian, limits and seven reference portfolios, as the configuration has them.
abstract contract Governed is Accounts {
    uint64 internal constant STEWARD = 1;
    uint64 internal constant CALIBRATOR = 2;
    uint64 internal constant GUARDIAN = 3;
    uint256 internal constant INTERVAL = 12 hours;
    uint256 internal constant WINDOW = 7 days;
    uint32 internal constant MONTH = 30 days;
    uint8 internal constant COLLATERAL = 0;
    uint8 internal constant PERPETUAL = 1;
    uint8 internal constant CALL = 2;
    uint8 internal constant PUT = 3;
    int32 internal constant WHOLE = 1e6;

    address internal guardian = makeAddr("guardian");

    function setUp() public virtual override {
        super.setUp();
        steward.setMarket(MARKET);
        _allow(address(riskParameters), IRiskParameters.applyBundle.selector, STEWARD);
        _allow(address(riskParameters), IRiskParameters.measureAtTarget.selector, STEWARD);
        manager.grantRole(STEWARD, address(steward), 0);
        manager.grantRole(STEWARD, address(this), 0);
        _allow(address(steward), IParameterSteward.push.selector, CALIBRATOR);
        _allow(address(steward), IParameterSteward.schedule.selector, CALIBRATOR);
        manager.grantRole(CALIBRATOR, calibrator, 0);
        _allow(address(steward), IParameterSteward.veto.selector, GUARDIAN);
        manager.grantRole(GUARDIAN, guardian, 0);
        _limit();
        _setReferences();
    }

    function _allow(address target, bytes4 selector, uint64 role) private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = selector;
        manager.setTargetFunctionRole(target, selectors, role);
    }

    function _limit() private {
        // What margin rises with may rise by a quarter and fall by a tenth; what it falls with the other way round.
        Field[18] memory relative = [
            Fields.TAIL_INITIAL,
            Fields.TAIL_MAINTENANCE,
            Fields.VOLATILITY_STRESS,
            Fields.VOLATILITY_FLOOR,
            Fields.VOLATILITY_CAP,
            Fields.OPEN_INTEREST_SCALE,
            Fields.TIER_RATE_1,
            Fields.TIER_RATE_2,
            Fields.TIER_RATE_3,
            Fields.TIER_RATE_4,
            Fields.OPTION_HALF_SPREAD,
            Fields.VOLATILITY_SHOCK_INITIAL,
            Fields.VOLATILITY_SHOCK_MAINTENANCE,
            Fields.AVERAGE_DAILY_VOLUME,
            Fields.OPEN_INTEREST_LOWER,
            Fields.OPEN_INTEREST_UPPER,
            Fields.TIER_NOTIONAL_1,
            Fields.TIER_NOTIONAL_2
        ];
        for (uint256 i; i < relative.length; ++i) {
            bool risesWith = relative[i].direction() > 0;
            _limit(relative[i], risesWith ? 250_000 : 100_000, risesWith ? 100_000 : 250_000, false);
        }
        _limit(Fields.TIER_NOTIONAL_3, 100_000, 250_000, false);
        _limit(Fields.CORRELATION_LOW, 100_000, 100_000, true);
        _limit(Fields.CORRELATION_HIGH, 100_000, 100_000, true);
        _limit(Fields.SURFACE_RHO, 50_000, 50_000, true);
        _limit(Fields.SURFACE_ETA, 50_000, 50_000, false);
        _limit(Fields.SURFACE_GAMMA, 20_000, 20_000, true);
        _limit(Fields.TERM_RATIO, 50_000, 50_000, false);
        _limit(Fields.TERM_SPEED, 100_000, 100_000, false);
        _limit(Fields.CARRY, 10_000, 10_000, true);
        _limit(Fields.VOLATILITY_SHOCK_EXPONENT, 20_000, 20_000, true);
    }

    function _limit(Field field, uint32 up, uint32 down, bool absolute_) private {
        steward.setLimits(
            field, IParameterSteward.Limits(up, down, uint32(INTERVAL), absolute_, 2 * up, 2 * down, uint32(WINDOW))
        );
    }

    function _setReferences() private {
        _reference("long", 300_000, 150_000, _one(PERPETUAL, WHOLE));
        _reference("short", 300_000, 150_000, _one(PERPETUAL, -WHOLE));
        IParameterSteward.Leg[] memory two = new IParameterSteward.Leg[](2);
        two[0] = IParameterSteward.Leg(CALL, -WHOLE, 1_000_000, MONTH);
        two[1] = IParameterSteward.Leg(PUT, -WHOLE, 1_000_000, MONTH);
        _reference("straddle", 400_000, 200_000, two);
        (two[0].strike, two[1].strike) = (1_200_000, 800_000);
        _reference("strangle", 400_000, 200_000, two);
        IParameterSteward.Leg[] memory three = new IParameterSteward.Leg[](3);
        three[0] = IParameterSteward.Leg(COLLATERAL, WHOLE, 0, 0);
        three[1] = IParameterSteward.Leg(PUT, WHOLE, 900_000, MONTH);
        three[2] = IParameterSteward.Leg(CALL, -WHOLE, 1_100_000, MONTH);
        _reference("collar", 400_000, 200_000, three);
        two[0] = IParameterSteward.Leg(COLLATERAL, WHOLE, 0, 0);
        two[1] = IParameterSteward.Leg(PERPETUAL, -WHOLE, 0, 0);
        _reference("basis", 500_000, 300_000, two);
        _reference("collateral", 300_000, 150_000, _one(COLLATERAL, WHOLE));
    }

    function _reference(bytes32 name, uint32 rise, uint32 fall, IParameterSteward.Leg[] memory legs) private {
        steward.setReference(steward.references().length, IParameterSteward.Reference(name, BTC, rise, fall, legs));
    }

    function _one(uint8 kind, int32 size) internal pure returns (IParameterSteward.Leg[] memory legs) {
        legs = new IParameterSteward.Leg[](1);
        legs[0] = IParameterSteward.Leg(kind, size, 0, 0);
    }

    function pushAs(address who, ParameterChange[] memory changes) internal {
        vm.prank(who);
        steward.push(changes, provenance());
    }

    /// @dev The reference portfolios' requirements once every ramp has ended, and without age.
    function requirementsAtTarget() internal returns (Requirements[] memory requirements) {
        riskParameters.measureAtTarget(true);
        requirements = steward.requirements();
        riskParameters.measureAtTarget(false);
    }
}
