// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Market } from "./Market.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { SignedWad } from "contracts/libraries/SignedWad.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Portfolio } from "contracts/types/Portfolio.sol";

/// @notice Keepers, those who bid against them, those who step in front of a bid, and who liquidates himself. And what becomes of
/// the loss.
abstract contract Liquidations is Market {
    uint64 private constant ANY_NONCE = type(uint64).max;

    /// @dev Where a loss can go: in the fund [token units], owed by it [token units], collected [wad], still to be shared [wad].
    struct Carriers {
        uint256 fund;
        uint256 owed;
        uint256 fees;
        uint256 pending;
    }

    /// @dev A bid and what was so before it: the room of each underlying [wad dollars], what account and bidder have together if
    /// they are one owner's, and whether the bidder held nothing.
    struct Attempt {
        uint64 account;
        uint64 bidder;
        uint256 fraction;
        int256 limit;
        Margin margin;
        Carriers carriers;
        uint256[] rooms;
        bool protective;
        bool sybil;
        int256 both;
        bool empty;
    }

    // ─── Auctions

    /// @dev A bad hour: the price gaps, everybody who must be is flagged, and the auctions run for a while.
    function crash() internal {
        _move(_chance(30) ? int256(5000) : _chance(50) ? int256(2500) : int256(1200));
        vm.fee(_draw(300 gwei));
        for (uint256 i; i < accounts.length; ++i) {
            if (house.portfolioOf(accounts[i]).positions.length != 0) _flag(accounts[i]);
        }
        if (_chance(75)) _passTime(1 + _draw(30 minutes));
        // Sometimes nobody comes, and an auction is left for later.
        if (_chance(30)) return;
        for (uint256 i; i < accounts.length; ++i) {
            if (liquidation.auctionOf(accounts[i]).startedAt != 0) _bid(accounts[i]);
        }
    }

    function flagSome() internal {
        _flag(_someone());
    }

    function bidSome() internal {
        uint256 first = _draw(accounts.length);
        for (uint256 i; i < accounts.length; ++i) {
            uint64 account = accounts[(first + i) % accounts.length];
            if (liquidation.auctionOf(account).startedAt != 0) return _bid(account);
        }
    }

    function _flag(uint64 account) private {
        if (account == keeper) return;
        // A proof by some nodes of the grid may fail where all of them would not; it may never find what is not so.
        uint256 nodes = _chance(60) ? type(uint256).max : _draw(type(uint256).max);
        ILiquidationEngine.Auction memory former = liquidation.auctionOf(account);
        bool running = _isInAuction(account);
        try liquidation.flagAt(account, keeper, nodes) {
            _judge("LIQUIDATE", !running || former.protective, "flagged twice");
            if (former.startedAt != 0 && !running) _count("flag anew", true);
            Margin memory margin = engine.marginOf(account);
            bool liquidatable = margin.equity < int256(margin.maintenance.total);
            bool protective = liquidation.auctionOf(account).protective;
            _judge("LIQUIDATE", liquidatable != protective, "flagged for another reason than it is in");
            _count(protective ? bytes32("flag protective") : bytes32("flag"), true);
        } catch {
            _count("flag", false);
        }
    }

    /// @dev Anybody may, for any fraction, at any limit; mostly the keeper, or somebody new who can take all of it as it is.
    function _bid(uint64 account) private {
        if (!isPriced()) return;
        uint256 kind = _draw(10);
        uint64 bidder = kind < 5 ? keeper : kind < 8 ? _newcomer() : _someone();
        if (account == thief || account == thiefsOther) bidder = _otherOfThief(account, bidder);
        if (account == bidder) return;
        house.settleExpired(account);
        if (!_isInAuction(account)) {
            _bidTooLate(account, bidder);
            _flag(account);
            if (!_isInAuction(account)) return;
        }
        if (_chance(8)) return _bidBehind(account, bidder);
        _bidAt(_attempt(account, bidder));
    }

    /// @dev The auction has lapsed: whoever waited for its highest discount gets nothing.
    function _bidTooLate(uint64 account, uint64 bidder) private {
        vm.prank(house.ownerOf(bidder));
        try liquidation.bid(account, bidder, WAD, type(int128).max, ANY_NONCE) {
            _judge("LIQUIDATE", false, "a bid in an auction that has lapsed went through");
        } catch {
            _count("bid in a lapsed auction", true);
        }
    }

    /// @dev Somebody changes the account just before: the bid was made on another state, and is refused.
    function _bidBehind(uint64 account, uint64 bidder) private {
        uint64 nonce = house.nonceOf(account);
        address owner = house.ownerOf(account);
        deposit(account, CASH, 1);
        vm.prank(house.ownerOf(bidder));
        try liquidation.bid(account, bidder, WAD, type(int128).max, nonce) {
            _judge("LIQUIDATE", false, "a bid on a stale state went through");
        } catch {
            _count("bid on a stale state", owner == house.ownerOf(account));
        }
    }

    /// @dev Half of the time the thief would rather take it himself, whatever it costs to be able to.
    function _otherOfThief(uint64 account, uint64 bidder) private returns (uint64) {
        if (_chance(50)) return bidder;
        bidder = account == thief ? thiefsOther : thief;
        deposit(bidder, CASH, 200_000e6);
        return bidder;
    }

    function _attempt(uint64 account, uint64 bidder) private returns (Attempt memory attempt) {
        Margin memory margin = engine.marginOf(account);
        (attempt.account, attempt.bidder, attempt.margin) = (account, bidder, margin);
        attempt.fraction = _chance(60) ? WAD : _draw(2 * WAD);
        attempt.limit = _chance(80) ? int256(type(int128).max) : margin.equity * _between(0, 4) / 4;
        attempt.carriers = _carriers();
        attempt.protective = liquidation.auctionOf(account).protective;
        attempt.rooms = new uint256[](margin.underlyings.length);
        for (uint256 i; i < margin.underlyings.length; ++i) {
            (attempt.rooms[i],) = liquidation.throughputOf(margin.underlyings[i].underlying);
        }
        attempt.sybil = house.ownerOf(account) == house.ownerOf(bidder);
        if (attempt.sybil) attempt.both = margin.equity + equityOf(bidder);
        Portfolio memory held = house.portfolioOf(bidder);
        attempt.empty = held.positions.length == 0 && held.collateral.length == 0;
    }

    function _bidAt(Attempt memory attempt) private {
        vm.prank(house.ownerOf(attempt.bidder));
        try liquidation.bid(attempt.account, attempt.bidder, attempt.fraction, attempt.limit, ANY_NONCE) returns (
            ILiquidationEngine.Bid memory bid
        ) {
            _judgeBid(attempt, bid);
        } catch (bytes memory reason) {
            _count("bid", false);
            if (bytes4(reason) == ILiquidationEngine.LiquidationThroughput.selector) _count("throughput", true);
        }
    }

    function _judgeBid(Attempt memory attempt, ILiquidationEngine.Bid memory bid) private {
        _count(attempt.margin.equity < 0 ? bytes32("insolvent bid") : bytes32("bid"), true);
        if (attempt.empty && bid.fraction == WAD) _count("whole takeover", true);
        _judgeHealth(attempt.margin, engine.marginOf(attempt.account));
        _judgeCovered(attempt.bidder, "a bidder took more than it can carry");
        _judge("LIQUIDATE", bid.price <= SignedWad.mulDown(attempt.limit, bid.fraction), "a bid above its limit");
        _judgeLoss(bid, attempt.carriers);
        if (attempt.protective) _judgeProtection(attempt.account, bid);
        else if (attempt.margin.equity >= 0) _judgeRoom(attempt, bid.fraction);
        if (!attempt.sybil || bid.cover != 0) return;
        _count("self-liquidation", true);
        int256 both = equityOf(attempt.account) + equityOf(attempt.bidder);
        _judge("ROUND", both <= attempt.both + 1e9, "liquidating oneself earned something");
    }

    function _carriers() private view returns (Carriers memory) {
        return Carriers(dollar.balanceOf(address(fund)), fund.owed(), house.fees(), house.pendingLoss());
    }

    /// @dev LOSS: what the bid asked for is paid, owed, taken from fees or left to share, to the wei; in this order, and the
    /// fund has no more when anything is left to share.
    function _judgeLoss(ILiquidationEngine.Bid memory bid, Carriers memory before_) private {
        Carriers memory now_ = _carriers();
        uint256 paid = before_.fund - now_.fund;
        uint256 queued = now_.owed - before_.owed;
        uint256 pending = now_.pending - before_.pending;
        expectedFund -= paid;
        expectedOwed += queued;
        expectedPending += pending;
        int256 absorbed = int256(before_.fees + bid.fundFee) - int256(now_.fees);
        int256 carried = int256((paid + queued) * 1e12 + pending) + absorbed;
        _judge("LOSS", carried == int256(bid.cover), "a loss is not carried by anybody, or twice");
        _judge("LOSS", pending == 0 || (fund.totalAssets() == 0 && now_.fees == 0), "shared before all else was spent");
        if (queued != 0) _count("queue", true);
        if (pending != 0) _count("pending loss", true);
        if (absorbed > 1e12) _count("loss absorbed by fees", true);
        if (paid != 0) _count("fund pays", true);
    }

    /// @dev Of a solvent account no more is taken than there was room for.
    function _judgeRoom(Attempt memory attempt, uint256 fraction) private {
        for (uint256 i; i < attempt.rooms.length; ++i) {
            int256 exposure = attempt.margin.underlyings[i].exposure;
            uint256 taken = uint256(exposure < 0 ? -exposure : exposure) * fraction / WAD;
            _judge("LIQUIDATE", taken <= attempt.rooms[i] + 1e9, "more was liquidated than the throughput allows");
        }
    }

    /// @dev The owner set the terms, and pays no fees.
    function _judgeProtection(uint64 account, ILiquidationEngine.Bid memory bid) private {
        _count("protective bid", true);
        bool asAsked = bid.fee == 0 && bid.fundFee == 0 && bid.cover == 0
            && bid.discount <= liquidation.protectionOf(account).maximumDiscount;
        _judge("LIQUIDATE", asAsked, "a protective bid on other terms than the owner's");
    }

    function endAll() internal {
        for (uint256 i; i < accounts.length; ++i) {
            try liquidation.end(accounts[i]) {
                _count("end", true);
                Margin memory margin = engine.marginOf(accounts[i]);
                _judge("LIQUIDATE", margin.equity >= int256(margin.maintenance.total), "ended below maintenance");
            } catch { }
        }
    }

    function reserveAll() internal {
        for (uint256 i; i < accounts.length; ++i) {
            try liquidation.reserve(accounts[i]) returns (uint256 shortfall) {
                int256 equity = equityOf(accounts[i]);
                _judge("LOSS", shortfall == (equity < 0 ? uint256(-equity) : 0), "another shortfall than there is");
                _count("reserve", shortfall != 0);
            } catch { }
        }
    }

    /// @dev Mostly of somebody who has had a margin call, so that a protective auction comes, and a bid on it.
    function protect() internal {
        uint64 account = _somebodyCalled();
        uint64 trigger = uint64(_chance(50) ? 2e18 : _draw(12e18));
        uint64 discount = uint64(_draw(0.55e18));
        if (_chance(10)) (trigger, discount) = (0, 0);
        bool sound = trigger > WAD && trigger <= 10e18 && discount != 0 && discount <= 0.5e18;
        vm.prank(house.ownerOf(account));
        try liquidation.setProtection(account, trigger, discount) {
            _judge("LIQUIDATE", sound || (trigger == 0 && discount == 0), "unsound terms of protection");
            _count("protect", true);
        } catch {
            _judge("LIQUIDATE", !sound, "sound terms of protection were refused");
            _count("protect", false);
        }
        _flag(account);
        if (liquidation.auctionOf(account).startedAt == 0 || _chance(30)) return;
        _passTime(1 + _draw(10 minutes));
        _bid(account);
    }

    /// @dev The first one below initial margin and above maintenance, of four; somebody where there is none.
    function _somebodyCalled() private returns (uint64) {
        uint256 first = _draw(accounts.length);
        if (!isPriced()) return accounts[first];
        for (uint256 i; i < 4; ++i) {
            uint64 account = accounts[(first + i) % accounts.length];
            Margin memory margin = engine.marginOf(account);
            bool called = margin.equity < int256(margin.initial.total);
            if (called && margin.equity >= int256(margin.maintenance.total)) return account;
        }
        return accounts[first];
    }

    // ─── Losses

    /// @dev LOSS: in order, no more than the allowance, and into the accounts that are owed.
    function payClaims() internal {
        (uint256 first, uint256 next) = fund.openClaims();
        uint256 allowance = fund.allowanceNow();
        if (first == next) return;
        uint64 account = fund.claimOf(first).account;
        int256 cash = house.cashOf(account);
        try fund.payClaims(_draw(4)) returns (uint256 paid) {
            expectedFund -= paid;
            expectedOwed -= paid;
            _judge("LOSS", paid <= allowance, "claims were paid beyond the allowance");
            _judge("LOSS", paid == 0 || house.cashOf(account) > cash, "the first in line was passed over");
            _count("pay claims", paid != 0);
        } catch {
            _count("pay claims", false);
        }
    }

    /// @dev LOSS: not before its hour is over, and by as much as positive cash shrinks.
    function shareLoss() internal {
        uint256 pending = house.pendingLoss();
        if (pending != 0 && _chance(50)) _passTime(1 hours);
        uint256 positive = house.positiveCash();
        bool due = vm.getBlockTimestamp() >= house.lossDueAt();
        try house.shareLoss() returns (uint256 shared) {
            expectedPending -= shared;
            _judge("LOSS", due && shared <= pending, "a loss was shared too soon, or more than there was");
            _judge("LOSS", positive - house.positiveCash() == shared, "cash did not shrink by what was shared");
            _count("share loss", true);
        } catch {
            _count("share loss", false);
        }
    }
}
