// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title IPriceOracle
/// @notice Index prices from Chainlink-style feeds, made safe: either a price that passed every check, or a revert that
/// says which check failed. Nothing is ever cached or defaulted (ORACLE).
interface IPriceOracle {
    /// @param feed AggregatorV3 feed.
    /// @param heartbeat Oldest answer accepted, seconds.
    /// @param decimals The feed's decimals when it was set; a feed that changes them is refused.
    /// @param secondaryDecimals The second feed's decimals. (Here, the whole takes three slots; every price reads them.)
    /// @param minimum Lowest price accepted [wad dollars], itself included.
    /// @param maximum Highest price accepted [wad dollars], itself included.
    /// @param secondary Feed to compare with, or zero for none.
    /// @param secondaryHeartbeat Oldest answer accepted from the second feed, seconds.
    /// @param maximumDeviation Largest difference between the two, relative to the lower one [wad].
    struct PriceFeed {
        address feed;
        uint32 heartbeat;
        uint8 decimals;
        uint8 secondaryDecimals;
        uint128 minimum;
        uint128 maximum;
        address secondary;
        uint32 secondaryHeartbeat;
        uint64 maximumDeviation;
    }

    event PriceFeedSet(uint16 indexed underlying, PriceFeed feed);
    event PriceFeedProposed(uint16 indexed underlying, PriceFeed feed);
    event PriceFeedCancelled(uint16 indexed underlying, PriceFeed feed);
    event SequencerFeedSet(address feed, uint32 grace);
    event SequencerFeedProposed(address feed, uint32 grace);
    event SequencerFeedCancelled(address feed, uint32 grace);

    /// @notice No feed has been set for the underlying.
    error PriceOracleNoFeed(uint16 underlying);
    /// @notice The answer is older than the heartbeat allows.
    error PriceOracleStale(address feed, uint256 updatedAt, uint256 heartbeat);
    /// @notice The answer is dated after this block.
    error PriceOracleFromTheFuture(address feed, uint256 updatedAt);
    /// @notice The answer is zero or negative.
    error PriceOracleNotPositive(address feed, int256 answer);
    /// @notice The price is outside its absolute bounds.
    error PriceOracleOutOfBounds(address feed, uint256 price, uint256 minimum, uint256 maximum);
    /// @notice The round has no answer yet, or carries an earlier round's.
    error PriceOracleIncompleteRound(address feed, uint80 roundId, uint80 answeredInRound);
    /// @notice The two feeds disagree by more than is allowed.
    error PriceOracleDeviation(uint16 underlying, uint256 price, uint256 secondary, uint256 maximumDeviation);
    /// @notice The feed has changed its decimals since it was set.
    error PriceOracleDecimalsChanged(address feed, uint8 expected, uint8 actual);
    /// @notice The feed did not answer: no contract, or a call that failed.
    error PriceOracleUnreachable(address feed);
    /// @notice The L2 sequencer is down, or has been up for no longer than the grace period; `since` is 0 where its feed
    /// has no complete round.
    error PriceOracleSequencerDown(uint256 since, uint256 grace);
    /// @notice The underlying has a feed already: propose the change.
    error PriceOracleFeedInUse(uint16 underlying, address feed);
    /// @notice A sequencer feed is set already: propose the change.
    error PriceOracleSequencerFeedInUse(address feed);
    /// @notice There is no sequencer feed to change: set one.
    error PriceOracleNoSequencerFeed();
    /// @notice The configuration makes no sense; `reason` says what.
    error PriceOracleBadConfiguration(uint16 underlying, string reason);

    /// @notice The underlying's price.
    /// @return price Dollars a unit [wad], rounded down where the feed has more than 18 decimals.
    /// @return age Seconds since it was reported.
    function price(uint16 underlying) external view returns (uint256 price, uint256 age);

    /// @notice The same, and which round of which feed it is.
    function latest(uint16 underlying) external view returns (uint256 price, uint256 age, uint80 roundId, address feed);

    /// @notice A historical round of the primary feed.
    /// @return ok False where the feed has no such round, or it is incomplete, dated after this block, not positive or out
    /// of bounds. Age, decimals, the second feed and the sequencer are not looked at.
    /// @return roundPrice Dollars a unit [wad].
    /// @return updatedAt When it was reported.
    function round(uint16 underlying, uint80 roundId)
        external
        view
        returns (bool ok, uint256 roundPrice, uint256 updatedAt);

    /// @notice Latest round id of the primary feed; 0 where it does not answer or has changed its decimals.
    function latestRound(uint16 underlying) external view returns (uint80 roundId);

    /// @notice Whether a feed has been set.
    function hasFeed(uint16 underlying) external view returns (bool);

    /// @notice How an underlying is priced.
    function feedOf(uint16 underlying) external view returns (PriceFeed memory);

    /// @notice Sequencer uptime feed (zero on a layer 1) and the seconds to wait after it comes back.
    function sequencer() external view returns (address feed, uint32 grace);

    /// @notice The change that is proposed for an underlying, whose decimals are those its feeds had then.
    /// @return feed Empty where nothing is proposed.
    /// @return proposedAt When; 0 where nothing is.
    function proposedPriceFeed(uint16 underlying) external view returns (PriceFeed memory feed, uint256 proposedAt);

    /// @notice The change that is proposed for the sequencer feed.
    /// @return feed Zero for none.
    /// @return grace Seconds.
    /// @return proposedAt When; 0 where nothing is.
    function proposedSequencerFeed() external view returns (address feed, uint32 grace, uint256 proposedAt);

    /// @notice Set how an underlying is priced, for the first time. Decimals are read from the feeds; both must answer within
    /// bounds now. Underlying 0 is the cash token itself. Restricted to governance.
    function setPriceFeed(uint16 underlying, PriceFeed calldata feed) external;

    /// @notice Propose another way to price an underlying, checked as a first one is; in the place of an earlier proposal, and
    /// with the delay from now. Prices come from the feed in use until the change is applied. Restricted to governance.
    function proposePriceFeed(uint16 underlying, PriceFeed calldata feed) external;

    /// @notice Put a proposed change into force. Anyone may, from two days after the proposal to fourteen, while the sequencer
    /// is up, if the new configuration gives a price by then, every check passed, with the decimals it was proposed with, and
    ///   - the one in use gives none for any reason, and the new one has a second feed or was proposed seven days ago; or
    ///   - it gives a price, and the two differ by at most 5% of the lower one.
    /// A single feed that answers and is wrong by more can therefore not be replaced: a second feed beside it is what makes
    /// such a feed silent. Rounds of the old feed are not to be had any more: settle expiries and poke volatility before.
    function applyPriceFeed(uint16 underlying) external;

    /// @notice Drop the proposal. Restricted to guardians.
    function cancelPriceFeed(uint16 underlying) external;

    /// @notice Set the sequencer uptime feed where there is none. Restricted to governance.
    function setSequencerFeed(address feed, uint32 grace) external;

    /// @notice Propose another sequencer uptime feed or grace; zero for none. Restricted to governance.
    function proposeSequencerFeed(address feed, uint32 grace) external;

    /// @notice Put the proposed sequencer feed into force. Anyone may, from two days after the proposal to fourteen, if both
    /// feeds say that the sequencer is up and past its grace: switching one off would open liquidations right after an
    /// outage. Where the one in use cannot be read or has said "down" for seven days, from seven days after the proposal.
    function applySequencerFeed() external;

    /// @notice Drop the proposal. Restricted to guardians.
    function cancelSequencerFeed() external;
}
