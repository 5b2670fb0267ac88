// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Trading } from "./Trading.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { IVolatilityOracle } from "contracts/interfaces/IVolatilityOracle.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";

/// @notice What the world outside does: prices, volatility, time, expiries; and feeds that lie, fail and are replaced.
abstract contract Market is Trading {
    uint40[] internal unsettled;

    // ─── Prices and time

    /// @dev One price in four goes further than an ordinary day's, one in sixteen beyond what margin is made for.
    function move() internal {
        _move(_chance(6) ? int256(4000) : _chance(20) ? int256(2200) : int256(300));
        _count("move", true);
    }

    function _move(int256 width) internal {
        vm.warp(vm.getBlockTimestamp() + 1 + _draw(90 minutes));
        uint16 underlying = _underlying();
        int256 price = quoted[underlying] * (10_000 + _between(-width, width)) / 10_000;
        // Within the bounds of the feeds, and where sizes make sense.
        quoted[underlying] = price < 10e8 ? int256(10e8) : price > 1e14 ? int256(1e14) : price;
        _passTime(0);
    }

    /// @dev Hours or days in which nothing is said: funding, interest, cooldowns and delays run.
    function wait_() internal {
        _passTime(_chance(60) ? 1 + _draw(12 hours) : _draw(4 days));
        _count("wait", true);
    }

    function moveVolatility() internal {
        uint16 underlying = _underlying();
        volatilityOf[underlying] = _between(0.1e5, 1.5e5);
        _sayVolatility(underlying);
        _count("move volatility", true);
    }

    /// @dev ORDER: two speeds. At a fifth of a logarithm an hour, and an hour at most, maintenance rises by less than 22.15%.
    function poke() internal {
        uint16 underlying = _underlying();
        uint256 before_ = volatilityOracle.stateOf(underlying).maintenance;
        volatilityOracle.poke(underlying, _draw(60));
        (uint256 live, uint256 maintenance,,,) = volatilityOracle.levels(underlying);
        _judge("ORDER", maintenance <= live, "maintenance volatility above the live one");
        _judge("ORDER", maintenance <= before_ * 12_215 / 10_000, "maintenance volatility rose too fast");
        _count("poke", true);
    }

    // ─── Lies

    /// @dev ORACLE: a feed falls silent, or says what no feed may say. Then whatever is tried, no risk is added and nothing
    /// leaves: not the account that depends on it.
    function lie() internal {
        uint64 account = _someone();
        uint16 underlying = _underlying();
        (int256 held,) = house.positionOf(account, _perpetual(underlying));
        if (held == 0) return;
        uint64 other = _someone();
        // More of what it holds: it can be no reduction.
        Pair memory pair = _pair(account, other, _perpetual(underlying), held, _index(underlying));
        uint256 kind = _draw(11);
        bytes memory result = _imagine(abi.encodeCall(this.imagineLie, (pair, underlying, kind)));
        _judge("ORACLE", !abi.decode(result, (bool)), "a bad feed added risk or released collateral");
        _count("lie", true);
    }

    /// @dev Only for `_imagine`. Whoever is judged is given a fortune first, so that nothing else could be the reason.
    function imagineLie(Pair memory pair, uint16 underlying, uint256 kind) external {
        uint64 account = pair.taker.account;
        deposit(account, CASH, 1e15);
        deposit(pair.maker.account, CASH, 1e15);
        deposit(account, WETH, 1);
        _fault(FaultyFeed(priceOracle.feedOf(underlying).feed), underlying, kind);
        bool added = _settle(pair);
        address owner = house.ownerOf(account);
        for (uint16 asset = CASH; asset <= WETH; ++asset) {
            vm.prank(owner);
            try house.withdraw(account, asset, 1, owner) {
                added = true;
            } catch { }
        }
        _undo(abi.encode(added));
    }

    function _fault(FaultyFeed feed, uint16 underlying, uint256 kind) private {
        uint256 now_ = vm.getBlockTimestamp();
        uint80 round = rounds[address(feed)] + 1;
        if (kind == 0) vm.warp(now_ + 2 hours + 1);
        if (kind == 1) feed.setRound(round, 0, now_);
        if (kind == 2) feed.setRound(round, -quoted[underlying], now_);
        if (kind == 3) feed.setRound(round, 1e20, now_);
        if (kind == 4) feed.setRound(round, 1, now_);
        if (kind == 5) feed.setRound(round, quoted[underlying], now_ + 1);
        if (kind == 6) feed.setRound(round, quoted[underlying], now_, now_, round - 1);
        if (kind == 7) feed.setRound(round, quoted[underlying], now_, 0, round);
        if (kind == 8) feed.setDecimals(18);
        if (kind == 9) feed.setMode(FaultyFeed.Mode(1 + now_ % 4));
        if (kind == 10) sequencer.setRound(2, int256(now_ % 2), now_ - 30 minutes);
    }

    /// @dev A lie that stays until the next report: liquidations, deposits and what needs no price go on meanwhile.
    function fallSilent() internal {
        uint16 underlying = _underlying();
        address feed = priceOracle.feedOf(underlying).feed;
        if (_chance(50)) _say(feed, 0);
        else vm.warp(vm.getBlockTimestamp() + 3 hours);
        _count("fall silent", !isPriced());
    }

    /// @dev A volatility that is out of date or absurd: no new risk, and liquidations go on.
    function loseVolatility() internal {
        uint16 underlying = _underlying();
        _say(volatilityOracle.feedOf(underlying).feed, _chance(50) ? int256(0) : int256(1e9));
        _count("lose volatility", true);
    }

    // ─── Feeds changed

    /// @dev Proposed with the answer of the market, or with another.
    function proposeFeed() internal {
        uint16 underlying = _underlying();
        bool honest = _chance(70);
        if (_chance(50)) {
            IPriceOracle.PriceFeed memory feed = _otherPriceFeed(underlying);
            if (!honest) _say(feed.feed, quoted[underlying] * 2);
            try priceOracle.proposePriceFeed(underlying, feed) {
                _count("propose feed", true);
            } catch {
                _count("propose feed", false);
            }
        } else {
            IVolatilityOracle.VolatilityFeed memory feed = _otherVolatilityFeed(underlying);
            if (!honest) _say(feed.feed, volatilityOf[underlying] * 2);
            try volatilityOracle.proposeVolatilityFeed(underlying, feed) {
                _count("propose feed", true);
            } catch {
                _count("propose feed", false);
            }
        }
    }

    /// @dev ORACLE: not before its delay, and not where the two disagree; and nobody's equity jumps by it. Somebody uses it in
    /// the same block.
    function applyFeed() internal {
        uint16 underlying = _underlying();
        (IPriceOracle.PriceFeed memory feed, uint256 proposedAt) = priceOracle.proposedPriceFeed(underlying);
        (IVolatilityOracle.VolatilityFeed memory other, uint256 otherAt) =
            volatilityOracle.proposedVolatilityFeed(underlying);
        if (proposedAt + otherAt == 0) return;
        // Mostly people wait for it, and the new feeds go on reporting as they did.
        if (_chance(70)) _passTime(2 days);
        if (proposedAt != 0) _sayAgain(feed.feed, quoted[underlying]);
        if (otherAt != 0) _sayAgain(other.feed, volatilityOf[underlying]);
        bool priced = _isPriced(underlying);
        try priceOracle.applyPriceFeed(underlying) {
            _judge("ORACLE", vm.getBlockTimestamp() >= proposedAt + 2 days, "a feed was changed without delay");
            (uint256 price,) = priceOracle.price(underlying);
            uint256 index = _index(underlying);
            bool agrees = price <= index * 106 / 100 && price >= index * 94 / 100;
            _judge("ORACLE", !priced || agrees, "a feed that disagrees was taken");
            _count("change price feed", true);
            tradePerpetual();
        } catch {
            _count("change price feed", false);
        }
        try volatilityOracle.applyVolatilityFeed(underlying) {
            _judge("ORACLE", vm.getBlockTimestamp() >= otherAt + 2 days, "a feed was changed without delay");
            _count("change volatility feed", true);
        } catch {
            _count("change volatility feed", false);
        }
    }

    /// @dev What the market says, or twice that for a feed that did so before.
    function _sayAgain(address feed, int256 answer) private {
        (, int256 previous,,,) = FaultyFeed(feed).latestRoundData();
        _say(feed, previous > answer * 3 / 2 ? answer * 2 : answer);
    }

    function cancelFeed() internal {
        try priceOracle.cancelPriceFeed(_underlying()) {
            _count("cancel feed", true);
        } catch {
            _count("cancel feed", false);
        }
    }

    // ─── Expiries

    /// @dev The next day's calls and puts, on both underlyings: at the money and a tenth either side.
    function _listSeries() internal {
        if (!isPriced()) _passTime(0);
        delete series;
        expiry = uint40(vm.getBlockTimestamp() + 1 days);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            uint64[] memory strikes = new uint64[](3);
            for (uint256 i; i < 3; ++i) {
                strikes[i] = uint64(uint256(quoted[underlying]) * (9 + i) / 10);
                series.push(InstrumentLibrary.option(false, underlying, expiry, strikes[i]));
                series.push(InstrumentLibrary.option(true, underlying, expiry, strikes[i]));
            }
            registry.listOptions(underlying, expiry, strikes);
        }
    }

    /// @dev The day comes: each price moves at the expiry itself, and another expiry is listed. Nobody has settled it yet.
    function expire() internal {
        if (vm.getBlockTimestamp() < expiry) vm.warp(expiry);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            quoted[underlying] = quoted[underlying] * (10_000 + _between(-800, 800)) / 10_000;
        }
        _passTime(0);
        unsettled.push(expiry);
        Instrument instrument = series[_draw(series.length)];
        _judge(
            "EXPIRED", !_settle(_pair(accounts[0], accounts[1], instrument, 1e15, 1e18)), "an expired option was traded"
        );
        _passTime(1);
        _listSeries();
        _count("expire", true);
    }

    /// @dev Anyone, with every round there is: at most one settles, and the price is written once. EQUITY: what one gains by it
    /// another loses.
    function settleExpiry() internal {
        if (unsettled.length == 0) return;
        uint256 index = _draw(unsettled.length);
        uint40 time = unsettled[index];
        bool priced = isPriced() && _chance(30);
        int256 before_ = priced ? _totalEquity() : int256(0);
        bool all = true;
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            all = _settleBySomeRound(underlying, time) && all;
        }
        _count("settle expiry", all);
        if (all) {
            unsettled[index] = unsettled[unsettled.length - 1];
            unsettled.pop();
        }
        if (!priced) return;
        int256 change = _totalEquity() - before_;
        _judge("EQUITY", change <= 1e6 && change >= -1e6, "a settlement price made or lost money");
    }

    function _settleBySomeRound(uint16 underlying, uint40 time) private returns (bool) {
        if (registry.settlementPriceOf(underlying, time) != 0) return true;
        uint80 latest = priceOracle.latestRound(underlying);
        for (uint80 round = latest; round > 0 && latest - round < 40; --round) {
            try registry.settle(underlying, time, round) returns (uint256 price) {
                _judge("SETTLED", price == registry.settlementPriceOf(underlying, time), "another price was written");
                try registry.settle(underlying, time, latest) {
                    _judge("SETTLED", false, "an expiry was settled twice");
                } catch { }
                return true;
            } catch { }
        }
        return false;
    }

    function _totalEquity() private view returns (int256 total) {
        for (uint256 i; i < accounts.length; ++i) {
            total += equityOf(accounts[i]);
        }
    }

    /// @dev EQUITY: cash is worth what the option was, to a wei a position.
    function settleExpired() internal {
        uint64 account = _someone();
        if (!isPriced()) return;
        int256 before_ = equityOf(account);
        uint256 positions = house.portfolioOf(account).positions.length;
        house.settleExpired(account);
        int256 change = equityOf(account) - before_;
        _judge("EQUITY", change <= 1 && change >= -64, "paying out expired options moved equity");
        _count("payoff", house.portfolioOf(account).positions.length < positions);
    }

    /// @dev EQUITY: profit becomes cash and nothing else changes, to a wei a position.
    function settleVariation() internal {
        uint64 account = _someone();
        if (!isPriced()) return;
        int256 before_ = equityOf(account);
        house.settleVariation(account);
        int256 change = equityOf(account) - before_;
        _judge("EQUITY", change <= 0 && change >= -64, "settling variation moved equity");
        _count("settle variation", true);
        if (house.cashOf(account) < 0) _count("debt", true);
    }
}
