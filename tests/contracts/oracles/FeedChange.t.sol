// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Oracles } from "../support/Oracles.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { IVolatilityOracle } from "contracts/interfaces/IVolatilityOracle.sol";
import { FeedChange } from "contracts/libraries/FeedChange.sol";
import { VolatilityMath } from "contracts/libraries/VolatilityMath.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";

/// @notice ORACLE: a feed in use is replaced after a delay, by one that says the same.
abstract contract FeedChangeTest is Oracles {
    uint256 internal constant DELAY = 2 days;
    uint256 internal constant SILENT_DELAY = 7 days;
    uint256 internal constant LIFETIME = 14 days;
    uint80 internal constant PHASE = 1 << 64;

    function expectTooEarly(uint256 readyAt) internal {
        vm.expectRevert(abi.encodeWithSelector(FeedChange.FeedChangeTooEarly.selector, readyAt));
    }

    function expectExpired(uint256 expiredAt) internal {
        vm.expectRevert(abi.encodeWithSelector(FeedChange.FeedChangeExpired.selector, expiredAt));
    }

    function expectDisagrees(uint256 current, uint256 proposed, uint256 maximum) internal {
        vm.expectRevert(abi.encodeWithSelector(FeedChange.FeedChangeDisagrees.selector, current, proposed, maximum));
    }

    function expectNothingProposed() internal {
        vm.expectRevert(FeedChange.FeedChangeNothingProposed.selector);
    }
}

