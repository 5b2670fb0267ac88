// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AggregatorV3Interface } from "@chainlink/contracts/src/v0.8/shared/interfaces/AggregatorV3Interface.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title FeedReader
/// @notice Reads AggregatorV3 feeds without trusting them: an address without code, a call that fails, an answer that is
/// too short or does not fit its types all come back as "did not answer", never as a revert that nobody can decode.
/// The one revert is for a caller who sends so little gas that a good feed would look bad.
library FeedReader {
    /// @dev In the order in which they are looked for.
    enum Fault {
        NONE,
        UNREACHABLE,
        DECIMALS_CHANGED,
        INCOMPLETE_ROUND,
        FROM_THE_FUTURE,
        STALE,
        NOT_POSITIVE
    }

    struct Round {
        uint80 roundId;
        int256 answer;
        uint256 startedAt;
        uint256 updatedAt;
        uint80 answeredInRound;
    }

    /// @notice The call was sent with too little gas to tell a bad feed from a starved one.
    error FeedReaderInsufficientGas();

    /// @dev 10^36 times any price or volatility in its type stays below 2^256.
    uint8 internal constant MAXIMUM_DECIMALS = 36;

    /// @dev Most gas a feed is given: some ten times what Chainlink's proxies use, and little enough that a feed that burns
    /// all it is given cannot stop its reader.
    uint256 internal constant FEED_GAS = 500_000;

    /// @notice The latest round, with every check that needs no bounds.
    /// @param heartbeat Oldest answer accepted, seconds.
    /// @param decimals What the feed's decimals must be.
    /// @return fault The first check that failed.
    /// @return round What the feed said; empty where it did not answer.
    /// @return actualDecimals The feed's decimals.
    function read(address feed, uint256 heartbeat, uint8 decimals)
        internal
        view
        returns (Fault fault, Round memory round, uint8 actualDecimals)
    {
        bool ok;
        (ok, actualDecimals) = decimalsOf(feed);
        if (!ok) return (Fault.UNREACHABLE, round, 0);
        (ok, round) = latest(feed);
        if (!ok) return (Fault.UNREACHABLE, round, actualDecimals);
        if (actualDecimals != decimals) return (Fault.DECIMALS_CHANGED, round, actualDecimals);
        if (!isComplete(round)) return (Fault.INCOMPLETE_ROUND, round, actualDecimals);
        if (round.updatedAt > block.timestamp) return (Fault.FROM_THE_FUTURE, round, actualDecimals);
        if (block.timestamp - round.updatedAt > heartbeat) return (Fault.STALE, round, actualDecimals);
        if (round.answer <= 0) return (Fault.NOT_POSITIVE, round, actualDecimals);
    }

    /// @notice Whether the round has an answer and one of its own, not an earlier round's.
    function isComplete(Round memory round) internal pure returns (bool) {
        return round.updatedAt != 0 && round.answeredInRound >= round.roundId;
    }

    /// @notice A feed's latest round, unchecked. @return ok Whether the feed answered.
    function latest(address feed) internal view returns (bool ok, Round memory round) {
        return _round(feed, abi.encodeCall(AggregatorV3Interface.latestRoundData, ()));
    }

    /// @notice A feed's historical round, unchecked. @return ok Whether the feed answered.
    function roundOf(address feed, uint80 roundId) internal view returns (bool ok, Round memory round) {
        return _round(feed, abi.encodeCall(AggregatorV3Interface.getRoundData, (roundId)));
    }

    /// @notice A feed's decimals. @return ok Whether the feed answered.
    function decimalsOf(address feed) internal view returns (bool ok, uint8 decimals) {
        uint256[5] memory words;
        (ok, words) = _call(feed, abi.encodeCall(AggregatorV3Interface.decimals, ()), 1);
        if (!ok || words[0] > type(uint8).max) return (false, 0);
        decimals = uint8(words[0]);
    }

    /// @notice answer · scale / 10^decimals, rounded down; the largest integer where the product overflows, so that a huge
    /// answer is out of bounds instead of a panic. Decimals at most MAXIMUM_DECIMALS.
    function scaleDown(uint256 answer, uint256 scale, uint8 decimals) internal pure returns (uint256) {
        if (answer > type(uint256).max / scale) return type(uint256).max;
        return answer * scale / 10 ** decimals;
    }

    /// @notice The same, rounded up.
    function scaleUp(uint256 answer, uint256 scale, uint8 decimals) internal pure returns (uint256) {
        if (answer > type(uint256).max / scale) return type(uint256).max;
        uint256 product = answer * scale;
        uint256 unit = 10 ** decimals;
        return product / unit + (product % unit == 0 ? 0 : 1);
    }

    /// @notice Whether two answers differ by more than a share of the lower one. Both below 2^128.
    /// @param maximum [wad], at most one.
    function deviates(uint256 one, uint256 other, uint256 maximum) internal pure returns (bool) {
        return FixedPoint.dist(one, other) * 1e18 > maximum * FixedPoint.min(one, other);
    }

    function _round(address feed, bytes memory input) private view returns (bool ok, Round memory round) {
        uint256[5] memory words;
        (ok, words) = _call(feed, input, 5);
        if (!ok || words[0] > type(uint80).max || words[4] > type(uint80).max) return (false, round);
        (round.roundId, round.answer, round.startedAt) = (uint80(words[0]), int256(words[1]), words[2]);
        (round.updatedAt, round.answeredInRound) = (words[3], uint80(words[4]));
    }

    /// @dev Copies `size` words of the answer and no more, whatever the feed returns.
    function _call(address feed, bytes memory input, uint256 size)
        private
        view
        returns (bool ok, uint256[5] memory words)
    {
        uint256 feedGas = FEED_GAS;
        assembly ("memory-safe") {
            ok := staticcall(feedGas, feed, add(input, 32), mload(input), words, mul(size, 32))
            ok := and(ok, iszero(lt(returndatasize(), mul(size, 32))))
        }
        // EIP-150 keeps back 1/64: a caller left with less than FEED_GAS / 63 may have given the feed less than FEED_GAS.
        if (!ok && gasleft() < FEED_GAS / 63) revert FeedReaderInsufficientGas();
    }
}
