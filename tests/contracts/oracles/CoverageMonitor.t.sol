// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Oracles } from "../support/Oracles.sol";
import { ICoverageMonitor } from "contracts/interfaces/ICoverageMonitor.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { TrafficLight } from "contracts/libraries/TrafficLight.sol";
import { CoverageMonitor } from "contracts/oracles/CoverageMonitor.sol";
import { PushedFeed } from "contracts/oracles/PushedFeed.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";

/// @notice A cheatcode younger than the test library.
interface GasSnapshots {
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
}

/// @notice A feed that answers well, and calls the monitor first.
contract ReentrantFeed {
    uint8 public constant decimals = 8;
    CoverageMonitor public monitor;
    bool public entered;

    function attack(CoverageMonitor monitor_) external {
        monitor = monitor_;
    }

    function latestRoundData() external returns (uint80, int256, uint256, uint256, uint80) {
        if (address(monitor) != address(0)) {
            monitor.update(1, ICoverageMonitor.Horizon.MAINTENANCE, 1);
            entered = true;
        }
        return (1, 40_000e8, block.timestamp, block.timestamp, 1);
    }

    function getRoundData(uint80) external view returns (uint80, int256, uint256, uint256, uint80) {
        return (1, 40_000e8, block.timestamp, block.timestamp, 1);
    }
}

/// @notice The Basel traffic light and its window.
contract TrafficLightTest is Oracles {
    function test_multiplierUp_isTheCommitteesTable() public pure {
        uint256[12] memory table = [
            uint256(1e6), 1e6, 1e6, 1e6, 1e6, 1_133_334, 1_166_667, 1_216_667, 1.25e6, 1_283_334, 1_333_334, 1_333_334
        ];
        uint256 window;
        for (uint256 count; count < 260; ++count) {
            assertEq(TrafficLight.exceptions(window), count < 250 ? count : 250);
            assertEq(TrafficLight.multiplierUp(window), count < 12 ? table[count] : 1_333_334);
            window = TrafficLight.record(window, true);
        }
    }

    /// @notice Against a list of every outcome, of which the last 250 are counted.
    function testFuzz_record_keepsTheLast250(uint256 seed, uint256 length, uint256 rarity) public pure {
        length = bound(length, 0, 600);
        rarity = bound(rarity, 1, 60);
        bool[] memory outcomes = new bool[](length);
        uint256 window;
        for (uint256 i; i < length; ++i) {
            outcomes[i] = uint256(keccak256(abi.encode(seed, i))) % rarity == 0;
            window = TrafficLight.record(window, outcomes[i]);
        }
        uint256 first = length < 250 ? 0 : length - 250;
        uint256 expected;
        for (uint256 i = first; i < length; ++i) {
            if (outcomes[i]) ++expected;
            assertEq(window >> (length - 1 - i) & 1 == 1, outcomes[i]);
        }
        assertEq(TrafficLight.exceptions(window), expected);
        assertEq(TrafficLight.observations(window), length - first);
    }
}

/// @notice The monitor of BTC at 40,000 dollars: level 90% (a quarter of stress 120% in 80%), tails 3.2 at eight hours and 3.6 at
/// one. The feed's heartbeat is an hour; it reports between 1,000 and 1,000,000 dollars.
abstract contract Monitored is Oracles {
    uint64 internal constant MONITOR_ROLE = 7;
    uint256 internal constant YEAR = 365 days;
    uint80 internal constant PHASE = 1 << 64;
    uint256 internal constant MAINTENANCE_TIME = 1 hours;
    uint256 internal constant LEVEL = 0.9e18;
    ICoverageMonitor.Horizon internal constant INITIAL = ICoverageMonitor.Horizon.INITIAL;
    ICoverageMonitor.Horizon internal constant MAINTENANCE = ICoverageMonitor.Horizon.MAINTENANCE;

    CoverageMonitor internal monitor;

    function setUp() public virtual override {
        super.setUp();
        set(Fields.TAIL_INITIAL, BTC, 0, 3.2e6);
        set(Fields.TAIL_MAINTENANCE, BTC, 0, 3.6e6);
        set(Fields.HORIZON_INITIAL, 0, 0, 8 hours);
        set(Fields.HORIZON_MAINTENANCE, 0, 0, int32(int256(MAINTENANCE_TIME)));
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = IRiskParameters.setCoverage.selector;
        manager.setTargetFunctionRole(address(riskParameters), selectors, MONITOR_ROLE);
        _deploy();
    }

    /// @dev A monitor of the oracles in place, with its role.
    function _deploy() internal {
        monitor = new CoverageMonitor(priceOracle, volatilityOracle, riskParameters);
        manager.grantRole(MONITOR_ROLE, address(monitor), 0);
    }

    /// @dev A monitor on a price feed that can be made wrong, round 7 of its first phase in force.
    function _deployOn(FaultyFeed feed) internal {
        feed.setRound(PHASE | 7, 40_000e8, vm.getBlockTimestamp());
        deployOracles(priceFeed(address(feed)), volatilityFeed(address(volatilities)));
        _deploy();
    }

    /// @dev Time passes, and prices and volatilities are reported. @return The round of the price.
    function _report(uint256 time, int256 price) internal returns (uint80) {
        pass(time);
        volatilities.push(0.8e5);
        return prices.push(price);
    }

    /// @dev Furthest above 40,000 dollars that lies in the maintenance range, worked out without a root: Δ² · year ≤ (p₀ · z · σ)² · t.
    function _lastInRange(uint256 time) internal pure returns (int256) {
        uint256 p0 = 40_000e8;
        uint256 square = (p0 * 3.24e9) ** 2 * time;
        uint256 low;
        uint256 high = 100 * p0;
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            if ((middle * 1e9) ** 2 * YEAR <= square) low = middle;
            else high = middle;
        }
        return int256(p0 + low);
    }

    function _exceptions(ICoverageMonitor.Horizon horizon) internal view returns (uint256 exceptions) {
        (, exceptions,,) = monitor.statusOf(BTC, horizon);
    }

    function _observations(ICoverageMonitor.Horizon horizon) internal view returns (uint256 observations) {
        (observations,,,) = monitor.statusOf(BTC, horizon);
    }

    function _dueAt(ICoverageMonitor.Horizon horizon) internal view returns (uint256 dueAt) {
        (,,, dueAt) = monitor.statusOf(BTC, horizon);
    }

    function _expectWrongRound(uint80 roundId, uint256 updatedAt, uint256 dueAt) internal {
        vm.expectRevert(
            abi.encodeWithSelector(ICoverageMonitor.CoverageMonitorWrongRound.selector, BTC, roundId, updatedAt, dueAt)
        );
    }

    function _expectNotFirst(uint80 roundId, uint80 earlier) internal {
        vm.expectRevert(
            abi.encodeWithSelector(ICoverageMonitor.CoverageMonitorNotFirst.selector, BTC, roundId, earlier)
        );
    }
}