contract PriceFeedChangeTest is FeedChangeTest {
    uint256 private constant MAXIMUM_CHANGE = 0.05e18;
    uint80 private constant OLD_ROUND = PHASE | 7;
    uint80 private constant NEW_ROUND = PHASE | 500_000;

    FaultyFeed private old;
    FaultyFeed private replacement;
    FaultyFeed private second;

    function setUp() public override {
        super.setUp();
        (old, replacement, second) = (new FaultyFeed(8), new FaultyFeed(8), new FaultyFeed(8));
        report(40_000e8, 40_400e8, 40_400e8);
        deployOracles(priceFeed(address(old)), volatilityFeed(address(volatilities)));
        volatilityOracle.poke(BTC, 10);
    }

    /// @dev What the feed in use, the new one and the one beside it say now.
    function report(int256 old_, int256 replacement_, int256 second_) private {
        old.setRound(OLD_ROUND, old_, vm.getBlockTimestamp());
        reportNew(replacement_, second_);
    }

    function reportNew(int256 replacement_, int256 second_) private {
        replacement.setRound(NEW_ROUND, replacement_, vm.getBlockTimestamp());
        second.setRound(1, second_, vm.getBlockTimestamp());
    }

    function withSecond() private view returns (IPriceOracle.PriceFeed memory configuration) {
        configuration = priceFeed(address(replacement));
        configuration.secondary = address(second);
        configuration.secondaryHeartbeat = 1 hours;
        configuration.maximumDeviation = 0.01e18;
    }

    function propose(IPriceOracle.PriceFeed memory configuration) private {
        priceOracle.proposePriceFeed(BTC, configuration);
    }

    /// @dev Proposed at the start, applied by a stranger two days later.
    function change() private {
        propose(priceFeed(address(replacement)));
        pass(DELAY);
        report(40_000e8, 40_400e8, 40_400e8);
        applyIt();
    }

    function applyIt() private {
        vm.prank(attacker);
        priceOracle.applyPriceFeed(BTC);
    }

    function source() private view returns (address) {
        return priceOracle.feedOf(BTC).feed;
    }

    // ─── propose, cancel

    function test_proposePriceFeed_changesNothingYet() public {
        IPriceOracle.PriceFeed memory expected = priceFeed(address(replacement));
        expected.decimals = 8;
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.PriceFeedProposed(BTC, expected);
        propose(priceFeed(address(replacement)));
        (IPriceOracle.PriceFeed memory proposed, uint256 proposedAt) = priceOracle.proposedPriceFeed(BTC);
        assertEq(abi.encode(proposed), abi.encode(expected));
        assertEq(proposedAt, START);
        (uint256 price,) = priceOracle.price(BTC);
        assertEq(price, 40_000e18);
        assertEq(source(), address(old));
    }

    function test_proposePriceFeed_revertsIfThereIsNoneInUse() public {
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleNoFeed.selector, 2));
        priceOracle.proposePriceFeed(2, priceFeed(address(replacement)));
    }

    function test_proposePriceFeed_againStartsTheDelayAgain() public {
        propose(priceFeed(address(second)));
        pass(DELAY - 1);
        report(40_000e8, 40_400e8, 40_400e8);
        propose(priceFeed(address(replacement)));
        pass(1);
        expectTooEarly(START + DELAY - 1 + DELAY);
        applyIt();
        pass(DELAY - 1);
        report(40_000e8, 40_400e8, 40_400e8);
        applyIt();
        assertEq(source(), address(replacement));
    }

    function test_cancelPriceFeed_dropsTheProposal() public {
        expectNothingProposed();
        priceOracle.cancelPriceFeed(BTC);
        propose(priceFeed(address(replacement)));
        (IPriceOracle.PriceFeed memory proposed,) = priceOracle.proposedPriceFeed(BTC);
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.PriceFeedCancelled(BTC, proposed);
        priceOracle.cancelPriceFeed(BTC);
        (, uint256 proposedAt) = priceOracle.proposedPriceFeed(BTC);
        assertEq(proposedAt, 0);
        pass(DELAY);
        report(40_000e8, 40_400e8, 40_400e8);
        expectNothingProposed();
        applyIt();
    }

    // ─── apply

    function test_applyPriceFeed_takesTheProposalOnce() public {
        propose(withSecond());
        (IPriceOracle.PriceFeed memory proposed,) = priceOracle.proposedPriceFeed(BTC);
        pass(DELAY);
        report(40_000e8, 40_400e8, 40_400e8);
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.PriceFeedSet(BTC, proposed);
        applyIt();
        assertEq(abi.encode(priceOracle.feedOf(BTC)), abi.encode(proposed));
        (uint256 price,) = priceOracle.price(BTC);
        assertEq(price, 40_400e18);
        (, uint256 proposedAt) = priceOracle.proposedPriceFeed(BTC);
        assertEq(proposedAt, 0);
        expectNothingProposed();
        applyIt();
    }

    function testFuzz_applyPriceFeed_waitsAndLapses(uint256 wait) public {
        wait = bound(wait, 0, 20 days);
        propose(priceFeed(address(replacement)));
        pass(wait);
        report(40_000e8, 40_400e8, 40_400e8);
        if (wait < DELAY) expectTooEarly(START + DELAY);
        if (wait > LIFETIME) expectExpired(START + LIFETIME);
        applyIt();
        assertEq(source(), address(wait < DELAY || wait > LIFETIME ? old : replacement));
    }

    function test_applyPriceFeed_takesBothEndsOfItsTime() public {
        uint256 snapshot = vm.snapshot();
        uint256[4] memory waits = [DELAY - 1, DELAY, LIFETIME, LIFETIME + 1];
        for (uint256 i; i < waits.length; ++i) {
            testFuzz_applyPriceFeed_waitsAndLapses(waits[i]);
            vm.revertTo(snapshot);
        }
    }

    /// @notice The largest difference is five percent of the lower price, either way, itself included.
    function testFuzz_applyPriceFeed_takesAPriceThatAgreesOnly(uint256 current, uint256 proposed) public {
        current = bound(current, 2000e8, 500_000e8);
        proposed = bound(proposed, current * 9 / 10, current * 11 / 10);
        applyAt(current, proposed);
    }

    function test_applyPriceFeed_takesFivePercentAndNoMore() public {
        uint256 snapshot = vm.snapshot();
        uint256[2][4] memory pairs = [
            [uint256(40_000e8), 42_000e8],
            [uint256(40_000e8), 42_000e8 + 1],
            [uint256(42_000e8), 40_000e8],
            [uint256(42_000e8 + 1), 40_000e8]
        ];
        for (uint256 i; i < pairs.length; ++i) {
            applyAt(pairs[i][0], pairs[i][1]);
            assertEq(source(), address(i % 2 == 0 ? replacement : old));
            vm.revertTo(snapshot);
        }
    }

    function applyAt(uint256 current, uint256 proposed) private {
        propose(priceFeed(address(replacement)));
        pass(DELAY);
        report(int256(current), int256(proposed), 40_000e8);
        (uint256 lower, uint256 higher) = current < proposed ? (current, proposed) : (proposed, current);
        bool agree = (higher - lower) * 20 <= lower;
        if (!agree) expectDisagrees(current * 1e10, proposed * 1e10, MAXIMUM_CHANGE);
        applyIt();
        assertEq(source(), address(agree ? replacement : old));
    }

    /// @notice A second feed and a week of waiting make no difference: a feed in use that answers has a say.
    function test_applyPriceFeed_revertsIfItDisagreesHoweverLongItWaited() public {
        propose(withSecond());
        pass(LIFETIME);
        report(40_000e8, 44_000e8, 44_000e8);
        expectDisagrees(40_000e18, 44_000e18, MAXIMUM_CHANGE);
        applyIt();
        report(40_000e8, 41_000e8, 41_000e8);
        applyIt();
        assertEq(source(), address(replacement));
    }

    function test_applyPriceFeed_revertsIfTheNewFeedFailsByThen() public {
        propose(withSecond());
        pass(DELAY);
        report(40_000e8, 40_400e8, 40_400e8);
        replacement.setRound(NEW_ROUND, 40_400e8, block.timestamp - 1 hours - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPriceOracle.PriceOracleStale.selector, replacement, block.timestamp - 1 hours - 1, 1 hours
            )
        );
        applyIt();
        report(40_000e8, 40_400e8, 41_000e8);
        vm.expectRevert(
            abi.encodeWithSelector(IPriceOracle.PriceOracleDeviation.selector, BTC, 40_400e18, 41_000e18, 0.01e18)
        );
        applyIt();
        report(40_000e8, 40_400e8, 40_400e8);
        replacement.setMode(FaultyFeed.Mode.REVERT);
        vm.expectRevert(err(IPriceOracle.PriceOracleUnreachable.selector, address(replacement)));
        applyIt();
        assertEq(source(), address(old));
    }

    // ─── apply, where the feed in use is silent

    /// @dev Every way in which the feed in use can give no price, one after the other.
    function silence(uint256 fault) private {
        if (fault == 0) old.setRound(OLD_ROUND, 40_000e8, block.timestamp - 1 hours - 1);
        if (fault == 1) old.setRound(OLD_ROUND, 0, block.timestamp);
        if (fault == 2) old.setRound(OLD_ROUND, 1000e8 - 1, block.timestamp);
        if (fault == 3) old.setRound(OLD_ROUND, 1_000_000e8 + 1, block.timestamp);
        if (fault == 4) old.setRound(OLD_ROUND, 40_000e8, block.timestamp + 1);
        if (fault == 5) old.setRound(OLD_ROUND, 40_000e8, block.timestamp, block.timestamp, OLD_ROUND - 1);
        if (fault == 6) old.setDecimals(18);
        if (fault == 7) vm.etch(address(old), "");
        if (fault > 7) old.setMode(FaultyFeed.Mode(fault - 7));
    }

    function test_applyPriceFeed_waitsAWeekWhereTheFeedInUseIsSilent() public {
        uint256 snapshot = vm.snapshot();
        for (uint256 fault; fault < 12; ++fault) {
            propose(priceFeed(address(replacement)));
            pass(SILENT_DELAY - 1);
            reportNew(50_000e8, 50_000e8);
            silence(fault);
            expectTooEarly(START + SILENT_DELAY);
            applyIt();
            pass(1);
            reportNew(50_000e8, 50_000e8);
            silence(fault);
            applyIt();
            (uint256 price,) = priceOracle.price(BTC);
            assertEq(price, 50_000e18);
            vm.revertTo(snapshot);
        }
    }

    function test_applyPriceFeed_takesTwoFeedsThatAgreeWhereTheFeedInUseIsSilent() public {
        uint256 snapshot = vm.snapshot();
        for (uint256 fault; fault < 12; ++fault) {
            propose(withSecond());
            pass(DELAY - 1);
            reportNew(50_000e8, 50_000e8);
            silence(fault);
            expectTooEarly(START + DELAY);
            applyIt();
            pass(1);
            reportNew(50_000e8, 51_000e8);
            silence(fault);
            vm.expectRevert(
                abi.encodeWithSelector(IPriceOracle.PriceOracleDeviation.selector, BTC, 50_000e18, 51_000e18, 0.01e18)
            );
            applyIt();
            reportNew(50_000e8, 50_100e8);
            silence(fault);
            applyIt();
            (uint256 price,) = priceOracle.price(BTC);
            assertEq(price, 50_000e18);
            vm.revertTo(snapshot);
        }
    }

    /// @notice Two feeds in use that disagree, or of which the second fails, give no price.
    function test_applyPriceFeed_countsTwoFeedsThatDisagreeAsSilent() public {
        IPriceOracle.PriceFeed memory both = withSecond();
        both.feed = address(old);
        report(40_000e8, 50_000e8, 40_000e8);
        deployOracles(both, volatilityFeed(address(volatilities)));
        propose(priceFeed(address(replacement)));
        pass(SILENT_DELAY - 1);
        report(40_000e8, 50_000e8, 40_400e8);
        expectDisagrees(40_000e18, 50_000e18, MAXIMUM_CHANGE);
        applyIt();
        second.setRound(1, 40_401e8, block.timestamp);
        expectTooEarly(START + SILENT_DELAY);
        applyIt();
        second.setMode(FaultyFeed.Mode.REVERT);
        expectTooEarly(START + SILENT_DELAY);
        applyIt();
        pass(1);
        report(40_000e8, 50_000e8, 40_000e8);
        applyIt();
        assertEq(source(), address(replacement));
    }

    function test_applyPriceFeed_revertsWhileTheSequencerIsDownOrInGrace() public {
        FaultyFeed sequencer = new FaultyFeed(0);
        sequencer.setRound(1, 0, START - 1 days);
        priceOracle.setSequencerFeed(address(sequencer), 30 minutes);
        propose(withSecond());
        pass(DELAY);
        report(40_000e8, 40_400e8, 40_400e8);
        sequencer.setRound(2, 0, block.timestamp - 30 minutes);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPriceOracle.PriceOracleSequencerDown.selector, block.timestamp - 30 minutes, 30 minutes
            )
        );
        applyIt();
        pass(1);
        applyIt();
        assertEq(source(), address(replacement));
    }

    // ─── Realised volatility across a change

    /// @notice The new feed counts its rounds half a million further on in the same phase: nobody has to walk there.
    function test_poke_entersAnotherFeedAtItsLatestRound() public {
        change();
        uint256 variance = volatilityOracle.stateOf(BTC).variance;
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        IVolatilityOracle.VolatilityState memory state = volatilityOracle.stateOf(BTC);
        assertEq(state.roundId, NEW_ROUND);
        assertEq(state.roundPrice, 40_400e18);
        assertEq(state.roundAt, START + DELAY);
        assertEq(state.source, address(replacement));
        assertEq(state.variance, variance);
        assertEq(volatilityOracle.poke(BTC, 10), 0);
        pass(60);
        replacement.setRound(NEW_ROUND + 1, 40_800e8, START + DELAY + 60);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        assertEq(
            volatilityOracle.stateOf(BTC).variance,
            VolatilityMath.updateVariance(variance, 40_400e18, 40_800e18, 60, 6 hours)
        );
    }

    /// @notice Whatever round and time the new feed is at, those of the old one included, its first round is no move.
    function testFuzz_poke_countsNoReturnBetweenTwoFeeds(uint80 roundId, uint256 age, uint256 price) public {
        roundId = uint80(bound(roundId, 1, type(uint80).max - 1));
        propose(priceFeed(address(replacement)));
        pass(DELAY);
        report(40_000e8, 40_400e8, 40_400e8);
        uint256 reportedAt = block.timestamp - bound(age, 0, 1 hours);
        price = bound(price, 38_500e8, 41_500e8);
        replacement.setRound(roundId, int256(price), reportedAt);
        applyIt();
        uint256 variance = volatilityOracle.stateOf(BTC).variance;
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        assertEq(volatilityOracle.stateOf(BTC).variance, variance);
        pass(60);
        replacement.setRound(roundId + 1, int256(price + 100e8), block.timestamp);
        volatilityOracle.poke(BTC, 10);
        assertEq(
            volatilityOracle.stateOf(BTC).variance,
            VolatilityMath.updateVariance(
                variance, price * 1e10, price * 1e10 + 100e18, block.timestamp - reportedAt, 6 hours
            )
        );
    }

    function test_poke_entersAnotherFeedLaterIfItFailsAtFirst() public {
        change();
        IVolatilityOracle.VolatilityState memory before = volatilityOracle.stateOf(BTC);
        replacement.setMode(FaultyFeed.Mode.REVERT);
        assertEq(volatilityOracle.poke(BTC, 10), 0);
        IVolatilityOracle.VolatilityState memory state = volatilityOracle.stateOf(BTC);
        assertEq(state.variance, before.variance);
        assertEq(state.roundId, before.roundId);
        assertEq(state.source, address(old));
        replacement.setMode(FaultyFeed.Mode.ANSWER);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        state = volatilityOracle.stateOf(BTC);
        assertEq(state.variance, before.variance);
        assertEq(state.roundId, NEW_ROUND);
    }

    function test_poke_goesOnWhereTheFeedStaysTheSame() public {
        IPriceOracle.PriceFeed memory wider = priceFeed(address(old));
        wider.maximum = 2_000_000e18;
        propose(wider);
        pass(DELAY);
        old.setRound(OLD_ROUND + 1, 41_000e8, block.timestamp);
        applyIt();
        uint256 variance = volatilityOracle.stateOf(BTC).variance;
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        assertEq(
            volatilityOracle.stateOf(BTC).variance,
            VolatilityMath.updateVariance(variance, 40_000e18, 41_000e18, DELAY, 6 hours)
        );
    }

    // ─── Attacks

    /// @notice The same digits in other decimals would be a price ten billion times as high. No price, no move, and no way in
    /// by a proposal made before.
    function test_attack_feedChangingDecimals() public {
        propose(withSecond());
        pass(DELAY);
        report(40_000e8, 40_400e8, 40_400e8);
        uint256 variance = volatilityOracle.stateOf(BTC).variance;
        old.setDecimals(18);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleDecimalsChanged.selector, old, 8, 18));
        priceOracle.price(BTC);
        old.setRound(OLD_ROUND + 1, 40_000e18, block.timestamp);
        assertEq(volatilityOracle.poke(BTC, 10), 0);
        assertEq(volatilityOracle.stateOf(BTC).variance, variance);

        replacement.setDecimals(6);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleDecimalsChanged.selector, replacement, 8, 6));
        applyIt();
        replacement.setDecimals(8);
        second.setDecimals(6);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleDecimalsChanged.selector, second, 8, 6));
        applyIt();
        assertEq(source(), address(old));
    }

    /// @notice A round without an answer, one that carries an earlier answer, the last one once more and one from before: none
    /// is a price and none a move, however often they are poked in.
    function test_attack_roundIncompleteOrRepeated() public {
        pass(600);
        uint256 variance = volatilityOracle.stateOf(BTC).variance;
        bytes4 incomplete = IPriceOracle.PriceOracleIncompleteRound.selector;
        old.setRound(OLD_ROUND + 1, 60_000e8, block.timestamp, 0, OLD_ROUND + 1);
        vm.expectRevert(abi.encodeWithSelector(incomplete, old, OLD_ROUND + 1, OLD_ROUND + 1));
        priceOracle.price(BTC);
        volatilityOracle.poke(BTC, 10);
        old.setRound(OLD_ROUND + 2, 60_000e8, block.timestamp, block.timestamp, OLD_ROUND);
        vm.expectRevert(abi.encodeWithSelector(incomplete, old, OLD_ROUND + 2, OLD_ROUND));
        priceOracle.price(BTC);
        volatilityOracle.poke(BTC, 10);
        assertEq(volatilityOracle.stateOf(BTC).variance, variance);

        old.setRound(OLD_ROUND + 3, 41_000e8, block.timestamp);
        volatilityOracle.poke(BTC, 10);
        variance = VolatilityMath.updateVariance(variance, 40_000e18, 41_000e18, 600, 6 hours);
        old.setRound(OLD_ROUND + 3, 60_000e8, block.timestamp);
        for (uint256 i; i < 3; ++i) {
            assertEq(volatilityOracle.poke(BTC, 10), 0);
        }
        old.setRound(OLD_ROUND + 4, 60_000e8, block.timestamp - 1);
        assertEq(volatilityOracle.poke(BTC, 10), 1);
        assertEq(volatilityOracle.stateOf(BTC).variance, variance);
    }

    /// @notice A feed that fell behind catches up by 10% with two rounds of one second. In that block realised volatility
    /// and the initial level take in both, once; the maintenance level stays where it was, however often it is poked.
    function test_attack_twoPricesInOneBlockFromALaggingFeed() public {
        pass(600);
        volatilityOracle.poke(BTC, 10);
        (uint256 liveBefore, uint256 maintenanceBefore,,,) = volatilityOracle.levels(BTC);
        uint256 variance = volatilityOracle.stateOf(BTC).variance;
        old.setRound(OLD_ROUND + 1, 42_000e8, block.timestamp);
        old.setRound(OLD_ROUND + 2, 44_000e8, block.timestamp);
        for (uint256 i; i < 3; ++i) {
            assertEq(volatilityOracle.poke(BTC, 10), i == 0 ? 2 : 0);
        }
        variance = VolatilityMath.updateVariance(variance, 40_000e18, 42_000e18, 600, 6 hours);
        variance = VolatilityMath.updateVariance(variance, 42_000e18, 44_000e18, 0, 6 hours);
        assertEq(volatilityOracle.stateOf(BTC).variance, variance);
        (uint256 live, uint256 maintenance,,,) = volatilityOracle.levels(BTC);
        assertGt(live, liveBefore);
        assertEq(maintenance, maintenanceBefore);
    }

    /// @notice Trading against the old price and then against the new one in the block of a change: they are 5% apart at most,
    /// and a feed that lags by more than that keeps the change out until it has caught up.
    function test_attack_twoPricesInOneBlockByAChangeOfFeed() public {
        propose(priceFeed(address(replacement)));
        pass(DELAY);
        report(40_000e8, 44_000e8, 44_000e8);
        old.setRound(OLD_ROUND, 40_000e8, block.timestamp - 59 minutes);
        expectDisagrees(40_000e18, 44_000e18, MAXIMUM_CHANGE);
        applyIt();
        (uint256 price,) = priceOracle.price(BTC);
        assertEq(price, 40_000e18);
        report(43_900e8, 44_000e8, 44_000e8);
        applyIt();
        (price,) = priceOracle.price(BTC);
        assertEq(price, 44_000e18);
    }
}

