// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Governed } from "../support/Governed.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Requirements } from "contracts/types/Margin.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";

/// @notice The worst a calibrator can do whose guardian sleeps: it wants one portfolio's margin as low as it goes. Every half day
/// it pushes what is neither tighter nor looser, whichever way helps it; every day it schedules the loosest bundle that the
/// limits allow, executes it a day later and schedules the next. The log has the figures for docs/governance.md.
contract HostileCalibratorTest is Governed {
    /// @dev Of what the test may find, millionths of a requirement: budgets of two steps, each impact at most 30%.
    uint256 private constant MOST_IN_A_DAY = 300_000;

    Field[] private _fields;
    ParameterChange[] private _waiting;

    function setUp() public override {
        super.setUp();
        for (uint8 id; id < 32; ++id) {
            if (steward.limitsOf(Field.wrap(id)).stepUp != 0) _fields.push(Field.wrap(id));
        }
    }

    function test_figure_mostMarginRemovedInADayAndInAWeek() public {
        IParameterSteward.Reference[] memory portfolios = steward.references();
        for (uint256 i; i < portfolios.length; ++i) {
            uint256 state = vm.snapshot();
            Requirements memory before_ = requirementsAtTarget()[i];
            _attack(i, 1);
            Requirements memory day = requirementsAtTarget()[i];
            _attack(i, 6);
            Requirements memory week = requirementsAtTarget()[i];
            vm.revertTo(state);
            _report(portfolios[i].name, "initial", before_.initial, day.initial, week.initial);
            _report(portfolios[i].name, "maintenance", before_.maintenance, day.maintenance, week.maintenance);
            uint256 fall = portfolios[i].maximumFall;
            // One bundle that loosens, and two pushes of what is neutral, each within the limit of an impact.
            assertGe(day.initial * 1e18, before_.initial * (1e6 - fall) ** 3, "a day");
            assertGe(day.maintenance * 1e18, before_.maintenance * (1e6 - fall) ** 3, "a day");
            // Two steps down in all that multiplies: 0.9⁴ of level and tail, and what the surface and its shock add.
            assertGe(week.initial, before_.initial * 45 / 100, "a week");
            assertGe(week.maintenance, before_.maintenance * 45 / 100, "a week");
        }
    }

    function _report(bytes32 name, string memory what, uint256 before_, uint256 day, uint256 week) private {
        emit log_named_string(
            string.concat(string(abi.encodePacked(name)), " ", what),
            string.concat(_lost(before_, day), " in a day, ", _lost(before_, week), " in a week, millionths")
        );
    }

    function _lost(uint256 before_, uint256 now_) private pure returns (string memory) {
        return before_ == 0 ? "0" : vm.toString((int256(before_) - int256(now_)) * 1e6 / int256(before_));
    }

    function _attack(uint256 target, uint256 days_) private {
        for (uint256 day; day < days_; ++day) {
            if (_waiting.length == 0) _schedule(target);
            for (uint256 i; i < 2; ++i) {
                _pushNeutral(target);
                pass(12 hours);
            }
            _execute();
            _schedule(target);
        }
    }

    /// @dev All the way, or as much of it as the other limits let through when it is executed: what would fail is scheduled
    /// smaller.
    function _schedule(uint256) private {
        for (uint256 part = 100; part != 0; part -= 10) {
            ParameterChange[] memory changes = _loosest(part);
            uint256 state = vm.snapshot();
            (bool ok,) = address(this).call(abi.encodeCall(this.tryBundle, (changes)));
            vm.revertTo(state);
            if (!ok) continue;
            vm.prank(calibrator);
            steward.schedule(changes, provenance());
            delete _waiting;
            for (uint256 i; i < changes.length; ++i) {
                _waiting.push(changes[i]);
            }
            return;
        }
    }

    function tryBundle(ParameterChange[] memory changes) external {
        vm.prank(calibrator);
        steward.schedule(changes, provenance());
        pass(1 days);
        steward.execute(changes, provenance());
    }

    function _execute() private {
        if (_waiting.length == 0) return;
        ParameterChange[] memory changes = _waiting;
        delete _waiting;
        // What was neutral has moved meanwhile; a bundle that no longer fits is lost.
        try steward.execute(changes, provenance()) { } catch { }
    }

    function _loosest(uint256 part) private view returns (ParameterChange[] memory changes) {
        changes = new ParameterChange[](_fields.length);
        uint256 count;
        for (uint256 i; i < _fields.length; ++i) {
            int256 direction = _fields[i].direction();
            if (direction == 0) continue;
            int256 previous = riskParameters.get(_fields[i], BTC, 0);
            int256 limit = _limitOf(_fields[i], direction < 0);
            int256 value = previous + (limit - previous) * int256(part) / 100;
            if (value != previous) changes[count++] = ParameterChange(_fields[i], BTC, 0, int32(value));
        }
        assembly ("memory-safe") {
            mstore(changes, count)
        }
    }

    /// @dev The end of what may be reached, no further than the present value where that is outside.
    function _limitOf(Field field, bool up) private view returns (int256) {
        (int256 minimum, int256 maximum,) = steward.allowed(field, BTC, 0);
        int256 previous = riskParameters.get(field, BTC, 0);
        if (up) return maximum > previous ? maximum : previous;
        return minimum < previous ? minimum : previous;
    }

    /// @dev Each number that may move both ways, in the way that lowers the portfolio's requirements, if either does.
    function _pushNeutral(uint256 target) private {
        for (uint256 i; i < _fields.length; ++i) {
            Field field = _fields[i];
            if (field.direction() != 0) continue;
            int256 best = riskParameters.get(field, BTC, 0);
            uint256 lowest = _requirementOf(target);
            for (uint256 way; way < 2; ++way) {
                int256 value = _limitOf(field, way == 0);
                uint256 state = vm.snapshot();
                vm.prank(calibrator);
                try steward.push(change(field, BTC, 0, int32(value)), provenance()) {
                    uint256 requirement = _requirementOf(target);
                    if (requirement < lowest) (lowest, best) = (requirement, value);
                } catch { }
                vm.revertTo(state);
            }
            if (best == riskParameters.get(field, BTC, 0)) continue;
            vm.prank(calibrator);
            steward.push(change(field, BTC, 0, int32(best)), provenance());
        }
    }

    function _requirementOf(uint256 target) private returns (uint256) {
        Requirements memory requirement = requirementsAtTarget()[target];
        return requirement.initial + requirement.maintenance;
    }
}
