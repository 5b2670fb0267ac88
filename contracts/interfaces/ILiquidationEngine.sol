// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title ILiquidationEngine
/// @notice One Dutch auction for the whole path. A liquidatable account is flagged; the price of its full portfolio is
/// equity − d · maintenance with d rising from 0. Above zero the bidder pays it, below zero the insurance fund does.
///
///     healthy ── equity < maintenance, flag ──► auction ── bid ──► healthy again, or empty
///                                                  └────── end, once equity ≥ maintenance ──► healthy
interface ILiquidationEngine {
    /// @param duration Seconds over which the discount rises from 0 to its highest.
    /// @param maximumDiscount Highest d, in parts of maintenance margin [wad].
    /// @param target Where a bid may bring the account: maintenance plus this part of the way to initial [wad].
    /// @param fundShare Part of the discount that goes to the insurance fund [wad].
    /// @param flagFee Paid to whoever flagged, from the first bids: out of their proceeds, or by the fund up to maintenance
    /// margin and debt of what they take [wad dollars].
    /// @param minimumRemainder Maintenance margin below which what is left is closed whole [wad dollars].
    struct AuctionParameters {
        uint32 duration;
        uint64 maximumDiscount;
        uint64 target;
        uint64 fundShare;
        uint128 flagFee;
        uint128 minimumRemainder;
    }

    /// @param startedAt When flagged; 0 when there is no auction.
    /// @param keeper Account that gets the flag fee.
    /// @param fee What is still owed to it [wad dollars].
    /// @param shortfall Loss known when last looked at [wad dollars].
    struct Auction {
        uint64 startedAt;
        uint64 keeper;
        uint128 fee;
        uint256 shortfall;
    }

    /// @notice A bid, worked out: the same for preview and execution. Dollars [wad]; prices seen by the bidder.
    /// @param fraction Share of the portfolio that changes hands [wad].
    /// @param discount d now [wad].
    /// @param price What the bidder pays for the fraction, cash included (negative: is paid).
    /// @param equity The account's before. @param maintenance Likewise. @param initialMargin Likewise.
    /// @param fee Flag fee paid. @param fundFee To the insurance fund from the discount.
    /// @param cover Asked of the insurance fund.
    struct Bid {
        uint256 fraction;
        uint256 discount;
        int256 price;
        int256 equity;
        uint256 maintenance;
        uint256 initialMargin;
        uint256 fee;
        uint256 fundFee;
        uint256 cover;
    }

    event AuctionParametersSet(AuctionParameters parameters);
    event AccountFlagged(uint64 indexed account, uint64 indexed keeper, int256 equity, uint256 maintenance);
    event BidSettled(uint64 indexed account, uint64 indexed bidder, Bid bid, uint256 covered, uint256 shared);
    event AuctionEnded(uint64 indexed account, int256 equity, uint256 maintenance);
    event ShortfallReserved(uint64 indexed account, uint256 shortfall, uint256 total);

    error LiquidationNotLiquidatable(uint64 account, int256 equity, uint256 maintenance);
    error LiquidationStillLiquidatable(uint64 account, int256 equity, uint256 maintenance);
    error LiquidationAlreadyFlagged(uint64 account);
    error LiquidationNotFlagged(uint64 account);
    error LiquidationOwnAccount(uint64 account);
    error LiquidationNotAuthorised(uint64 account, address sender);
    /// @notice The bidder would pay more than its limit.
    error LiquidationPriceLimit(int256 price, int256 limit);
    /// @notice The account has changed since the bidder looked.
    error LiquidationStaleBid(uint64 account, uint64 expectedNonce, uint64 nonce);
    error LiquidationZeroFraction();
    /// @notice A bid may not lower the account's health or take a solvent account below zero (LIQUIDATE).
    error LiquidationHarmsAccount(uint64 account, int256 equityBefore, int256 equityAfter);
    error LiquidationBadParameters(string reason);

    /// @notice Start an account's auction. Anyone may; the fee goes to `keeper` at the first bid. Options whose expiry is
    /// settled become cash first, here and at every bid; one that is not settled yet stops neither.
    function flag(uint64 account, uint64 keeper) external;

    /// @notice Take part of an account's portfolio. Owner or trading operator of `bidder` only.
    /// @param maximumFraction Most the bidder wants [wad].
    /// @param limitPrice Most it pays for the whole portfolio, in proportion [wad dollars] (negative: least it is paid).
    /// @param nonce The account's nonce the bidder saw, or type(uint64).max to rely on the price limit alone.
    function bid(uint64 account, uint64 bidder, uint256 maximumFraction, int256 limitPrice, uint64 nonce)
        external
        returns (Bid memory);

    /// @notice What a bid would do now. Reverts as the bid would, but for the bidder's own margin. Expired options that a bid
    /// would first turn into cash are counted at their payoff, not yet rounded.
    function previewBid(uint64 account, uint256 maximumFraction) external view returns (Bid memory);

    /// @notice End the auction of an account that is above maintenance again. Anyone may.
    function end(uint64 account) external;

    /// @notice Bring a flagged account's reserved shortfall up to date. Anyone may.
    function reserve(uint64 account) external returns (uint256 shortfall);

    /// @notice Discount d in force for a flagged account [wad].
    function discountOf(uint64 account) external view returns (uint256);

    function auctionOf(uint64 account) external view returns (Auction memory);

    /// @notice Σ of shortfalls known of flagged accounts [wad dollars].
    function reservedShortfall() external view returns (uint256);

    function auctionParameters() external view returns (AuctionParameters memory);

    function setAuctionParameters(AuctionParameters calldata parameters) external;
}
