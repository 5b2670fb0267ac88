// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IInsuranceFund } from "./interfaces/IInsuranceFund.sol";
import { ILiquidationEngine } from "./interfaces/ILiquidationEngine.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { AuctionMath } from "./libraries/AuctionMath.sol";
import { FundingMath } from "./libraries/FundingMath.sol";
import { InterestMath } from "./libraries/InterestMath.sol";
import { SignedWad } from "./libraries/SignedWad.sol";
import { Funding } from "./types/Funding.sol";
import { Instrument } from "./types/Instrument.sol";
import { PackedPosition, PackedPositionLibrary as Packed } from "./types/PackedPosition.sol";
import { Collateral, Portfolio, Position } from "./types/Portfolio.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { IERC20Metadata } from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";
import { LibBit } from "solady/src/utils/LibBit.sol";

/// @title ClearingHouse
/// @notice Accounts, collateral, positions, variation margin, funding, interest and the settlement of expired options.
///
/// How the money is counted, in wad dollars:
///
///     Σ cash + Σ quote + Σ size · payoff + fees ≤ held(cash) · 10^(18 − decimals) + pendingLoss
///                            payoff of settled expiries; equal but for roundings, all of them against the accounts
///     Σ size = 0             for every instrument but settled ones, whose holders are paid one by one
///     equity = cash + Σ (size · price + quote) + Σ collateral · price
///
/// Options are paid for in cash at the trade, so they have no quote; their payoff becomes cash once the expiry is settled.
///
/// Three things accrue without anybody being touched, each by one index:
///
///     funding    a quote is stored as quote + size · F at the time of storing, and is worth that less size · F now
///     interest   negative cash grows with the borrow index, and what it grows by is the insurance fund's
///     losses     positive cash shrinks with the loss index
///
/// Every action runs the same way: guard, checks on what was asked, expired options into cash, effects, margin (GATE),
/// token transfer last.
contract ClearingHouse is IClearingHouse, AccessManaged, ReentrancyGuardTransient {
    using FundingMath for Funding;
    using SafeCast for uint256;
    using SafeCast for int256;
    using SafeERC20 for IERC20;

    uint8 public constant PERMISSION_TRADE = 1;
    uint8 public constant PERMISSION_WITHDRAW = 2;
    uint16 public constant CASH = 0;

    /// @dev Every asset is looked at in every margin check.
    uint16 public constant MAXIMUM_ASSETS = 8;
    uint256 public constant MAXIMUM_POSITIONS = 64;

    /// @notice Time between a loss that the fund can't carry and its sharing, in which whoever holds positive cash may turn
    /// the unrealised profits of others into cash, so that nobody hides from the share.
    uint256 public constant LOSS_DELAY = 1 hours;

    /// @notice A pause ends by itself after this at most, and there is none again for as long.
    uint256 public constant MAXIMUM_PAUSE = 3 days;

    uint256 private constant WAD = 1e18;
    uint256 private constant RAY = 1e27;
    uint256 private constant MILLION = 1e6;

    /// @dev Ten billion units and a billion dollars a unit: no product in a margin computation can overflow.
    int256 private constant MAXIMUM_SIZE = 1e28;
    uint256 private constant MAXIMUM_PRICE = 1e27;

    /// @dev A trillion units of any asset, whatever its cap, for the same reason [wad].
    uint256 private constant MAXIMUM_HELD = 1e30;

    /// @dev Below this the loss index has lost its precision; only losses of a million millionths of all cash lead there.
    uint256 private constant MINIMUM_LOSS_INDEX = 1e9;

    /// @dev `cash` is as of `index`: the loss index where it is positive, the borrow index where it is negative. `assets` has
    /// a bit for each asset other than cash that the account holds, `count` is of its positions. `book` is where these
    /// are: a portfolio handed over whole changes hands by its number.
    struct Account {
        address owner;
        uint40 nonce;
        uint32 book;
        uint16 assets;
        uint8 count;
        int128 cash;
        uint128 index;
        mapping(address owner => mapping(address operator => uint8)) permissions;
    }

    /// @dev Positions in no order; those from `count` on are empty.
    struct Book {
        PackedPosition[MAXIMUM_POSITIONS] positions;
        mapping(uint16 asset => uint256) collateral;
    }

    /// @dev Σ of positive cash, which losses fall on, and the index they move.
    struct Credits {
        uint128 total;
        uint128 index;
    }

    /// @dev Σ of negative cash as of the last accrual, and the index interest moves.
    struct Debts {
        uint128 total;
        uint128 index;
    }

    IPriceOracle public immutable priceOracle;
    IInstrumentRegistry public immutable registry;

    /// @inheritdoc IClearingHouse
    address public marginEngine;
    /// @inheritdoc IClearingHouse
    uint64 public pausedUntil;
    /// @inheritdoc IClearingHouse
    address public liquidationEngine;
    /// @inheritdoc IClearingHouse
    address public insuranceFund;
    /// @inheritdoc IClearingHouse
    address public orderGateway;

    /// @inheritdoc IClearingHouse
    uint64 public accountCount;
    /// @inheritdoc IClearingHouse
    uint16 public assetCount;
    /// @inheritdoc IClearingHouse
    mapping(uint16 underlying => uint256) public openInterestOf;
    /// @inheritdoc IClearingHouse
    mapping(uint16 asset => uint256) public heldOf;

    Credits private _credits = Credits(0, uint128(RAY));
    Debts private _debts = Debts(0, uint128(RAY));
    /// @dev As of the last accrual.
    uint128 private _fees;
    uint40 private _accruedAt;
    /// @inheritdoc IClearingHouse
    uint128 public pendingLoss;
    /// @inheritdoc IClearingHouse
    uint64 public lossDueAt;

    mapping(uint16 underlying => Funding) private _funding;
    mapping(uint16 asset => Asset) private _assets;
    mapping(uint64 account => Account) private _accounts;
    mapping(uint32 book => Book) private _books;

    /// @param cashToken The dollar every ledger is kept in. @param cashCap Most of it that may be held, token units.
    constructor(
        address authority,
        IPriceOracle priceOracle_,
        IInstrumentRegistry registry_,
        address cashToken,
        uint128 cashCap
    ) AccessManaged(authority) {
        if (authority == address(0) || address(priceOracle_) == address(0) || address(registry_) == address(0)) {
            revert ClearingHouseZeroAddress();
        }
        priceOracle = priceOracle_;
        registry = registry_;
        _listAsset(cashToken, 0, cashCap);
    }

    // ─── Accounts

    /// @inheritdoc IClearingHouse
    function createAccount() external returns (uint64 account) {
        account = ++accountCount;
        Account storage state = _accounts[account];
        state.owner = msg.sender;
        state.book = uint256(account).toUint32();
        state.index = _credits.index;
        emit AccountCreated(account, msg.sender);
    }

    /// @inheritdoc IClearingHouse
    function transferOwnership(uint64 account, address owner) external {
        _onlyOwner(account);
        if (owner == address(0)) revert ClearingHouseZeroAddress();
        _accounts[account].owner = owner;
        ++_accounts[account].nonce;
        emit OwnershipTransferred(account, msg.sender, owner);
    }

    /// @inheritdoc IClearingHouse
    function setOperator(uint64 account, address operator, uint8 permissions) external {
        _onlyOwner(account);
        if (permissions > PERMISSION_TRADE + PERMISSION_WITHDRAW) revert ClearingHouseUnknownPermissions(permissions);
        _accounts[account].permissions[msg.sender][operator] = permissions;
        emit OperatorSet(account, operator, permissions);
    }

    // ─── Collateral

    /// @inheritdoc IClearingHouse
    function deposit(uint64 account, uint16 asset, uint256 amount) external nonReentrant {
        // The insurance fund pays its claims this way, whatever the cap.
        bool claim = msg.sender == insuranceFund;
        if (!claim && permissionsOf(account, msg.sender) == 0) revert ClearingHouseNotAuthorised(account, msg.sender);
        if (amount == 0) revert ClearingHouseZeroAmount();
        Asset memory listed = _assetOf(asset);
        uint256 held = heldOf[asset];
        uint256 cap = MAXIMUM_HELD / _scale(listed.decimals);
        if (!claim) cap = FixedPoint.min(cap, listed.cap);
        if (held + amount > cap) revert ClearingHouseAssetCap(asset, held + amount, cap);
        uint256 balance = IERC20(listed.token).balanceOf(address(this));
        if (balance < held) revert ClearingHouseLedgerMismatch(asset, balance, held);

        heldOf[asset] = held + amount;
        _give(account, asset, amount, listed.decimals);
        emit Deposited(account, asset, msg.sender, amount);

        IERC20(listed.token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 arrived = IERC20(listed.token).balanceOf(address(this)) - balance;
        if (arrived != amount) revert ClearingHouseTransferMismatch(asset, amount, arrived);
    }

    /// @inheritdoc IClearingHouse
    function withdraw(uint64 account, uint16 asset, uint256 amount, address receiver) external nonReentrant {
        _onlyPermitted(account, PERMISSION_WITHDRAW);
        if (receiver == address(0)) revert ClearingHouseZeroAddress();
        _requireNoShortfall();
        Asset memory listed = _assetOf(asset);
        _settleExpired(account);
        _take(account, asset, amount, listed.decimals);
        uint256 held = heldOf[asset];
        // Cash lent to accounts in debt is not here to be paid out.
        if (amount > held) revert ClearingHouseInsufficientCollateral(account, asset, held, amount);
        heldOf[asset] = held - amount;
        _requireInitialMargin(account);
        emit Withdrawn(account, asset, receiver, amount);

        uint256 balance = IERC20(listed.token).balanceOf(address(this));
        IERC20(listed.token).safeTransfer(receiver, amount);
        uint256 left = balance - IERC20(listed.token).balanceOf(address(this));
        if (left != amount) revert ClearingHouseTransferMismatch(asset, amount, left);
    }

    /// @inheritdoc IClearingHouse
    function transfer(uint64 from, uint64 to, uint16 asset, uint256 amount) external nonReentrant {
        _onlyPermitted(from, PERMISSION_WITHDRAW);
        _requireAccount(to);
        if (from == to) revert ClearingHouseSelfTrade(from);
        uint8 decimals = _assetOf(asset).decimals;
        _settleExpired(from);
        _take(from, asset, amount, decimals);
        _give(to, asset, amount, decimals);
        emit Transferred(from, to, asset, amount);
        _requireInitialMargin(from);
    }

    // ─── Trading

    /// @inheritdoc IClearingHouse
    function trade(Trade calldata agreed) external nonReentrant returns (uint256 quote, uint256 fee) {
        if (msg.sender != orderGateway) revert ClearingHouseOnlyOrderGateway(msg.sender);
        (uint64 buyer, uint64 seller) = (agreed.buyer, agreed.seller);
        if (buyer == seller) revert ClearingHouseSelfTrade(buyer);
        if (agreed.price > MAXIMUM_PRICE) revert ClearingHousePriceTooHigh(agreed.price);
        registry.requireTradable(agreed.instrument);
        _settleExpired(buyer);
        _settleExpired(seller);

        // One amount for both sides: what one pays the other gets. It rounds against the taker.
        quote = agreed.takerBuys
            ? FixedPoint.fullMulDivUp(agreed.size, agreed.price, WAD)
            : FixedPoint.fullMulDiv(agreed.size, agreed.price, WAD);
        fee = _exchange(agreed, int256(quote));
        emit Traded(agreed.instrument, buyer, seller, agreed.size, agreed.price, quote, fee);
        (IMarginEngine.InitialMargin memory ofBuyer, IMarginEngine.InitialMargin memory ofSeller) =
            IMarginEngine(marginEngine).initialMarginsOf(buyer, seller);
        int256 paid = int256(agreed.takerBuys ? quote + fee : quote);
        int256 got = int256(quote) - int256(agreed.takerBuys ? 0 : fee);
        _requireMarginOrReduction(buyer, ofBuyer, agreed.instrument, int256(agreed.size), -paid);
        _requireMarginOrReduction(seller, ofSeller, agreed.instrument, -int256(agreed.size), got);
    }

    /// @inheritdoc IClearingHouse
    function settleVariation(uint64 account) external nonReentrant returns (int256 amount) {
        _requireAccount(account);
        amount = _settleVariation(account);
    }

    /// @inheritdoc IClearingHouse
    function settleExpired(uint64 account) external nonReentrant returns (int256 amount) {
        _requireAccount(account);
        amount = _settleExpired(account);
    }

    // ─── Liquidation

    /// @inheritdoc IClearingHouse
    function liquidate(Liquidation calldata liquidation) external nonReentrant returns (bool whole) {
        if (msg.sender != liquidationEngine) {
            revert ClearingHouseOnlyLiquidationEngine(msg.sender);
        }
        int256 difference = liquidation.accountCash + liquidation.bidderCash + int256(liquidation.keeperCash)
            + int256(liquidation.feeCash) - int256(liquidation.covered * _scale(_assets[CASH].decimals))
            - int256(liquidation.shared);
        if (difference != 0) revert ClearingHouseUnbalanced(difference);

        // Only the bidder's, to make room: the engine has settled the account's before it worked out these amounts.
        _settleExpired(liquidation.bidder);
        whole = _movePortfolio(liquidation.account, liquidation.bidder, liquidation.fraction);
        _addCash(liquidation.account, liquidation.accountCash);
        _addCash(liquidation.bidder, liquidation.bidderCash);
        if (liquidation.keeperCash != 0) _addCash(liquidation.keeper, int256(liquidation.keeperCash));
        _addFees(liquidation.feeCash);
        if (liquidation.shared != 0) _addPendingLoss(liquidation.shared);
        heldOf[CASH] += liquidation.covered;
        emit Liquidated(
            liquidation.account, liquidation.bidder, liquidation.fraction, liquidation.covered, liquidation.shared
        );
    }

    /// @inheritdoc IClearingHouse
    function shareLoss() external nonReentrant returns (uint256 shared) {
        uint256 loss = pendingLoss;
        if (loss == 0 || block.timestamp < lossDueAt) revert ClearingHouseNoLossDue(loss, lossDueAt);
        _accrue();
        Credits memory credits = _credits;
        // What not even all positive cash can carry stays pending: withdrawals wait until somebody has brought in more. A
        // millionth is left each time, so that the index can still carry that.
        uint256 least = FixedPoint.max(
            credits.total / MILLION, FixedPoint.fullMulDivUp(credits.total, MINIMUM_LOSS_INDEX, credits.index)
        );
        shared = FixedPoint.min(loss, FixedPoint.zeroFloorSub(credits.total, least));
        if (shared == 0) revert ClearingHouseNoLossDue(loss, lossDueAt);
        credits.index = uint128(FixedPoint.fullMulDiv(credits.index, credits.total - shared, credits.total));
        credits.total -= uint128(shared);
        _credits = credits;
        pendingLoss = uint128(loss - shared);
        emit LossShared(shared, credits.index);
    }

    /// @inheritdoc IClearingHouse
    function sweepFees() external nonReentrant returns (uint256 amount) {
        uint256 scale = _scale(_assets[CASH].decimals);
        _accrue();
        amount = FixedPoint.min(_fees / scale, heldOf[CASH]);
        _fees -= uint128(amount * scale);
        heldOf[CASH] -= amount;
        emit FeesSwept(amount);
        IERC20(_assets[CASH].token).safeTransfer(insuranceFund, amount);
    }

    // ─── Views

    /// @inheritdoc IClearingHouse
    function portfolioOf(uint64 account) public view returns (Portfolio memory portfolio) {
        Account storage state = _accounts[account];
        Book storage book = _books[state.book];
        portfolio.cash = cashOf(account);
        portfolio.positions = new Position[](state.count);
        for (uint256 i; i < portfolio.positions.length; ++i) {
            PackedPosition position = book.positions[i];
            portfolio.positions[i] =
                Position(position.instrument(), position.size().toInt128(), _quoteDown(position).toInt128());
        }
        uint256 bits = state.assets;
        portfolio.collateral = new Collateral[](LibBit.popCount(bits));
        uint256 count;
        for (uint16 asset = 1; bits >> asset != 0; ++asset) {
            if (bits & (1 << asset) == 0) continue;
            Asset memory listed = _assets[asset];
            portfolio.collateral[count++] =
                Collateral(asset, listed.underlying, book.collateral[asset] * _scale(listed.decimals));
        }
    }

    /// @inheritdoc IClearingHouse
    function cashOf(uint64 account) public view returns (int256) {
        Account storage state = _accounts[account];
        (int256 cash, uint256 index) = (state.cash, state.index);
        if (cash < 0) {
            (, uint256 borrowed,) = _accrued();
            return -int256(FixedPoint.fullMulDivUp(uint256(-cash), borrowed, index));
        }
        uint256 current = _credits.index;
        return cash == 0 || index == current ? cash : int256(FixedPoint.fullMulDiv(uint256(cash), current, index));
    }

    /// @inheritdoc IClearingHouse
    function positionOf(uint64 account, Instrument instrument) external view returns (int256 size, int256 quote) {
        (bool held, uint256 at) = _find(account, instrument);
        if (!held) return (0, 0);
        PackedPosition position = _books[_accounts[account].book].positions[at];
        return (position.size(), _quoteDown(position));
    }

    /// @inheritdoc IClearingHouse
    function collateralOf(uint64 account, uint16 asset) external view returns (uint256) {
        return _books[_accounts[account].book].collateral[asset];
    }

    /// @inheritdoc IClearingHouse
    function fundingOf(uint16 underlying) public view returns (Funding memory) {
        return _funding[underlying].at(block.timestamp);
    }

    /// @inheritdoc IClearingHouse
    function fees() external view returns (uint256) {
        (,, uint256 interest) = _accrued();
        return _fees + interest;
    }

    /// @inheritdoc IClearingHouse
    function positiveCash() external view returns (uint256) {
        return _credits.total;
    }

    /// @inheritdoc IClearingHouse
    function lossIndex() external view returns (uint256) {
        return _credits.index;
    }

    /// @inheritdoc IClearingHouse
    function debts() external view returns (uint256 total, uint256 borrowIndex) {
        (total, borrowIndex,) = _accrued();
    }

    /// @inheritdoc IClearingHouse
    function ownerOf(uint64 account) external view returns (address) {
        return _accounts[account].owner;
    }

    /// @inheritdoc IClearingHouse
    /// @dev An owner has every permission; operators are the present owner's.
    function permissionsOf(uint64 account, address operator) public view returns (uint8) {
        Account storage state = _accounts[account];
        if (state.owner == address(0)) revert ClearingHouseUnknownAccount(account);
        return operator == state.owner ? type(uint8).max : state.permissions[state.owner][operator];
    }

    /// @inheritdoc IClearingHouse
    function nonceOf(uint64 account) external view returns (uint64) {
        return _accounts[account].nonce;
    }

    /// @inheritdoc IClearingHouse
    function assetOf(uint16 asset) external view returns (Asset memory) {
        return _assetOf(asset);
    }

    // ─── Governance

    /// @inheritdoc IClearingHouse
    function listAsset(address token, uint16 underlying, uint128 cap) external restricted returns (uint16 asset) {
        if (underlying == 0 || !priceOracle.hasFeed(underlying)) revert ClearingHouseUnderlyingHasNoFeed(underlying);
        asset = _listAsset(token, underlying, cap);
    }

    /// @inheritdoc IClearingHouse
    function setAssetCap(uint16 asset, uint128 cap) external restricted {
        _assetOf(asset);
        _assets[asset].cap = cap;
        emit AssetCapSet(asset, cap);
    }

    /// @inheritdoc IClearingHouse
    function setModules(
        address marginEngine_,
        address liquidationEngine_,
        address insuranceFund_,
        address orderGateway_
    ) external restricted {
        if (marginEngine != address(0)) revert ClearingHouseModulesAlreadySet();
        if (
            marginEngine_ == address(0) || liquidationEngine_ == address(0) || insuranceFund_ == address(0)
                || orderGateway_ == address(0)
        ) revert ClearingHouseZeroAddress();
        (marginEngine, liquidationEngine, insuranceFund, orderGateway) =
        (marginEngine_, liquidationEngine_, insuranceFund_, orderGateway_);
        emit ModulesSet(marginEngine_, liquidationEngine_, insuranceFund_, orderGateway_);
    }

    /// @inheritdoc IClearingHouse
    function pause(uint256 duration) external restricted {
        uint256 allowedAt = pausedUntil == 0 ? 0 : pausedUntil + MAXIMUM_PAUSE;
        if (duration == 0 || duration > MAXIMUM_PAUSE || block.timestamp < allowedAt) {
            revert ClearingHouseBadPause(duration, allowedAt);
        }
        pausedUntil = uint64(block.timestamp + duration);
        emit Paused(pausedUntil);
    }

    /// @inheritdoc IClearingHouse
    function unpause() external restricted {
        if (!_isPaused()) revert ClearingHouseNotPaused();
        pausedUntil = uint64(block.timestamp);
        emit Paused(pausedUntil);
    }

    // ─── Margin

    /// @dev GATE for what can only take from an account. A volatility feed that is out of date bars it, as a pause does.
    function _requireInitialMargin(uint64 account) private view {
        (int256 equity, uint256 requirement, bool fresh) = IMarginEngine(marginEngine).initialMarginOf(account);
        if (equity < requirement.toInt256()) revert ClearingHouseInsufficientMargin(account, equity, requirement);
        if (!fresh) revert ClearingHouseStaleVolatility(account);
        // Who has no position and no debt takes nothing from anybody.
        if (_isPaused() && (_accounts[account].count != 0 || _accounts[account].cash < 0)) {
            revert ClearingHousePaused(pausedUntil);
        }
    }

    /// @dev The account's portfolio as it was before a trade. What went through a quote is taken back from cash: margin looks at
    /// their sum alone.
    function _undo(uint64 account, Instrument instrument, int256 size, int256 amount)
        private
        view
        returns (Portfolio memory portfolio)
    {
        portfolio = portfolioOf(account);
        portfolio.cash -= amount;
        uint256 count = portfolio.positions.length;
        Position[] memory positions = new Position[](count + 1);
        uint256 kept;
        int256 previous = -size;
        int128 quote;
        for (uint256 i; i < count; ++i) {
            Position memory position = portfolio.positions[i];
            if (position.instrument == instrument) (previous, quote) = (position.size - size, position.quote);
            else positions[kept++] = position;
        }
        // A position that was not there had no quote either: what is left of it goes back to cash.
        if (previous == 0) portfolio.cash += quote;
        else positions[kept++] = Position(instrument, previous.toInt128(), quote);
        assembly ("memory-safe") {
            mstore(positions, kept)
        }
        portfolio.positions = positions;
    }

    /// @dev GATE for trades: above initial margin after, or the trade made the account's risk no larger and its health no
    /// worse. Without the second half a trader in trouble could sell to a friend at a price that leaves the loss here.
    function _requireMarginOrReduction(
        uint64 account,
        IMarginEngine.InitialMargin memory margin,
        Instrument instrument,
        int256 size,
        int256 amount
    ) private view {
        bool paused = _isPaused();
        if (margin.equity >= margin.requirement.toInt256() && margin.fresh && !paused) return;

        if (IMarginEngine(marginEngine).isReduction(account, _undo(account, instrument, size, amount))) return;
        if (paused) revert ClearingHousePaused(pausedUntil);
        if (!margin.fresh) revert ClearingHouseStaleVolatility(account);
        revert ClearingHouseInsufficientMargin(account, margin.equity, margin.requirement);
    }

    function _isPaused() private view returns (bool) {
        return block.timestamp < pausedUntil;
    }

    /// @dev LOSS: nobody leaves ahead of a loss that is known and that the fund can't carry, or that is still to be shared.
    function _requireNoShortfall() private view {
        if (pendingLoss != 0) revert ClearingHouseWithdrawalsLocked(pendingLoss, 0);
        uint256 shortfall = ILiquidationEngine(liquidationEngine).reservedShortfall();
        if (shortfall == 0) return;
        uint256 fund = IInsuranceFund(insuranceFund).totalAssets() * _scale(_assets[CASH].decimals);
        if (shortfall > fund) revert ClearingHouseWithdrawalsLocked(shortfall, fund);
    }

    // ─── Ledgers

    /// @dev Size and price change sides, and a perpetual's premium moves. @return fee What the taker pays for that.
    function _exchange(Trade calldata agreed, int256 quote) private returns (uint256 fee) {
        (Instrument instrument, uint256 size) = (agreed.instrument, agreed.size);
        if (instrument.isOption()) {
            // A premium is not deferred: it is paid here and now.
            _addCash(agreed.buyer, -quote);
            _addCash(agreed.seller, quote);
            quote = 0;
        } else {
            uint16 underlying = instrument.underlying();
            Funding memory funding = fundingOf(underlying);
            (uint256 index,) = priceOracle.price(underlying);
            (funding.premium, fee) = funding.tradeUp(size, agreed.price, index, openInterestOf[underlying]);
            // Without a premium nothing has moved since the last trade, and nothing will until the next.
            if (funding.premium != 0 || _funding[underlying].premium != 0) _funding[underlying] = funding;
            // The same for both sides, so that quotes stay zero-sum as stored.
            quote -= FundingMath.paidUp(int256(size), funding.index);
        }
        _movePosition(agreed.seller, agreed.buyer, instrument, int256(size), -quote);
        if (fee != 0) {
            _addPosition(agreed.takerBuys ? agreed.buyer : agreed.seller, instrument, 0, -int256(fee));
            _addFees(fee);
        }
    }

    /// @dev Adds to cash, after applying what has been shared or has accrued since the account was last touched.
    function _addCash(uint64 account, int256 amount) private {
        Account storage state = _accounts[account];
        int256 previous = cashOf(account);
        int256 cash = previous + amount;
        // Interest up to now is owed at the utilisation up to now: nobody may choose it by bringing in cash or taking it out.
        if (cash < 0 || _debts.total != 0) _accrue();
        // Each part was rounded when the index moved, so the parts may exceed the sum by a little, or fall short of it.
        if (previous < 0 || cash < 0) {
            _debts.total = uint128(
                FixedPoint.zeroFloorSub(_debts.total, uint256(-FixedPoint.min(previous, 0)))
                    + uint256(-FixedPoint.min(cash, 0))
            );
        }
        Credits memory credits = _credits;
        if (previous > 0 || cash > 0) {
            credits.total = (FixedPoint.zeroFloorSub(credits.total, uint256(FixedPoint.max(previous, 0)))
                    + uint256(FixedPoint.max(cash, 0)))
            .toUint128();
            _credits = credits;
        }
        state.cash = cash.toInt128();
        state.index = cash < 0 ? _debts.index : credits.index;
        ++state.nonce;
    }

    function _addFees(uint256 amount) private {
        if (amount != 0) _fees += amount.toUint128();
    }

    /// @dev Interest up to now: into the borrow index, what is owed and fees.
    function _accrue() private {
        if (_accruedAt == block.timestamp) return;
        (uint256 total, uint256 index, uint256 interest) = _accrued();
        if (interest != 0) {
            _debts = Debts(total.toUint128(), index.toUint128());
            emit InterestAccrued(interest, index);
        }
        _fees += interest.toUint128();
        _accruedAt = uint40(block.timestamp);
    }

    /// @dev The index is rounded up and the total down: what accounts owe is never less than what is counted on.
    function _accrued() private view returns (uint256 total, uint256 index, uint256 interest) {
        Debts memory debts_ = _debts;
        (total, index) = (debts_.total, debts_.index);
        if (total == 0) return (total, index, 0);
        uint256 growth = InterestMath.growth(total, _credits.total, block.timestamp - _accruedAt);
        interest = FixedPoint.mulWad(total, growth);
        if (interest != 0) (total, index) = (total + interest, index + FixedPoint.mulWadUp(index, growth));
    }

    /// @dev LOSS: fees are the fund's and go first; the rest is shared after a delay.
    function _addPendingLoss(uint256 loss) private {
        uint256 absorbed = FixedPoint.min(_fees, loss);
        _fees -= uint128(absorbed);
        if (pendingLoss == 0) lossDueAt = uint64(block.timestamp + LOSS_DELAY);
        pendingLoss += (loss - absorbed).toUint128();
        emit LossPending(loss, absorbed, lossDueAt);
    }

    /// @dev Moves size and quote, as stored, from one account's position to another's. The open interest changes by what the
    /// two are long more or less than before.
    function _movePosition(uint64 from, uint64 to, Instrument instrument, int256 size, int256 quote) private {
        int256 change = _addPosition(from, instrument, -size, -quote) + _addPosition(to, instrument, size, quote);
        if (change != 0) _addOpenInterest(instrument, change);
    }

    function _addOpenInterest(Instrument instrument, int256 change) private {
        uint16 underlying = instrument.underlying();
        openInterestOf[underlying] = uint256(int256(openInterestOf[underlying]) + change);
    }

    /// @dev Adds to a position; one that is closed leaves its quote in cash.
    /// @return change Of what the account is long [wad].
    function _addPosition(uint64 account, Instrument instrument, int256 size, int256 quote)
        private
        returns (int256 change)
    {
        Account storage state = _accounts[account];
        (bool held, uint256 at) = _find(account, instrument);
        Book storage book = _books[state.book];
        int256 previous;
        if (held) {
            PackedPosition position = book.positions[at];
            previous = position.size();
            quote += position.quote();
        }
        size += previous;
        change = FixedPoint.max(size, 0) - FixedPoint.max(previous, 0);
        if (size > MAXIMUM_SIZE || size < -MAXIMUM_SIZE) {
            revert ClearingHousePositionTooLarge(account, instrument, size);
        }
        ++state.nonce;
        if (size == 0) {
            if (held) _dropPosition(account, at);
            if (quote != 0) _addCash(account, quote);
            return change;
        }
        if (!held) {
            if (at == MAXIMUM_POSITIONS) revert ClearingHouseTooManyPositions(account, MAXIMUM_POSITIONS);
            ++state.count;
        }
        book.positions[at] = Packed.pack(instrument, size, quote.toInt128());
    }

    /// @dev Where an account's position is, or where it would be put.
    function _find(uint64 account, Instrument instrument) private view returns (bool held, uint256 at) {
        Book storage book = _books[_accounts[account].book];
        uint256 count = _accounts[account].count;
        for (; at < count; ++at) {
            if (book.positions[at].instrument() == instrument) return (true, at);
        }
    }

    /// @dev Its place is taken by the last one.
    function _dropPosition(uint64 account, uint256 at) private {
        Book storage book = _books[_accounts[account].book];
        uint256 last = --_accounts[account].count;
        if (at != last) book.positions[at] = book.positions[last];
        book.positions[last] = PackedPosition.wrap(0);
    }

    /// @dev The quote after what funding has cost, rounded down.
    function _quoteDown(PackedPosition position) private view returns (int256) {
        Instrument instrument = position.instrument();
        if (instrument.isOption()) return 0;
        return position.quote() - FundingMath.paidUp(position.size(), fundingOf(instrument.underlying()).index);
    }

    function _give(uint64 account, uint16 asset, uint256 amount, uint8 decimals) private {
        if (asset == CASH) return _addCash(account, (amount * _scale(decimals)).toInt256());
        Account storage state = _accounts[account];
        _books[state.book].collateral[asset] += amount;
        state.assets |= uint16(1 << asset);
        ++state.nonce;
    }

    function _take(uint64 account, uint16 asset, uint256 amount, uint8 decimals) private {
        if (amount == 0) revert ClearingHouseZeroAmount();
        Account storage state = _accounts[account];
        if (asset == CASH) {
            _settleVariation(account);
            uint256 scale = _scale(decimals);
            uint256 cash = uint256(FixedPoint.max(cashOf(account), 0));
            if (amount > cash / scale) {
                revert ClearingHouseInsufficientCollateral(account, asset, cash / scale, amount);
            }
            return _addCash(account, -int256(amount * scale));
        }
        Book storage book = _books[state.book];
        uint256 available = book.collateral[asset];
        if (amount > available) revert ClearingHouseInsufficientCollateral(account, asset, available, amount);
        book.collateral[asset] = available - amount;
        if (amount == available) state.assets &= ~uint16(1 << asset);
        ++state.nonce;
    }

    /// @dev Leaves size · price + quote at zero or at the fraction of a wei it was rounded by.
    function _settleVariation(uint64 account) private returns (int256 amount) {
        Book storage book = _books[_accounts[account].book];
        uint256 count = _accounts[account].count;
        if (count == 0) return 0;
        for (uint256 i; i < count; ++i) {
            PackedPosition position = book.positions[i];
            Instrument instrument = position.instrument();
            if (instrument.isOption()) continue;
            (uint256 price,) = priceOracle.price(instrument.underlying());
            int256 gain = SignedWad.mulDown(position.size(), price) + _quoteDown(position);
            book.positions[i] = Packed.pack(instrument, position.size(), (position.quote() - gain).toInt128());
            amount += gain;
        }
        _addCash(account, amount);
        emit VariationSettled(account, amount, cashOf(account));
    }

    /// @dev Options whose expiry is settled become cash, rounded down for either side, and are gone. Others stay.
    function _settleExpired(uint64 account) private returns (int256 amount) {
        Book storage book = _books[_accounts[account].book];
        bool settled;
        // Backwards: a position that is dropped has its place taken by the last one.
        for (uint256 i = _accounts[account].count; i != 0; --i) {
            PackedPosition position = book.positions[i - 1];
            Instrument instrument = position.instrument();
            uint40 expiry = instrument.expiry();
            if (expiry == 0 || block.timestamp <= expiry) continue;
            uint256 price = registry.settlementPriceOf(instrument.underlying(), expiry);
            if (price == 0) continue;
            int256 size = position.size();
            int256 payoff = SignedWad.mulDown(size, instrument.payoff(price));
            _dropPosition(account, i - 1);
            if (size > 0) _addOpenInterest(instrument, -size);
            amount += payoff;
            settled = true;
            emit ExpiredSettled(account, instrument, size, payoff);
        }
        if (settled) _addCash(account, amount);
    }

    /// @dev Moves a fraction of every position and of every collateral but cash. Roundings leave the rest behind. All of it
    /// to somebody who holds nothing is done by exchanging the two books.
    /// @return whole Whether it was.
    function _movePortfolio(uint64 from, uint64 to, uint256 fraction) private returns (bool whole) {
        Account storage state = _accounts[from];
        Account storage taker = _accounts[to];
        if (fraction == WAD && taker.count == 0 && taker.assets == 0) {
            (state.book, taker.book) = (taker.book, state.book);
            (state.assets, taker.assets) = (0, state.assets);
            (state.count, taker.count) = (0, state.count);
            return true;
        }
        Book storage book = _books[state.book];
        for (uint256 i = state.count; i != 0; --i) {
            PackedPosition position = book.positions[i - 1];
            int256 size = AuctionMath.shareTowardsZero(position.size(), fraction);
            if (size == 0) continue;
            int256 quote = AuctionMath.shareTowardsZero(position.quote(), fraction);
            _movePosition(from, to, position.instrument(), size, quote);
        }
        uint256 bits = state.assets;
        for (uint16 asset = 1; bits >> asset != 0; ++asset) {
            uint256 amount = FixedPoint.fullMulDiv(book.collateral[asset], fraction, WAD);
            if (amount == 0) continue;
            uint8 decimals = _assets[asset].decimals;
            _take(from, asset, amount, decimals);
            _give(to, asset, amount, decimals);
        }
    }

    // ─── Small things

    function _listAsset(address token, uint16 underlying, uint128 cap) private returns (uint16 asset) {
        asset = assetCount;
        if (asset == MAXIMUM_ASSETS) revert ClearingHouseTooManyAssets(MAXIMUM_ASSETS);
        for (uint16 i; i < asset; ++i) {
            if (_assets[i].token == token) revert ClearingHouseAssetAlreadyListed(token);
        }
        uint8 decimals = IERC20Metadata(token).decimals();
        if (decimals > 18) revert ClearingHouseUnsupportedDecimals(token, decimals);
        assetCount = asset + 1;
        _assets[asset] = Asset(token, decimals, underlying, cap);
        emit AssetListed(asset, token, decimals, underlying, cap);
    }

    function _assetOf(uint16 asset) private view returns (Asset memory listed) {
        if (asset >= assetCount) revert ClearingHouseUnknownAsset(asset);
        return _assets[asset];
    }

    function _requireAccount(uint64 account) private view {
        if (_accounts[account].owner == address(0)) revert ClearingHouseUnknownAccount(account);
    }

    function _onlyOwner(uint64 account) private view {
        _requireAccount(account);
        if (msg.sender != _accounts[account].owner) revert ClearingHouseNotAuthorised(account, msg.sender);
    }

    function _onlyPermitted(uint64 account, uint8 permission) private view {
        if (permissionsOf(account, msg.sender) & permission == 0) {
            revert ClearingHouseNotAuthorised(account, msg.sender);
        }
    }

    /// @dev Wad per token unit.
    function _scale(uint8 decimals) private pure returns (uint256) {
        return 10 ** (18 - decimals);
    }
}
