// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FeedReader } from "./FeedReader.sol";

/// @title FeedChange
/// @notice When a feed that is in use may be replaced by another: proposed in public, applied by anyone after a delay, and
/// not at all where the two disagree. A first feed has nothing to be compared with, and nobody who relies on it.
///
///     proposed ──DELAY──► due ─────────────────────────────────► LIFETIME: expired
///                          │ old feed answers: the two must agree
///                          └ old feed silent: two new feeds that agree, or SILENT_DELAY
library FeedChange {
    /// @dev Long enough for anyone to read the proposal, for a guardian to cancel it and for who disagrees to leave.
    uint256 internal constant DELAY = 2 days;
    /// @dev With nothing to compare the new feed with, people must: over any weekend.
    uint256 internal constant SILENT_DELAY = 7 days;
    /// @dev A week after the longer delay; a forgotten proposal cannot be sprung on a market that has moved on.
    uint256 internal constant LIFETIME = 14 days;

    /// @notice There is no proposal.
    error FeedChangeNothingProposed();
    /// @notice The delay is not over.
    error FeedChangeTooEarly(uint256 readyAt);
    /// @notice The proposal has lapsed: propose it again.
    error FeedChangeExpired(uint256 expiredAt);
    /// @notice The feed in use answers, and the new one says something else.
    error FeedChangeDisagrees(uint256 current, uint256 proposed, uint256 maximumDeviation);

    /// @notice Reverts outside the time in which a proposal may be applied, both ends of which are part of it.
    /// @param proposedAt 0 where nothing is proposed. @param delay DELAY or SILENT_DELAY.
    function requireDue(uint256 proposedAt, uint256 delay) internal view {
        if (proposedAt == 0) revert FeedChangeNothingProposed();
        if (block.timestamp < proposedAt + delay) revert FeedChangeTooEarly(proposedAt + delay);
        if (block.timestamp > proposedAt + LIFETIME) revert FeedChangeExpired(proposedAt + LIFETIME);
    }

    /// @notice Reverts where two answers differ by more than a share of the lower one.
    /// @param maximumDeviation [wad].
    function requireAgreement(uint256 current, uint256 proposed, uint256 maximumDeviation) internal pure {
        if (FeedReader.deviates(current, proposed, maximumDeviation)) {
            revert FeedChangeDisagrees(current, proposed, maximumDeviation);
        }
    }
}