contract CoverageMonitorTest is Monitored {
    // ─── Opening

    function test_update_opensAtThePresent() public {
        pass(100);
        vm.expectEmit();
        emit ICoverageMonitor.ObservationOpened(BTC, INITIAL, 40_000e18, START + 100 + 8 hours, 2.88e9);
        vm.prank(attacker);
        monitor.update(BTC, INITIAL, 12_345);
        ICoverageMonitor.Observation memory open = monitor.observationOf(BTC, INITIAL);
        assertEq(open.price, 40_000e18);
        assertEq(open.at, START);
        assertEq(open.wait, 100 + 8 hours);
        assertEq(open.deviation, 2.88e9);
        monitor.update(BTC, MAINTENANCE, 0);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).deviation, 3.24e9);
        assertEq(_dueAt(MAINTENANCE), START + 100 + MAINTENANCE_TIME);
        assertEq(_observations(INITIAL), 0);
        assertEq(monitor.windowOf(BTC, INITIAL), 0);
    }

    /// @notice The calibration is under test: neither a ramp nor what the test itself has added makes it any better.
    function test_update_takesTheTailAsPushed() public {
        riskParameters.applyBundle(changes(Fields.TAIL_INITIAL, BTC, 0, 4.2e6), provenance());
        riskParameters.applyBundle(changes(Fields.TAIL_MAINTENANCE, BTC, 0, 4.6e6), provenance());
        manager.grantRole(MONITOR_ROLE, address(this), 0);
        riskParameters.setCoverage(BTC, 1.1e6, 1.2e6);
        assertEq(riskParameters.inForce(Fields.TAIL_INITIAL, BTC, 0), 4.62e6);
        assertEq(riskParameters.inForce(Fields.TAIL_MAINTENANCE, BTC, 0), 3.6e6);
        monitor.update(BTC, INITIAL, 0);
        monitor.update(BTC, MAINTENANCE, 0);
        assertEq(monitor.observationOf(BTC, INITIAL).deviation, 900 * 4.2e6);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).deviation, 900 * 4.6e6);
    }

    /// @notice After a jump of volatility the maintenance level follows slowly, and so does its range.
    function test_update_takesTheLevelOfTheHorizon() public {
        volatilityOracle.poke(BTC, 10);
        pass(30 minutes);
        volatilities.push(2e5);
        (uint256 live, uint256 maintenance,,,) = volatilityOracle.levels(BTC);
        assertGt(live, maintenance);
        monitor.update(BTC, INITIAL, 0);
        monitor.update(BTC, MAINTENANCE, 0);
        assertEq(monitor.observationOf(BTC, INITIAL).deviation, (live * 3.2e6 + 1e15 - 1) / 1e15);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).deviation, (maintenance * 3.6e6 + 1e15 - 1) / 1e15);
    }

    function test_update_revertsIfNothingIsCalibrated() public {
        priceOracle.setPriceFeed(2, priceFeed(address(prices)));
        volatilityOracle.setVolatilityFeed(2, volatilityFeed(address(volatilities)));
        set(Fields.VOLATILITY_CAP, 2, 0, 4e6);
        vm.expectRevert(abi.encodeWithSelector(ICoverageMonitor.CoverageMonitorNotCalibrated.selector, 2));
        monitor.update(2, INITIAL, 0);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleNoFeed.selector, 3));
        monitor.update(3, INITIAL, 0);
    }

    function test_updateMany_readsEachUnderlying() public {
        PushedFeed other = new PushedFeed(address(manager), 8, "ETH / USD");
        other.push(2000e8);
        IPriceOracle.PriceFeed memory feed = priceFeed(address(other));
        priceOracle.setPriceFeed(2, feed);
        volatilityOracle.setVolatilityFeed(2, volatilityFeed(address(volatilities)));
        set(Fields.VOLATILITY_CAP, 2, 0, 4e6);
        set(Fields.VOLATILITY_STRESS, 2, 0, 1e6);
        set(Fields.VOLATILITY_FLOOR, 2, 0, 1e6);
        set(Fields.TAIL_INITIAL, 2, 0, 3e6);
        ICoverageMonitor.Update[] memory updates = new ICoverageMonitor.Update[](3);
        updates[0] = ICoverageMonitor.Update(BTC, MAINTENANCE, 0);
        updates[1] = ICoverageMonitor.Update(BTC, INITIAL, 0);
        updates[2] = ICoverageMonitor.Update(2, INITIAL, 0);
        monitor.updateMany(updates);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).deviation, 3.24e9);
        assertEq(monitor.observationOf(BTC, INITIAL).deviation, 2.88e9);
        assertEq(monitor.observationOf(BTC, INITIAL).price, 40_000e18);
        assertEq(monitor.observationOf(2, INITIAL).deviation, 3e9);
        assertEq(monitor.observationOf(2, INITIAL).price, 2000e18);
        // One that is not due holds all of them back.
        uint80 roundId = _report(MAINTENANCE_TIME, 40_000e8);
        updates = new ICoverageMonitor.Update[](2);
        updates[0] = ICoverageMonitor.Update(BTC, MAINTENANCE, roundId);
        updates[1] = ICoverageMonitor.Update(BTC, INITIAL, roundId);
        vm.expectRevert();
        monitor.updateMany(updates);
        assertEq(_observations(MAINTENANCE), 0);
    }

    // ─── Closing

    function test_update_countsWhatMovedFurtherThanTheRange() public {
        int256 highest = _lastInRange(MAINTENANCE_TIME);
        assertEq(highest, 41_384.69125187e8); // 40,000 · (1 + 3.24 · √(1/8760))
        int256[4] memory closes = [highest, highest + 1, 80_000e8 - highest, 80_000e8 - highest - 1];
        for (uint256 i; i < 4; ++i) {
            uint80 from = _report(MAINTENANCE_TIME, 40_000e8);
            // The first of these opens; the others close in between, far in or out of range.
            monitor.update(BTC, MAINTENANCE, from);
            uint256 before = _exceptions(MAINTENANCE);
            uint80 roundId = _report(MAINTENANCE_TIME, closes[i]);
            vm.expectEmit(true, true, true, false);
            emit ICoverageMonitor.ObservationClosed(BTC, MAINTENANCE, roundId, 0, 0, false, 0);
            monitor.update(BTC, MAINTENANCE, roundId);
            assertEq(_exceptions(MAINTENANCE) - before, i % 2, "exception");
        }
        assertEq(_observations(MAINTENANCE), 7);
        assertEq(_observations(INITIAL), 0);
    }

    function test_update_saysWhatItFound() public {
        monitor.update(BTC, MAINTENANCE, 0);
        uint80 roundId = _report(MAINTENANCE_TIME, 42_000e8);
        // 3.24 · √(1/8760), rounded up.
        vm.expectEmit();
        emit ICoverageMonitor.ObservationClosed(BTC, MAINTENANCE, roundId, 42_000e18, 34_617_281_296_825_748, true, 1);
        vm.expectEmit();
        emit ICoverageMonitor.ObservationOpened(
            BTC, MAINTENANCE, 42_000e18, vm.getBlockTimestamp() + MAINTENANCE_TIME, 3.24e9
        );
        monitor.update(BTC, MAINTENANCE, roundId);
        (uint256 observations, uint256 exceptions, uint256 multiplier, uint256 dueAt) =
            monitor.statusOf(BTC, MAINTENANCE);
        assertEq(observations, 1);
        assertEq(exceptions, 1);
        assertEq(multiplier, 1e6);
        assertEq(dueAt, vm.getBlockTimestamp() + MAINTENANCE_TIME);
        assertEq(monitor.windowOf(BTC, MAINTENANCE), 3);
    }

    /// @notice A round that comes late has had longer to move, which the range knows.
    function test_update_countsTheTimeOfAGap() public {
        monitor.update(BTC, MAINTENANCE, 0);
        int256 highest = _lastInRange(9 * MAINTENANCE_TIME);
        assertGt(highest, 44_000e8);
        uint256 snapshot = vm.snapshot();
        monitor.update(BTC, MAINTENANCE, _report(9 * MAINTENANCE_TIME, highest));
        assertEq(_exceptions(MAINTENANCE), 0);
        vm.revertTo(snapshot);
        monitor.update(BTC, MAINTENANCE, _report(9 * MAINTENANCE_TIME, highest + 1));
        assertEq(_exceptions(MAINTENANCE), 1);
    }

    function test_update_revertsBeforeItIsDue() public {
        monitor.update(BTC, MAINTENANCE, 0);
        uint256 dueAt = START + MAINTENANCE_TIME;
        uint80 roundId = _report(MAINTENANCE_TIME - 1, 50_000e8);
        _expectWrongRound(roundId, dueAt - 1, dueAt);
        monitor.update(BTC, MAINTENANCE, roundId);
        pass(1);
        _expectWrongRound(roundId, dueAt - 1, dueAt);
        monitor.update(BTC, MAINTENANCE, roundId);
        prices.push(40_000e8);
        monitor.update(BTC, MAINTENANCE, roundId + 1);
        assertEq(_observations(MAINTENANCE), 1);
        assertEq(_exceptions(MAINTENANCE), 0);
    }

    function test_update_revertsIfTheRoundIsRepeated() public {
        monitor.update(BTC, MAINTENANCE, 0);
        uint80 roundId = _report(MAINTENANCE_TIME, 50_000e8);
        monitor.update(BTC, MAINTENANCE, roundId);
        for (uint256 i; i < 3; ++i) {
            _expectWrongRound(roundId, START + MAINTENANCE_TIME, START + 2 * MAINTENANCE_TIME);
            monitor.update(BTC, MAINTENANCE, roundId);
            pass(MAINTENANCE_TIME / 3);
        }
        assertEq(_observations(MAINTENANCE), 1);
    }

    function test_update_revertsIfRoundsAreSkipped() public {
        monitor.update(BTC, MAINTENANCE, 0);
        uint80 first = _report(MAINTENANCE_TIME, 40_000e8);
        // In the same second, as real feeds sometimes have it.
        prices.push(50_000e8);
        _report(60, 50_000e8);
        for (uint80 roundId = first + 1; roundId <= first + 2; ++roundId) {
            _expectNotFirst(roundId, roundId - 1);
            monitor.update(BTC, MAINTENANCE, roundId);
        }
        _expectWrongRound(first + 3, 0, START + MAINTENANCE_TIME);
        monitor.update(BTC, MAINTENANCE, first + 3);
        monitor.update(BTC, MAINTENANCE, first);
        assertEq(_exceptions(MAINTENANCE), 0);
    }

    /// @notice Whoever calls, and however late, closes with the same round.
    function testFuzz_update_endsTheSameWheneverItIsCalled(uint256 seed, uint256 late) public {
        monitor.update(BTC, MAINTENANCE, 0);
        for (uint256 i; i < 3; ++i) {
            _report(MAINTENANCE_TIME / 4, 40_000e8);
        }
        uint80 first = _report(MAINTENANCE_TIME / 4, int256(39_000e8 + seed % 3000e8));
        uint256 snapshot = vm.snapshot();
        monitor.update(BTC, MAINTENANCE, first);
        uint256 expected = monitor.windowOf(BTC, MAINTENANCE);
        vm.revertTo(snapshot);
        late = bound(late, 1, 12);
        uint80 last;
        for (uint256 i; i < late; ++i) {
            last = _report(1 + uint256(keccak256(abi.encode(seed, i))) % 3600, int256(30_000e8 + seed % 20_000e8));
        }
        for (uint80 roundId = 1; roundId <= last; ++roundId) {
            if (roundId == first) continue;
            vm.prank(attacker);
            try monitor.update(BTC, MAINTENANCE, roundId) {
                assertTrue(false, "closed by another round");
            } catch { }
        }
        vm.prank(attacker);
        monitor.update(BTC, MAINTENANCE, first);
        assertEq(monitor.windowOf(BTC, MAINTENANCE), expected);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).at, vm.getBlockTimestamp());
    }

    /// @notice A caller cannot make an earlier round look missing by sending little gas.
    function testFuzz_update_cannotSkipRoundsByStarvingTheFeed(uint256 gas_) public {
        monitor.update(BTC, MAINTENANCE, 0);
        _report(MAINTENANCE_TIME, 40_000e8);
        uint80 second = _report(60, 50_000e8);
        vm.prank(attacker);
        try monitor.update{ gas: bound(gas_, 20_000, 200_000) }(BTC, MAINTENANCE, second) {
            assertTrue(false, "closed by a later round");
        } catch { }
    }

    // ─── What a feed may do

    /// @notice Missing, incomplete, not positive, out of bounds: none of them closes, and none hides what came before.
    function test_update_passesOverRoundsThatAreRefused() public {
        FaultyFeed feed = new FaultyFeed(8);
        _deployOn(feed);
        monitor.update(BTC, MAINTENANCE, 0);
        uint256 dueAt = vm.getBlockTimestamp() + MAINTENANCE_TIME;
        pass(MAINTENANCE_TIME + 60);
        uint80 good = PHASE | 60;
        for (uint80 roundId = PHASE | 8; roundId < good; ++roundId) {
            if (roundId % 4 == 0) feed.setRound(roundId, 0, dueAt);
            if (roundId % 4 == 1) feed.setRound(roundId, 999e8, dueAt);
            if (roundId % 4 == 2) feed.setRound(roundId, 50_000e8, dueAt, dueAt, roundId - 1);
        }
        feed.setRound(good, 40_000e8, dueAt + 60);
        for (uint80 roundId = PHASE | 8; roundId < good; ++roundId) {
            _expectWrongRound(roundId, 0, dueAt);
            monitor.update(BTC, MAINTENANCE, roundId);
        }
        uint256 snapshot = vm.snapshot();
        monitor.update(BTC, MAINTENANCE, good);
        assertEq(_observations(MAINTENANCE), 1);
        assertEq(_exceptions(MAINTENANCE), 0);
        vm.revertTo(snapshot);
        // One good round among the bad ones, and it is the one.
        feed.setRound(PHASE | 9, 50_000e8, dueAt);
        feed.setRound(good, 40_000e8, dueAt + 60);
        _expectNotFirst(good, PHASE | 9);
        monitor.update(BTC, MAINTENANCE, good);
        monitor.update(BTC, MAINTENANCE, PHASE | 9);
        assertEq(_exceptions(MAINTENANCE), 1);
    }

    /// @notice The round that it opened with may be refused by now: then there is none before the first.
    function test_update_goesBackToTheStartOfThePhase() public {
        FaultyFeed feed = new FaultyFeed(8);
        _deployOn(feed);
        monitor.update(BTC, MAINTENANCE, 0);
        pass(MAINTENANCE_TIME);
        feed.setRound(PHASE | 7, 0, START);
        feed.setRound(PHASE | 8, 40_000e8, vm.getBlockTimestamp());
        monitor.update(BTC, MAINTENANCE, PHASE | 8);
        assertEq(_observations(MAINTENANCE), 1);
    }

    function test_update_waitsForADeadFeed() public {
        monitor.update(BTC, MAINTENANCE, 0);
        uint80 roundId = _report(MAINTENANCE_TIME, 50_000e8);
        pass(1 hours + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPriceOracle.PriceOracleStale.selector, address(prices), START + MAINTENANCE_TIME, 1 hours
            )
        );
        monitor.update(BTC, MAINTENANCE, roundId);
        _report(3 days, 40_000e8);
        _expectNotFirst(roundId + 1, roundId);
        monitor.update(BTC, MAINTENANCE, roundId + 1);
        monitor.update(BTC, MAINTENANCE, roundId);
        assertEq(_exceptions(MAINTENANCE), 1);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).at, vm.getBlockTimestamp());
    }

    function test_update_waitsForAFeedThatDoesNotAnswer() public {
        FaultyFeed feed = new FaultyFeed(8);
        _deployOn(feed);
        monitor.update(BTC, MAINTENANCE, 0);
        pass(MAINTENANCE_TIME);
        feed.setRound(PHASE | 8, 50_000e8, vm.getBlockTimestamp());
        for (uint8 mode = 1; mode <= uint8(type(FaultyFeed.Mode).max); ++mode) {
            feed.setMode(FaultyFeed.Mode(mode));
            vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleUnreachable.selector, address(feed)));
            monitor.update(BTC, MAINTENANCE, PHASE | 8);
        }
        feed.setMode(FaultyFeed.Mode.ANSWER);
        monitor.update(BTC, MAINTENANCE, PHASE | 8);
        assertEq(_exceptions(MAINTENANCE), 1);
    }

    /// @notice Another feed's prices are not compared with this one's: the difference between the two is no move.
    function test_update_dropsTheObservationOfAnotherFeed() public {
        FaultyFeed another = new FaultyFeed(8);
        monitor.update(BTC, MAINTENANCE, 0);
        monitor.update(BTC, MAINTENANCE, _report(MAINTENANCE_TIME, 50_000e8));
        another.setRound(1, 51_500e8, vm.getBlockTimestamp());
        priceOracle.proposePriceFeed(BTC, priceFeed(address(another)));
        uint80 roundId = _report(2 days, 50_000e8);
        another.setRound(2, 52_000e8, vm.getBlockTimestamp());
        priceOracle.applyPriceFeed(BTC);
        vm.expectEmit();
        emit ICoverageMonitor.ObservationDropped(BTC, MAINTENANCE, START + 2 * MAINTENANCE_TIME);
        monitor.update(BTC, MAINTENANCE, roundId);
        assertEq(_observations(MAINTENANCE), 1);
        assertEq(_exceptions(MAINTENANCE), 1);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).price, 52_000e18);
        pass(MAINTENANCE_TIME);
        another.setRound(3, 52_000e8, vm.getBlockTimestamp());
        monitor.update(BTC, MAINTENANCE, 3);
        assertEq(_observations(MAINTENANCE), 2);
    }

    /// @notice A new aggregator's round ids and history mean nothing in the old one's order, whichever round is brought.
    function test_update_dropsTheObservationOfAnotherPhase() public {
        FaultyFeed feed = new FaultyFeed(8);
        _deployOn(feed);
        monitor.update(BTC, MAINTENANCE, 0);
        pass(MAINTENANCE_TIME);
        feed.setRound(PHASE | 8, 50_000e8, vm.getBlockTimestamp());
        feed.setRound(2 * PHASE | 1, 50_000e8, vm.getBlockTimestamp());
        uint80[3] memory brought = [PHASE | 8, 2 * PHASE | 1, 0];
        for (uint256 i; i < 3; ++i) {
            uint256 snapshot = vm.snapshot();
            monitor.update(BTC, MAINTENANCE, brought[i]);
            assertEq(_observations(MAINTENANCE), 0);
            assertEq(monitor.observationOf(BTC, MAINTENANCE).price, 50_000e18);
            // From now on only rounds of the new phase count, the first of them not yet.
            pass(MAINTENANCE_TIME);
            uint256 now_ = vm.getBlockTimestamp();
            feed.setRound(PHASE | 9, 40_000e8, now_);
            feed.setRound(2 * PHASE | 2, 50_100e8, now_);
            _expectWrongRound(PHASE | 9, now_, now_);
            monitor.update(BTC, MAINTENANCE, PHASE | 9);
            _expectWrongRound(2 * PHASE | 1, now_ - MAINTENANCE_TIME, now_);
            monitor.update(BTC, MAINTENANCE, 2 * PHASE | 1);
            monitor.update(BTC, MAINTENANCE, 2 * PHASE | 2);
            assertEq(_observations(MAINTENANCE), 1);
            assertEq(_exceptions(MAINTENANCE), 0);
            vm.revertTo(snapshot);
        }
    }

    function test_update_cannotBeEnteredFromTheFeed() public {
        ReentrantFeed feed = new ReentrantFeed();
        deployOracles(priceFeed(address(feed)), volatilityFeed(address(volatilities)));
        _deploy();
        monitor.update(BTC, MAINTENANCE, 0);
        feed.attack(monitor);
        pass(MAINTENANCE_TIME);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleUnreachable.selector, address(feed)));
        monitor.update(BTC, MAINTENANCE, 1);
        assertFalse(feed.entered());
        assertEq(_observations(MAINTENANCE), 0);
    }

    // ─── What it leads to

    /// @dev Closes the open observation with an exception or without.
    function _observe(bool exception) private {
        (, int256 price,,,) = prices.latestRoundData();
        int256 next = exception ? price > 60_000e8 ? price * 2 / 3 : price * 3 / 2 : price;
        monitor.update(BTC, MAINTENANCE, _report(MAINTENANCE_TIME, next));
    }

    function test_update_raisesTheTailOfItsHorizonAndLowersItAgain() public {
        monitor.update(BTC, MAINTENANCE, 0);
        for (uint256 i; i < 4; ++i) {
            _observe(true);
        }
        assertEq(riskParameters.coverageOf(BTC).maintenance, 1e6);
        uint80 roundId = _report(MAINTENANCE_TIME, 40_000e8);
        vm.expectEmit(address(riskParameters));
        emit IRiskParameters.CoverageSet(BTC, 1e6, 1_133_334);
        monitor.update(BTC, MAINTENANCE, roundId);
        assertEq(riskParameters.get(Fields.TAIL_MAINTENANCE, BTC, 0), 3.6e6);
        // In force at once for nobody's maintenance (PUSH), after the ramp for everybody's, and for the test itself.
        assertEq(riskParameters.inForce(Fields.TAIL_MAINTENANCE, BTC, 0), 3.6e6);
        for (uint256 i; i < 5; ++i) {
            _observe(true);
        }
        assertEq(riskParameters.coverageOf(BTC).maintenance, 1_333_334);
        for (uint256 i; i < 6; ++i) {
            _observe(false);
        }
        assertEq(riskParameters.inForce(Fields.TAIL_MAINTENANCE, BTC, 0), 4_800_003);
        assertEq(monitor.observationOf(BTC, MAINTENANCE).deviation, 3.24e9);
        assertEq(riskParameters.inForce(Fields.TAIL_INITIAL, BTC, 0), 3.2e6);
        // Ten exceptions, then six good ones: after 244 more the window is full of them and the first exception leaves it.
        for (uint256 i; i < 234; ++i) {
            _observe(false);
        }
        assertEq(_observations(MAINTENANCE), 250);
        uint256[8] memory multipliers =
            [uint256(1_333_334), 1_283_334, 1.25e6, 1_216_667, 1_166_667, 1_133_334, 1e6, 1e6];
        for (uint256 i; i < 8; ++i) {
            assertEq(riskParameters.coverageOf(BTC).maintenance, multipliers[i]);
            _observe(false);
        }
        assertEq(riskParameters.coverageOf(BTC).initial, 1e6);
        assertEq(_exceptions(MAINTENANCE), 2);
    }

    function test_update_setsBothHorizonsApart() public {
        monitor.update(BTC, MAINTENANCE, 0);
        monitor.update(BTC, INITIAL, 0);
        for (uint256 i; i < 6; ++i) {
            _observe(true);
        }
        pass(8 hours);
        for (uint256 i; i < 5; ++i) {
            monitor.update(BTC, INITIAL, _report(8 hours, i % 2 == 0 ? int256(80_000e8) : int256(40_000e8)));
        }
        IRiskParameters.Coverage memory coverage = riskParameters.coverageOf(BTC);
        assertEq(coverage.maintenance, 1_166_667);
        assertEq(coverage.initial, 1_133_334);
        assertEq(riskParameters.inForce(Fields.TAIL_INITIAL, BTC, 0), 3_626_669);
        assertEq(monitor.observationOf(BTC, INITIAL).deviation, 2.88e9);
    }

    /// @notice Against a list of outcomes worked out in exact rationals: a random walk that rounds report irregularly, looked at by
    /// a caller who comes and goes.
    function testFuzz_update_isTheReferenceCount(uint256 seed) public {
        int256 price = 40_000e8;
        monitor.update(BTC, MAINTENANCE, 0);
        (int256 from, uint256 at, uint256 dueAt) = (price, START, START + MAINTENANCE_TIME);
        uint256 window = 1;
        uint80 closing;
        bool moved;
        for (uint256 i; i < 60; ++i) {
            uint256 drawn = uint256(keccak256(abi.encode(seed, i)));
            price = price * int256(970_000 + (drawn >> 16) % 60_000) / 1e6;
            uint80 roundId = _report(drawn % 3000, price);
            if (closing == 0 && vm.getBlockTimestamp() >= dueAt) {
                closing = roundId;
                uint256 difference = uint256(price > from ? price - from : from - price);
                moved = (difference * 1e9) ** 2 * YEAR > (uint256(from) * 3.24e9) ** 2 * (vm.getBlockTimestamp() - at);
            }
            if (closing == 0 || drawn >> 64 & 3 == 0) continue;
            monitor.update(BTC, MAINTENANCE, closing);
            window = window << 1 | (moved ? 1 : 0);
            (from, at, dueAt, closing) = (price, vm.getBlockTimestamp(), vm.getBlockTimestamp() + MAINTENANCE_TIME, 0);
            assertEq(monitor.windowOf(BTC, MAINTENANCE), window);
        }
        assertGt(window, 1 << 10);
    }

    function test_update_needsItsRole() public {
        manager.revokeRole(MONITOR_ROLE, address(monitor));
        monitor.update(BTC, MAINTENANCE, 0);
        for (uint256 i; i < 4; ++i) {
            _observe(true);
        }
        uint80 roundId = _report(MAINTENANCE_TIME, 40_000e8);
        vm.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", address(monitor)));
        monitor.update(BTC, MAINTENANCE, roundId);
        // Nothing is lost.
        manager.grantRole(MONITOR_ROLE, address(monitor), 0);
        monitor.update(BTC, MAINTENANCE, roundId);
        assertEq(riskParameters.coverageOf(BTC).maintenance, 1_133_334);
    }
}

