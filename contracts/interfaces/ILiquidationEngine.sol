// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title ILiquidationEngine
/// @notice One Dutch auction for the whole path. A liquidatable account is flagged; the price of its full portfolio is
/// equity − d · maintenance with d rising from 0. Above zero the bidder pays it, below zero the insurance fund does.
///
///     healthy ── equity < maintenance, flag ──► auction ── bid ──► healthy again, or empty
///        │                                         └────── end, once equity ≥ maintenance ──► healthy
///        └── equity < trigger · maintenance, flag, if the owner wishes ──► protective auction ── bid ──► healthy again
///
/// A protective auction is the same auction while there is still equity above maintenance, at the owner's wish and within
/// its limit: same discount curve, no flag fee, nothing for the fund. Whoever would bid in the liquidation at some d would
/// bid here at that d, for a smaller part, so the owner is never worse off than by waiting. Nothing is closed for being small,
/// and the throughput of liquidations is neither a limit nor used up: owners may trade as they wish, too.
interface ILiquidationEngine {
    /// @param duration Seconds over which the discount rises from 0 to its highest.
    /// @param maximumDiscount Highest d, in parts of maintenance margin [wad].
    /// @param target Where a bid may bring the account: maintenance plus this part of the way to initial [wad].
    /// @param fundShare Part of the discount that goes to the insurance fund [wad].
    /// @param minimumRemainder Maintenance margin below which what is left is closed whole [wad dollars].
    /// @param minimumFee Least flag fee [wad dollars]. @param maximumFee Most.
    /// @param nativeUnderlying Whose price the gas token has, to turn gas into dollars; 0 for none: the fee is then the least.
    /// @param throughput Part of the average daily volume of an underlying that may be liquidated in a window [wad].
    /// @param throughputWindow Seconds.
    /// @param minimumThroughput What may be liquidated in a window at least [wad dollars].
    struct AuctionParameters {
        uint32 duration;
        uint64 maximumDiscount;
        uint64 target;
        uint64 fundShare;
        uint16 nativeUnderlying;
        uint96 minimumRemainder;
        uint96 minimumFee;
        uint64 throughput;
        uint96 maximumFee;
        uint96 minimumThroughput;
        uint32 throughputWindow;
    }

    /// @param startedAt When flagged; 0 when there is no auction.
    /// @param keeper Account that gets the flag fee.
    /// @param fee What is still owed to it [wad dollars].
    /// @param protective Whether it rests on the owner's wish.
    /// @param shortfall Loss known when last looked at [wad dollars].
    struct Auction {
        uint40 startedAt;
        uint64 keeper;
        uint96 fee;
        bool protective;
        uint256 shortfall;
    }

    /// @notice An owner's standing wish to be reduced before it is liquidated.
    /// @param trigger equity / maintenance below which a protective auction may begin, above 1 [wad]; 0 for none.
    /// @param maximumDiscount Most d the owner gives [wad].
    struct Protection {
        uint64 trigger;
        uint64 maximumDiscount;
    }

    /// @notice A bid, worked out: the same for preview and execution. Dollars [wad]; prices seen by the bidder, paid in cash.
    /// @param fraction Share of the portfolio that changes hands [wad].
    /// @param discount d now [wad].
    /// @param price What the bidder pays for the fraction, cash included (negative: is paid). While cash is worth less than a
    /// dollar it pays more of it.
    /// @param equity The account's before. @param maintenance Likewise. @param initialMargin Likewise.
    /// @param fee Flag fee paid, at most the proceeds. @param fundFee To the insurance fund from the discount.
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
    event AccountFlagged(
        uint64 indexed account, uint64 indexed keeper, int256 equity, uint256 maintenance, uint256 fee, bool protective
    );
    /// @notice Of the cover asked for the fund owes `queued` token units to the bidder and `shared` is left to positive cash.
    event BidSettled(uint64 indexed account, uint64 indexed bidder, Bid bid, uint256 queued, uint256 shared);
    event AuctionEnded(uint64 indexed account, int256 equity, uint256 maintenance);
    event ShortfallReserved(uint64 indexed account, uint256 shortfall, uint256 total);
    event ProtectionSet(uint64 indexed account, uint64 trigger, uint64 maximumDiscount);

