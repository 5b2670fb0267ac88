// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { Oracles } from "../support/Oracles.sol";
import { IPushedFeed } from "contracts/interfaces/IPushedFeed.sol";
import { PushedFeed } from "contracts/oracles/PushedFeed.sol";

contract PushedFeedTest is Oracles {
    PushedFeed private feed;

    function setUp() public override {
        super.setUp();
        feed = new PushedFeed(address(manager), 8, "ETH / USD");
    }

    function test_constructor_describesTheFeed() public view {
        assertEq(feed.decimals(), 8);
        assertEq(feed.description(), "ETH / USD");
        assertEq(feed.version(), 1);
    }

    function testFuzz_push_keepsEveryRound(int192[5] calldata answers, uint16[5] calldata gaps) public {
        uint256[5] memory times;
        for (uint256 i; i < 5; ++i) {
            pass(gaps[i]);
            times[i] = vm.getBlockTimestamp();
            vm.expectEmit(address(feed));
            emit IPushedFeed.AnswerUpdated(answers[i], i + 1, times[i]);
            assertEq(feed.push(answers[i]), i + 1);
        }
        for (uint80 i; i < 5; ++i) {
            (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound) =
                feed.getRoundData(i + 1);
            assertEq(roundId, i + 1);
            assertEq(answer, answers[i]);
            assertEq(startedAt, times[i]);
            assertEq(updatedAt, times[i]);
            assertEq(answeredInRound, i + 1);
        }
        (uint80 latest,,,,) = feed.latestRoundData();
        assertEq(latest, 5);
    }

    function test_getRoundData_revertsIfThereIsNone() public {
        vm.expectRevert(abi.encodeWithSelector(IPushedFeed.PushedFeedNoData.selector, 0));
        feed.latestRoundData();
        feed.push(1);
        vm.expectRevert(abi.encodeWithSelector(IPushedFeed.PushedFeedNoData.selector, 2));
        feed.getRoundData(2);
        vm.expectRevert(abi.encodeWithSelector(IPushedFeed.PushedFeedNoData.selector, 0));
        feed.getRoundData(0);
    }

    function testFuzz_pushAt_keepsTimeInOrder(uint256 first, uint256 second) public {
        first = bound(first, 1, START);
        feed.pushAt(1, first);
        if (second < first || second > START) {
            vm.expectRevert(abi.encodeWithSelector(IPushedFeed.PushedFeedBadTime.selector, second, first, START));
            feed.pushAt(2, second);
        } else {
            assertEq(feed.pushAt(2, second), 2);
        }
    }

    function test_pushAt_revertsIfTimeIsZero() public {
        vm.expectRevert(abi.encodeWithSelector(IPushedFeed.PushedFeedBadTime.selector, 0, 0, START));
        feed.pushAt(1, 0);
    }

    function test_push_revertsIfTheAnswerDoesNotFit() public {
        int256 answer = int256(type(int192).max) + 1;
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedIntDowncast.selector, 192, answer));
        feed.push(answer);
    }

    function test_push_isForReportersOnly() public {
        bytes memory unauthorised = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, attacker);
        vm.startPrank(attacker);
        vm.expectRevert(unauthorised);
        feed.push(1);
        vm.expectRevert(unauthorised);
        feed.pushAt(1, START);
        vm.stopPrank();

        address reporter = makeAddr("reporter");
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = IPushedFeed.push.selector;
        manager.setTargetFunctionRole(address(feed), selectors, 7);
        manager.grantRole(7, reporter, 0);
        vm.prank(reporter);
        assertEq(feed.push(5), 1);
    }
}