contract SequencerFeedChangeTest is FeedChangeTest {
    FaultyFeed private old;
    FaultyFeed private replacement;

    function setUp() public override {
        super.setUp();
        (old, replacement) = (new FaultyFeed(0), new FaultyFeed(0));
        old.setRound(1, 0, START - 1 days);
        replacement.setRound(1, 0, START - 1 days);
        priceOracle.setSequencerFeed(address(old), 1 hours);
    }

    function source() private view returns (address feed) {
        (feed,) = priceOracle.sequencer();
    }

    function applyIt() private {
        vm.prank(attacker);
        priceOracle.applySequencerFeed();
    }

    function expectDown(uint256 since, uint256 grace) private {
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleSequencerDown.selector, since, grace));
    }

    function test_setSequencerFeed_revertsIfThereIsOne() public {
        vm.expectRevert(err(IPriceOracle.PriceOracleSequencerFeedInUse.selector, address(old)));
        priceOracle.setSequencerFeed(address(0), 0);
    }

    function test_proposeSequencerFeed_revertsIfItMakesNoSense() public {
        vm.expectRevert(err(IPriceOracle.PriceOracleUnreachable.selector, attacker));
        priceOracle.proposeSequencerFeed(attacker, 60);
        deployOracles(priceFeed(address(prices)), volatilityFeed(address(volatilities)));
        vm.expectRevert(IPriceOracle.PriceOracleNoSequencerFeed.selector);
        priceOracle.proposeSequencerFeed(address(replacement), 60);
    }

    function test_cancelSequencerFeed_dropsTheProposal() public {
        expectNothingProposed();
        priceOracle.cancelSequencerFeed();
        priceOracle.proposeSequencerFeed(address(replacement), 60);
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.SequencerFeedCancelled(address(replacement), 60);
        priceOracle.cancelSequencerFeed();
        pass(DELAY);
        expectNothingProposed();
        applyIt();
    }

    function test_applySequencerFeed_takesTheProposalOnce() public {
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.SequencerFeedProposed(address(replacement), 60);
        priceOracle.proposeSequencerFeed(address(replacement), 60);
        (address feed, uint32 grace, uint256 proposedAt) = priceOracle.proposedSequencerFeed();
        assertEq(feed, address(replacement));
        assertEq(grace, 60);
        assertEq(proposedAt, START);
        assertEq(source(), address(old));
        pass(DELAY - 1);
        expectTooEarly(START + DELAY);
        applyIt();
        pass(1);
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.SequencerFeedSet(address(replacement), 60);
        applyIt();
        (feed, grace) = priceOracle.sequencer();
        assertEq(feed, address(replacement));
        assertEq(grace, 60);
        expectNothingProposed();
        applyIt();
    }

    function test_applySequencerFeed_lapses() public {
        priceOracle.proposeSequencerFeed(address(0), 0);
        pass(LIFETIME + 1);
        expectExpired(START + LIFETIME);
        applyIt();
    }

    function test_applySequencerFeed_switchesItOff() public {
        priceOracle.proposeSequencerFeed(address(0), 0);
        pass(DELAY);
        applyIt();
        assertEq(source(), address(0));
    }

    /// @notice The oldest proposal cannot be used to open liquidations in an outage or just after.
    function test_attack_switchingTheSequencerFeedOffInAnOutage() public {
        priceOracle.proposeSequencerFeed(address(0), 0);
        pass(SILENT_DELAY + 1 days);
        uint256 since = block.timestamp;
        old.setRound(2, 1, since);
        expectDown(since, 1 hours);
        applyIt();
        pass(4 hours);
        expectDown(since, 1 hours);
        applyIt();
        since = block.timestamp;
        old.setRound(3, 0, since);
        pass(1 hours);
        expectDown(since, 1 hours);
        applyIt();
        pass(1);
        applyIt();
        assertEq(source(), address(0));
    }

    function test_applySequencerFeed_revertsIfTheNewFeedIsDownOrInGrace() public {
        priceOracle.proposeSequencerFeed(address(replacement), 60);
        pass(DELAY);
        replacement.setRound(2, 1, block.timestamp - 1 hours);
        expectDown(block.timestamp - 1 hours, 60);
        applyIt();
        replacement.setRound(3, 0, block.timestamp - 60);
        expectDown(block.timestamp - 60, 60);
        applyIt();
        replacement.setMode(FaultyFeed.Mode.REVERT);
        vm.expectRevert(err(IPriceOracle.PriceOracleUnreachable.selector, address(replacement)));
        applyIt();
        assertEq(source(), address(old));
    }

    /// @notice Unreadable, without a round, dated ahead, or "down" for longer than any outage.
    function test_applySequencerFeed_waitsAWeekWhereTheFeedInUseIsDead() public {
        uint256 snapshot = vm.snapshot();
        for (uint256 fault; fault < 4; ++fault) {
            if (fault == 0) old.setMode(FaultyFeed.Mode.REVERT);
            if (fault == 1) old.setRound(2, 0, 0, START, 2);
            if (fault == 2) old.setRound(2, 0, START + 30 days);
            if (fault == 3) old.setRound(2, 1, START - 1 days);
            priceOracle.proposeSequencerFeed(address(replacement), 60);
            pass(SILENT_DELAY - 1);
            expectTooEarly(START + SILENT_DELAY);
            applyIt();
            pass(1);
            applyIt();
            assertEq(source(), address(replacement));
            vm.revertTo(snapshot);
        }
    }

    function test_applySequencerFeed_countsAsDeadOnlyWhatWasDownForAWeek() public {
        priceOracle.proposeSequencerFeed(address(0), 0);
        old.setRound(2, 1, START + 1 days);
        pass(SILENT_DELAY + 1 days);
        expectDown(START + 1 days, 1 hours);
        applyIt();
        pass(1);
        applyIt();
        assertEq(source(), address(0));
    }
}

