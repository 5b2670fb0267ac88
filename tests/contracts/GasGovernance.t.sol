// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Governed } from "./support/Governed.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";

/// @notice What it costs to push, and what ramps cost a margin check, each call a transaction of its own as in GasTest. The
/// calibrator has pushed before: first touches of a number's records are paid once in its life.
/// forge-config: default.isolate = true
contract GasGovernanceTest is Governed {
    uint64 private account;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 10_000);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        pushAs(calibrator, _twelve(1));
        pass(1 days);
    }

    /// @dev What a calibration moves: tails, levels, liquidity, surface, shocks and a pair, all a little tighter.
    function _twelve(int32 times) private view returns (ParameterChange[] memory changes) {
        Field[12] memory fields = [
            Fields.TAIL_INITIAL,
            Fields.TAIL_MAINTENANCE,
            Fields.VOLATILITY_STRESS,
            Fields.VOLATILITY_FLOOR,
            Fields.AVERAGE_DAILY_VOLUME,
            Fields.OPTION_HALF_SPREAD,
            Fields.SURFACE_RHO,
            Fields.SURFACE_ETA,
            Fields.TERM_RATIO,
            Fields.VOLATILITY_SHOCK_INITIAL,
            Fields.VOLATILITY_SHOCK_MAINTENANCE,
            Fields.CORRELATION_HIGH
        ];
        changes = new ParameterChange[](12);
        for (uint256 i; i < 12; ++i) {
            uint16 other = fields[i].id() < 64 ? 0 : ETH;
            int256 value = riskParameters.get(fields[i], BTC, other);
            int256 step = (value < 0 ? -value : value) / 100 * times;
            changes[i] =
                ParameterChange(fields[i], BTC, other, int32(fields[i].direction() < 0 ? value - step : value + step));
        }
    }

    function test_gas_pushTwelve() public {
        ParameterChange[] memory changes = _twelve(1);
        vm.prank(calibrator);
        steward.push(changes, provenance());
        assertLe(cheats.snapshotGasLastCall("ParameterSteward", "push: 12 fields, 7 references"), 2_500_000);
    }

    function test_gas_pushNothing() public {
        vm.prank(calibrator);
        steward.push(new ParameterChange[](0), provenance());
        cheats.snapshotGasLastCall("ParameterSteward", "push: no field, 7 references");
    }

    function test_gas_execute() public {
        ParameterChange[] memory changes = _twelve(-1);
        vm.prank(calibrator);
        steward.schedule(changes, provenance());
        cheats.snapshotGasLastCall("ParameterSteward", "schedule: 12 fields");
        pass(1 days);
        steward.execute(changes, provenance());
        assertLe(cheats.snapshotGasLastCall("ParameterSteward", "execute: 12 fields, 7 references"), 2_500_000);
    }

    function test_gas_marginWhileNothingMoves() public {
        engine.marginOf(account);
        cheats.snapshotGasLastCall("MarginEngine", "marginOf: one underlying, after a push");
    }

    function test_gas_marginWhileOneNumberMoves() public {
        ParameterChange[] memory changes = change(Fields.TAIL_MAINTENANCE, BTC, 0, 3_700_000);
        vm.prank(calibrator);
        steward.push(changes, provenance());
        pass(1 hours);
        engine.marginOf(account);
        cheats.snapshotGasLastCall("MarginEngine", "marginOf: one underlying, a number on its way");
    }

    function test_gas_marginWhileTwelveNumbersMove() public {
        ParameterChange[] memory changes = _twelve(1);
        vm.prank(calibrator);
        steward.push(changes, provenance());
        pass(1 hours);
        engine.marginOf(account);
        cheats.snapshotGasLastCall("MarginEngine", "marginOf: one underlying, twelve numbers on their way");
    }
}
