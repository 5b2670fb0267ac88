// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FeedReader } from "contracts/libraries/FeedReader.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";
import { Test } from "forge-std/Test.sol";

contract FeedReaderHarness {
    function read(address feed, uint256 heartbeat, uint8 decimals)
        external
        view
        returns (FeedReader.Fault fault, FeedReader.Round memory round, uint8 actual)
    {
        return FeedReader.read(feed, heartbeat, decimals);
    }

    function latest(address feed) external view returns (bool ok, FeedReader.Round memory round) {
        return FeedReader.latest(feed);
    }
}

contract FeedReaderTest is Test {
    uint256 private constant NOW = 1_700_000_000;
    FaultyFeed private feed;
    FeedReaderHarness private reader = new FeedReaderHarness();

    function setUp() public {
        vm.warp(NOW);
        feed = new FaultyFeed(8);
        feed.setRound(5, 42e8, NOW - 10);
    }

    function fault() private view returns (FeedReader.Fault found) {
        (found,,) = reader.read(address(feed), 60, 8);
    }

    function assertFault(FeedReader.Fault expected) private view {
        assertEq(uint8(fault()), uint8(expected));
    }

    function test_read_returnsTheRound() public view {
        (FeedReader.Fault found, FeedReader.Round memory round, uint8 decimals) = reader.read(address(feed), 60, 8);
        assertEq(uint8(found), uint8(FeedReader.Fault.NONE));
        assertEq(round.roundId, 5);
        assertEq(round.answer, 42e8);
        assertEq(round.startedAt, NOW - 10);
        assertEq(round.updatedAt, NOW - 10);
        assertEq(round.answeredInRound, 5);
        assertEq(decimals, 8);
    }

    function test_read_findsEveryFault() public {
        feed.setRound(6, 42e8, NOW - 60);
        assertFault(FeedReader.Fault.NONE);
        feed.setRound(6, 42e8, NOW - 61);
        assertFault(FeedReader.Fault.STALE);
        feed.setRound(6, 42e8, NOW + 1);
        assertFault(FeedReader.Fault.FROM_THE_FUTURE);
        feed.setRound(6, 42e8, type(uint256).max);
        assertFault(FeedReader.Fault.FROM_THE_FUTURE);
        feed.setRound(6, 0, NOW);
        assertFault(FeedReader.Fault.NOT_POSITIVE);
        feed.setRound(6, -1, NOW);
        assertFault(FeedReader.Fault.NOT_POSITIVE);
        feed.setRound(6, 42e8, 0);
        assertFault(FeedReader.Fault.INCOMPLETE_ROUND);
        feed.setRound(6, 42e8, NOW, NOW, 5);
        assertFault(FeedReader.Fault.INCOMPLETE_ROUND);
        feed.setRound(6, 42e8, NOW);
        assertFault(FeedReader.Fault.NONE);
        feed.setDecimals(18);
        assertFault(FeedReader.Fault.DECIMALS_CHANGED);
        feed.setDecimals(256 + 8);
        assertFault(FeedReader.Fault.UNREACHABLE);
    }

    function test_read_survivesWhateverTheFeedDoes() public {
        FaultyFeed.Mode[4] memory modes =
            [FaultyFeed.Mode.REVERT, FaultyFeed.Mode.SHORT, FaultyFeed.Mode.DIRTY, FaultyFeed.Mode.BURN];
        for (uint256 i; i < modes.length; ++i) {
            feed.setMode(modes[i]);
            assertFault(FeedReader.Fault.UNREACHABLE);
        }
    }

    function test_read_survivesAddressesThatAreNoFeed() public {
        address[3] memory addresses = [address(0), makeAddr("wallet"), address(this)];
        for (uint256 i; i < addresses.length; ++i) {
            (FeedReader.Fault found,,) = reader.read(addresses[i], 60, 8);
            assertEq(uint8(found), uint8(FeedReader.Fault.UNREACHABLE));
        }
    }

    function test_latest_givesAFeedNoMoreThanItsShareOfGas() public {
        feed.setMode(FaultyFeed.Mode.BURN);
        uint256 before = gasleft();
        reader.latest(address(feed));
        assertLt(before - gasleft(), FeedReader.FEED_GAS + 50_000);
    }

    /// @notice However little gas a caller sends, a good feed never looks bad: the call succeeds or reverts.
    function testFuzz_latest_cannotBeStarved(uint256 gas_) public {
        gas_ = bound(gas_, 1000, 60_000);
        try reader.latest{ gas: gas_ }(address(feed)) returns (bool ok, FeedReader.Round memory) {
            assertTrue(ok);
        } catch { }
    }

    function test_latest_revertsIfStarved() public {
        // A feed that wants more than it gets looks exactly like one that was starved, so below FEED_GAS it must revert.
        feed.setMode(FaultyFeed.Mode.BURN);
        vm.expectRevert();
        reader.latest{ gas: FeedReader.FEED_GAS / 2 }(address(feed));
    }

    function testFuzz_scale_roundsAsNamed(uint128 answer, uint128 scale, uint8 decimals) public pure {
        decimals = uint8(bound(decimals, 0, FeedReader.MAXIMUM_DECIMALS));
        vm.assume(scale > 0);
        uint256 down = FeedReader.scaleDown(answer, scale, decimals);
        uint256 up = FeedReader.scaleUp(answer, scale, decimals);
        uint256 product = uint256(answer) * scale;
        uint256 unit = 10 ** decimals;
        assertLe(down * unit, product);
        assertGt((down + 1) * unit, product);
        assertEq(up, down + (down * unit == product ? 0 : 1));
    }

    function test_scale_saturatesInsteadOfOverflowing() public pure {
        uint256 huge = uint256(type(int256).max);
        assertEq(FeedReader.scaleDown(huge, 1e18, 36), type(uint256).max);
        assertEq(FeedReader.scaleUp(huge, 1e18, 36), type(uint256).max);
        // The largest price there may be, at the most decimals, still comes out exactly.
        assertEq(FeedReader.scaleDown(uint256(type(uint128).max) * 1e18, 1e18, 36), type(uint128).max);
    }
}
