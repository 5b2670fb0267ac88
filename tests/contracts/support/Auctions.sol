// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./Accounts.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { PushedFeed } from "contracts/oracles/PushedFeed.sol";

/// @notice An account to liquidate: long 1.6 BTC from 50,000 on 10,000 dollars, solvent and below maintenance at 45,500,
/// insolvent below 43,750. Auctions run for 1,200 seconds to a discount of a half; whoever flags is `flagger`.
abstract contract Auctions is Accounts {
    uint64 internal account;
    uint64 internal flagger;

    function setUp() public virtual override {
        super.setUp();
        account = openAccount(trader, 10_000);
        flagger = openAccount(actor("flagger"), 0);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
    }

    function flagAt(uint256 dollars) internal {
        setPrice(BTC, dollars);
        liquidation.flag(account, flagger);
    }

    /// @dev So that it takes bids: flags it where its auction has lapsed.
    function flagIfLapsed(uint64 flagged) internal {
        uint256 lapsesAt = liquidation.auctionOf(flagged).startedAt + 2 * liquidation.auctionParameters().duration;
        if (block.timestamp > lapsesAt) liquidation.flag(flagged, flagger);
    }

    /// @dev The backer leaves with all but this. It takes a week's notice.
    function leaveInFund(uint256 amount) internal {
        vm.startPrank(backer);
        fund.requestRedemption(fund.balanceOf(backer));
        vm.stopPrank();
        pass(7 days);
        vm.startPrank(backer);
        fund.withdraw(fund.totalAssets() - amount, backer, backer);
        vm.stopPrank();
        assertEq(fund.totalAssets(), amount);
    }

    /// @dev From here on cash has a feed of its own.
    function setCashPrice(int256 price) internal {
        if (!priceOracle.hasFeed(CASH)) {
            priceFeeds[CASH] = new PushedFeed(address(manager), 8, "cash");
            priceFeeds[CASH].push(1e8);
            IPriceOracle.PriceFeed memory feed;
            feed.feed = address(priceFeeds[CASH]);
            feed.heartbeat = 1 days;
            feed.minimum = 0.1e18;
            feed.maximum = 2e18;
            priceOracle.setPriceFeed(CASH, feed);
        }
        priceFeeds[CASH].push(price);
    }
}