/// @notice Tails 30% too low: how soon the light is red, and what margin covers then. Moves are normal, with the level margin
/// takes for theirs, so that all is known: the 99% expected shortfall is 2.665 deviations, 70% of it 1.8655, which 6.21% of moves exceed
/// (10 exceptions after 161 observations on average, with a deviation of 49), and 4/3 of that 2.4873, which 1.29% exceed.
contract CoverageMonitorRedTest is Monitored {
    uint16 private constant LIVES = 20;
    uint256 private constant AFTERWARDS = 80;
    uint256 private constant RED = 10;

    function test_update_turnsRedInTimeAndCoversAgain() public {
        uint256 untilRed;
        uint256 exceeded;
        for (uint16 life = 100; life < 100 + LIVES; ++life) {
            _begin(life);
            uint256 count;
            for (uint256 exceptions; exceptions < RED; ++count) {
                exceptions = _move(life, count);
            }
            untilRed += count;
            assertEq(riskParameters.inForce(Fields.TAIL_INITIAL, life, 0), 2_487_335);
            for (uint256 i; i < AFTERWARDS; ++i) {
                if (_moveAgainstMargin(life, count + i)) ++exceeded;
            }
        }
        emit log_named_uint("observations to red, mean", untilRed / LIVES);
        emit log_named_uint("exceptions afterwards, of 1,600", exceeded);
        // Three standard deviations of a mean over 20 lives.
        assertApproxEqAbs(untilRed / LIVES, 161, 33);
        // 1.29% of 1,600 are 21; three deviations more are 35. Before it they would have been 99.
        assertLe(exceeded, 35);
    }

    /// @dev An underlying of its own, with the same feeds.
    function _begin(uint16 life) private {
        _report(1, 40_000e8);
        IPriceOracle.PriceFeed memory feed = priceFeed(address(prices));
        (feed.minimum, feed.maximum) = (1e18, 1e27);
        priceOracle.setPriceFeed(life, feed);
        volatilityOracle.setVolatilityFeed(life, volatilityFeed(address(volatilities)));
        set(Fields.VOLATILITY_CAP, life, 0, 4e6);
        set(Fields.VOLATILITY_STRESS, life, 0, 1.2e6);
        set(Fields.VOLATILITY_STRESS_WEIGHT, life, 0, 0.25e6);
        set(Fields.TAIL_INITIAL, life, 0, 1_865_500);
        set(Fields.TAIL_MAINTENANCE, life, 0, 3e6);
        monitor.update(life, INITIAL, 0);
    }

    /// @dev One horizon passes. Twelve uniform numbers less six are as good as normal here. @return exceptions In the window.
    function _move(uint16 life, uint256 count) private returns (uint256 exceptions) {
        (, int256 price,,,) = prices.latestRoundData();
        uint256 drawn = uint256(keccak256(abi.encode(life, count)));
        int256 sum = -6 * 0xffff;
        for (uint256 i; i < 12; ++i) {
            sum += int256(drawn >> (16 * i) & 0xffff);
        }
        // σ · √(8 h / year) = 0.9 · 0.030219687.
        int256 move = sum * int256(0.027197718e9) / 0xffff;
        monitor.update(life, INITIAL, _report(8 hours, price * (1e9 + move) / 1e9));
        (, exceptions,,) = monitor.statusOf(life, INITIAL);
    }

    /// @dev The same. @return Whether it went further than what margin has in force.
    function _moveAgainstMargin(uint16 life, uint256 count) private returns (bool) {
        (, int256 from,,,) = prices.latestRoundData();
        uint256 tail = uint256(riskParameters.inForce(Fields.TAIL_INITIAL, life, 0));
        _move(life, count);
        (, int256 to,,,) = prices.latestRoundData();
        uint256 moved = uint256(to > from ? to - from : from - to);
        return (moved * 1e9) ** 2 * YEAR > (uint256(from) * 900 * tail) ** 2 * 8 hours;
    }
}

