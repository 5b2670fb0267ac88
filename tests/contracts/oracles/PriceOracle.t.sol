// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { MockV3Aggregator } from "@chainlink/contracts/src/v0.8/tests/MockV3Aggregator.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import { Oracles } from "../support/Oracles.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";

/// @notice ORACLE: a price that passed every check, or a revert that says which failed.
contract PriceOracleTest is Oracles {
    uint16 private constant ETH = 2;
    uint16 private constant UNSET = 3;
    FaultyFeed private feed;

    function setUp() public override {
        super.setUp();
        feed = faultyPriceFeed();
        useFeed(priceFeed(address(feed)));
    }

    /// @dev Another oracle, with this as ETH's first feed.
    function useFeed(IPriceOracle.PriceFeed memory configuration) private {
        deployOracles(priceFeed(address(prices)), volatilityFeed(address(volatilities)));
        priceOracle.setPriceFeed(ETH, configuration);
    }

    function expectPrice(bytes memory revertData) private {
        vm.expectRevert(revertData);
        priceOracle.price(ETH);
    }

    function expectConfiguration(IPriceOracle.PriceFeed memory configuration, string memory reason) private {
        bytes4 selector = IPriceOracle.PriceOracleBadConfiguration.selector;
        vm.expectRevert(abi.encodeWithSelector(selector, UNSET, reason));
        priceOracle.setPriceFeed(UNSET, configuration);
        vm.expectRevert(abi.encodeWithSelector(selector, ETH, reason));
        priceOracle.proposePriceFeed(ETH, configuration);
    }

    function withSecondary(address secondary) private view returns (IPriceOracle.PriceFeed memory configuration) {
        configuration = priceFeed(address(feed));
        configuration.secondary = secondary;
        configuration.secondaryHeartbeat = 10 minutes;
        configuration.maximumDeviation = 0.02e18;
    }

    // ─── price

    function test_price_returnsPriceAndAge() public {
        pass(100);
        (uint256 price, uint256 age) = priceOracle.price(BTC);
        assertEq(price, 40_000e18);
        assertEq(age, 100);
    }

    function test_price_readsChainlinksOwnAggregator() public {
        MockV3Aggregator aggregator = new MockV3Aggregator(18, 2345.67e18);
        useFeed(priceFeed(address(aggregator)));
        (uint256 price, uint256 age) = priceOracle.price(ETH);
        assertEq(price, 2345.67e18);
        assertEq(age, 0);
        aggregator.updateAnswer(0);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleNotPositive.selector, address(aggregator), 0));
    }

    function testFuzz_price_scalesAnyDecimals(uint8 decimals, uint256 dollars) public {
        decimals = uint8(bound(decimals, 0, 36));
        dollars = bound(dollars, 1000, 1_000_000);
        FaultyFeed scaled = new FaultyFeed(decimals);
        scaled.setRound(1, int256(dollars * 10 ** decimals), START);
        useFeed(priceFeed(address(scaled)));
        (uint256 price,) = priceOracle.price(ETH);
        assertEq(price, dollars * WAD);
    }

    function test_price_roundsDown() public {
        FaultyFeed scaled = new FaultyFeed(20);
        scaled.setRound(1, 2000e20 + 199, START);
        useFeed(priceFeed(address(scaled)));
        (uint256 price,) = priceOracle.price(ETH);
        assertEq(price, 2000e18 + 1);
    }

    function test_price_revertsIfThereIsNoFeed() public {
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleNoFeed.selector, 9));
        priceOracle.price(9);
    }

    function test_price_revertsIfStale() public {
        pass(1 hours);
        priceOracle.price(ETH);
        pass(1);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleStale.selector, address(feed), START, 1 hours));
    }

    function test_price_revertsIfFromTheFuture() public {
        feed.setRound(8, 40_000e8, START + 1);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleFromTheFuture.selector, address(feed), START + 1));
    }

    function testFuzz_price_revertsIfNotPositive(int256 answer) public {
        answer = bound(answer, type(int256).min, 0);
        feed.setRound(8, answer, START);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleNotPositive.selector, address(feed), answer));
    }

    function test_price_revertsIfRoundIsIncomplete() public {
        feed.setRound(8, 40_000e8, START, 0, 8);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleIncompleteRound.selector, address(feed), 8, 8));
        feed.setRound(8, 40_000e8, START, START, 7);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleIncompleteRound.selector, address(feed), 8, 7));
    }

    function test_price_acceptsItsBoundsAndRevertsBeyond() public {
        feed.setRound(8, 1000e8, START);
        priceOracle.price(ETH);
        feed.setRound(8, 1_000_000e8, START);
        priceOracle.price(ETH);
        feed.setRound(8, 1000e8 - 1, START);
        expectPrice(outOfBounds(1000e18 - 1e10));
        feed.setRound(8, 1_000_000e8 + 1, START);
        expectPrice(outOfBounds(1_000_000e18 + 1e10));
        feed.setRound(8, type(int256).max, START);
        expectPrice(outOfBounds(type(uint256).max));
    }

    function outOfBounds(uint256 price) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IPriceOracle.PriceOracleOutOfBounds.selector, address(feed), price, 1000e18, 1_000_000e18
        );
    }

    function test_price_revertsIfDecimalsChange() public {
        feed.setDecimals(18);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleDecimalsChanged.selector, address(feed), 8, 18));
    }

    function test_price_revertsIfUnreachable() public {
        for (uint256 mode = 1; mode <= uint256(type(FaultyFeed.Mode).max); ++mode) {
            feed.setMode(FaultyFeed.Mode(mode));
            expectPrice(err(IPriceOracle.PriceOracleUnreachable.selector, address(feed)));
        }
    }

    function test_price_revertsIfTheFeedIsDestroyed() public {
        vm.etch(address(feed), "");
        expectPrice(err(IPriceOracle.PriceOracleUnreachable.selector, address(feed)));
    }

    // ─── Second feed

    function testFuzz_price_allowsTheSecondFeedItsDeviationOnly(uint256 other) public {
        FaultyFeed second = faultyPriceFeed();
        useFeed(withSecondary(address(second)));
        other = bound(other, 30_000e8, 50_000e8);
        second.setRound(8, int256(other), START);
        uint256 lower = other < 40_000e8 ? other : 40_000e8;
        uint256 difference = other < 40_000e8 ? 40_000e8 - other : other - 40_000e8;
        if (difference * 50 > lower) {
            expectPrice(
                abi.encodeWithSelector(
                    IPriceOracle.PriceOracleDeviation.selector, ETH, 40_000e18, other * 1e10, 0.02e18
                )
            );
        } else {
            (uint256 price,) = priceOracle.price(ETH);
            assertEq(price, 40_000e18);
        }
    }

    function test_price_revertsIfTheSecondFeedFailsAnyCheck() public {
        FaultyFeed second = faultyPriceFeed();
        useFeed(withSecondary(address(second)));
        pass(10 minutes + 1);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleStale.selector, address(second), START, 10 minutes));
        second.setRound(8, 0, START + 10 minutes);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleNotPositive.selector, address(second), 0));
        second.setRound(8, 40_000e8, START + 10 minutes);
        second.setDecimals(9);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleDecimalsChanged.selector, address(second), 8, 9));
        second.setMode(FaultyFeed.Mode.REVERT);
        expectPrice(err(IPriceOracle.PriceOracleUnreachable.selector, address(second)));
    }

    // ─── Sequencer

    function test_price_revertsWhileTheSequencerIsDownOrInGrace() public {
        FaultyFeed sequencer = new FaultyFeed(0);
        sequencer.setRound(1, 0, START - 1 days, START - 1 days, 1);
        priceOracle.setSequencerFeed(address(sequencer), 30 minutes);
        priceOracle.price(ETH);

        sequencer.setRound(2, 1, START, START, 2);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleSequencerDown.selector, START, 30 minutes));
        sequencer.setRound(3, 0, START, START, 3);
        pass(30 minutes);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleSequencerDown.selector, START, 30 minutes));
        pass(1);
        priceOracle.price(ETH);

        sequencer.setRound(4, 0, 0, START, 4);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleSequencerDown.selector, 0, 30 minutes));
        sequencer.setRound(4, 0, START + 1 days, START, 4);
        expectPrice(abi.encodeWithSelector(IPriceOracle.PriceOracleSequencerDown.selector, START + 1 days, 30 minutes));
        sequencer.setMode(FaultyFeed.Mode.REVERT);
        expectPrice(err(IPriceOracle.PriceOracleUnreachable.selector, address(sequencer)));
    }

    function test_setSequencerFeed_revertsIfItMakesNoSense() public {
        vm.expectRevert(err(IPriceOracle.PriceOracleUnreachable.selector, attacker));
        priceOracle.setSequencerFeed(attacker, 60);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPriceOracle.PriceOracleBadConfiguration.selector, 0, "grace must be at most one day"
            )
        );
        priceOracle.setSequencerFeed(address(feed), 1 days + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IPriceOracle.PriceOracleBadConfiguration.selector, 0, "grace needs a sequencer feed")
        );
        priceOracle.setSequencerFeed(address(0), 60);
    }

    function test_setSequencerFeed_setsAndEmits() public {
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.SequencerFeedSet(address(feed), 60);
        priceOracle.setSequencerFeed(address(feed), 60);
        (address set_, uint32 grace) = priceOracle.sequencer();
        assertEq(set_, address(feed));
        assertEq(grace, 60);
    }

    // ─── round, latestRound

    function test_round_returnsHistory() public {
        pass(60);
        prices.push(41_000e8);
        assertEq(priceOracle.latestRound(BTC), 2);
        (bool ok, uint256 price, uint256 updatedAt) = priceOracle.round(BTC, 1);
        assertTrue(ok);
        assertEq(price, 40_000e18);
        assertEq(updatedAt, START);
        (ok,,) = priceOracle.round(BTC, 3);
        assertFalse(ok);
    }

    function test_round_refusesBadRounds() public {
        int256[4] memory answers = [int256(0), -1, 1000e8 - 1, 1_000_000e8 + 1];
        for (uint256 i; i < answers.length; ++i) {
            feed.setRound(8, answers[i], START);
            (bool good,,) = priceOracle.round(ETH, 8);
            assertFalse(good);
        }
        feed.setRound(8, 40_000e8, START, START, 7);
        (bool ok,,) = priceOracle.round(ETH, 8);
        assertFalse(ok);
        feed.setRound(8, 40_000e8, START + 1);
        (ok,,) = priceOracle.round(ETH, 8);
        assertFalse(ok);
    }

    function test_latestRound_isZeroIfUnreachableOrDecimalsChange() public {
        assertEq(priceOracle.latestRound(ETH), 7);
        feed.setDecimals(9);
        assertEq(priceOracle.latestRound(ETH), 0);
        feed.setDecimals(8);
        feed.setMode(FaultyFeed.Mode.REVERT);
        assertEq(priceOracle.latestRound(ETH), 0);
    }

    function test_roundAndLatestRound_revertIfThereIsNoFeed() public {
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleNoFeed.selector, 9));
        priceOracle.round(9, 1);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleNoFeed.selector, 9));
        priceOracle.latestRound(9);
    }

    // ─── setPriceFeed

    function test_setPriceFeed_readsDecimalsAndEmits() public {
        IPriceOracle.PriceFeed memory configuration = withSecondary(address(prices));
        IPriceOracle.PriceFeed memory expected = withSecondary(address(prices));
        (expected.decimals, expected.secondaryDecimals) = (8, 8);
        configuration.decimals = 77;
        vm.expectEmit(address(priceOracle));
        emit IPriceOracle.PriceFeedSet(UNSET, expected);
        priceOracle.setPriceFeed(UNSET, configuration);
        assertEq(abi.encode(priceOracle.feedOf(UNSET)), abi.encode(expected));
        assertTrue(priceOracle.hasFeed(UNSET));
        assertFalse(priceOracle.hasFeed(0));
    }

    function test_setPriceFeed_takesTheCashToken() public {
        IPriceOracle.PriceFeed memory cash = priceFeed(address(new MockV3Aggregator(8, 0.9998e8)));
        (cash.minimum, cash.maximum) = (0.5e18, 2e18);
        priceOracle.setPriceFeed(0, cash);
        (uint256 price,) = priceOracle.price(0);
        assertEq(price, 0.9998e18);
    }

    function test_setPriceFeed_revertsIfItMakesNoSense() public {
        IPriceOracle.PriceFeed memory bad = priceFeed(address(feed));
        bad.heartbeat = 0;
        expectConfiguration(bad, "heartbeat must be 1 second to 7 days");
        bad.heartbeat = 7 days + 1;
        expectConfiguration(bad, "heartbeat must be 1 second to 7 days");
        bad = priceFeed(address(feed));
        bad.minimum = 0;
        expectConfiguration(bad, "bounds must satisfy 0 < minimum < maximum");
        bad.minimum = bad.maximum;
        expectConfiguration(bad, "bounds must satisfy 0 < minimum < maximum");
        bad.maximum = 1e27 + 1;
        expectConfiguration(bad, "maximum must be at most a billion dollars");
        bad = withSecondary(address(feed));
        expectConfiguration(bad, "the second feed must be another feed");
        bad = withSecondary(address(prices));
        bad.secondaryHeartbeat = 0;
        expectConfiguration(bad, "second heartbeat must be 1 second to 7 days");
        bad = withSecondary(address(prices));
        bad.maximumDeviation = 0;
        expectConfiguration(bad, "maximum deviation must be above 0 and at most 50%");
        bad.maximumDeviation = 0.5e18 + 1;
        expectConfiguration(bad, "maximum deviation must be above 0 and at most 50%");
        expectConfiguration(priceFeed(address(new FaultyFeed(37))), "feeds may have at most 36 decimals");
    }

    function test_setPriceFeed_revertsIfTheFeedFailsNow() public {
        vm.expectRevert(err(IPriceOracle.PriceOracleUnreachable.selector, attacker));
        priceOracle.setPriceFeed(UNSET, priceFeed(attacker));
        IPriceOracle.PriceFeed memory narrow = priceFeed(address(feed));
        narrow.maximum = 39_999e18;
        vm.expectRevert(
            abi.encodeWithSelector(
                IPriceOracle.PriceOracleOutOfBounds.selector, address(feed), 40_000e18, 1000e18, 39_999e18
            )
        );
        priceOracle.setPriceFeed(UNSET, narrow);
        pass(2 hours);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleStale.selector, address(feed), START, 1 hours));
        priceOracle.setPriceFeed(UNSET, priceFeed(address(feed)));
    }

    function test_setPriceFeed_revertsIfThereIsOne() public {
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleFeedInUse.selector, ETH, feed));
        priceOracle.setPriceFeed(ETH, priceFeed(address(prices)));
    }

    function test_setAndPropose_revertIfNotAuthorised() public {
        bytes memory unauthorised = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker);
        vm.startPrank(attacker);
        vm.expectRevert(unauthorised);
        priceOracle.setPriceFeed(ETH, priceFeed(address(feed)));
        vm.expectRevert(unauthorised);
        priceOracle.setSequencerFeed(address(0), 0);
        vm.expectRevert(unauthorised);
        priceOracle.proposePriceFeed(ETH, priceFeed(address(prices)));
        vm.expectRevert(unauthorised);
        priceOracle.proposeSequencerFeed(address(0), 0);
        vm.expectRevert(unauthorised);
        priceOracle.cancelPriceFeed(ETH);
        vm.expectRevert(unauthorised);
        priceOracle.cancelSequencerFeed();
    }
}
