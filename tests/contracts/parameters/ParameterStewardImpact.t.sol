// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Governed } from "../support/Governed.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { InstrumentLibrary as Instruments } from "contracts/types/Instrument.sol";
import { Margin, Requirements } from "contracts/types/Margin.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";
import { Collateral, Portfolio, Position } from "contracts/types/Portfolio.sol";

/// @notice What a push does to the reference portfolios, and to accounts (PUSH).
contract ParameterStewardImpactTest is Governed {
    uint256 private constant NOTIONAL = 100_000e18;

    function _expectImpact(bytes32 name, Requirements memory previous, Requirements memory next) private {
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardImpact.selector, name, previous, next));
    }

    /// @dev What governance would come to with the same bundle. Undone.
    function _imagine(ParameterChange[] memory changes) private returns (Requirements[] memory requirements) {
        uint256 state = vm.snapshot();
        riskParameters.applyBundle(changes, provenance());
        requirements = requirementsAtTarget();
        vm.revertTo(state);
    }

    /// @dev For one reference the limits of `name`, and none for the others.
    function _alone(uint256 index, uint32 rise, uint32 fall) private {
        IParameterSteward.Reference[] memory all = steward.references();
        for (uint256 i; i < all.length; ++i) {
            (all[i].maximumRise, all[i].maximumFall) = (type(uint32).max, 1_000_000);
            if (i == index) (all[i].maximumRise, all[i].maximumFall) = (rise, fall);
            steward.setReference(i, all[i]);
        }
    }

    // ─── What is measured

    /// @notice Against portfolios put together here: 100,000 dollars of notional at 50,000 are two units.
    function test_requirements_areThoseOfThePortfoliosAsDescribed() public view {
        Requirements[] memory requirements = steward.requirements();
        assertEq(requirements.length, 7);
        uint40 expiry = uint40(block.timestamp + MONTH);
        Position[] memory none;
        Collateral[] memory nothing;
        Collateral[] memory coins = new Collateral[](1);
        coins[0] = Collateral(0, BTC, 2e18);
        _requireSame(requirements[0], Portfolio(0, _one(Position(btcPerpetual, 2e18, 0)), nothing));
        _requireSame(requirements[1], Portfolio(0, _one(Position(btcPerpetual, -2e18, 0)), nothing));
        Position[] memory two = new Position[](2);
        two[0] = Position(Instruments.option(false, BTC, expiry, 50_000e8), -2e18, 0);
        two[1] = Position(Instruments.option(true, BTC, expiry, 50_000e8), -2e18, 0);
        _requireSame(requirements[2], Portfolio(0, two, nothing));
        two[0].instrument = Instruments.option(false, BTC, expiry, 60_000e8);
        two[1].instrument = Instruments.option(true, BTC, expiry, 40_000e8);
        _requireSame(requirements[3], Portfolio(0, two, nothing));
        two[0] = Position(Instruments.option(true, BTC, expiry, 45_000e8), 2e18, 0);
        two[1] = Position(Instruments.option(false, BTC, expiry, 55_000e8), -2e18, 0);
        _requireSame(requirements[4], Portfolio(0, two, coins));
        _requireSame(requirements[5], Portfolio(0, _one(Position(btcPerpetual, -2e18, 0)), coins));
        _requireSame(requirements[6], Portfolio(0, none, coins));
    }

    function _one(Position memory position) private pure returns (Position[] memory positions) {
        positions = new Position[](1);
        positions[0] = position;
    }

    function _requireSame(Requirements memory actual, Portfolio memory portfolio) private view {
        Margin memory margin = engine.marginOfPortfolio(portfolio);
        assertEq(actual.initial, margin.initial.total);
        assertEq(actual.maintenance, margin.maintenance.total);
    }

    /// @notice At a price that divides nothing evenly, too.
    function test_requirements_followThePrice() public {
        uint256 before_ = steward.requirements()[0].initial;
        setPrice(BTC, 47_777);
        uint256 now_ = steward.requirements()[0].initial;
        assertApproxEqRel(now_, before_, 0.002e18, "the notional stays, and liquidity with it");
    }

    // ─── Limits

    function test_push_revertsWithThePortfoliosNameAndFigures() public {
        ParameterChange[] memory changes = change(Fields.TAIL_INITIAL, BTC, 0, 4_000_000);
        Requirements[] memory previous = requirementsAtTarget();
        Requirements[] memory next = _imagine(changes);
        uint256 state = vm.snapshot();
        pushAs(calibrator, changes);
        vm.revertTo(state);
        bytes32[7] memory names = [bytes32("long"), "short", "straddle", "strangle", "collar", "basis", "collateral"];
        for (uint256 i; i < names.length; ++i) {
            if (i == 5) continue; // what the basis owes for its two legs does not depend on the tail
            assertGt(next[i].initial, previous[i].initial);
            // Millionths by which it rises, rounded down: too little by less than one.
            uint256 rise = (next[i].initial - previous[i].initial) * 1e6 / previous[i].initial;
            _alone(i, uint32(rise), 0);
            _expectImpact(names[i], previous[i], next[i]);
            pushAs(calibrator, changes);
            _alone(i, uint32(rise + 1), 0);
            state = vm.snapshot();
            pushAs(calibrator, changes);
            vm.revertTo(state);
        }
        assertEq(riskParameters.get(Fields.TAIL_INITIAL, BTC, 0), 3_200_000);
    }

    function test_execute_revertsIfARequirementFallsTooFar() public {
        steward.setLooseningDelay(1 hours);
        ParameterChange[] memory changes = change(Fields.TAIL_MAINTENANCE, BTC, 0, 3_240_000);
        vm.prank(calibrator);
        steward.schedule(changes, provenance());
        pass(1 hours);
        Requirements memory previous = requirementsAtTarget()[0];
        Requirements memory next = _imagine(changes)[0];
        uint256 fall = (previous.maintenance - next.maintenance) * 1e6 / previous.maintenance;
        assertApproxEqAbs(fall, 100_000, 1000);
        _alone(0, 0, uint32(fall));
        _expectImpact("long", previous, next);
        steward.execute(changes, provenance());
        _alone(0, 0, uint32(fall + 1));
        steward.execute(changes, provenance());
    }

    /// @notice Who divides a bundle gets no further: within half a day all count together.
    function test_push_countsWhatWasPushedBefore() public {
        _alone(0, 100_000, 0);
        uint256 start = block.timestamp;
        (uint256 initial, uint256 maintenance, uint256 endsAt) = steward.effectOf(0);
        assertEq(initial, WAD);
        assertEq(endsAt, 0);
        pushAs(calibrator, change(Fields.TAIL_INITIAL, BTC, 0, 3_400_000));
        (initial, maintenance, endsAt) = steward.effectOf(0);
        assertApproxEqRel(initial, 1.0625e18, 0.001e18);
        assertEq(maintenance, WAD);
        assertEq(endsAt, start + 12 hours);
        ParameterChange[] memory changes = change(Fields.VOLATILITY_STRESS, BTC, 0, 1_150_000);
        Requirements memory previous = requirementsAtTarget()[0];
        Requirements memory next = _imagine(changes)[0];
        assertLt(next.initial, previous.initial * 11 / 10, "alone it would pass");
        pass(12 hours - 1);
        _expectImpact("long", requirementsAtTarget()[0], _imagine(changes)[0]);
        pushAs(calibrator, changes);
        // What changes nothing is no further effect.
        pushAs(calibrator, new ParameterChange[](0));
        pass(1);
        pushAs(calibrator, changes);
    }

    /// @notice Maintenance margin is where it was when the push comes. What counts is where the ramp leads; and the next push is
    /// measured from there.
    function test_push_isMeasuredAtTheEndOfTheRamp() public {
        _alone(0, 200_000, 0);
        Requirements memory before_ = requirementsAtTarget()[0];
        ParameterChange[] memory changes = change(Fields.TAIL_MAINTENANCE, BTC, 0, 4_500_000);
        Requirements memory next = _imagine(changes)[0];
        assertApproxEqRel(next.maintenance, before_.maintenance * 5 / 4, 0.01e18);
        _expectImpact("long", before_, next);
        pushAs(calibrator, changes);
        changes[0].value = 4_200_000;
        pushAs(calibrator, changes);
        assertEq(steward.requirements()[0].maintenance, before_.maintenance, "nothing has moved yet");
        Requirements memory target = requirementsAtTarget()[0];
        pass(6 hours);
        assertEq(steward.requirements()[0].maintenance, target.maintenance);
    }

    /// @notice That a push ends the age of the calibration before is not held against it.
    function test_push_endsTheAgeWhateverTheLimits() public {
        _alone(0, 0, 0);
        vm.warp(block.timestamp + 30 days);
        pass(0);
        assertEq(riskParameters.ageMultiplier(), 1.5e6);
        pushAs(calibrator, new ParameterChange[](0));
        assertEq(riskParameters.ageMultiplier(), 1e6);
    }

    function test_push_revertsOnDeadFeeds() public {
        vm.warp(block.timestamp + 3 hours);
        cheats.expectPartialRevert(IPriceOracle.PriceOracleStale.selector);
        pushAs(calibrator, change(Fields.TAIL_INITIAL, BTC, 0, 3_210_000));
    }

    // ─── Which portfolios

    /// @notice Those of the underlyings of which a number moves, none for a pair's, all for one common to all.
    function test_push_measuresWhatItTouches() public {
        steward.setReference(7, IParameterSteward.Reference("ether", ETH, 0, 0, _one(PERPETUAL, WHOLE)));
        vm.warp(block.timestamp + 3 hours);
        setPrice(ETH, 2000); // and BTC has none
        pushAs(calibrator, new ParameterChange[](0));
        pushAs(calibrator, change(Fields.CORRELATION_HIGH, BTC, ETH, 970_000));
        cheats.expectPartialRevert(IParameterSteward.ParameterStewardImpact.selector);
        pushAs(calibrator, change(Fields.TAIL_INITIAL, ETH, 0, 4_000_000));
        cheats.expectPartialRevert(IPriceOracle.PriceOracleStale.selector);
        pushAs(calibrator, change(Fields.TAIL_INITIAL, BTC, 0, 3_210_000));
        steward.setLimits(
            Fields.MULTIPLIER, IParameterSteward.Limits(100_000, 0, uint32(INTERVAL), false, 200_000, 0, uint32(WINDOW))
        );
        cheats.expectPartialRevert(IPriceOracle.PriceOracleStale.selector);
        pushAs(calibrator, change(Fields.MULTIPLIER, 0, 0, 1_010_000));
        setPrice(BTC, 50_000);
        cheats.expectPartialRevert(IParameterSteward.ParameterStewardImpact.selector);
        pushAs(calibrator, change(Fields.MULTIPLIER, 0, 0, 1_010_000));
        pushAs(calibrator, change(Fields.TAIL_INITIAL, BTC, 0, 3_210_000));
    }

    // ─── PUSH

    /// @dev Every field with a limit, as far as a push may take it.
    function _everythingTighter() private view returns (ParameterChange[] memory changes) {
        changes = new ParameterChange[](64);
        uint256 count;
        for (uint8 id; id < 32; ++id) {
            Field field = Field.wrap(id);
            if (steward.limitsOf(field).stepUp == 0 || field.id() == Fields.CARRY.id()) continue;
            int256 previous = riskParameters.get(field, BTC, 0);
            (int256 minimum, int256 maximum,) = steward.allowed(field, BTC, 0);
            int256 direction = field.direction();
            int256 value = direction > 0 ? maximum : direction < 0 ? minimum : previous;
            changes[count++] = ParameterChange(field, BTC, 0, int32(value));
        }
        changes[count++] = ParameterChange(Fields.CARRY, BTC, 0, 10_000);
        changes[count++] = ParameterChange(Fields.SURFACE_ETA, BTC, 0, 860_000);
        changes[count++] = ParameterChange(Fields.CORRELATION_LOW, BTC, ETH, 500_000);
        changes[count++] = ParameterChange(Fields.CORRELATION_HIGH, BTC, ETH, 970_000);
        assembly ("memory-safe") {
            mstore(changes, count)
        }
        // The surface's eta is there already, at its present value.
        for (uint256 i; i < count; ++i) {
            if (changes[i].field.id() != Fields.SURFACE_ETA.id()) continue;
            changes[i] = changes[count - 3];
            changes[count - 3] = changes[count - 1];
            break;
        }
        assembly ("memory-safe") {
            mstore(changes, sub(count, 1))
        }
    }

    /// @notice PUSH: in the block of a push of everything no reference portfolio's maintenance requirement has moved and no option
    /// is worth anything else; initial margin has risen.
    function test_push_movesNoMaintenanceAndNoMarkInItsBlock() public {
        uint64 account = openAccount(trader, 100_000);
        uint40 expiry = uint40(1_700_812_800);
        trade(account, makerAccount, listOption(BTC, expiry, 52_000, false), -1e18, 1500e18);
        trade(account, makerAccount, listOption(BTC, expiry, 45_000, true), 2e18, 1000e18);
        trade(account, makerAccount, ethPerpetual, 10e18, 2000e18);
        Margin memory before_ = engine.marginOf(account);
        Requirements[] memory previous = steward.requirements();
        _alone(0, type(uint32).max, 1_000_000);
        pushAs(calibrator, _everythingTighter());
        Requirements[] memory next = steward.requirements();
        for (uint256 i; i < 7; ++i) {
            assertEq(next[i].maintenance, previous[i].maintenance);
            if (i != 5) assertGt(next[i].initial, previous[i].initial);
        }
        Margin memory margin = engine.marginOf(account);
        assertEq(margin.equity, before_.equity);
        assertEq(margin.maintenance.total, before_.maintenance.total);
        assertGt(margin.initial.total, before_.initial.total);
        pass(6 hours);
        margin = engine.marginOf(account);
        assertTrue(margin.equity != before_.equity);
        assertGt(margin.maintenance.total, before_.maintenance.total);
    }

    // ─── References

    function test_setReference_revertsIfItMakesNoSense() public {
        IParameterSteward.Leg[] memory legs = _one(PERPETUAL, WHOLE);
        _expectBad(8, legs, "no such place");
        _expectBad(7, new IParameterSteward.Leg[](0), "no such place");
        _expectBad(7, new IParameterSteward.Leg[](9), "at most 8 legs");
        _expectBad(7, _one(4, WHOLE), "kind must be 0 to 3");
        _expectBad(7, _one(PERPETUAL, 0), "a leg needs a size, and collateral is not borrowed");
        _expectBad(7, _one(COLLATERAL, -1), "a leg needs a size, and collateral is not borrowed");
        string memory reason = "options, and they alone, have a strike and a tenor";
        _expectBad(7, _one(CALL, WHOLE), reason);
        legs[0] = IParameterSteward.Leg(PUT, WHOLE, WHOLE_STRIKE, 0);
        _expectBad(7, legs, reason);
        legs[0] = IParameterSteward.Leg(PERPETUAL, WHOLE, 0, 1);
        _expectBad(7, legs, reason);
        for (uint256 i = 7; i < 112; ++i) {
            steward.setReference(i, IParameterSteward.Reference("more", BTC, 0, 0, _one(PERPETUAL, WHOLE)));
        }
        _expectBad(112, _one(PERPETUAL, WHOLE), "no such place");
    }

    uint32 private constant WHOLE_STRIKE = 1_000_000;

    function _expectBad(uint256 index, IParameterSteward.Leg[] memory legs, string memory reason) private {
        vm.expectRevert(abi.encodeWithSelector(IParameterSteward.ParameterStewardBadReference.selector, index, reason));
        steward.setReference(index, IParameterSteward.Reference("bad", BTC, 0, 0, legs));
    }

    function test_setReference_replacesAndTakesOut() public {
        IParameterSteward.Reference memory portfolio =
            IParameterSteward.Reference("ether", ETH, 1, 2, _one(PERPETUAL, -WHOLE));
        vm.expectEmit(address(steward));
        emit IParameterSteward.ReferenceSet(4, portfolio);
        steward.setReference(4, portfolio);
        IParameterSteward.Reference[] memory all = steward.references();
        assertEq(abi.encode(all[4]), abi.encode(portfolio));
        portfolio.legs = new IParameterSteward.Leg[](0);
        steward.setReference(1, portfolio);
        IParameterSteward.Reference[] memory rest = steward.references();
        assertEq(rest.length, 6);
        assertEq(abi.encode(rest[1]), abi.encode(all[6]));
        assertEq(abi.encode(rest[5]), abi.encode(all[5]));
        steward.setReference(5, portfolio);
        assertEq(steward.references().length, 5);
    }
}