    error LiquidationNotLiquidatable(uint64 account, int256 equity, uint256 maintenance);
    error LiquidationStillLiquidatable(uint64 account, int256 equity, uint256 maintenance);
    error LiquidationAlreadyFlagged(uint64 account);
    /// @notice It was never flagged, or its auction has lapsed.
    error LiquidationNotFlagged(uint64 account);
    error LiquidationOwnAccount(uint64 account);
    error LiquidationNotAuthorised(uint64 account, address sender);
    /// @notice The bidder would pay more than its limit.
    error LiquidationPriceLimit(int256 price, int256 limit);
    /// @notice The account has changed since the bidder looked.
    error LiquidationStaleBid(uint64 account, uint64 expectedNonce, uint64 nonce);
    error LiquidationZeroFraction();
    /// @notice As much of the underlying has been liquidated as may be for now; room comes back over the window.
    error LiquidationThroughput(uint16 underlying, uint256 limit, uint256 window);
    /// @notice A bid may not lower the account's health or take a solvent account below zero (LIQUIDATE).
    error LiquidationHarmsAccount(uint64 account, int256 equityBefore, int256 equityAfter);
    error LiquidationBadParameters(string reason);
    /// @notice A trigger is above 1 and at most 10, a discount at most that of the auctions; both 0 to end it.
    error LiquidationBadProtection(uint64 trigger, uint64 maximumDiscount);

    /// @notice Start an account's auction. Anyone may; the fee goes to `keeper` at the first bid: one and a half times the gas
    /// used here at the base fee, in dollars, within bounds. Options whose expiry is settled become cash first, here and at
    /// every bid; one that is not settled yet stops neither. A protective auction whose account has become liquidatable is flagged anew,
    /// and so is any auction that has lapsed: it has run for twice the time its discount takes to rise.
    function flag(uint64 account, uint64 keeper) external;

    /// @notice The same with a proof: margin is worked out at some nodes of the grid only (IMarginEngine.marginAt), the worst of
    /// either horizon for choice. Where the account is below maintenance even so, this is enough, for half the gas with options.
    /// It begins no protective auction: that needs all nodes.
    function flagAt(uint64 account, uint64 keeper, uint256 nodes) external;

    /// @notice Take part of an account's portfolio. Owner or trading operator of `bidder` only. Of an account that is not
    /// insolvent, nor in a protective auction, no more is taken than the throughput of its underlyings has room for. Of what the
    /// fund has to pay, some may be a claim on it for later (BidSettled, IInsuranceFund.previewCover).
    /// @param maximumFraction Most the bidder wants [wad].
    /// @param limitPrice Most it pays for the whole portfolio, in proportion [wad dollars] (negative: least it is paid).
    /// @param nonce The account's nonce the bidder saw, or type(uint64).max to rely on the price limit alone.
    function bid(uint64 account, uint64 bidder, uint256 maximumFraction, int256 limitPrice, uint64 nonce)
        external
        returns (Bid memory);

    /// @notice What a bid would do now. Reverts as the bid would, but for the bidder's own margin. Expired options that a bid
    /// would first turn into cash are counted at their payoff, not yet rounded.
    function previewBid(uint64 account, uint256 maximumFraction) external view returns (Bid memory);

    /// @notice End the auction of an account that is above maintenance again, or a protective one above its trigger. Anyone may.
    function end(uint64 account) external;

    /// @notice Bring a flagged account's reserved shortfall up to date. Anyone may.
    function reserve(uint64 account) external returns (uint256 shortfall);

    /// @notice Ask for protective auctions, or with zeros for none any more. Owner or trading operator. It lapses when the
    /// account changes hands.
    function setProtection(uint64 account, uint64 trigger, uint64 maximumDiscount) external;

    function protectionOf(uint64 account) external view returns (Protection memory);

    /// @notice Discount d in force for a flagged account [wad].
    function discountOf(uint64 account) external view returns (uint256);

    function auctionOf(uint64 account) external view returns (Auction memory);

    /// @notice What may still be liquidated of an underlying now, and in a whole window [wad dollars].
    function throughputOf(uint16 underlying) external view returns (uint256 room, uint256 limit);

    /// @notice Σ of shortfalls known of flagged accounts [wad dollars].
    function reservedShortfall() external view returns (uint256);

    function auctionParameters() external view returns (AuctionParameters memory);

    function setAuctionParameters(AuctionParameters calldata parameters) external;
}
