// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Oracles } from "./support/Oracles.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { InstrumentRegistry } from "contracts/InstrumentRegistry.sol";
import { IInstrumentRegistry } from "contracts/interfaces/IInstrumentRegistry.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";

/// @notice Listing, and settlement by the round that the feed itself picks out. BTC's feed has a heartbeat of an hour and
/// bounds of 1,000 and 1,000,000 dollars; the expiry under test is a week from the start.
contract InstrumentRegistryTest is Oracles {
    uint40 private constant EXPIRY = uint40(START + 7 days);
    uint80 private constant PHASE = 1 << 64;

    InstrumentRegistry private registry;
    FaultyFeed private feed;

    function setUp() public override {
        super.setUp();
        _listOn(priceFeed(address(prices)));
    }

    /// @dev A registry on oracles with this as BTC's price feed, two strikes at EXPIRY listed.
    function _listOn(IPriceOracle.PriceFeed memory configuration) private {
        deployOracles(configuration, volatilityFeed(address(volatilities)));
        registry = new InstrumentRegistry(address(manager), priceOracle);
        registry.listOptions(BTC, EXPIRY, _strikes(40_000e8, 50_000e8));
    }

    // ─── Listing

    function test_listOptions_listsTheCallAndThePutOfEachStrike() public view {
        for (uint64 strike = 40_000e8; strike <= 50_000e8; strike += 10_000e8) {
            assertTrue(registry.isListed(InstrumentLibrary.option(false, BTC, EXPIRY, strike)));
            assertTrue(registry.isListed(InstrumentLibrary.option(true, BTC, EXPIRY, strike)));
        }
        assertFalse(registry.isListed(InstrumentLibrary.option(true, BTC, EXPIRY, 45_000e8)));
        assertFalse(registry.isListed(InstrumentLibrary.option(true, BTC, EXPIRY + 1, 40_000e8)));
        assertFalse(registry.isListed(InstrumentLibrary.perpetual(BTC)));
    }

    function test_listOptions_addsStrikesToAnExpiryAndSaysEachOnce() public {
        vm.recordLogs();
        registry.listOptions(BTC, EXPIRY, _strikes(40_000e8, 45_000e8));
        assertEq(vm.getRecordedLogs().length, 2);
        assertTrue(registry.isListed(InstrumentLibrary.option(true, BTC, EXPIRY, 45_000e8)));
    }

    function test_listOptions_acceptsStrikesToAThousandTimesThePriceEitherWay() public {
        registry.listOptions(BTC, EXPIRY, _strikes(40e8, 40_000_000e8));
        _expectBadStrikes(40e8 - 1, 50_000e8, "strikes must be within a thousand times the price");
        _expectBadStrikes(50_000e8, 40_000_000e8 + 1, "strikes must be within a thousand times the price");
    }

    function test_listOptions_revertsIfStrikesAreZeroOrNotRising() public {
        _expectBadStrikes(0, 50_000e8, "strikes must be above zero and strictly rising");
        _expectBadStrikes(50_000e8, 50_000e8, "strikes must be above zero and strictly rising");
        _expectBadStrikes(50_000e8, 40_000e8, "strikes must be above zero and strictly rising");
        vm.expectRevert(_badSeries(EXPIRY, "at least one strike is needed"));
        registry.listOptions(BTC, EXPIRY, new uint64[](0));
    }

    /// @notice A payoff of the largest position must have room in a cash ledger.
    function test_listOptions_revertsIfAStrikeIsAboveABillion() public {
        IPriceOracle.PriceFeed memory configuration = priceFeed(address(prices));
        configuration.maximum = 1e27;
        _listOn(configuration);
        prices.push(900_000_000e8);
        registry.listOptions(BTC, EXPIRY, _strikes(900_000_000e8, 1_000_000_000e8));
        _expectBadStrikes(900_000_000e8, 1_000_000_000e8 + 1, "strikes must be at most a billion dollars");
    }

    function test_listOptions_revertsIfTheExpiryIsNotInTheNextThreeYears() public {
        uint40 farthest = uint40(START + 3 * 365 days);
        registry.listOptions(BTC, farthest, _strikes(40_000e8, 50_000e8));
        registry.listOptions(BTC, uint40(START + 1), _strikes(40_000e8, 50_000e8));
        vm.expectRevert(_badSeries(farthest + 1, "expiry must be at most three years away"));
        registry.listOptions(BTC, farthest + 1, _strikes(40_000e8, 50_000e8));
        vm.expectRevert(_badSeries(uint40(START), "expiry must be in the future"));
        registry.listOptions(BTC, uint40(START), _strikes(40_000e8, 50_000e8));
    }

    function test_listOptions_revertsWithoutAPrice() public {
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryUnderlyingHasNoFeed.selector, 7));
        registry.listOptions(7, EXPIRY, _strikes(40_000e8, 50_000e8));
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryUnderlyingHasNoFeed.selector, 0));
        registry.listOptions(0, EXPIRY, _strikes(40_000e8, 50_000e8));
        pass(2 hours);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleStale.selector, address(prices), START, 1 hours));
        registry.listOptions(BTC, EXPIRY, _strikes(40_000e8, 50_000e8));
    }

    function test_listPerpetual_needsAFeed() public {
        assertTrue(registry.listPerpetual(BTC) == InstrumentLibrary.perpetual(BTC));
        assertTrue(registry.isListed(InstrumentLibrary.perpetual(BTC)));
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryUnderlyingHasNoFeed.selector, 7));
        registry.listPerpetual(7);
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryUnderlyingHasNoFeed.selector, 0));
        registry.listPerpetual(0);
    }

    function test_requireTradable_endsWithTheExpiry() public {
        registry.listPerpetual(BTC);
        Instrument option = InstrumentLibrary.option(false, BTC, EXPIRY, 40_000e8);
        vm.warp(EXPIRY - 1);
        registry.requireTradable(option);
        vm.warp(EXPIRY);
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryExpired.selector, option, EXPIRY));
        registry.requireTradable(option);
        registry.requireTradable(InstrumentLibrary.perpetual(BTC));
        Instrument unknown = InstrumentLibrary.option(false, BTC, EXPIRY, 45_000e8);
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryUnknownInstrument.selector, unknown));
        registry.requireTradable(unknown);
    }

    function test_setAveragingWindow_holdsForExpiriesListedFromThenOn() public {
        registry.setAveragingWindow(BTC, 30 minutes);
        assertEq(registry.averagingWindowOf(BTC), 30 minutes);
        registry.listOptions(BTC, EXPIRY, _strikes(41_000e8, 42_000e8));
        assertEq(registry.windowOf(BTC, EXPIRY), 0);
        registry.listOptions(BTC, EXPIRY + 1, _strikes(41_000e8, 42_000e8));
        assertEq(registry.windowOf(BTC, EXPIRY + 1), 30 minutes);
        registry.setAveragingWindow(BTC, 1 days);
        vm.expectRevert(
            abi.encodeWithSelector(IInstrumentRegistry.RegistryBadWindow.selector, 1 days + 1, uint32(1 days))
        );
        registry.setAveragingWindow(BTC, 1 days + 1);
    }

    function test_listing_refusesStrangers() public {
        bytes[3] memory calls = [
            abi.encodeCall(registry.listPerpetual, (BTC)),
            abi.encodeCall(registry.listOptions, (BTC, EXPIRY, _strikes(41_000e8, 42_000e8))),
            abi.encodeCall(registry.setAveragingWindow, (BTC, 60))
        ];
        for (uint256 i; i < calls.length; ++i) {
            vm.prank(attacker);
            (bool ok, bytes memory answer) = address(registry).call(calls[i]);
            assertFalse(ok);
            assertEq(answer, abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker));
        }
    }

    // ─── The round in force

    function test_settle_takesTheRoundInForce() public {
        uint80 first = _report(EXPIRY - 600, 41_000e8);
        uint80 inForce = _report(EXPIRY, 42_000e8); // at the very second it counts
        uint80 later = _report(EXPIRY + 1, 43_000e8);
        _expectWrongRound(first, "a later round was in force at the expiry");
        _expectWrongRound(later, "reported after the expiry: bring the round before it");
        _expectWrongRound(later + 1, "no such round, or one the price oracle refuses");
        _expectWrongRound(0, "no such round, or one the price oracle refuses");
        vm.expectEmit();
        emit IInstrumentRegistry.ExpirySettled(BTC, EXPIRY, 42_000e18, inForce, 1, attacker);
        vm.prank(attacker); // anyone may
        assertEq(registry.settle(BTC, EXPIRY, inForce), 42_000e18);
        assertEq(registry.settlementPriceOf(BTC, EXPIRY), 42_000e18);
    }

    function test_settle_needsNoLaterRound() public {
        uint80 inForce = _report(EXPIRY - 1 hours, 42_000e8);
        vm.warp(EXPIRY + 1);
        assertEq(registry.settle(BTC, EXPIRY, inForce), 42_000e18);
    }

    function test_settle_revertsIfTooEarlyTwiceOrUnknown() public {
        uint80 inForce = _report(EXPIRY, 42_000e8);
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryNotExpired.selector, BTC, EXPIRY));
        registry.settle(BTC, EXPIRY, inForce);
        vm.warp(EXPIRY + 1);
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryUnknownExpiry.selector, BTC, EXPIRY + 1));
        registry.settle(BTC, EXPIRY + 1, inForce);
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryUnknownExpiry.selector, 2, EXPIRY));
        registry.settle(2, EXPIRY, inForce);
        registry.settle(BTC, EXPIRY, inForce);
        vm.expectRevert(
            abi.encodeWithSelector(IInstrumentRegistry.RegistryAlreadySettled.selector, BTC, EXPIRY, 42_000e18)
        );
        registry.settle(BTC, EXPIRY, inForce);
    }

    /// @notice A feed silent for longer than its heartbeat at the expiry settles by the first thing it says afterwards.
    function test_settle_takesTheFirstRoundAfterWhereTheFeedWasStale() public {
        uint80 stale = _report(EXPIRY - 1 hours - 1, 41_000e8);
        vm.warp(EXPIRY + 1);
        _expectWrongRound(stale, "stale at the expiry: bring the first round after the expiry");
        uint80 firstAfter = _report(EXPIRY + 5 hours, 43_000e8);
        uint80 second = _report(EXPIRY + 5 hours + 1, 44_000e8);
        _expectWrongRound(stale, "stale at the expiry: bring the first round after the expiry");
        _expectWrongRound(second, "reported after the expiry, and not the first");
        assertEq(registry.settle(BTC, EXPIRY, firstAfter), 43_000e18);
    }

    /// @notice Steps of up to 90 minutes, so that the heartbeat holds at the expiry in some runs and not in others.
    function testFuzz_settle_letsOneRoundThroughAndNoOther(uint256 seed) public {
        uint80 settling;
        uint256 time = EXPIRY - 3 hours;
        while (time <= EXPIRY + 2 hours) {
            uint80 roundId = _report(time, int256(30_000e8 + seed % 1e12));
            if (time <= EXPIRY ? time + 1 hours >= EXPIRY : settling == 0) settling = roundId;
            seed = uint256(keccak256(abi.encode(seed)));
            time += seed % 90 minutes;
        }
        vm.warp(EXPIRY + 1 days);
        for (uint80 roundId = 1; roundId <= settling + 12; ++roundId) {
            if (roundId == settling) continue;
            (bool ok,) = address(registry).call(abi.encodeCall(registry.settle, (BTC, EXPIRY, roundId)));
            assertFalse(ok);
        }
        registry.settle(BTC, EXPIRY, settling);
    }

    // ─── Rounds the oracle refuses

    function test_settle_passesOverRefusedRounds() public {
        uint80 good = _report(EXPIRY - 600, 42_000e8);
        _report(EXPIRY - 500, 0);
        _report(EXPIRY - 400, -1);
        uint80 low = _report(EXPIRY - 300, 999e8);
        uint80 later = _report(EXPIRY + 1, 43_000e8);
        _expectWrongRound(low, "no such round, or one the price oracle refuses");
        _expectWrongRound(later, "reported after the expiry: bring the round before it");
        assertEq(registry.settle(BTC, EXPIRY, good), 42_000e18);
    }

    /// @notice A refused round in between must not hide the one that was in force after it.
    function test_settle_looksBehindRefusedRounds() public {
        uint80 early = _report(EXPIRY - 600, 41_000e8);
        _report(EXPIRY - 500, 0);
        uint80 inForce = _report(EXPIRY - 400, 42_000e8);
        _report(EXPIRY + 1, -5);
        uint80 later = _report(EXPIRY + 2, 43_000e8);
        _expectWrongRound(early, "a later round was in force at the expiry");
        _expectWrongRound(later, "reported after the expiry: bring the round before it");
        assertEq(registry.settle(BTC, EXPIRY, inForce), 42_000e18);
    }

    function test_settle_revertsIfTooManyNeighboursAreRefused() public {
        uint80 early = _report(EXPIRY - 600, 41_000e8);
        for (uint256 i; i < 32; ++i) {
            _report(EXPIRY - 500, 0);
        }
        uint80 later = _report(EXPIRY + 1, 43_000e8);
        _expectWrongRound(early, "too many rounds after it are refused by the price oracle");
        _expectWrongRound(later, "too many rounds before it are refused by the price oracle");
    }

    function test_settle_revertsIfTheFeedDoesNotAnswer() public {
        _useFaultyFeed();
        feed.setRound(PHASE | 8, 42_000e8, EXPIRY - 60);
        vm.warp(EXPIRY + 1);
        feed.setDecimals(18);
        _expectWrongRound(PHASE | 8, "the price feed does not answer");
        feed.setDecimals(8);
        feed.setMode(FaultyFeed.Mode.REVERT);
        _expectWrongRound(PHASE | 8, "the price feed does not answer");
        feed.setMode(FaultyFeed.Mode.ANSWER);
        registry.settle(BTC, EXPIRY, PHASE | 8);
    }

    // ─── Phases

    function test_settle_takesAnOldPhaseWhereTheNewBeganAfterTheExpiry() public {
        _useFaultyFeed();
        feed.setRound(PHASE | 8, 42_000e8, EXPIRY - 60);
        feed.setRound(2 * PHASE | 1, 43_000e8, EXPIRY + 60);
        vm.warp(EXPIRY + 100);
        // The new phase's first round proves nothing of the old phase, so there is time to bring that one's.
        _expectWrongRound(2 * PHASE | 1, "the first of its phase settles a heartbeat after the expiry");
        _expectWrongRound(PHASE | 7, "a later round was in force at the expiry");
        assertEq(registry.settle(BTC, EXPIRY, PHASE | 8), 42_000e18);
    }

    function test_settle_takesTheLatestPhaseThatHadBegun() public {
        _useFaultyFeed();
        feed.setRound(PHASE | 8, 42_000e8, EXPIRY - 60);
        feed.setRound(2 * PHASE | 1, 43_000e8, EXPIRY - 30);
        feed.setRound(2 * PHASE | 2, 44_000e8, EXPIRY + 30);
        feed.setRound(3 * PHASE | 1, 45_000e8, EXPIRY + 40);
        vm.warp(EXPIRY + 100);
        _expectWrongRound(PHASE | 8, "a later phase of the feed had begun by the expiry");
        _expectWrongRound(2 * PHASE | 2, "reported after the expiry: bring the round before it");
        assertEq(registry.settle(BTC, EXPIRY, 2 * PHASE | 1), 43_000e18);
    }

    function test_settle_takesAPhasesFirstRoundOnceTheOldHasHadItsTime() public {
        _useFaultyFeed(); // silent since long before the expiry
        feed.setRound(2 * PHASE | 1, 43_000e8, EXPIRY + 60);
        feed.setRound(2 * PHASE | 2, 44_000e8, EXPIRY + 70);
        vm.warp(EXPIRY + 1 hours);
        _expectWrongRound(2 * PHASE | 1, "the first of its phase settles a heartbeat after the expiry");
        _expectWrongRound(PHASE | 7, "stale at the expiry: bring the first round after the expiry");
        vm.warp(EXPIRY + 1 hours + 1);
        _expectWrongRound(2 * PHASE | 2, "reported after the expiry, and not the first");
        assertEq(registry.settle(BTC, EXPIRY, 2 * PHASE | 1), 43_000e18);
    }

    // ─── Averages

    /// @notice Over 30 minutes: 41,000 for 10 minutes from the window's start, 42,000 for 15, 44,000 for the last 5.
    function test_settle_averagesByTime() public {
        uint40 expiry = _listAveraged(30 minutes);
        _report(expiry - 50 minutes, 30_000e8);
        _report(expiry - 40 minutes, 41_000e8);
        _report(expiry - 20 minutes, 42_000e8);
        _report(expiry - 10 minutes, 0); // refused: 42,000 stays in force
        uint80 inForce = _report(expiry - 5 minutes, 44_000e8);
        _report(expiry + 1, 50_000e8);
        uint256 average = uint256(41_000e18 * 10 + 42_000e18 * 15 + 44_000e18 * 5) / 30;
        vm.expectEmit();
        emit IInstrumentRegistry.ExpirySettled(BTC, expiry, average, inForce, 3, address(this));
        assertEq(registry.settle(BTC, expiry, inForce), average);
        assertEq(average, 42_000e18);
    }

    function test_settle_averagesARoundAtTheExpiryByItsWeightOfNothing() public {
        uint40 expiry = _listAveraged(10 minutes);
        _report(expiry - 20 minutes, 41_000e8);
        uint80 atExpiry = _report(expiry, 99_000e8);
        vm.warp(expiry + 1);
        assertEq(registry.settle(BTC, expiry, atExpiry), 41_000e18);
    }

    function test_settle_averagesOverWhatThePhaseReachesBackTo() public {
        FaultyFeed fresh = new FaultyFeed(8);
        fresh.setRound(PHASE | 1, 42_000e8, START);
        _listOn(priceFeed(address(fresh)));
        uint40 expiry = _listAveraged(1 hours);
        fresh.setRound(2 * PHASE | 1, 40_000e8, expiry - 20 minutes);
        fresh.setRound(2 * PHASE | 2, 46_000e8, expiry - 5 minutes);
        vm.warp(expiry + 1);
        assertEq(registry.settle(BTC, expiry, 2 * PHASE | 2), uint256(40_000e18 * 15 + 46_000e18 * 5) / 20);
    }

    /// @notice Two hundred rounds of a minute, the last at 200 dollars more than the first: older ones are not looked at.
    function test_settle_averagesOverTwoHundredRounds() public {
        uint40 expiry = _listAveraged(1 days);
        uint80 last;
        for (uint256 i = 250; i > 0; --i) {
            last = _report(expiry - i * 60, i > 200 ? int256(900_000e8) : int256(40_000e8 + (200 - i) * 1e8));
        }
        vm.warp(expiry + 1);
        vm.expectEmit();
        emit IInstrumentRegistry.ExpirySettled(BTC, expiry, 40_099.5e18, last, 200, address(this));
        assertEq(registry.settle(BTC, expiry, last), 40_099.5e18);
    }

    /// @notice Where the feed had fallen silent there is nothing to average: the first round after stands alone.
    function test_settle_doesNotAverageAfterSilence() public {
        uint40 expiry = _listAveraged(6 hours);
        _report(expiry - 2 hours, 41_000e8);
        uint80 firstAfter = _report(expiry + 60, 43_000e8);
        assertEq(registry.settle(BTC, expiry, firstAfter), 43_000e18);
    }

    /// @dev Against the definition, a second at a time.
    function testFuzz_settle_averageIsTheMeanOfThePriceInForceEachSecond(uint256 seed) public {
        uint40 expiry = _listAveraged(120);
        uint256[] memory inForce = new uint256[](120);
        uint256 time = expiry - 150;
        uint80 last;
        while (time <= expiry) {
            uint256 dollars = 30_000 + seed % 20_000;
            last = _report(time, int256(dollars * 1e8));
            for (uint256 i; i < 120; ++i) {
                if (expiry - 120 + i >= time) inForce[i] = dollars * 1e18;
            }
            seed = uint256(keccak256(abi.encode(seed)));
            time += seed % 25;
        }
        uint256 sum;
        for (uint256 i; i < 120; ++i) {
            sum += inForce[i];
        }
        vm.warp(expiry + 1);
        assertEq(registry.settle(BTC, expiry, last), sum / 120);
    }

    // ─── Helpers

    function _strikes(uint64 first, uint64 second) private pure returns (uint64[] memory strikes) {
        strikes = new uint64[](2);
        (strikes[0], strikes[1]) = (first, second);
    }

    /// @dev Reported at `time`, and the clock is there.
    function _report(uint256 time, int256 answer) private returns (uint80) {
        vm.warp(time);
        return prices.push(answer);
    }

    /// @dev Another expiry, a second later, that is averaged.
    function _listAveraged(uint32 window) private returns (uint40 expiry) {
        expiry = EXPIRY + 1;
        registry.setAveragingWindow(BTC, window);
        registry.listOptions(BTC, expiry, _strikes(40_000e8, 50_000e8));
    }

    /// @dev A feed of two phases' making whose first phase ends with round 7, at the start.
    function _useFaultyFeed() private {
        feed = new FaultyFeed(8);
        feed.setRound(PHASE | 7, 40_000e8, START);
        _listOn(priceFeed(address(feed)));
    }

    function _expectWrongRound(uint80 roundId, string memory reason) private {
        vm.expectRevert(abi.encodeWithSelector(IInstrumentRegistry.RegistryWrongRound.selector, BTC, roundId, reason));
        registry.settle(BTC, EXPIRY, roundId);
    }

    function _badSeries(uint40 expiry, string memory reason) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IInstrumentRegistry.RegistryBadSeries.selector, BTC, expiry, reason);
    }

    function _expectBadStrikes(uint64 first, uint64 second, string memory reason) private {
        vm.expectRevert(_badSeries(EXPIRY, reason));
        registry.listOptions(BTC, EXPIRY, _strikes(first, second));
    }
}