/// @notice What an update costs, from cold, as a transaction of its own.
/// forge-config: default.isolate = true
contract CoverageMonitorGasTest is Monitored {
    function setUp() public override {
        super.setUp();
        volatilityOracle.poke(BTC, 10);
        monitor.update(BTC, MAINTENANCE, 0);
        monitor.update(BTC, INITIAL, 0);
        monitor.update(BTC, MAINTENANCE, _report(MAINTENANCE_TIME, 40_000e8));
    }

    function test_update_gas() public {
        uint80 roundId = _report(MAINTENANCE_TIME, 40_100e8);
        monitor.update(BTC, MAINTENANCE, roundId);
        assertLe(_measure("update"), 122_000);
    }

    /// @notice Both at once cost less than two calls, and come to the same.
    function test_updateMany_gas() public {
        uint80 roundId = _report(8 hours, 40_100e8);
        // After eight hours the round is the first at or after either horizon.
        ICoverageMonitor.Update[] memory both = new ICoverageMonitor.Update[](2);
        both[0] = ICoverageMonitor.Update(BTC, MAINTENANCE, roundId);
        both[1] = ICoverageMonitor.Update(BTC, INITIAL, roundId);
        uint256 state = vm.snapshot();
        monitor.update(BTC, MAINTENANCE, roundId);
        monitor.update(BTC, INITIAL, roundId);
        bytes memory apart = _all();
        vm.revertTo(state);
        monitor.updateMany(both);
        assertLe(_measure("updateMany, both horizons"), 175_000);
        assertEq(_all(), apart);
    }

    function _all() private view returns (bytes memory) {
        return abi.encode(
            monitor.observationOf(BTC, MAINTENANCE),
            monitor.observationOf(BTC, INITIAL),
            monitor.windowOf(BTC, MAINTENANCE),
            monitor.windowOf(BTC, INITIAL)
        );
    }

    /// @notice The multiplier changes once in dozens of updates.
    function test_update_gasOfAMultiplier() public {
        for (uint256 i; i < 4; ++i) {
            monitor.update(
                BTC, MAINTENANCE, _report(MAINTENANCE_TIME, i % 2 == 0 ? int256(80_000e8) : int256(40_000e8))
            );
        }
        uint80 roundId = _report(MAINTENANCE_TIME, 80_000e8);
        monitor.update(BTC, MAINTENANCE, roundId);
        _measure("update, another multiplier");
        assertEq(riskParameters.coverageOf(BTC).maintenance, 1_133_334);
    }

    function _measure(string memory name) private returns (uint256) {
        return GasSnapshots(address(vm)).snapshotGasLastCall("CoverageMonitor", name);
    }
}
