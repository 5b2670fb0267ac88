// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title IVolatilityOracle
/// @notice The volatility level behind margin: what a feed reports, blended with a stressed level so that calm markets
/// do not make margin procyclical (EMIR RTS 153/2013 art. 28), never below what the price feed's own rounds have
/// realised, and for maintenance never rising faster than a set rate.
interface IVolatilityOracle {
    /// @param feed AggregatorV3 feed of volatility.
    /// @param heartbeat Oldest answer accepted, seconds.
    /// @param decimals The feed's decimals when it was set.
    /// @param scale What an answer of one whole unit means as annualised volatility [wad]: 1e18 for a fraction a year,
    /// 1e16 for percent a year, √365 · 1e16 for percent a day.
    /// @param minimum Lowest annualised volatility accepted [wad].
    /// @param maximum Highest annualised volatility accepted [wad].
    struct VolatilityFeed {
        address feed;
        uint32 heartbeat;
        uint8 decimals;
        uint128 scale;
        uint64 minimum;
        uint64 maximum;
    }

    /// @notice What is kept on-chain for an underlying.
    /// @param variance EWMA of squared log returns of the price feed's rounds, a year [wad].
    /// @param maintenance Maintenance level when last poked, annualised [wad]; 0 before the first poke.
    /// @param pokedAt When that was.
    /// @param roundId Last price round taken in.
    /// @param roundAt When it was reported.
    /// @param roundPrice Its price [wad].
    /// @param source The price feed whose rounds these are; zero before the first.
    struct VolatilityState {
        uint128 variance;
        uint80 maintenance;
        uint48 pokedAt;
        uint80 roundId;
        uint48 roundAt;
        uint128 roundPrice;
        address source;
    }

    event VolatilityFeedSet(uint16 indexed underlying, VolatilityFeed feed);
    event VolatilityFeedProposed(uint16 indexed underlying, VolatilityFeed feed);
    event VolatilityFeedCancelled(uint16 indexed underlying, VolatilityFeed feed);
    event VolatilityPoked(
        uint16 indexed underlying, uint80 roundId, uint256 realised, uint256 live, uint256 maintenance
    );

    /// @notice No feed has been set for the underlying.
    error VolatilityOracleNoFeed(uint16 underlying);
    /// @notice The underlying has a feed already: propose the change.
    error VolatilityOracleFeedInUse(uint16 underlying, address feed);
    /// @notice The underlying's volatility numbers have not been set in RiskParameters.
    error VolatilityOracleNoParameters(uint16 underlying);
    /// @notice The configuration makes no sense; `reason` says what.
    error VolatilityOracleBadConfiguration(uint16 underlying, string reason);

    /// @notice Levels in force now.
    /// live = clamp(max((1 − w)·feed + w·stress, κ·realised), floor, cap);
    /// maintenance = min(live, level at the last poke · exp(rise rate · hours since, at most one)).
    /// While numbers of RiskParameters are on their way, maintenance is worked out from where they are, and live is the higher
    /// of what comes of where they are and of where they go.
    /// Before the first poke maintenance = live. A feed that fails a check never makes this revert: then
    /// live = clamp(max(stress, level at the last poke, κ·realised), floor, cap) and maintenance does not rise.
    /// Volatilities round up, against the account.
    /// @return live Annualised volatility behind initial margin [wad].
    /// @return maintenance Annualised volatility behind maintenance margin [wad], never above live.
    /// @return mark 30-day at-the-money volatility that options are marked at, annualised [wad]: what the feed reports where
    /// that lies within the feed's bounds, out of date or not; else maintenance. Never above the cap.
    /// @return age Seconds since the feed reported; the largest integer where it does not say.
    /// @return fresh Whether the feed passed every check.
    function levels(uint16 underlying)
        external
        view
        returns (uint256 live, uint256 maintenance, uint256 mark, uint256 age, bool fresh);

    /// @notice Realised volatility from the price feed's rounds as of the last poke, annualised [wad].
    function realised(uint16 underlying) external view returns (uint256);

    /// @notice What the feed says now.
    /// @return volatility Annualised [wad], rounded up; 0 where the feed does not answer with a positive number, or in other
    /// decimals than it had when it was set.
    /// @return age Seconds since it was reported; the largest integer where the feed does not say.
    /// @return ok Whether it passed every check.
    function reported(uint16 underlying) external view returns (uint256 volatility, uint256 age, bool ok);

    /// @notice What is kept on-chain.
    function stateOf(uint16 underlying) external view returns (VolatilityState memory);

    /// @notice How an underlying's volatility is read.
    function feedOf(uint16 underlying) external view returns (VolatilityFeed memory);

    /// @notice Take in the price rounds since the last poke, in order and each once, at most `maximumRounds` of them, and
    /// move the maintenance level. Anyone may call; calling more often changes nothing but how closely the maintenance
    /// level follows. A price feed that does not answer has no rounds to take in and stops nothing else. After a change of
    /// the price feed the new one is entered at its latest round: realised volatility stays, no return is counted between
    /// the two, and rounds of the old one that nobody took in before the change are lost.
    /// @return taken Round ids passed, those of missing and refused rounds included.
    function poke(uint16 underlying, uint256 maximumRounds) external returns (uint256 taken);

    /// @notice The change that is proposed for an underlying, whose decimals are those the feed had then.
    /// @return feed Empty where nothing is proposed.
    /// @return proposedAt When; 0 where nothing is.
    function proposedVolatilityFeed(uint16 underlying)
        external
        view
        returns (VolatilityFeed memory feed, uint256 proposedAt);

    /// @notice Set how an underlying's volatility is read, for the first time; decimals are read from the feed, which must
    /// answer within bounds now. The underlying must have a price feed. Restricted to governance.
    function setVolatilityFeed(uint16 underlying, VolatilityFeed calldata feed) external;

    /// @notice Propose another way to read an underlying's volatility, checked as a first one is; in the place of an earlier
    /// proposal, and with the delay from now. Levels follow the feed in use until the change is applied. Restricted to
    /// governance.
    function proposeVolatilityFeed(uint16 underlying, VolatilityFeed calldata feed) external;

    /// @notice Put a proposed change into force. Anyone may, from two days after the proposal to fourteen, if the new feed
    /// passes every check by then, with the decimals it was proposed with, and
    ///   - the one in use fails a check, and the proposal is seven days old; or
    ///   - it passes, and the two differ by at most 25% of the lower one.
    /// The maintenance level stays where the old feed left it, and rises from there at its rate. Needs the underlying's
    /// volatility numbers, as poke does.
    function applyVolatilityFeed(uint16 underlying) external;

    /// @notice Drop the proposal. Restricted to guardians.
    function cancelVolatilityFeed(uint16 underlying) external;
}
