// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { MockV3Aggregator } from "@chainlink/contracts/src/v0.8/tests/MockV3Aggregator.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import { Oracles } from "../support/Oracles.sol";
import { IVolatilityOracle } from "contracts/interfaces/IVolatilityOracle.sol";
import { VolatilityMath } from "contracts/libraries/VolatilityMath.sol";
import { VolatilityOracle } from "contracts/oracles/VolatilityOracle.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";

contract VolatilityOracleTest is Oracles {
    uint16 private constant ETH = 2;
    /// @dev (1 − 25%)·80% + 25%·120%.
    uint256 private constant BLEND = 0.9e18;

    function level() private view returns (uint256 live, uint256 maintenance) {
        (live, maintenance,,,) = volatilityOracle.levels(BTC);
    }

    function mark() private view returns (uint256 volatility) {
        (,, volatility,,) = volatilityOracle.levels(BTC);
    }

    /// @dev Oracles with a faulty volatility feed, answering 80% until told otherwise.
    function breakable() private returns (FaultyFeed feed) {
        feed = new FaultyFeed(5);
        feed.setRound(1, 0.8e5, vm.getBlockTimestamp());
        deployOracles(priceFeed(address(prices)), volatilityFeed(address(feed)));
    }

    /// @dev Oracles with a faulty price feed, answering 40 000 until told otherwise.
    function breakablePrice() private returns (FaultyFeed feed) {
        feed = faultyPriceFeed();
        deployOracles(priceFeed(address(feed)), volatilityFeed(address(volatilities)));
    }

    function expectConfiguration(
        uint16 underlying,
        IVolatilityOracle.VolatilityFeed memory configuration,
        string memory reason
    ) private {
        bytes4 selector = IVolatilityOracle.VolatilityOracleBadConfiguration.selector;
        vm.expectRevert(abi.encodeWithSelector(selector, underlying, reason));
        volatilityOracle.setVolatilityFeed(underlying, configuration);
        if (!priceOracle.hasFeed(underlying)) return;
        vm.expectRevert(abi.encodeWithSelector(selector, BTC, reason));
        volatilityOracle.proposeVolatilityFeed(BTC, configuration);
    }

    // ─── levels

    function test_levels_blendFeedAndStress() public {
        pass(100);
        (uint256 live, uint256 maintenance, uint256 mark_, uint256 age, bool fresh) = volatilityOracle.levels(BTC);
        assertEq(live, BLEND);
        assertEq(maintenance, BLEND);
        assertEq(mark_, 0.8e18);
        assertEq(age, 100);
        assertTrue(fresh);
    }

    function test_levels_stayWithinFloorAndCap() public {
        setVolatilityParameters(0);
        volatilities.push(0.05e5);
        (uint256 live,) = level();
        assertEq(live, FLOOR);
        volatilities.push(9e5);
        (live,) = level();
        assertEq(live, CAP);
    }

    function test_levels_riseAtOnceForInitialAndSlowlyForMaintenance() public {
        volatilityOracle.poke(BTC, 10);
        volatilities.push(2e5);
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, 1.8e18);
        assertEq(maintenance, BLEND);
        pass(30 minutes);
        (, maintenance) = level();
        // 0.9·e^0.15
        assertApproxEqRel(maintenance, 1.045650818455455e18, 1e6);
        pass(30 minutes);
        volatilities.push(2e5);
        (, maintenance) = level();
        // 0.9·e^0.3
        assertApproxEqRel(maintenance, 1.214872926818403e18, 1e6);
    }

    function test_levels_cannotJumpHoweverLongNobodyPoked() public {
        volatilityOracle.poke(BTC, 10);
        pass(30 days);
        volatilities.push(9e5);
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, CAP);
        assertApproxEqRel(maintenance, 1.214872926818403e18, 1e6);
        volatilityOracle.poke(BTC, 10);
        (, uint256 again) = level();
        assertEq(again, maintenance);
        volatilityOracle.poke(BTC, 10);
        (, again) = level();
        assertEq(again, maintenance);
    }

    function test_levels_fallAtOnceForBoth() public {
        volatilityOracle.poke(BTC, 10);
        volatilities.push(0.6e5);
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, 0.75e18);
        assertEq(maintenance, 0.75e18);
    }

    function test_levels_neverFallBelowRealised() public {
        volatilityOracle.poke(BTC, 10);
        pass(60);
        prices.push(44_000e8);
        volatilityOracle.poke(BTC, 10);
        uint256 realised = volatilityOracle.realised(BTC);
        assertGt(realised, 2e18);
        (uint256 live,) = level();
        assertEq(live, (realised * 7 + 9) / 10);
        // A reporter that says nothing happened changes nothing.
        volatilities.push(0.01e5);
        (uint256 again,) = level();
        assertEq(again, live);
    }

    function testFuzz_levels_riseWithTheFeed(uint256 lower, uint256 higher) public {
        volatilityOracle.poke(BTC, 10);
        lower = bound(lower, 0.01e5, 10e5);
        higher = bound(higher, lower, 10e5);
        volatilities.push(int256(lower));
        (uint256 liveLower, uint256 maintenanceLower) = level();
        volatilities.push(int256(higher));
        (uint256 liveHigher, uint256 maintenanceHigher) = level();
        assertGe(liveHigher, liveLower);
        assertGe(maintenanceHigher, maintenanceLower);
    }

    /// @notice Whatever reporters and pokers do, in any order: floor ≤ live ≤ cap, maintenance ≤ live, and maintenance rises
    /// by no more than e^(rate·time), an hour at most, between two looks.
    function testFuzz_levels_keepTheirPromises(uint256[16] calldata actions) public {
        volatilityOracle.poke(BTC, 10);
        (, uint256 previous) = level();
        uint256 sincePoke;
        uint256 stored = previous;
        for (uint256 i; i < actions.length; ++i) {
            uint256 action = actions[i];
            uint256 time = uint32(action >> 8) % 2 hours;
            pass(time);
            sincePoke += time;
            if (action % 4 == 0) volatilities.push(int256(uint256(uint64(action >> 64)) % 12e5));
            if (action % 4 == 1) prices.push(int256(36_000e8 + uint256(uint64(action >> 64)) % 8000e8));
            if (action % 4 == 2) {
                volatilityOracle.poke(BTC, action % 5);
                stored = volatilityOracle.stateOf(BTC).maintenance;
                sincePoke = 0;
            }
            (uint256 live, uint256 maintenance,,,) = volatilityOracle.levels(BTC);
            assertGe(live, FLOOR);
            assertLe(live, CAP);
            assertLe(maintenance, live);
            assertLe(maintenance, VolatilityMath.riseUp(stored, 300_000, sincePoke) + 1);
            assertLe(maintenance, VolatilityMath.riseUp(previous > stored ? previous : stored, 300_000, 1 hours) + 2);
            previous = maintenance;
        }
    }

    function test_levels_survivesEveryFaultOfTheFeed() public {
        FaultyFeed feed = breakable();
        volatilityOracle.poke(BTC, 10);
        for (uint256 mode = 1; mode <= uint256(type(FaultyFeed.Mode).max); ++mode) {
            feed.setMode(FaultyFeed.Mode(mode));
            assertFallback(type(uint256).max);
        }
        feed.setMode(FaultyFeed.Mode.ANSWER);
        feed.setRound(2, 0, START);
        assertFallback(0);
        feed.setRound(2, -1, START);
        assertFallback(0);
        feed.setRound(2, 0.8e5, START + 1);
        assertFallback(type(uint256).max);
        feed.setRound(2, 0.8e5, START, START, 1);
        assertFallback(0);
        feed.setRound(2, 0.009e5, START);
        assertFallback(0);
        feed.setRound(2, type(int256).max, START);
        assertFallback(0);
        feed.setRound(2, 0.8e5, START - 1 hours - 1);
        assertFallback(1 hours + 1);
        feed.setRound(2, 0.8e5, START);
        feed.setDecimals(6);
        assertFallback(0);
        (uint256 misread,,) = volatilityOracle.reported(BTC);
        assertEq(misread, 0);
        vm.etch(address(feed), "");
        assertFallback(type(uint256).max);
    }

    /// @dev Stress (120%) is above the last level (90%), so it takes the feed's place; maintenance stays where it was.
    function assertFallback(uint256 expectedAge) private view {
        (uint256 live, uint256 maintenance,, uint256 age, bool fresh) = volatilityOracle.levels(BTC);
        assertEq(live, STRESS);
        assertEq(maintenance, BLEND);
        assertEq(age, expectedAge);
        assertFalse(fresh);
    }

    function test_levels_keepAHighLevelWhileTheFeedFails() public {
        volatilities.push(3e5);
        volatilityOracle.poke(BTC, 10);
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, 2.55e18);
        pass(2 hours);
        (live, maintenance) = level();
        assertEq(live, 2.55e18);
        assertEq(maintenance, 2.55e18);
    }

    function test_levels_areStressedIfTheFeedFailsBeforeTheFirstPoke() public {
        pass(2 hours);
        (uint256 live, uint256 maintenance,, uint256 age, bool fresh) = volatilityOracle.levels(BTC);
        assertEq(live, STRESS);
        assertEq(maintenance, STRESS);
        assertEq(age, 2 hours);
        assertFalse(fresh);
    }

    // ─── the mark

    function test_levels_markIsWhatTheFeedReportsHoweverOld() public {
        volatilityOracle.poke(BTC, 10);
        // Neither blended with stress, nor slowed down, nor held at the floor.
        volatilities.push(3.9e5);
        assertEq(mark(), 3.9e18);
        volatilities.push(0.02e5);
        assertEq(mark(), 0.02e18);
        pass(30 days);
        assertEq(mark(), 0.02e18);
    }

    function test_levels_markIsTheMaintenanceLevelIfTheFeedIsOutOfBounds() public {
        volatilityOracle.poke(BTC, 10);
        volatilities.push(10e5);
        assertEq(mark(), CAP, "within bounds, held at the cap");
        volatilities.push(10e5 + 1);
        assertEq(mark(), BLEND);
        volatilities.push(0.01e5);
        assertEq(mark(), 0.01e18);
        volatilities.push(0.01e5 - 1);
        assertEq(mark(), BLEND);
    }

    function test_levels_markIsTheMaintenanceLevelIfTheFeedCannotBeRead() public {
        FaultyFeed feed = breakable();
        volatilityOracle.poke(BTC, 10);
        feed.setDecimals(6);
        assertEq(mark(), BLEND);
        feed.setDecimals(5);
        assertEq(mark(), 0.8e18);
        feed.setRound(2, -1, START);
        assertEq(mark(), BLEND);
        for (uint256 mode = 1; mode <= uint256(type(FaultyFeed.Mode).max); ++mode) {
            feed.setMode(FaultyFeed.Mode(mode));
            assertEq(mark(), BLEND);
        }
        vm.etch(address(feed), "");
        assertEq(mark(), BLEND);
    }

    function test_levels_doNotRiseWhileTheFeedFails() public {
        volatilityOracle.poke(BTC, 10);
        pass(2 hours);
        volatilityOracle.poke(BTC, 10);
        (, uint256 maintenance) = level();
        assertEq(maintenance, BLEND);
        // Nor does the outage leave a rise in store.
        volatilities.push(3e5);
        (, maintenance) = level();
        assertEq(maintenance, BLEND);
    }

    function test_levels_revertsIfThereIsNoFeed() public {
        bytes memory noFeed = abi.encodeWithSelector(IVolatilityOracle.VolatilityOracleNoFeed.selector, ETH);
        vm.expectRevert(noFeed);
        volatilityOracle.levels(ETH);
        vm.expectRevert(noFeed);
        volatilityOracle.reported(ETH);
        vm.expectRevert(noFeed);
        volatilityOracle.poke(ETH, 1);
    }

    function test_levels_revertsIfParametersAreNotSet() public {
        priceOracle.setPriceFeed(ETH, priceFeed(address(prices)));
        volatilityOracle.setVolatilityFeed(ETH, volatilityFeed(address(volatilities)));
        bytes memory noParameters = abi.encodeWithSelector(IVolatilityOracle.VolatilityOracleNoParameters.selector, ETH);
        vm.expectRevert(noParameters);
        volatilityOracle.levels(ETH);
        set(Fields.VOLATILITY_CAP, ETH, 0, 4e6);
        volatilityOracle.poke(ETH, 1);
        vm.expectRevert(noParameters);
        volatilityOracle.poke(ETH, 1);
    }

    // ─── reported

    function test_reported_readsAnyScale() public {
        // Chainlink's realised-volatility feeds: percent, here 63.25% over a year, then 4.2% a day.
        MockV3Aggregator percent = new MockV3Aggregator(5, 63.25e5);
        IVolatilityOracle.VolatilityFeed memory configuration = volatilityFeed(address(percent));
        configuration.scale = 1e16;
        deployOracles(priceFeed(address(prices)), configuration);
        (uint256 volatility, uint256 age, bool ok) = volatilityOracle.reported(BTC);
        assertEq(volatility, 0.6325e18);
        assertEq(age, 0);
        assertTrue(ok);
        percent.updateAnswer(4.2e5);
        configuration.scale = 191_049_731_745_428_002; // √365·10^16, from mpmath
        deployOracles(priceFeed(address(prices)), configuration);
        (volatility,,) = volatilityOracle.reported(BTC);
        // 4.2% · √365
        assertApproxEqRel(volatility, 0.802408873330797614e18, 10);
    }

    // ─── poke

    function test_poke_startsFromTheLatestRoundAndTheFeedsLevel() public {
        pass(60);
        prices.push(41_000e8);
        vm.expectEmit(address(volatilityOracle));
        emit IVolatilityOracle.VolatilityPoked(BTC, 2, 0.8e18, BLEND, BLEND);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        IVolatilityOracle.VolatilityState memory state = volatilityOracle.stateOf(BTC);
        assertEq(state.roundId, 2);
        assertEq(state.roundAt, START + 60);
        assertEq(state.roundPrice, 41_000e18);
        assertEq(state.variance, 0.64e18);
        assertEq(state.maintenance, BLEND);
        assertEq(state.pokedAt, START + 60);
        assertEq(state.source, address(prices));
    }

    function test_poke_startsFromTheStressedLevelIfTheFeedFails() public {
        pass(2 hours);
        volatilityOracle.poke(BTC, 10);
        assertEq(volatilityOracle.realised(BTC), STRESS);
    }

    /// @notice The example of VolatilityMathTest through the feed: same times, prices and reference.
    function test_poke_followsTheReference() public {
        VolatilityOracle inPieces = new VolatilityOracle(address(manager), priceOracle, riskParameters);
        inPieces.setVolatilityFeed(BTC, volatilityFeed(address(volatilities)));
        inPieces.poke(BTC, 10);
        volatilityOracle.poke(BTC, 10);
        uint256[10] memory times = [uint256(60), 187, 1800, 1800, 1812, 5400, 9000, 9001, 30_000, 116_400];
        uint256[10] memory answers = [
            uint256(40_120.5e8),
            39_875.25e8,
            40_210e8,
            40_050.75e8,
            38_900e8,
            36_120.125e8,
            37_400e8,
            37_399.99e8,
            35_000e8,
            42_000e8
        ];
        for (uint256 i; i < times.length; ++i) {
            vm.warp(START + times[i]);
            prices.push(int256(answers[i]));
        }
        assertEq(volatilityOracle.poke(BTC, 100), 10);
        assertEq(volatilityOracle.poke(BTC, 100), 0);
        uint256 atOnce = volatilityOracle.stateOf(BTC).variance;
        assertApproxEqRel(atOnce, 11_803_482_554_924_699_614, 1e5);

        assertEq(inPieces.poke(BTC, 0), 0);
        for (uint256 i; i < 4; ++i) {
            assertEq(inPieces.poke(BTC, 3), i == 3 ? 1 : 3);
        }
        assertEq(inPieces.stateOf(BTC).variance, atOnce);
    }

    function test_poke_passesOverBadRounds() public {
        FaultyFeed feed = breakablePrice();
        volatilityOracle.poke(BTC, 10);
        pass(1000);
        feed.setRound(8, 0, START + 100); // not positive
        feed.setRound(9, 90_000_000e8, START + 100); // out of bounds
        feed.setRound(10, 20_000e8, START - 1); // older than the last
        feed.setRound(12, 20_000e8, START + 100, START + 100, 11); // carried over; and 11 is missing
        feed.setRound(13, 40_000e8, START + 1000);
        assertEq(volatilityOracle.poke(BTC, 100), 6);
        IVolatilityOracle.VolatilityState memory state = volatilityOracle.stateOf(BTC);
        assertEq(state.roundId, 13);
        assertEq(state.variance, VolatilityMath.updateVariance(0.64e18, 40_000e18, 40_000e18, 1000, 6 hours));
    }

    function test_poke_entersANewPhaseAtItsLatestRound() public {
        FaultyFeed feed = faultyPriceFeed();
        uint80 phase = 1 << 64;
        feed.setRound(phase + 7, 40_000e8, START);
        deployOracles(priceFeed(address(feed)), volatilityFeed(address(volatilities)));
        volatilityOracle.poke(BTC, 10);
        pass(600);
        feed.setRound(2 * phase + 2000, 41_000e8, START + 600);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        IVolatilityOracle.VolatilityState memory state = volatilityOracle.stateOf(BTC);
        assertEq(state.roundId, 2 * phase + 2000);
        assertEq(state.variance, VolatilityMath.updateVariance(0.64e18, 40_000e18, 41_000e18, 600, 6 hours));
        pass(60);
        feed.setRound(2 * phase + 2001, 40_500e8, START + 660);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
    }

    function test_poke_followsAFeedThatStartsAgain() public {
        FaultyFeed feed = breakablePrice();
        feed.setRound(1000, 40_000e8, START);
        volatilityOracle.poke(BTC, 10);
        pass(60);
        feed.setRound(1, 40_400e8, START + 60);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        IVolatilityOracle.VolatilityState memory state = volatilityOracle.stateOf(BTC);
        assertEq(state.roundId, 1);
        assertEq(state.variance, VolatilityMath.updateVariance(0.64e18, 40_000e18, 40_400e18, 60, 6 hours));
    }

    function test_poke_cannotBeStuffed() public {
        volatilityOracle.poke(BTC, 10);
        pass(60);
        prices.push(41_000e8);
        volatilityOracle.poke(BTC, 10);
        uint256 variance = volatilityOracle.stateOf(BTC).variance;
        vm.startPrank(attacker);
        for (uint256 i; i < 5; ++i) {
            pass(60);
            assertEq(volatilityOracle.poke(BTC, 1000), 0);
        }
        assertEq(volatilityOracle.stateOf(BTC).variance, variance);
    }

    /// @notice A caller cannot make a good round look missing by sending little gas.
    function testFuzz_poke_cannotSkipRoundsByStarvingTheFeed(uint256 gas_) public {
        volatilityOracle.poke(BTC, 10);
        pass(60);
        prices.push(41_000e8);
        gas_ = bound(gas_, 20_000, 150_000);
        vm.prank(attacker);
        try volatilityOracle.poke{ gas: gas_ }(BTC, 10) {
            assertEq(volatilityOracle.stateOf(BTC).roundPrice, 41_000e18);
        } catch {
            assertEq(volatilityOracle.stateOf(BTC).roundId, 1);
        }
    }

    function test_poke_movesTheLevelWithoutAPriceFeed() public {
        FaultyFeed feed = breakablePrice();
        volatilityOracle.poke(BTC, 10);
        volatilities.push(2e5);
        pass(30 minutes);
        feed.setMode(FaultyFeed.Mode.REVERT);
        assertEq(volatilityOracle.poke(BTC, 10), 0);
        assertApproxEqRel(volatilityOracle.stateOf(BTC).maintenance, 1.045650818455455e18, 1e6);
        assertEq(volatilityOracle.stateOf(BTC).roundId, 7);
    }

    function test_poke_startsLaterIfThePriceFeedFailsAtFirst() public {
        FaultyFeed feed = breakablePrice();
        feed.setMode(FaultyFeed.Mode.REVERT);
        assertEq(volatilityOracle.poke(BTC, 10), 0);
        assertEq(volatilityOracle.realised(BTC), 0);
        assertEq(volatilityOracle.stateOf(BTC).maintenance, BLEND);
        feed.setMode(FaultyFeed.Mode.ANSWER);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        assertEq(volatilityOracle.realised(BTC), 0.8e18);
    }

    // ─── setVolatilityFeed

    function test_setVolatilityFeed_readsDecimalsAndEmits() public {
        FaultyFeed feed = new FaultyFeed(3);
        feed.setRound(1, 0.5e3, START);
        IVolatilityOracle.VolatilityFeed memory expected = volatilityFeed(address(feed));
        expected.decimals = 3;
        priceOracle.setPriceFeed(ETH, priceFeed(address(prices)));
        vm.expectEmit(address(volatilityOracle));
        emit IVolatilityOracle.VolatilityFeedSet(ETH, expected);
        volatilityOracle.setVolatilityFeed(ETH, volatilityFeed(address(feed)));
        assertEq(abi.encode(volatilityOracle.feedOf(ETH)), abi.encode(expected));
    }

    function test_setVolatilityFeed_revertsIfItMakesNoSense() public {
        IVolatilityOracle.VolatilityFeed memory bad = volatilityFeed(address(volatilities));
        expectConfiguration(ETH, bad, "the underlying needs a price feed first");
        expectConfiguration(0, bad, "the underlying needs a price feed first");
        priceOracle.setPriceFeed(ETH, priceFeed(address(prices)));
        bad.heartbeat = 0;
        expectConfiguration(ETH, bad, "heartbeat must be 1 second to 7 days");
        bad.heartbeat = 7 days + 1;
        expectConfiguration(ETH, bad, "heartbeat must be 1 second to 7 days");
        bad = volatilityFeed(address(volatilities));
        bad.minimum = 0;
        expectConfiguration(ETH, bad, "bounds must satisfy 0 < minimum < maximum");
        bad.minimum = bad.maximum;
        expectConfiguration(ETH, bad, "bounds must satisfy 0 < minimum < maximum");
        bad = volatilityFeed(address(volatilities));
        bad.scale = 0;
        expectConfiguration(ETH, bad, "scale must be above 0");
        expectConfiguration(ETH, volatilityFeed(attacker), "the feed does not answer");
        expectConfiguration(ETH, volatilityFeed(address(new FaultyFeed(37))), "feeds may have at most 36 decimals");
        expectConfiguration(ETH, volatilityFeed(address(new FaultyFeed(5))), "the feed fails a check now");
    }

    function test_setAndPropose_revertIfNotAuthorised() public {
        bytes memory unauthorised = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker);
        vm.startPrank(attacker);
        vm.expectRevert(unauthorised);
        volatilityOracle.setVolatilityFeed(BTC, volatilityFeed(address(volatilities)));
        vm.expectRevert(unauthorised);
        volatilityOracle.proposeVolatilityFeed(BTC, volatilityFeed(address(volatilities)));
        vm.expectRevert(unauthorised);
        volatilityOracle.cancelVolatilityFeed(BTC);
    }

    function test_setVolatilityFeed_revertsIfThereIsOne() public {
        vm.expectRevert(abi.encodeWithSelector(IVolatilityOracle.VolatilityOracleFeedInUse.selector, BTC, volatilities));
        volatilityOracle.setVolatilityFeed(BTC, volatilityFeed(address(volatilities)));
    }

    // ─── Gas, from cold: committed snapshots

    function measure(string memory name) private {
        GasSnapshots(address(vm)).snapshotGasLastCall("Oracles", name);
    }

    function test_price_gas() public {
        priceOracle.price(BTC);
        measure("price");
    }

    function _pushStress(int32 stress) private {
        riskParameters.applyBundle(changes(Fields.VOLATILITY_STRESS, BTC, 0, stress), provenance());
    }

    /// @notice PUSH: tightening is in the live level at once, and gets into the maintenance level along the ramp.
    function test_levels_followARampUp() public {
        _pushStress(2e6);
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, 1.1e18);
        assertEq(maintenance, 0.9e18);
        pass(3 hours);
        volatilities.push(0.8e5);
        (live, maintenance) = level();
        assertEq(live, 1.1e18);
        assertEq(maintenance, 1e18);
        pass(3 hours);
        volatilities.push(0.8e5);
        (live, maintenance) = level();
        assertEq(live, 1.1e18);
        assertEq(maintenance, 1.1e18);
    }

    /// @notice PUSH, ORDER: loosening comes down along the ramp for both, and a push up onto it moves maintenance no more at once
    /// than one onto a level way.
    function test_levels_followARampDown() public {
        _pushStress(0.4e6);
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, 0.9e18);
        assertEq(maintenance, 0.9e18);
        pass(3 hours);
        volatilities.push(0.8e5);
        (live, maintenance) = level();
        assertEq(live, 0.8e18);
        assertEq(maintenance, 0.8e18);
        _pushStress(2e6);
        (live, maintenance) = level();
        assertEq(live, 1.1e18);
        assertEq(maintenance, 0.8e18);
    }

    /// @notice PUSH, ORDER: whatever is pushed and when, neither maintenance nor the mark moves in the block of a push, and live
    /// is never below maintenance.
    function testFuzz_levels_doNotMoveInTheBlockOfAPush(uint256[8] memory values, uint256[8] memory gaps) public {
        Field[4] memory fields = [
            Fields.VOLATILITY_STRESS, Fields.VOLATILITY_STRESS_WEIGHT, Fields.VOLATILITY_FLOOR, Fields.VOLATILITY_CAP
        ];
        for (uint256 i; i < 8; ++i) {
            pass(gaps[i] % 4 hours);
            volatilities.push(int256(0.2e5 + gaps[i] % 2e5));
            if (gaps[i] % 3 == 0) volatilityOracle.poke(BTC, 1);
            (uint256 live, uint256 maintenance) = level();
            uint256 marked = mark();
            int32 value = int32(int256(values[i] % 3e6));
            try riskParameters.applyBundle(changes(fields[i % 4], BTC, 0, value), provenance()) { } catch { }
            uint256 after_;
            (live, after_) = level();
            assertEq(after_, maintenance);
            assertGe(live, after_);
            assertEq(mark(), marked);
        }
    }

    function test_levels_markIsCappedAlongTheRamp() public {
        volatilities.push(3.5e5);
        assertEq(mark(), 3.5e18);
        riskParameters.applyBundle(changes(Fields.VOLATILITY_CAP, BTC, 0, 2e6), provenance());
        assertEq(mark(), 3.5e18);
        pass(3 hours);
        volatilities.push(3.5e5);
        assertEq(mark(), 3e18);
        pass(3 hours);
        volatilities.push(3.5e5);
        assertEq(mark(), 2e18);
    }

    function test_levels_gas() public {
        volatilityOracle.levels(BTC);
        measure("levels");
    }
}

/// @notice A cheatcode younger than the test library.
interface GasSnapshots {
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
}

/// @notice poke's cost, with ten rounds waiting.
contract VolatilityOraclePokeGasTest is Oracles {
    function setUp() public override {
        super.setUp();
        volatilityOracle.poke(BTC, 10);
        for (uint256 i; i < 10; ++i) {
            pass(60);
            prices.push(int256(40_000e8 + i * 100e8));
        }
    }

    function test_poke_gas() public {
        volatilityOracle.poke(BTC, 1);
        GasSnapshots(address(vm)).snapshotGasLastCall("Oracles", "poke, one round");
    }

    function test_poke_gasForTenRounds() public {
        volatilityOracle.poke(BTC, 10);
        GasSnapshots(address(vm)).snapshotGasLastCall("Oracles", "poke, ten rounds");
    }
}
