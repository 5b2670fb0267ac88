// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInsuranceFund } from "./interfaces/IInsuranceFund.sol";
import { ILiquidationEngine } from "./interfaces/ILiquidationEngine.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { IRiskParameters } from "./interfaces/IRiskParameters.sol";
import { AuctionMath } from "./libraries/AuctionMath.sol";
import { CashValue } from "./libraries/CashValue.sol";
import { SignedWad } from "./libraries/SignedWad.sol";
import { FadingSum } from "./types/FadingSum.sol";
import { FieldLibrary as Fields } from "./types/Field.sol";
import { Margin, UnderlyingMargin } from "./types/Margin.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title LiquidationEngine
/// @notice The auction of accounts below maintenance margin. It holds no money: the clearing house carries out what is
/// worked out here, checks that it adds up and that the bidder can carry what it takes.
///
///     price of the whole = equity − d · maintenance            d rises from 0
///     price ≥ 0: the bidder pays fraction · price to the account, which ends on its target
///     price < 0: the bidder takes what is left and the insurance fund pays it −price
///
/// How much of an underlying may be liquidated at a time is limited by its average daily volume, so that liquidations do not
/// become the crash. What an insolvent account holds is taken at once: waiting could only cost the fund more. A protective
/// auction is as free as the owner's own trades are, and uses up none of what liquidations need.
contract LiquidationEngine is ILiquidationEngine, AccessManaged, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeCast for int256;

    uint256 private constant WAD = 1e18;
    uint8 private constant PERMISSION_TRADE = 1;
    uint64 private constant ANY_NONCE = type(uint64).max;

    /// @dev What the rounding of moved positions may cost an account: a billionth of a dollar.
    uint256 private constant ROUNDING = 1e9;
    uint16 private constant CASH = 0;

    /// @dev Gas of a flag outside of what it can measure itself: the transaction, the word it stores last, the event.
    uint256 private constant FLAG_GAS_AROUND = 60_000;
    /// @dev What is paid for gas at the base fee [wad]: the tip on top of it, and the flags that come second and earn nothing.
    /// With less, keepers who are alike wait for each other (simulation/incentives.py).
    uint256 private constant FLAG_PREMIUM = 1.5e18;
    /// @dev A unit of the volume field: a thousand dollars [wad].
    uint256 private constant VOLUME_UNIT = 1000e18;
    uint64 private constant MAXIMUM_TRIGGER = 10e18;

    IClearingHouse public immutable clearingHouse;
    IPriceOracle public immutable priceOracle;
    IRiskParameters public immutable riskParameters;
    /// @dev Wad per unit of the cash token.
    uint256 private immutable _scale;

    /// @inheritdoc ILiquidationEngine
    uint256 public reservedShortfall;

    AuctionParameters private _parameters;
    mapping(uint64 account => Auction) private _auctions;
    /// @dev By owner, so that nobody inherits the wish of whoever had the account before.
    mapping(uint64 account => mapping(address owner => Protection)) private _protections;
    /// @dev Liquidated of late [wad dollars]; it fades over the throughput window.
    mapping(uint16 underlying => FadingSum) private _throughputs;

    /// @dev All that one bid works with.
    struct Work {
        Bid bid;
        IClearingHouse.Liquidation liquidation;
        Margin margin;
    }

    constructor(
        address authority,
        IClearingHouse clearingHouse_,
        IRiskParameters riskParameters_,
        AuctionParameters memory parameters
    ) AccessManaged(authority) {
        clearingHouse = clearingHouse_;
        priceOracle = clearingHouse_.priceOracle();
        riskParameters = riskParameters_;
        _scale = 10 ** (18 - clearingHouse_.assetOf(CASH).decimals);
        _setParameters(parameters);
    }

    /// @inheritdoc ILiquidationEngine
    function flag(uint64 account, uint64 keeper) external nonReentrant {
        _flag(account, keeper, type(uint256).max, gasleft());
    }

    /// @inheritdoc ILiquidationEngine
    function flagAt(uint64 account, uint64 keeper, uint256 nodes) external nonReentrant {
        _flag(account, keeper, nodes, gasleft());
    }

    /// @inheritdoc ILiquidationEngine
    function bid(uint64 account, uint64 bidder, uint256 maximumFraction, int256 limitPrice, uint64 nonce)
        external
        nonReentrant
        returns (Bid memory taken)
    {
        if (account == bidder) revert LiquidationOwnAccount(account);
        _onlyTrader(bidder);
        _notInBlockOfPush();
        uint64 current = clearingHouse.nonceOf(account);
        // Optional, or an owner could hold off every bid by touching the account in front of it.
        if (nonce != ANY_NONCE && nonce != current) revert LiquidationStaleBid(account, nonce, current);

        // Payoffs first: the bid divides cash as it is, and what is left of an expired option is cash.
        clearingHouse.settleExpired(account);
        Work memory work;
        work.liquidation.bidder = bidder;
        _calculateBid(work, account, maximumFraction);
        taken = work.bid;
        _requireWithinLimit(taken, limitPrice);
        uint256 queued = _divideCover(work);
        if (taken.fee != 0) _auctions[account].fee -= taken.fee.toUint96();
        if (_isLimited(account, taken.equity)) _useThroughput(taken, work.margin.underlyings);

        bool whole = clearingHouse.liquidate(work.liquidation);
        emit BidSettled(account, bidder, taken, queued, work.liquidation.shared);
        _requireCarried(work, bidder, whole);
        Margin memory margin;
        // Nothing is left there but cash.
        if (whole) margin.equity = CashValue.valueDown(clearingHouse.cashOf(account), priceOracle);
        else margin = _marginOf(account);
        _requireUnharmed(account, taken, margin);
        if (_isOver(account, margin)) _end(account, margin);
        else _reserve(account, margin.equity);

        uint256 covered = work.liquidation.covered;
        if (covered + queued != 0) _fund().cover(covered, queued, bidder);
    }

    /// @inheritdoc ILiquidationEngine
    function end(uint64 account) external nonReentrant {
        if (_auctions[account].startedAt == 0) revert LiquidationNotFlagged(account);
        Margin memory margin = _marginOf(account);
        if (!_isOver(account, margin)) {
            revert LiquidationStillLiquidatable(account, margin.equity, margin.maintenance.total);
        }
        _end(account, margin);
    }

    /// @inheritdoc ILiquidationEngine
    function reserve(uint64 account) external nonReentrant returns (uint256 shortfall) {
        if (_auctions[account].startedAt == 0) revert LiquidationNotFlagged(account);
        _reserve(account, _marginOf(account).equity);
        return _auctions[account].shortfall;
    }

    /// @inheritdoc ILiquidationEngine
    function previewBid(uint64 account, uint256 maximumFraction) external view returns (Bid memory) {
        Work memory work;
        _calculateBid(work, account, maximumFraction);
        return work.bid;
    }

    /// @inheritdoc ILiquidationEngine
    function setProtection(uint64 account, uint64 trigger, uint64 maximumDiscount) external {
        _onlyTrader(account);
        bool none = trigger == 0 && maximumDiscount == 0;
        if (
            !none
                && (trigger <= WAD
                    || trigger > MAXIMUM_TRIGGER
                    || maximumDiscount == 0
                    || maximumDiscount > _parameters.maximumDiscount)
        ) revert LiquidationBadProtection(trigger, maximumDiscount);
        _protections[account][clearingHouse.ownerOf(account)] = Protection(trigger, maximumDiscount);
        emit ProtectionSet(account, trigger, maximumDiscount);
    }

    /// @inheritdoc ILiquidationEngine
    function protectionOf(uint64 account) public view returns (Protection memory) {
        return _protections[account][clearingHouse.ownerOf(account)];
    }

    /// @inheritdoc ILiquidationEngine
    function throughputOf(uint16 underlying) public view returns (uint256 room, uint256 limit) {
        (, uint256 word) = riskParameters.wordsOf(underlying);
        uint256 volume = uint256(FixedPoint.max(0, Fields.AVERAGE_DAILY_VOLUME.read(word))) * VOLUME_UNIT;
        limit = FixedPoint.max(FixedPoint.mulWad(volume, _parameters.throughput), _parameters.minimumThroughput);
        room = FixedPoint.zeroFloorSub(limit, _throughputs[underlying].current(_parameters.throughputWindow));
    }

    /// @inheritdoc ILiquidationEngine
    function discountOf(uint64 account) public view returns (uint256 discount) {
        Auction memory auction = _auctions[account];
        if (!_isRunning(auction.startedAt)) revert LiquidationNotFlagged(account);
        discount = AuctionMath.discountDown(
            block.timestamp - auction.startedAt, _parameters.duration, _parameters.maximumDiscount
        );
        if (auction.protective) discount = FixedPoint.min(discount, protectionOf(account).maximumDiscount);
    }

    /// @inheritdoc ILiquidationEngine
    function auctionOf(uint64 account) external view returns (Auction memory) {
        return _auctions[account];
    }

    /// @inheritdoc ILiquidationEngine
    function auctionParameters() external view returns (AuctionParameters memory) {
        return _parameters;
    }

    /// @inheritdoc ILiquidationEngine
    function setAuctionParameters(AuctionParameters calldata parameters) external restricted {
        _setParameters(parameters);
    }

    /// @dev At some of the nodes the requirement is never more than at all of them, so whoever is found below it is below it.
    /// @param gas Left when the call began.
    function _flag(uint64 account, uint64 keeper, uint256 nodes, uint256 gas) private {
        if (account == keeper) revert LiquidationOwnAccount(account);
        if (clearingHouse.ownerOf(keeper) == address(0)) {
            revert IClearingHouse.ClearingHouseUnknownAccount(keeper);
        }
        _notInBlockOfPush();
        bool running = _isRunning(_auctions[account].startedAt);
        if (running && !_auctions[account].protective) revert LiquidationAlreadyFlagged(account);
        clearingHouse.settleExpired(account);
        Margin memory margin = IMarginEngine(clearingHouse.marginEngine()).marginAt(account, nodes);
        // First, so that what it costs is measured.
        _reserve(account, margin.equity);
        Auction memory auction = _auctions[account];
        if (_isLiquidatable(margin)) {
            auction.protective = false;
            auction.fee = _flagFee(gas).toUint96();
        } else {
            if (running) revert LiquidationAlreadyFlagged(account);
            // Some nodes may show that an account is liquidatable, never that it isn't.
            if (nodes != type(uint256).max || !_isProtectable(account, margin)) {
                revert LiquidationNotLiquidatable(account, margin.equity, margin.maintenance.total);
            }
            auction.protective = true;
            auction.fee = 0;
        }
        auction.startedAt = uint40(block.timestamp);
        auction.keeper = keeper;
        _auctions[account] = auction;
        emit AccountFlagged(account, keeper, margin.equity, margin.maintenance.total, auction.fee, auction.protective);
    }

    // ─── The bid

    /// @dev Shared by preview and execution, so that the two can't disagree.
    function _calculateBid(Work memory work, uint64 account, uint256 maximumFraction) private view {
        (Bid memory result, IClearingHouse.Liquidation memory liquidation) = (work.bid, work.liquidation);
        result.discount = discountOf(account);
        Margin memory margin = _marginOf(account);
        Auction memory auction = _auctions[account];
        bool liquidatable = _isLiquidatable(margin);
        if (auction.protective ? liquidatable || !_isProtectable(account, margin) : !liquidatable) {
            revert LiquidationNotLiquidatable(account, margin.equity, margin.maintenance.total);
        }
        if (maximumFraction == 0) revert LiquidationZeroFraction();
        work.margin = margin;
        result.equity = margin.equity;
        result.maintenance = margin.maintenance.total;
        result.initialMargin = margin.initial.total;
        liquidation.account = account;
        liquidation.keeper = auction.keeper;
        if (_isLimited(account, margin.equity)) {
            maximumFraction = FixedPoint.min(maximumFraction, _fractionWithRoom(margin.underlyings));
        }

        uint256 discount = FixedPoint.mulWad(result.discount, result.maintenance);
        if (margin.equity >= discount.toInt256()) {
            _sell(work, discount, auction, maximumFraction);
        } else {
            _giveAway(result, liquidation, margin.cash, discount, auction.fee, maximumFraction);
        }
        if (result.fraction == 0) revert LiquidationZeroFraction();
    }

    /// @dev price ≥ 0. The bidder pays the account for the fraction, cash included, and the flag fee comes out of that.
    function _sell(Work memory work, uint256 discount, Auction memory auction, uint256 maximumFraction) private view {
        (Bid memory result, IClearingHouse.Liquidation memory liquidation) = (work.bid, work.liquidation);
        uint256 equity = uint256(result.equity);
        uint256 target = _target(result.maintenance, result.initialMargin);
        uint256 fraction = AuctionMath.fractionDown(equity, discount, auction.fee, target);
        uint256 remainder = FixedPoint.mulWad(result.maintenance, WAD - fraction);
        // An owner who wished to be reduced did not wish to be closed.
        if (!auction.protective && remainder < _parameters.minimumRemainder) fraction = WAD;
        fraction = FixedPoint.min(fraction, maximumFraction);

        uint256 proceeds = FixedPoint.fullMulDivUp(equity - discount, fraction, WAD);
        result.fraction = fraction;
        result.fee = FixedPoint.min(auction.fee, proceeds);
        if (!auction.protective) {
            result.fundFee = FixedPoint.mulWad(FixedPoint.fullMulDiv(discount, fraction, WAD), _parameters.fundShare);
        }
        uint256 paid = _inCashUp(proceeds, work.margin, fraction);
        result.price = (paid + result.fundFee).toInt256();

        int256 cashMoved = SignedWad.mulDown(work.margin.cash, fraction);
        liquidation.fraction = fraction;
        liquidation.accountCash = paid.toInt256() - int256(result.fee) - cashMoved;
        liquidation.bidderCash = cashMoved - result.price;
        liquidation.keeperCash = result.fee;
        liquidation.feeCash = result.fundFee;
    }

    /// @dev What must be paid in cash to be worth so many dollars to the account: the same while cash is worth a dollar. Below
    /// that, a debt that is left is still paid off in full, and the rest counts for less, so more of it is owed.
    function _inCashUp(uint256 dollars, Margin memory margin, uint256 fraction) private view returns (uint256) {
        int256 claim = margin.cash + margin.unrealised;
        int256 held = claim - SignedWad.mulDown(claim, fraction);
        // A feed of cash that is dead must not stop the liquidation of a debt.
        if (held + dollars.toInt256() <= 0) return dollars;
        return AuctionMath.inCashUp(dollars, held, uint256(CashValue.valueDown(int256(WAD), priceOracle)));
    }

    /// @dev price < 0. No fraction brings the account back, so all of it is on offer and the fund pays the bidder.
    function _giveAway(
        Bid memory result,
        IClearingHouse.Liquidation memory liquidation,
        int256 cash,
        uint256 discount,
        uint256 feeOwed,
        uint256 maximumFraction
    ) private pure {
        uint256 fraction = FixedPoint.min(WAD, maximumFraction);
        uint256 payout = FixedPoint.fullMulDiv(uint256(discount.toInt256() - result.equity), fraction, WAD);
        // The fund pays the fee too, so it is no more than what is at stake: flagging dust must not earn.
        uint256 stake = result.maintenance + uint256(FixedPoint.max(0, -result.equity));
        result.fraction = fraction;
        result.fee = FixedPoint.min(feeOwed, FixedPoint.fullMulDiv(stake, fraction, WAD));
        result.cover = payout + result.fee;
        result.price = -payout.toInt256();

        int256 cashMoved = SignedWad.mulDown(cash, fraction);
        liquidation.fraction = fraction;
        liquidation.accountCash = -cashMoved;
        liquidation.bidderCash = cashMoved + payout.toInt256();
        liquidation.keeperCash = result.fee;
    }

    /// @dev LOSS: what the fund pays now, what it owes the bidder for later, and what is left to share.
    /// @return queued Owed, token units.
    function _divideCover(Work memory work) private view returns (uint256 queued) {
        uint256 cover = work.bid.cover;
        if (cover == 0) return 0;
        IClearingHouse.Liquidation memory liquidation = work.liquidation;
        (liquidation.covered, queued) =
            _fund().previewCover(FixedPoint.divUp(cover, _scale), FixedPoint.divUp(work.bid.fee, _scale));
        uint256 carried = (liquidation.covered + queued) * _scale;
        // Whole token units may be a little more than was asked for: that is the fund's again.
        if (carried > cover) liquidation.feeCash = carried - cover;
        else liquidation.shared = cover - carried;
        liquidation.bidderCash -= (queued * _scale).toInt256();
    }

    /// @dev GATE for the bidder. One that held nothing and has taken everything holds exactly what the account held, whose
    /// requirement has just been worked out.
    function _requireCarried(Work memory work, uint64 bidder, bool whole) private view {
        int256 equity;
        uint256 requirement;
        if (whole) {
            requirement = work.margin.initial.total;
            equity = CashValue.valueDown(clearingHouse.cashOf(bidder) + work.margin.unrealised, priceOracle)
                + work.margin.collateral.toInt256();
        } else {
            (equity, requirement,) = IMarginEngine(clearingHouse.marginEngine()).initialMarginOf(bidder);
        }
        if (equity < requirement.toInt256()) {
            revert IClearingHouse.ClearingHouseInsufficientMargin(bidder, equity, requirement);
        }
    }

    /// @dev The limit is on the whole portfolio's price, so that it means the same for any fraction.
    function _requireWithinLimit(Bid memory taken, int256 limitPrice) private pure {
        int256 limit = SignedWad.mulDown(limitPrice, taken.fraction);
        if (taken.price > limit) revert LiquidationPriceLimit(taken.price, limit);
    }

    /// @dev LIQUIDATE, checked after the fact and not only by construction.
    function _requireUnharmed(uint64 account, Bid memory taken, Margin memory margin) private pure {
        int256 equity = margin.equity;
        bool unharmed;
        if (taken.equity < 0) {
            unharmed = equity >= taken.equity - int256(ROUNDING);
        } else {
            // equity / maintenance has not fallen, and no more was lost than the discount and the fee
            unharmed = equity >= -int256(ROUNDING)
                && _isHealthAsGood(uint256(equity + int256(ROUNDING)), margin, uint256(taken.equity), taken.maintenance)
                && (taken.cover != 0 || equity + int256(ROUNDING) >= taken.equity - _costUp(taken));
        }
        if (!unharmed) revert LiquidationHarmsAccount(account, taken.equity, equity);
    }

    /// @dev equity / maintenance of `margin` against what it was before. In 512 bits: no size makes it overflow.
    function _isHealthAsGood(uint256 equity, Margin memory margin, uint256 equityBefore, uint256 maintenanceBefore)
        private
        pure
        returns (bool)
    {
        (uint256 high, uint256 low) = Math.mul512(equity, maintenanceBefore);
        (uint256 highBefore, uint256 lowBefore) =
            Math.mul512(equityBefore, FixedPoint.zeroFloorSub(margin.maintenance.total, ROUNDING));
        return high > highBefore || (high == highBefore && low >= lowBefore);
    }

    /// @dev Discount on the fraction, and the fee.
    function _costUp(Bid memory taken) private pure returns (int256) {
        uint256 discount = FixedPoint.mulWadUp(taken.discount, taken.maintenance);
        return (FixedPoint.fullMulDivUp(discount, taken.fraction, WAD) + taken.fee).toInt256();
    }

    // ─── Throughput

    /// @dev Neither is an insolvent account, nor an owner's wish.
    function _isLimited(uint64 account, int256 equity) private view returns (bool) {
        return equity >= 0 && !_auctions[account].protective;
    }

    /// @dev The largest fraction that every underlying has room for [wad].
    function _fractionWithRoom(UnderlyingMargin[] memory parts) private view returns (uint256 fraction) {
        fraction = WAD;
        for (uint256 i; i < parts.length; ++i) {
            uint256 exposure = FixedPoint.abs(parts[i].exposure);
            (uint256 room, uint256 limit) = throughputOf(parts[i].underlying);
            if (exposure <= room) continue;
            fraction = FixedPoint.min(fraction, FixedPoint.fullMulDiv(room, WAD, exposure));
            if (fraction == 0) {
                revert LiquidationThroughput(parts[i].underlying, limit, _parameters.throughputWindow);
            }
        }
    }

    function _useThroughput(Bid memory taken, UnderlyingMargin[] memory parts) private {
        for (uint256 i; i < parts.length; ++i) {
            uint256 amount = FixedPoint.fullMulDivUp(FixedPoint.abs(parts[i].exposure), taken.fraction, WAD);
            if (amount != 0) _throughputs[parts[i].underlying].add(amount, _parameters.throughputWindow);
        }
    }

    // ─── State of an auction

    /// @dev Gas used since `gas` was left, and around that, at the base fee and the gas token's price, within bounds.
    function _flagFee(uint256 gas) private view returns (uint256) {
        (uint256 least, uint256 most) = (_parameters.minimumFee, _parameters.maximumFee);
        uint16 native = _parameters.nativeUnderlying;
        if (native == 0) return least;
        // A dead feed must not stop a liquidation.
        try priceOracle.price(native) returns (uint256 price, uint256) {
            uint256 paid = (gas - gasleft() + FLAG_GAS_AROUND) * block.basefee * FLAG_PREMIUM / WAD;
            return FixedPoint.clamp(FixedPoint.mulWadUp(paid, price), least, most);
        } catch {
            return least;
        }
    }

    function _target(uint256 maintenance, uint256 initialMargin) private view returns (uint256) {
        return maintenance + FixedPoint.mulWad(_parameters.target, initialMargin - maintenance);
    }

    /// @dev Above maintenance, below both the owner's trigger and the target a bid would bring it to.
    function _isProtectable(uint64 account, Margin memory margin) private view returns (bool) {
        uint256 trigger = FixedPoint.min(
            FixedPoint.mulWad(margin.maintenance.total, protectionOf(account).trigger),
            _target(margin.maintenance.total, margin.initial.total)
        );
        return margin.equity < trigger.toInt256();
    }

    /// @dev An auction lapses and must be flagged anew after its discount has been at its most for as long as it took to get
    /// there. Else one that nobody ended, of an account long recovered, would let it be bid for at once when it falls again.
    function _isRunning(uint256 startedAt) private view returns (bool) {
        return startedAt != 0 && block.timestamp - startedAt <= 2 * uint256(_parameters.duration);
    }

    /// @dev A protective auction whose account is liquidatable is not over: it waits to be flagged anew.
    function _isOver(uint64 account, Margin memory margin) private view returns (bool) {
        if (_isLiquidatable(margin)) return false;
        return !_auctions[account].protective || !_isProtectable(account, margin);
    }

    function _end(uint64 account, Margin memory margin) private {
        _reserve(account, 0);
        delete _auctions[account];
        emit AuctionEnded(account, margin.equity, margin.maintenance.total);
    }

    function _reserve(uint64 account, int256 equity) private {
        Auction storage auction = _auctions[account];
        uint256 shortfall = equity < 0 ? uint256(-equity) : 0;
        if (shortfall == auction.shortfall) return;
        reservedShortfall = reservedShortfall - auction.shortfall + shortfall;
        auction.shortfall = shortfall;
        emit ShortfallReserved(account, shortfall, reservedShortfall);
    }

    /// @dev PUSH: whoever was healthy before new numbers came has until the next block, at least, to see them.
    function _notInBlockOfPush() private view {
        if (riskParameters.changedAt() == block.timestamp) revert LiquidationInBlockOfPush();
    }

    function _isLiquidatable(Margin memory margin) private pure returns (bool) {
        return margin.equity < margin.maintenance.total.toInt256();
    }

    function _fund() private view returns (IInsuranceFund) {
        return IInsuranceFund(clearingHouse.insuranceFund());
    }

    function _marginOf(uint64 account) private view returns (Margin memory) {
        return IMarginEngine(clearingHouse.marginEngine()).marginOf(account);
    }

    function _onlyTrader(uint64 account) private view {
        if (clearingHouse.permissionsOf(account, msg.sender) & PERMISSION_TRADE == 0) {
            revert LiquidationNotAuthorised(account, msg.sender);
        }
    }

    function _setParameters(AuctionParameters memory parameters) private {
        if (parameters.duration == 0 || parameters.duration > 1 days) {
            revert LiquidationBadParameters("duration must be 1 second to 1 day");
        }
        if (parameters.maximumDiscount == 0 || parameters.maximumDiscount > WAD) {
            revert LiquidationBadParameters("maximumDiscount must be above 0 and at most 1");
        }
        if (parameters.target > WAD) revert LiquidationBadParameters("target must be at most 1");
        if (parameters.fundShare > WAD / 2) revert LiquidationBadParameters("fundShare must be at most 1/2");
        if (parameters.minimumFee > parameters.maximumFee) {
            revert LiquidationBadParameters("minimumFee must be at most maximumFee");
        }
        if (parameters.throughputWindow == 0 || parameters.throughputWindow > 1 days) {
            revert LiquidationBadParameters("throughputWindow must be 1 second to 1 day");
        }
        if (parameters.minimumThroughput == 0) {
            revert LiquidationBadParameters("minimumThroughput must be above 0, or an auction might never end");
        }
        if (parameters.throughput > WAD) revert LiquidationBadParameters("throughput must be at most 1");
        _parameters = parameters;
        emit AuctionParametersSet(parameters);
    }
}