contract VolatilityFeedChangeTest is FeedChangeTest {
    uint256 private constant MAXIMUM_CHANGE = 0.25e18;
    /// @dev (1 − 25%)·80% + 25%·120%.
    uint256 private constant BLEND = 0.9e18;

    FaultyFeed private old;
    FaultyFeed private replacement;

    function setUp() public override {
        super.setUp();
        (old, replacement) = (new FaultyFeed(5), new FaultyFeed(3));
        report(0.8e5, 1e3);
        deployOracles(priceFeed(address(prices)), volatilityFeed(address(old)));
    }

    function report(int256 old_, int256 replacement_) private {
        old.setRound(1, old_, vm.getBlockTimestamp());
        replacement.setRound(1, replacement_, vm.getBlockTimestamp());
    }

    function propose() private {
        volatilityOracle.proposeVolatilityFeed(BTC, volatilityFeed(address(replacement)));
    }

    function applyIt() private {
        vm.prank(attacker);
        volatilityOracle.applyVolatilityFeed(BTC);
    }

    function source() private view returns (address) {
        return volatilityOracle.feedOf(BTC).feed;
    }

    function level() private view returns (uint256 live, uint256 maintenance) {
        (live, maintenance,,,) = volatilityOracle.levels(BTC);
    }

    function test_proposeVolatilityFeed_changesNothingYet() public {
        IVolatilityOracle.VolatilityFeed memory expected = volatilityFeed(address(replacement));
        expected.decimals = 3;
        vm.expectEmit(address(volatilityOracle));
        emit IVolatilityOracle.VolatilityFeedProposed(BTC, expected);
        propose();
        (IVolatilityOracle.VolatilityFeed memory proposed, uint256 proposedAt) =
            volatilityOracle.proposedVolatilityFeed(BTC);
        assertEq(abi.encode(proposed), abi.encode(expected));
        assertEq(proposedAt, START);
        (uint256 live,) = level();
        assertEq(live, BLEND);
        assertEq(source(), address(old));
    }

    function test_proposeVolatilityFeed_revertsIfThereIsNoneInUse() public {
        vm.expectRevert(abi.encodeWithSelector(IVolatilityOracle.VolatilityOracleNoFeed.selector, 2));
        volatilityOracle.proposeVolatilityFeed(2, volatilityFeed(address(replacement)));
    }

    function test_cancelVolatilityFeed_dropsTheProposal() public {
        expectNothingProposed();
        volatilityOracle.cancelVolatilityFeed(BTC);
        propose();
        (IVolatilityOracle.VolatilityFeed memory proposed,) = volatilityOracle.proposedVolatilityFeed(BTC);
        vm.expectEmit(address(volatilityOracle));
        emit IVolatilityOracle.VolatilityFeedCancelled(BTC, proposed);
        volatilityOracle.cancelVolatilityFeed(BTC);
        pass(DELAY);
        report(0.8e5, 0.8e3);
        expectNothingProposed();
        applyIt();
    }

    function testFuzz_applyVolatilityFeed_waitsAndLapses(uint256 wait) public {
        wait = bound(wait, 0, 20 days);
        propose();
        pass(wait);
        report(0.8e5, 0.8e3);
        if (wait < DELAY) expectTooEarly(START + DELAY);
        if (wait > LIFETIME) expectExpired(START + LIFETIME);
        applyIt();
        assertEq(source(), address(wait < DELAY || wait > LIFETIME ? old : replacement));
    }

    function test_applyVolatilityFeed_takesTheProposalOnce() public {
        propose();
        (IVolatilityOracle.VolatilityFeed memory proposed,) = volatilityOracle.proposedVolatilityFeed(BTC);
        pass(DELAY);
        report(0.8e5, 0.8e3);
        vm.expectEmit(address(volatilityOracle));
        emit IVolatilityOracle.VolatilityPoked(BTC, 0, 0, BLEND, BLEND);
        vm.expectEmit(address(volatilityOracle));
        emit IVolatilityOracle.VolatilityFeedSet(BTC, proposed);
        applyIt();
        assertEq(abi.encode(volatilityOracle.feedOf(BTC)), abi.encode(proposed));
        expectNothingProposed();
        applyIt();
    }

    function test_applyVolatilityFeed_takesAQuarterAndNoMore() public {
        uint256 snapshot = vm.snapshot();
        int256[2][4] memory pairs =
            [[int256(0.8e5), 1e3], [int256(0.8e5), 1.001e3], [int256(1.25e5), 1e3], [int256(1.25001e5), 1e3]];
        for (uint256 i; i < pairs.length; ++i) {
            propose();
            pass(DELAY);
            report(pairs[i][0], pairs[i][1]);
            if (i % 2 == 1) {
                expectDisagrees(uint256(pairs[i][0]) * 1e13, uint256(pairs[i][1]) * 1e15, MAXIMUM_CHANGE);
            }
            applyIt();
            assertEq(source(), address(i % 2 == 0 ? replacement : old));
            vm.revertTo(snapshot);
        }
    }

    function test_applyVolatilityFeed_revertsIfTheNewFeedFailsByThen() public {
        propose();
        pass(DELAY);
        report(0.8e5, 0.8e3);
        bytes memory fails = abi.encodeWithSelector(
            IVolatilityOracle.VolatilityOracleBadConfiguration.selector, BTC, "the feed fails a check now"
        );
        replacement.setDecimals(5); // as it would be by its own decimals, not by those proposed
        vm.expectRevert(fails);
        applyIt();
        replacement.setDecimals(3);
        replacement.setRound(1, 0.8e3, block.timestamp - 1 hours - 1);
        vm.expectRevert(fails);
        applyIt();
        assertEq(source(), address(old));
    }

    function test_applyVolatilityFeed_waitsAWeekWhereTheFeedInUseIsSilent() public {
        volatilityOracle.poke(BTC, 10);
        propose();
        pass(SILENT_DELAY - 1);
        old.setMode(FaultyFeed.Mode.REVERT);
        replacement.setRound(1, 3e3, block.timestamp);
        expectTooEarly(START + SILENT_DELAY);
        applyIt();
        pass(1);
        applyIt();
        assertEq(source(), address(replacement));
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, 2.55e18);
        assertEq(maintenance, BLEND);
    }

    /// @notice Nobody has poked for two days, or ever: the rise that the rate would allow by now is not in store.
    function test_applyVolatilityFeed_leavesMaintenanceWhereItWas() public {
        uint256 snapshot = vm.snapshot();
        for (uint256 i; i < 2; ++i) {
            if (i == 0) volatilityOracle.poke(BTC, 10);
            propose();
            pass(DELAY);
            report(0.8e5, 1e3);
            applyIt();
            (uint256 live, uint256 maintenance) = level();
            assertEq(live, 1.05e18);
            assertEq(maintenance, BLEND);
            pass(15 minutes);
            (, maintenance) = level();
            // 0.9·e^0.075
            assertApproxEqRel(maintenance, 0.970095736359e18, 1e9);
            vm.revertTo(snapshot);
        }
    }

    function test_applyVolatilityFeed_letsBothFallAtOnce() public {
        volatilityOracle.poke(BTC, 10);
        propose();
        pass(DELAY);
        report(0.8e5, 0.64e3);
        applyIt();
        (uint256 live, uint256 maintenance) = level();
        assertEq(live, 0.78e18);
        assertEq(maintenance, 0.78e18);
    }

    /// @notice A change in the middle keeps the realised variance and the round last taken in.
    function test_applyVolatilityFeed_keepsWhatWasRealised() public {
        volatilityOracle.poke(BTC, 10);
        pass(60);
        prices.push(41_000e8);
        volatilityOracle.poke(BTC, 10);
        IVolatilityOracle.VolatilityState memory before = volatilityOracle.stateOf(BTC);
        propose();
        pass(DELAY);
        report(0.8e5, 1e3);
        applyIt();
        IVolatilityOracle.VolatilityState memory state = volatilityOracle.stateOf(BTC);
        (before.maintenance, before.pokedAt) = (state.maintenance, uint48(block.timestamp));
        assertEq(abi.encode(state), abi.encode(before));
    }
}
