// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IInsuranceFund } from "./interfaces/IInsuranceFund.sol";
import { ILiquidationEngine } from "./interfaces/ILiquidationEngine.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { AuctionMath } from "./libraries/AuctionMath.sol";
import { Instrument } from "./types/Instrument.sol";
import { Margin } from "./types/Margin.sol";
import { Order } from "./types/Order.sol";
import { Collateral, Portfolio, Position } from "./types/Portfolio.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { IERC20Metadata } from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { SignatureChecker } from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";
import { LibBit } from "solady/src/utils/LibBit.sol";

/// @title ClearingHouse
/// @notice Accounts, collateral, positions, trades, variation margin and the settlement of expired options.
///
/// How the money is counted, in wad dollars:
///
///     Σ cash + Σ quote + Σ size · payoff + fees ≤ held(cash) · 10^(18 − decimals)
///                            payoff of settled expiries; equal but for the rounding of shared losses and payoffs
///     Σ size = 0             for every instrument but settled ones, whose holders are paid one by one
///     equity = cash + Σ (size · price + quote) + Σ collateral · price
///
/// Options are paid for in cash at the trade, so they have no quote; their payoff becomes cash once the expiry is settled.
///
/// Every action runs the same way: guard, checks on what was signed or asked, expired options into cash, effects, margin
/// (GATE), token transfer last.
contract ClearingHouse is IClearingHouse, AccessManaged, EIP712, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeCast for int256;
    using SafeERC20 for IERC20;

    uint8 public constant PERMISSION_TRADE = 1;
    uint8 public constant PERMISSION_WITHDRAW = 2;
    uint16 public constant CASH = 0;

    /// @dev Every asset is looked at in every margin check.
    uint16 public constant MAXIMUM_ASSETS = 8;
    uint256 public constant MAXIMUM_POSITIONS = 64;

    bytes32 public constant ORDER_TYPEHASH = keccak256(
        "Order(uint64 account,address signer,uint128 instrument,int128 size,uint128 limitPrice,uint64 expiry,uint64 epoch,uint256 salt)"
    );

    uint256 private constant WAD = 1e18;
    uint256 private constant RAY = 1e27;

    /// @dev Ten billion units and a billion dollars a unit: no product in a margin computation can overflow.
    int256 private constant MAXIMUM_SIZE = 1e28;
    uint256 private constant MAXIMUM_PRICE = 1e27;

    /// @dev A trillion units of any asset, whatever its cap, for the same reason [wad].
    uint256 private constant MAXIMUM_HELD = 1e30;

    /// @dev Below this the loss index has lost its precision; only losses of a million millionths of all cash lead there.
    uint256 private constant MINIMUM_LOSS_INDEX = 1e9;

    struct PositionState {
        int128 size;
        int128 quote;
    }

    /// @dev `cash` is as of `lossIndex`: positive cash shrinks with the index, lazily. `assets` has a bit for each asset
    /// other than cash that the account holds.
    struct Account {
        address owner;
        uint64 nonce;
        uint16 assets;
        int128 cash;
        uint128 lossIndex;
        uint64 epoch;
        Instrument[] instruments;
        mapping(Instrument => PositionState) positions;
        mapping(uint16 asset => uint256) collateral;
        mapping(address owner => mapping(address operator => uint8)) permissions;
    }

    IPriceOracle public immutable priceOracle;
    IInstrumentRegistry public immutable registry;

    /// @inheritdoc IClearingHouse
    address public marginEngine;
    /// @inheritdoc IClearingHouse
    address public liquidationEngine;
    /// @inheritdoc IClearingHouse
    address public insuranceFund;

    /// @inheritdoc IClearingHouse
    uint64 public accountCount;
    /// @inheritdoc IClearingHouse
    uint16 public assetCount;
    /// @inheritdoc IClearingHouse
    uint256 public lossIndex = RAY;
    /// @inheritdoc IClearingHouse
    uint256 public positiveCash;
    /// @inheritdoc IClearingHouse
    uint256 public fees;
    /// @inheritdoc IClearingHouse
    mapping(uint16 underlying => uint256) public openInterestOf;
    /// @inheritdoc IClearingHouse
    mapping(uint16 asset => uint256) public heldOf;
    /// @inheritdoc IClearingHouse
    mapping(bytes32 order => uint256) public filledOf;

    mapping(uint16 asset => Asset) private _assets;
    mapping(uint64 account => Account) private _accounts;

    /// @param cashToken The dollar every ledger is kept in. @param cashCap Most of it that may be held, token units.
    constructor(
        address authority,
        IPriceOracle priceOracle_,
        IInstrumentRegistry registry_,
        address cashToken,
        uint128 cashCap
    ) AccessManaged(authority) EIP712("Plimsoll", "1") {
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
        _accounts[account].owner = msg.sender;
        _accounts[account].lossIndex = lossIndex.toUint128();
        emit AccountCreated(account, msg.sender);
    }

    /// @inheritdoc IClearingHouse
    function transferOwnership(uint64 account, address owner) external {
        _onlyOwner(account);
        if (owner == address(0)) revert ClearingHouseZeroAddress();
        Account storage state = _accounts[account];
        state.owner = owner;
        // What the previous owner signed is not the new owner's will.
        ++state.epoch;
        ++state.nonce;
        emit OwnershipTransferred(account, msg.sender, owner);
        emit OrdersCancelled(account, state.epoch);
    }

    /// @inheritdoc IClearingHouse
    function setOperator(uint64 account, address operator, uint8 permissions) external {
        _onlyOwner(account);
        _accounts[account].permissions[msg.sender][operator] = permissions;
        emit OperatorSet(account, operator, permissions);
    }

    // ─── Collateral

    /// @inheritdoc IClearingHouse
    function deposit(uint64 account, uint16 asset, uint256 amount) external nonReentrant {
        if (permissionsOf(account, msg.sender) == 0) revert ClearingHouseNotAuthorised(account, msg.sender);
        if (amount == 0) revert ClearingHouseZeroAmount();
        Asset memory listed = _assetOf(asset);
        uint256 held = heldOf[asset];
        uint256 cap = FixedPoint.min(listed.cap, MAXIMUM_HELD / _scale(listed.decimals));
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
        _requireInitialMargin(account, true);
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
        _requireInitialMargin(from, true);
    }

    // ─── Trading

    /// @inheritdoc IClearingHouse
    function settleTrade(
        Order calldata maker,
        bytes calldata makerSignature,
        Order calldata taker,
        bytes calldata takerSignature,
        uint128 size
    ) external nonReentrant returns (uint256 price, uint256 quote) {
        if (size == 0) revert ClearingHouseZeroAmount();
        registry.requireTradable(maker.instrument);
        if (maker.account == taker.account) revert ClearingHouseSelfTrade(maker.account);
        _requireCrossing(maker, taker);
        _fill(maker, makerSignature, size);
        _fill(taker, takerSignature, size);
        return _trade(maker, taker, size);
    }

    /// @inheritdoc IClearingHouse
    function cancelOrder(Order calldata order) external {
        _onlyPermitted(order.account, PERMISSION_TRADE);
        bytes32 hash = orderHash(order);
        filledOf[hash] = type(uint128).max;
        emit OrderCancelled(hash, order.account);
    }

    /// @inheritdoc IClearingHouse
    function cancelAllOrders(uint64 account) external returns (uint64 epoch) {
        _onlyPermitted(account, PERMISSION_TRADE);
        epoch = ++_accounts[account].epoch;
        emit OrdersCancelled(account, epoch);
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
    function liquidate(Liquidation calldata liquidation)
        external
        nonReentrant
        returns (uint256 covered, uint256 shared)
    {
        if (msg.sender != liquidationEngine) {
            revert ClearingHouseOnlyLiquidationEngine(msg.sender);
        }
        int256 difference = liquidation.accountCash + liquidation.bidderCash + int256(liquidation.keeperCash)
            + int256(liquidation.feeCash) - int256(liquidation.cover);
        if (difference != 0) revert ClearingHouseUnbalanced(difference);
        uint256 scale = _scale(_assets[CASH].decimals);
        uint256 fundUnits =
            FixedPoint.min(FixedPoint.divUp(liquidation.cover, scale), IInsuranceFund(insuranceFund).totalAssets());
        covered = FixedPoint.min(fundUnits * scale, liquidation.cover);
        shared = liquidation.cover - covered;

        // Only the bidder's, to make room: the engine has settled the account's before it worked out these amounts.
        _settleExpired(liquidation.bidder);
        _movePortfolio(liquidation.account, liquidation.bidder, liquidation.fraction);
        _addCash(liquidation.account, liquidation.accountCash);
        // Shared before anybody is paid, so that the bidder gets what it was promised.
        if (shared != 0) _shareLoss(shared);
        _addCash(liquidation.bidder, liquidation.bidderCash);
        if (liquidation.keeperCash != 0) _addCash(liquidation.keeper, int256(liquidation.keeperCash));
        fees += liquidation.feeCash + fundUnits * scale - covered;
        heldOf[CASH] += fundUnits;
        emit Liquidated(liquidation.account, liquidation.bidder, liquidation, covered, shared);
        _requireInitialMargin(liquidation.bidder, false);

        if (fundUnits != 0) {
            uint256 paid = IInsuranceFund(insuranceFund).cover(fundUnits);
            if (paid != fundUnits) revert ClearingHouseTransferMismatch(CASH, fundUnits, paid);
        }
    }

    /// @inheritdoc IClearingHouse
    function sweepFees() external nonReentrant returns (uint256 amount) {
        uint256 scale = _scale(_assets[CASH].decimals);
        amount = FixedPoint.min(fees / scale, heldOf[CASH]);
        fees -= amount * scale;
        heldOf[CASH] -= amount;
        emit FeesSwept(amount);
        IERC20(_assets[CASH].token).safeTransfer(insuranceFund, amount);
    }

    // ─── Views

    /// @inheritdoc IClearingHouse
    function portfolioOf(uint64 account) public view returns (Portfolio memory portfolio) {
        Account storage state = _accounts[account];
        portfolio.cash = cashOf(account);
        portfolio.positions = new Position[](state.instruments.length);
        for (uint256 i; i < portfolio.positions.length; ++i) {
            Instrument instrument = state.instruments[i];
            PositionState memory position = state.positions[instrument];
            portfolio.positions[i] = Position(instrument, position.size, position.quote);
        }
        uint256 bits = state.assets;
        portfolio.collateral = new Collateral[](LibBit.popCount(bits));
        uint256 count;
        for (uint16 asset = 1; bits >> asset != 0; ++asset) {
            if (bits & (1 << asset) == 0) continue;
            Asset memory listed = _assets[asset];
            portfolio.collateral[count++] =
                Collateral(asset, listed.underlying, state.collateral[asset] * _scale(listed.decimals));
        }
    }

    /// @inheritdoc IClearingHouse
    function cashOf(uint64 account) public view returns (int256) {
        Account storage state = _accounts[account];
        int256 cash = state.cash;
        if (cash <= 0 || state.lossIndex == lossIndex) return cash;
        return int256(FixedPoint.fullMulDiv(uint256(cash), lossIndex, state.lossIndex));
    }

    /// @inheritdoc IClearingHouse
    function positionOf(uint64 account, Instrument instrument) external view returns (int256 size, int256 quote) {
        PositionState memory position = _accounts[account].positions[instrument];
        return (position.size, position.quote);
    }

    /// @inheritdoc IClearingHouse
    function collateralOf(uint64 account, uint16 asset) external view returns (uint256) {
        return _accounts[account].collateral[asset];
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
    function epochOf(uint64 account) external view returns (uint64) {
        return _accounts[account].epoch;
    }

    /// @inheritdoc IClearingHouse
    function assetOf(uint16 asset) external view returns (Asset memory) {
        return _assetOf(asset);
    }

    /// @inheritdoc IClearingHouse
    function orderHash(Order calldata order) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(ORDER_TYPEHASH, order)));
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
    function setModules(address marginEngine_, address liquidationEngine_, address insuranceFund_) external restricted {
        if (marginEngine != address(0)) revert ClearingHouseModulesAlreadySet();
        if (marginEngine_ == address(0) || liquidationEngine_ == address(0) || insuranceFund_ == address(0)) {
            revert ClearingHouseZeroAddress();
        }
        (marginEngine, liquidationEngine, insuranceFund) = (marginEngine_, liquidationEngine_, insuranceFund_);
        emit ModulesSet(marginEngine_, liquidationEngine_, insuranceFund_);
    }

    // ─── Margin

    /// @dev GATE for what can only take from an account, and for bidders. A volatility feed that is out of date bars new
    /// risk by choice, but not a liquidation.
    function _requireInitialMargin(uint64 account, bool freshVolatility) private view {
        (int256 equity, uint256 requirement, bool fresh) = IMarginEngine(marginEngine).initialMarginOf(account);
        if (equity < requirement.toInt256()) revert ClearingHouseInsufficientMargin(account, equity, requirement);
        if (freshVolatility && !fresh) revert ClearingHouseStaleVolatility(account);
    }

    /// @dev GATE for trades: above initial margin after, or the trade made the account's risk no larger and its health no
    /// worse. Without the second half a trader in trouble could sell to a friend at a price that leaves the loss here.
    function _requireMarginOrReduction(uint64 account, Portfolio memory before_) private view {
        IMarginEngine engine = IMarginEngine(marginEngine);
        (int256 equity, uint256 requirement, bool fresh) = engine.initialMarginOf(account);
        if (equity >= requirement.toInt256() && fresh) return;

        Margin memory afterwards = engine.marginOf(account);
        Margin memory earlier = engine.marginOfPortfolio(before_);
        if (
            afterwards.initial.total <= earlier.initial.total
                && afterwards.maintenance.total <= earlier.maintenance.total
                && _isAsHealthy(earlier.equity, earlier.maintenance.total, equity, afterwards.maintenance.total)
        ) return;
        if (!fresh) revert ClearingHouseStaleVolatility(account);
        revert ClearingHouseInsufficientMargin(account, equity, requirement);
    }

    /// @dev Solvent: equity over maintenance may not fall, nor equity below zero. Insolvent: no more may be lost.
    function _isAsHealthy(int256 equityBefore, uint256 maintenanceBefore, int256 equity, uint256 maintenance)
        private
        pure
        returns (bool)
    {
        if (equityBefore < 0) return equity >= equityBefore;
        if (equity < 0) return false;
        // Margins are below 2^128 by the limits on size and price, so the products fit.
        return uint256(equity) * maintenanceBefore >= uint256(equityBefore) * maintenance;
    }

    /// @dev LOSS: nobody leaves ahead of a loss that is known and that the fund can't carry.
    function _requireNoShortfall() private view {
        uint256 shortfall = ILiquidationEngine(liquidationEngine).reservedShortfall();
        if (shortfall == 0) return;
        uint256 fund = IInsuranceFund(insuranceFund).totalAssets() * _scale(_assets[CASH].decimals);
        if (shortfall > fund) revert ClearingHouseWithdrawalsLocked(shortfall, fund);
    }

    // ─── Orders

    function _requireCrossing(Order calldata maker, Order calldata taker) private view {
        bool cross = maker.instrument == taker.instrument && (maker.size > 0) != (taker.size > 0)
            && maker.limitPrice <= MAXIMUM_PRICE
            && (taker.size > 0 ? taker.limitPrice >= maker.limitPrice : taker.limitPrice <= maker.limitPrice);
        if (!cross) revert ClearingHouseOrdersDoNotMatch(orderHash(maker), orderHash(taker));
    }

    /// @dev Takes `size` from what is left of an order that is valid now.
    function _fill(Order calldata order, bytes calldata signature, uint256 size) private {
        bytes32 hash = orderHash(order);
        if (block.timestamp > order.expiry) revert ClearingHouseOrderExpired(hash, order.expiry);
        if (permissionsOf(order.account, order.signer) & PERMISSION_TRADE == 0) {
            revert ClearingHouseSignerNotAuthorised(hash, order.account, order.signer);
        }
        uint256 filled = filledOf[hash];
        if (filled == type(uint128).max || order.epoch != _accounts[order.account].epoch) {
            revert ClearingHouseOrderCancelled(hash);
        }
        uint256 remaining = FixedPoint.zeroFloorSub(FixedPoint.abs(order.size), filled);
        if (size > remaining) revert ClearingHouseOrderOverfilled(hash, remaining, size);
        if (!SignatureChecker.isValidSignatureNowCalldata(order.signer, hash, signature)) {
            revert ClearingHouseBadSignature(hash, order.signer);
        }
        filledOf[hash] = filled + size;
        emit OrderFilled(hash, order.account, order.instrument, order.size > 0, size);
    }

    /// @dev One amount for both sides: what one pays the other gets. It rounds against the taker.
    function _trade(Order calldata maker, Order calldata taker, uint256 size)
        private
        returns (uint256 price, uint256 quote)
    {
        _settleExpired(maker.account);
        _settleExpired(taker.account);
        Portfolio memory makerBefore = portfolioOf(maker.account);
        Portfolio memory takerBefore = portfolioOf(taker.account);
        price = maker.limitPrice;
        if (taker.size > 0) {
            quote = FixedPoint.fullMulDivUp(size, price, WAD);
            _exchange(taker.account, maker.account, maker.instrument, size, price, quote);
        } else {
            quote = FixedPoint.fullMulDiv(size, price, WAD);
            _exchange(maker.account, taker.account, maker.instrument, size, price, quote);
        }
        _requireMarginOrReduction(maker.account, makerBefore);
        _requireMarginOrReduction(taker.account, takerBefore);
    }

    function _exchange(uint64 buyer, uint64 seller, Instrument instrument, uint256 size, uint256 price, uint256 quote)
        private
    {
        int256 deferred = int256(quote);
        if (instrument.isOption()) {
            // A premium is not deferred: it is paid here and now.
            deferred = 0;
            _addCash(buyer, -int256(quote));
            _addCash(seller, int256(quote));
        }
        _movePosition(seller, buyer, instrument, int256(size), -deferred);
        emit Traded(instrument, buyer, seller, size, price, quote);
    }

    // ─── Ledgers

    /// @dev Adds to cash, after applying the losses shared since the account was last touched.
    function _addCash(uint64 account, int256 amount) private {
        Account storage state = _accounts[account];
        int256 previous = cashOf(account);
        int256 cash = previous + amount;
        // Each part was rounded down when the index moved, so the sum may exceed the parts but not fall short of them.
        positiveCash = FixedPoint.zeroFloorSub(positiveCash, uint256(FixedPoint.max(previous, 0)))
            + uint256(FixedPoint.max(cash, 0));
        state.cash = cash.toInt128();
        state.lossIndex = lossIndex.toUint128();
        ++state.nonce;
    }

    /// @dev Moves size and quote from one account's position to another's. The open interest changes by what the two are
    /// long more or less than before.
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
        PositionState memory position = state.positions[instrument];
        bool held = position.size != 0;
        size += position.size;
        quote += position.quote;
        change = FixedPoint.max(size, 0) - FixedPoint.max(position.size, 0);
        if (size > MAXIMUM_SIZE || size < -MAXIMUM_SIZE) {
            revert ClearingHousePositionTooLarge(account, instrument, size);
        }
        ++state.nonce;
        if (size == 0) {
            delete state.positions[instrument];
            if (held) _dropInstrument(state, instrument);
            if (quote != 0) _addCash(account, quote);
            return change;
        }
        state.positions[instrument] = PositionState(size.toInt128(), quote.toInt128());
        if (!held) {
            if (state.instruments.length == MAXIMUM_POSITIONS) {
                revert ClearingHouseTooManyPositions(account, MAXIMUM_POSITIONS);
            }
            state.instruments.push(instrument);
        }
    }

    function _dropInstrument(Account storage state, Instrument instrument) private {
        uint256 last = state.instruments.length - 1;
        for (uint256 i; i < last; ++i) {
            if (state.instruments[i] == instrument) {
                state.instruments[i] = state.instruments[last];
                break;
            }
        }
        state.instruments.pop();
    }

    function _give(uint64 account, uint16 asset, uint256 amount, uint8 decimals) private {
        if (asset == CASH) return _addCash(account, (amount * _scale(decimals)).toInt256());
        Account storage state = _accounts[account];
        state.collateral[asset] += amount;
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
        uint256 available = state.collateral[asset];
        if (amount > available) revert ClearingHouseInsufficientCollateral(account, asset, available, amount);
        state.collateral[asset] = available - amount;
        if (amount == available) state.assets &= ~uint16(1 << asset);
        ++state.nonce;
    }

    /// @dev Leaves size · price + quote at zero or at the fraction of a wei it was rounded by.
    function _settleVariation(uint64 account) private returns (int256 amount) {
        Account storage state = _accounts[account];
        uint256 count = state.instruments.length;
        if (count == 0) return 0;
        for (uint256 i; i < count; ++i) {
            Instrument instrument = state.instruments[i];
            if (instrument.isOption()) continue;
            PositionState storage position = state.positions[instrument];
            (uint256 price,) = priceOracle.price(instrument.underlying());
            int256 gain = AuctionMath.shareDown(position.size, price) + position.quote;
            position.quote = (position.quote - gain).toInt128();
            amount += gain;
        }
        _addCash(account, amount);
        emit VariationSettled(account, amount, cashOf(account));
    }

    /// @dev Options whose expiry is settled become cash, rounded down for either side, and are gone. Others stay.
    function _settleExpired(uint64 account) private returns (int256 amount) {
        Account storage state = _accounts[account];
        bool settled;
        // Backwards: an instrument that is dropped has its place taken by the last one.
        for (uint256 i = state.instruments.length; i != 0; --i) {
            Instrument instrument = state.instruments[i - 1];
            uint40 expiry = instrument.expiry();
            if (expiry == 0 || block.timestamp <= expiry) continue;
            uint256 price = registry.settlementPriceOf(instrument.underlying(), expiry);
            if (price == 0) continue;
            int256 size = state.positions[instrument].size;
            int256 payoff = AuctionMath.shareDown(size, instrument.payoff(price));
            delete state.positions[instrument];
            _dropInstrument(state, instrument);
            if (size > 0) _addOpenInterest(instrument, -size);
            amount += payoff;
            settled = true;
            emit ExpiredSettled(account, instrument, size, payoff);
        }
        if (settled) _addCash(account, amount);
    }

    /// @dev Moves a fraction of every position and of every collateral but cash. Roundings leave the rest behind.
    function _movePortfolio(uint64 from, uint64 to, uint256 fraction) private {
        Account storage state = _accounts[from];
        // Backwards: an instrument that is closed has its place taken by the last one.
        for (uint256 i = state.instruments.length; i != 0; --i) {
            Instrument instrument = state.instruments[i - 1];
            PositionState memory position = state.positions[instrument];
            int256 size = AuctionMath.shareTowardsZero(position.size, fraction);
            if (size == 0) continue;
            int256 quote = AuctionMath.shareTowardsZero(position.quote, fraction);
            _movePosition(from, to, instrument, size, quote);
        }
        uint256 bits = state.assets;
        for (uint16 asset = 1; bits >> asset != 0; ++asset) {
            uint256 amount = FixedPoint.fullMulDiv(state.collateral[asset], fraction, WAD);
            if (amount == 0) continue;
            uint8 decimals = _assets[asset].decimals;
            _take(from, asset, amount, decimals);
            _give(to, asset, amount, decimals);
        }
    }

    /// @dev LOSS: positive cash shrinks in proportion, by one index, whoever holds it.
    function _shareLoss(uint256 loss) private {
        uint256 total = positiveCash;
        uint256 index = total == 0 ? 0 : FixedPoint.fullMulDiv(lossIndex, FixedPoint.zeroFloorSub(total, loss), total);
        if (index < MINIMUM_LOSS_INDEX) revert ClearingHouseLossTooLarge(loss, total);
        lossIndex = index;
        positiveCash = total - loss;
        emit LossShared(loss, index);
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
