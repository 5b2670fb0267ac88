// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { System } from "../support/System.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { IVolatilityOracle } from "contracts/interfaces/IVolatilityOracle.sol";
import { ContractWallet } from "contracts/testing/ContractWallet.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";
import { ReentrantToken } from "contracts/testing/ReentrantToken.sol";
import { TestToken } from "contracts/testing/TestToken.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Portfolio } from "contracts/types/Portfolio.sol";

/// @notice The house of the campaign with its people, its feeds and its dice. What can only be judged by looking before and
/// after an action is judged where it happens, and the first breach is written down: a revert would only end the action.
///
/// Every feed is one that can be made wrong, put in the place of the first by the house's own way of changing feeds. One
/// asset calls back while it is transferred, and one owner is a contract. The fund is small, so that a crash empties it.
abstract contract World is System {
    uint16 internal constant HOOK = 3;
    uint256 private constant MOST_ACCOUNTS = 11;

    /// @dev Everybody who has an account; the last of the founders is the keeper.
    uint64[] internal accounts;
    /// @dev Two accounts of one owner, who trades with himself, splits, re-enters and liquidates himself.
    uint64 internal thief;
    uint64 internal thiefsOther;
    uint64 internal keeper;
    address[2] internal underwriters;
    ReentrantToken internal hook;
    FaultyFeed internal sequencer;

    /// @dev What the market says, whatever feeds say: 8 decimals, and 5 for volatility.
    mapping(uint16 underlying => int256) internal quoted;
    mapping(uint16 underlying => int256) internal volatilityOf;
    mapping(address feed => uint80) internal rounds;
    /// @dev Two for each underlying: one is in use, the other may take its place.
    mapping(uint16 underlying => address[2]) private _priceFeeds;
    mapping(uint16 underlying => address[2]) private _volatilityFeeds;

    /// @notice What somebody has given to the house and the fund without asking [token units].
    mapping(uint16 asset => uint256) public donated;
    /// @notice What the fund must hold and owe by all that was done to it [token units], and the loss still to be shared [wad].
    uint256 public expectedFund;
    uint256 public expectedOwed;
    uint256 public expectedPending;

    /// @notice The first thing that went wrong; empty while nothing has.
    string public breach;
    mapping(bytes32 invariant => uint256) public judged;
    bytes32[] private _names;
    mapping(bytes32 action => uint256) private _tried;
    mapping(bytes32 action => uint256) private _done;
    uint256 private transient _dice;

    error WorldUndone(bytes result);

    constructor() {
        setUp();
        _replaceFeeds();
        _leaveInFund(10_000e6);
        hook = new ReentrantToken(18);
        house.listAsset(address(hook), ETH, type(uint128).max);
        _openAccounts();
        // Or the campaign's own crashes would raise margin until nobody could get into trouble again.
        setParameter(Fields.REALISED_WEIGHT, BTC, 0, 50_000);
        setParameter(Fields.REALISED_WEIGHT, ETH, 0, 50_000);
        _passTime(12);
    }

    function _openAccounts() private {
        string[4] memory names = ["long", "short", "hedger", "gambler"];
        for (uint256 i; i < names.length; ++i) {
            accounts.push(openAccount(actor(names[i]), 20_000 * (i + 1)));
        }
        (address guardian, uint256 key) = makeAddrAndKey("guardian of a wallet");
        address wallet = address(new ContractWallet(guardian));
        keys[wallet] = key;
        accounts.push(openAccount(wallet, 100_000));
        thief = openAccount(actor("thief"), 30_000);
        thiefsOther = openAccount(actor("thief"), 10_000);
        accounts.push(thief);
        accounts.push(thiefsOther);
        keeper = openAccount(actor("keeper"), 3_000_000);
        accounts.push(keeper);
        deposit(accounts[2], WETH, 50e18);
        deposit(accounts[4], WBTC, 3e8);
        deposit(thief, HOOK, 5e18);
        // Or it could do nothing in its call that somebody else could not.
        vm.startPrank(house.ownerOf(thief));
        house.setOperator(thief, address(hook), 3);
        house.setOperator(thiefsOther, address(hook), 3);
        vm.stopPrank();
    }

    /// @dev Proposed, waited for, compared with the feed in use and applied, as governance would.
    function _replaceFeeds() private {
        underwriters = [backer, actor("underwriter")];
        uint256 shares = fund.balanceOf(backer);
        vm.prank(backer);
        fund.requestRedemption(shares);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            for (uint256 i; i < 2; ++i) {
                _priceFeeds[underlying][i] = address(new FaultyFeed(8));
                _volatilityFeeds[underlying][i] = address(new FaultyFeed(5));
            }
            quoted[underlying] = underlying == BTC ? int256(50_000e8) : int256(2000e8);
            volatilityOf[underlying] = underlying == BTC ? int256(0.6e5) : int256(0.8e5);
            priceOracle.proposePriceFeed(underlying, _otherPriceFeed(underlying));
            volatilityOracle.proposeVolatilityFeed(underlying, _otherVolatilityFeed(underlying));
        }
        vm.warp(vm.getBlockTimestamp() + 7 days);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            priceFeeds[underlying].push(quoted[underlying]);
            volatilityFeeds[underlying].push(volatilityOf[underlying]);
            (IPriceOracle.PriceFeed memory price,) = priceOracle.proposedPriceFeed(underlying);
            (IVolatilityOracle.VolatilityFeed memory feed,) = volatilityOracle.proposedVolatilityFeed(underlying);
            _say(price.feed, quoted[underlying]);
            _say(feed.feed, volatilityOf[underlying]);
            priceOracle.applyPriceFeed(underlying);
            volatilityOracle.applyVolatilityFeed(underlying);
            volatilityOracle.poke(underlying, 1);
        }
        sequencer = new FaultyFeed(0);
        sequencer.setRound(1, 0, vm.getBlockTimestamp() - 1 days);
        priceOracle.setSequencerFeed(address(sequencer), 1 hours);
    }

    function _leaveInFund(uint256 amount) private {
        vm.startPrank(backer);
        fund.withdraw(fund.totalAssets() - amount, backer, backer);
        fund.cancelRedemption();
        vm.stopPrank();
        expectedFund = amount;
    }

    // ─── Feeds

    /// @dev The other feed, which says what the market says, with the configuration of the one in use.
    function _otherPriceFeed(uint16 underlying) internal returns (IPriceOracle.PriceFeed memory feed) {
        feed = priceOracle.feedOf(underlying);
        feed.feed = _priceFeeds[underlying][feed.feed == _priceFeeds[underlying][0] ? 1 : 0];
        _say(feed.feed, quoted[underlying]);
    }

    function _otherVolatilityFeed(uint16 underlying) internal returns (IVolatilityOracle.VolatilityFeed memory feed) {
        feed = volatilityOracle.feedOf(underlying);
        feed.feed = _volatilityFeeds[underlying][feed.feed == _volatilityFeeds[underlying][0] ? 1 : 0];
        _say(feed.feed, volatilityOf[underlying]);
    }

    function _say(address feed, int256 answer) internal {
        FaultyFeed(feed).setRound(++rounds[feed], answer, vm.getBlockTimestamp());
    }

    function _sayPrice(uint16 underlying) internal {
        _say(priceOracle.feedOf(underlying).feed, quoted[underlying]);
    }

    function _sayVolatility(uint16 underlying) internal {
        _say(volatilityOracle.feedOf(underlying).feed, volatilityOf[underlying]);
    }

    /// @dev Time passes and every feed says again what the market says.
    function _passTime(uint256 time) internal {
        vm.warp(vm.getBlockTimestamp() + time);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            _sayPrice(underlying);
            _sayVolatility(underlying);
        }
    }

    function isPriced() public view returns (bool) {
        return _isPriced(BTC) && _isPriced(ETH);
    }

    function _isPriced(uint16 underlying) internal view returns (bool) {
        try priceOracle.price(underlying) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev Whether all that the account holds has a price.
    function _isPricedFor(uint64 account) internal view returns (bool priced) {
        Portfolio memory portfolio = house.portfolioOf(account);
        priced = true;
        for (uint256 i; i < portfolio.positions.length; ++i) {
            priced = priced && _isPriced(portfolio.positions[i].instrument.underlying());
        }
        for (uint256 i; i < portfolio.collateral.length; ++i) {
            priced = priced && _isPriced(portfolio.collateral[i].underlying);
        }
    }

    /// @dev The market's price of one unit [wad].
    function _index(uint16 underlying) internal view returns (uint256) {
        return uint256(quoted[underlying]) * 1e10;
    }

    // ─── Dice

    function _throw(uint256 seed) internal {
        _dice = seed;
    }

    /// @dev Below n.
    function _draw(uint256 n) internal returns (uint256) {
        _dice = uint256(keccak256(abi.encode(_dice)));
        return _dice % n;
    }

    function _chance(uint256 percent) internal returns (bool) {
        return _draw(100) < percent;
    }

    /// @dev Both ends included.
    function _between(int256 low, int256 high) internal returns (int256) {
        return low + int256(_draw(uint256(high - low + 1)));
    }

    /// @dev Mostly from one to `most`; now and then nothing at all or far too much, on purpose.
    function _amountUpTo(uint256 most) internal returns (uint256) {
        uint256 kind = _draw(25);
        if (kind == 0) return 0;
        if (kind == 1) return type(uint128).max;
        if (kind == 2) return 1;
        return 1 + _draw(most + 1);
    }

    function _someone() internal returns (uint64) {
        return accounts[_draw(accounts.length)];
    }

    function _underlying() internal returns (uint16) {
        return _chance(50) ? BTC : ETH;
    }

    /// @dev Of the keeper's, with money and nothing else; an old one where there are many already.
    function _newcomer() internal returns (uint64 account) {
        if (accounts.length >= MOST_ACCOUNTS) return _someone();
        account = openAccount(house.ownerOf(keeper), 300_000);
        accounts.push(account);
    }

    // ─── Judging

    function _judge(bytes32 invariant, bool held, string memory what) internal {
        ++judged[invariant];
        if (!held && bytes(breach).length == 0) breach = string(abi.encodePacked(invariant, ": ", what));
    }

    function _count(bytes32 action, bool done) internal {
        if (_tried[action]++ == 0) _names.push(action);
        if (done) ++_done[action];
    }

    /// @notice Every action there was: how often it was tried, and how often it went through.
    function tally() external view returns (bytes32[] memory names, uint256[] memory tried, uint256[] memory done) {
        names = _names;
        (tried, done) = (new uint256[](names.length), new uint256[](names.length));
        for (uint256 i; i < names.length; ++i) {
            (tried[i], done[i]) = (_tried[names[i]], _done[names[i]]);
        }
    }

    /// @dev Does something, undoes it and returns what came of it: `call` is of a function of this contract whose last line
    /// is `_undo`. The clock is put back too.
    function _imagine(bytes memory call) internal returns (bytes memory result) {
        uint256 time = vm.getBlockTimestamp();
        (, bytes memory answer) = address(this).call(call);
        vm.warp(time);
        assembly ("memory-safe") {
            // Without the selector.
            mstore(add(answer, 4), sub(mload(answer), 4))
            answer := add(answer, 4)
        }
        return abi.decode(answer, (bytes));
    }

    function _undo(bytes memory result) internal pure {
        revert WorldUndone(result);
    }

    /// @dev LIQUIDATE: equity over maintenance has not fallen; solvent stays solvent; insolvent loses no more.
    function _judgeHealth(Margin memory before_, Margin memory now_) internal {
        int256 rounding = 1e9;
        if (before_.equity < 0) {
            return _judge("LIQUIDATE", now_.equity >= before_.equity - rounding, "an insolvent account lost more");
        }
        _judge("LIQUIDATE", now_.equity >= -rounding, "a solvent account was made insolvent");
        bool asHealthy = (now_.equity + rounding) * int256(before_.maintenance.total)
            >= before_.equity * (int256(now_.maintenance.total) - rounding);
        _judge("LIQUIDATE", asHealthy, "an account's health fell");
    }

    /// @dev GATE for what can only take from an account.
    function _judgeCovered(uint64 account, string memory what) internal {
        (int256 equity, uint256 requirement,) = engine.initialMarginOf(account);
        _judge("GATE", equity >= int256(requirement), what);
    }

    /// @dev Whether bids are taken: from the flag on, for twice the time a discount takes to rise.
    function _isInAuction(uint64 account) internal view returns (bool) {
        uint256 startedAt = liquidation.auctionOf(account).startedAt;
        uint256 duration = liquidation.auctionParameters().duration;
        return startedAt != 0 && vm.getBlockTimestamp() <= startedAt + 2 * duration;
    }

    function _isPaused() internal view returns (bool) {
        return vm.getBlockTimestamp() < house.pausedUntil();
    }

    /// @dev LOSS: withdrawals wait.
    function _isLocked() internal view returns (bool) {
        return house.pendingLoss() != 0 || liquidation.reservedShortfall() > fund.totalAssets() * 1e12;
    }

    // ─── For those who look on

    function tokenOf(uint16 asset) external view returns (TestToken) {
        return TestToken(house.assetOf(asset).token);
    }

    function members() external view returns (uint64[] memory) {
        return accounts;
    }
}
