// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "./interfaces/ILiquidationEngine.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { AuctionMath } from "./libraries/AuctionMath.sol";
import { Margin } from "./types/Margin.sol";
import { Portfolio } from "./types/Portfolio.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title LiquidationEngine
/// @notice The auction of accounts below maintenance margin. It holds no money: the clearing house carries out what is
/// worked out here, checks that it adds up and that the bidder can carry what it takes.
///
///     price of the whole = equity − d · maintenance            d rises from 0
///     price ≥ 0: the bidder pays fraction · price to the account, which ends on its target
///     price < 0: the bidder takes what is left and the insurance fund pays it −price
contract LiquidationEngine is ILiquidationEngine, AccessManaged, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeCast for int256;

    uint256 private constant WAD = 1e18;
    uint8 private constant PERMISSION_TRADE = 1;
    uint64 private constant ANY_NONCE = type(uint64).max;

    /// @dev What the rounding of moved positions may cost an account: a billionth of a dollar.
    uint256 private constant ROUNDING = 1e9;

    IClearingHouse public immutable clearingHouse;

    /// @inheritdoc ILiquidationEngine
    uint256 public reservedShortfall;

    AuctionParameters private _parameters;
    mapping(uint64 account => Auction) private _auctions;

    constructor(address authority, IClearingHouse clearingHouse_, AuctionParameters memory parameters)
        AccessManaged(authority)
    {
        clearingHouse = clearingHouse_;
        _setParameters(parameters);
    }

    /// @inheritdoc ILiquidationEngine
    function flag(uint64 account, uint64 keeper) external nonReentrant {
        if (account == keeper) revert LiquidationOwnAccount(account);
        if (clearingHouse.ownerOf(keeper) == address(0)) {
            revert IClearingHouse.ClearingHouseUnknownAccount(keeper);
        }
        Auction storage auction = _auctions[account];
        if (auction.startedAt != 0) revert LiquidationAlreadyFlagged(account);
        clearingHouse.settleExpired(account);
        Margin memory margin = _marginOf(account);
        if (!_isLiquidatable(margin)) {
            revert LiquidationNotLiquidatable(account, margin.equity, margin.maintenance.total);
        }
        auction.startedAt = uint64(block.timestamp);
        auction.keeper = keeper;
        auction.fee = _parameters.flagFee;
        emit AccountFlagged(account, keeper, margin.equity, margin.maintenance.total);
        _reserve(account, margin.equity);
    }

    /// @inheritdoc ILiquidationEngine
    function bid(uint64 account, uint64 bidder, uint256 maximumFraction, int256 limitPrice, uint64 nonce)
        external
        nonReentrant
        returns (Bid memory taken)
    {
        if (account == bidder) revert LiquidationOwnAccount(account);
        if (clearingHouse.permissionsOf(bidder, msg.sender) & PERMISSION_TRADE == 0) {
            revert LiquidationNotAuthorised(bidder, msg.sender);
        }
        uint64 current = clearingHouse.nonceOf(account);
        // Optional, or an owner could hold off every bid by touching the account in front of it.
        if (nonce != ANY_NONCE && nonce != current) revert LiquidationStaleBid(account, nonce, current);

        // Payoffs first: the bid divides cash as it is, and what is left of an expired option is cash.
        clearingHouse.settleExpired(account);
        IClearingHouse.Liquidation memory liquidation;
        (taken, liquidation) = _calculateBid(account, maximumFraction);
        _requireWithinLimit(taken, limitPrice);
        liquidation.bidder = bidder;
        Auction storage auction = _auctions[account];
        auction.fee -= taken.fee.toUint128();

        (uint256 covered, uint256 shared) = clearingHouse.liquidate(liquidation);
        emit BidSettled(account, bidder, taken, covered, shared);

        Margin memory margin = _marginOf(account);
        _requireUnharmed(account, taken, margin);
        if (_isLiquidatable(margin)) _reserve(account, margin.equity);
        else _end(account, margin);
    }

    /// @inheritdoc ILiquidationEngine
    function end(uint64 account) external nonReentrant {
        if (_auctions[account].startedAt == 0) revert LiquidationNotFlagged(account);
        Margin memory margin = _marginOf(account);
        if (_isLiquidatable(margin)) {
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
    function previewBid(uint64 account, uint256 maximumFraction) external view returns (Bid memory preview) {
        (preview,) = _calculateBid(account, maximumFraction);
    }

    /// @inheritdoc ILiquidationEngine
    function discountOf(uint64 account) public view returns (uint256) {
        uint256 startedAt = _auctions[account].startedAt;
        if (startedAt == 0) revert LiquidationNotFlagged(account);
        return AuctionMath.discountDown(block.timestamp - startedAt, _parameters.duration, _parameters.maximumDiscount);
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

    // ─── The bid

    /// @dev Shared by preview and execution, so that the two can't disagree.
    function _calculateBid(uint64 account, uint256 maximumFraction)
        private
        view
        returns (Bid memory result, IClearingHouse.Liquidation memory liquidation)
    {
        result.discount = discountOf(account);
        Margin memory margin = _marginOf(account);
        if (!_isLiquidatable(margin)) {
            revert LiquidationNotLiquidatable(account, margin.equity, margin.maintenance.total);
        }
        if (maximumFraction == 0) revert LiquidationZeroFraction();
        result.equity = margin.equity;
        result.maintenance = margin.maintenance.total;
        result.initialMargin = margin.initial.total;
        Auction memory auction = _auctions[account];
        liquidation.account = account;
        liquidation.keeper = auction.keeper;

        uint256 discount = FixedPoint.mulWad(result.discount, result.maintenance);
        if (margin.equity >= discount.toInt256()) {
            _sell(result, liquidation, margin.cash, discount, auction.fee, maximumFraction);
        } else {
            _giveAway(result, liquidation, margin.cash, discount, auction.fee, maximumFraction);
        }
        if (result.fraction == 0) revert LiquidationZeroFraction();
    }

    /// @dev price ≥ 0. The bidder pays the account for the fraction, cash included, and the flag fee comes out of that.
    function _sell(
        Bid memory result,
        IClearingHouse.Liquidation memory liquidation,
        int256 cash,
        uint256 discount,
        uint256 feeOwed,
        uint256 maximumFraction
    ) private view {
        uint256 equity = uint256(result.equity);
        uint256 target =
            result.maintenance + FixedPoint.mulWad(_parameters.target, result.initialMargin - result.maintenance);
        uint256 fraction = AuctionMath.fractionDown(equity, discount, feeOwed, target);
        uint256 remainder = FixedPoint.mulWad(result.maintenance, WAD - fraction);
        if (remainder < _parameters.minimumRemainder) fraction = WAD;
        fraction = FixedPoint.min(fraction, maximumFraction);

        uint256 proceeds = FixedPoint.fullMulDivUp(equity - discount, fraction, WAD);
        result.fraction = fraction;
        result.fee = FixedPoint.min(feeOwed, proceeds);
        result.fundFee = FixedPoint.mulWad(FixedPoint.fullMulDiv(discount, fraction, WAD), _parameters.fundShare);
        result.price = int256(proceeds + result.fundFee);

        int256 cashMoved = AuctionMath.shareDown(cash, fraction);
        liquidation.fraction = fraction;
        liquidation.accountCash = int256(proceeds) - int256(result.fee) - cashMoved;
        liquidation.bidderCash = cashMoved - result.price;
        liquidation.keeperCash = result.fee;
        liquidation.feeCash = result.fundFee;
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

        int256 cashMoved = AuctionMath.shareDown(cash, fraction);
        liquidation.fraction = fraction;
        liquidation.accountCash = -cashMoved;
        liquidation.bidderCash = cashMoved + payout.toInt256();
        liquidation.keeperCash = result.fee;
        liquidation.cover = result.cover;
    }

    /// @dev The limit is on the whole portfolio's price, so that it means the same for any fraction.
    function _requireWithinLimit(Bid memory taken, int256 limitPrice) private pure {
        int256 limit = AuctionMath.shareDown(limitPrice, taken.fraction);
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
                && uint256(equity + int256(ROUNDING)) * taken.maintenance
                    >= uint256(taken.equity) * FixedPoint.zeroFloorSub(margin.maintenance.total, ROUNDING)
                && (taken.cover != 0 || equity + int256(ROUNDING) >= taken.equity - _costUp(taken));
        }
        if (!unharmed) revert LiquidationHarmsAccount(account, taken.equity, equity);
    }

    /// @dev Discount on the fraction, and the fee.
    function _costUp(Bid memory taken) private pure returns (int256) {
        uint256 discount = FixedPoint.mulWadUp(taken.discount, taken.maintenance);
        return (FixedPoint.fullMulDivUp(discount, taken.fraction, WAD) + taken.fee).toInt256();
    }

    // ─── State of an auction

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

    function _isLiquidatable(Margin memory margin) private pure returns (bool) {
        return margin.equity < margin.maintenance.total.toInt256();
    }

    function _marginOf(uint64 account) private view returns (Margin memory) {
        return IMarginEngine(clearingHouse.marginEngine()).marginOf(account);
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
        _parameters = parameters;
        emit AuctionParametersSet(parameters);
    }
}
