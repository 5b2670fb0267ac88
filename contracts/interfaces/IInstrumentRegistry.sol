// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "../types/Instrument.sol";

/// @title IInstrumentRegistry
/// @notice What may be traded, and at what price it expired. Governance lists; anyone settles an expiry by proving which
/// round of the price feed was in force at it. One settlement price an underlying and expiry, written once.
interface IInstrumentRegistry {
    event InstrumentListed(Instrument indexed instrument);
    event AveragingWindowSet(uint16 indexed underlying, uint32 window);
    /// @param rounds Rounds the price is an average of; 1 where it is a single round's.
    event ExpirySettled(
        uint16 indexed underlying, uint40 indexed expiry, uint256 price, uint80 roundId, uint256 rounds, address sender
    );

    error RegistryUnderlyingHasNoFeed(uint16 underlying);
    error RegistryUnknownInstrument(Instrument instrument);
    /// @notice The option has expired, so it can only be settled.
    error RegistryExpired(Instrument instrument, uint256 expiry);
    /// @notice The series makes no sense; `reason` says what.
    error RegistryBadSeries(uint16 underlying, uint40 expiry, string reason);
    error RegistryBadWindow(uint32 window, uint32 maximum);
    /// @notice No option on the underlying expires then.
    error RegistryUnknownExpiry(uint16 underlying, uint40 expiry);
    error RegistryNotExpired(uint16 underlying, uint40 expiry);
    error RegistryAlreadySettled(uint16 underlying, uint40 expiry, uint256 price);
    /// @notice The round is not the one that settles the expiry; `reason` says why.
    error RegistryWrongRound(uint16 underlying, uint80 roundId, string reason);

    /// @notice List the perpetual on an underlying that has a price feed. Restricted to governance.
    function listPerpetual(uint16 underlying) external returns (Instrument);

    /// @notice List calls and puts of one expiry, in the future and at most three years away; strikes may be added later.
    /// The first listing of an expiry fixes its averaging window. Restricted to governance.
    /// @param strikes Hundred-millionths of a dollar, strictly rising, each from a thousandth to a thousand times the price
    /// now. Those already listed stay as they are.
    function listOptions(uint16 underlying, uint40 expiry, uint64[] calldata strikes) external;

    /// @notice Average settlement prices over so many seconds before the expiry, at most a day; 0 for the price in force at
    /// it. For expiries listed from now on: nobody's contract changes. Restricted to governance.
    function setAveragingWindow(uint16 underlying, uint32 window) external;

    /// @notice Settle an expiry. Anyone may, once it has passed.
    /// @param roundId The round in force at the expiry: reported at or before it, the next one after it. Where that round
    /// was older than the feed's heartbeat allows, the first round after the expiry. Of the feed's latest phase that had
    /// begun by the expiry.
    /// @return price Dollars a unit [wad]: the round's, or the time-weighted average of the prices in force over the window,
    /// rounded down, by at most 200 rounds of the round's phase (a first round after the expiry is not averaged).
    function settle(uint16 underlying, uint40 expiry, uint80 roundId) external returns (uint256 price);

    /// @notice Settlement price [wad]; 0 while the expiry has not been settled.
    function settlementPriceOf(uint16 underlying, uint40 expiry) external view returns (uint256);

    /// @notice Whether the instrument was ever listed.
    function isListed(Instrument instrument) external view returns (bool);

    /// @notice Reverts unless the instrument is listed and has not expired.
    function requireTradable(Instrument instrument) external view;

    /// @notice Averaging window of expiries listed from now on, seconds.
    function averagingWindowOf(uint16 underlying) external view returns (uint32);

    /// @notice Seconds before a listed expiry that its settlement price is averaged over.
    function windowOf(uint16 underlying, uint40 expiry) external view returns (uint32);
}
