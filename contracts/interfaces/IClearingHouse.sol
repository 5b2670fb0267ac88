// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Funding } from "../types/Funding.sol";
import { Instrument } from "../types/Instrument.sol";
import { Portfolio } from "../types/Portfolio.sol";
import { IPriceOracle } from "./IPriceOracle.sol";

/// @title IClearingHouse
/// @notice Accounts, collateral, positions, trades, variation margin, funding, interest and the settlement of expired options:
/// the only holder of clients' money.
///
/// Money. Asset 0 is cash, a dollar token; every account has a signed cash ledger in wad. A position is (size, quote):
/// its quote collects what was paid and received for it, so a trade moves equal and opposite sizes and quotes and is
/// zero-sum to the wei whatever the rounding (ZERO-SUM). Variation margin moves unrealised profit from quote to cash.
/// Options have no quote: the premium moves in cash at the trade, the payoff once the registry has settled the expiry, by a
/// permissionless call or before anything else that moves the account's money (withdrawal, transfer, trade, liquidation).
/// Other assets are kept in the units of their underlying and never lent.
interface IClearingHouse {
    /// @param token ERC-20.
    /// @param decimals Its decimals when listed.
    /// @param underlying Whose price it carries; 0 for cash.
    /// @param cap Most that may be held, token units; never more than a trillion units of the underlying.
    struct Asset {
        address token;
        uint8 decimals;
        uint16 underlying;
        uint128 cap;
    }

    /// @notice What two parties have agreed on. The order gateway has seen to it that they have.
    /// @param size Units [wad]. @param price Dollars a unit [wad].
    /// @param takerBuys Whose side is the taker's: amounts round against it, and it pays the fee for moving the premium.
    struct Trade {
        Instrument instrument;
        uint64 buyer;
        uint64 seller;
        uint256 size;
        uint256 price;
        bool takerBuys;
    }

    /// @notice What a liquidation moves. Amounts in dollars [wad] unless said otherwise; they add up to nothing:
    /// accountCash + bidderCash + keeperCash + feeCash = covered · 10^(18 − decimals) + shared.
    /// @param account Account liquidated.
    /// @param bidder Account that takes the portfolio's fraction.
    /// @param fraction Share of every position and collateral moved [wad].
    /// @param accountCash Added to the liquidated account's cash (negative: taken).
    /// @param bidderCash Added to the bidder's.
    /// @param keeper Account that is paid the flag fee.
    /// @param keeperCash The fee.
    /// @param feeCash Added to protocol fees.
    /// @param covered What the insurance fund pays now, token units: the engine sees to it in the same transaction.
    /// @param shared What nobody pays, and positive cash will share.
    struct Liquidation {
        uint64 account;
        uint64 bidder;
        uint256 fraction;
        int256 accountCash;
        int256 bidderCash;
        uint64 keeper;
        uint256 keeperCash;
        uint256 feeCash;
        uint256 covered;
        uint256 shared;
    }

    event AccountCreated(uint64 indexed account, address indexed owner);
    event OwnershipTransferred(uint64 indexed account, address indexed previousOwner, address indexed owner);
    event OperatorSet(uint64 indexed account, address indexed operator, uint8 permissions);
    event AssetListed(uint16 indexed asset, address token, uint8 decimals, uint16 underlying, uint128 cap);
    event AssetCapSet(uint16 indexed asset, uint128 cap);
    event Deposited(uint64 indexed account, uint16 indexed asset, address indexed sender, uint256 amount);
    event Withdrawn(uint64 indexed account, uint16 indexed asset, address indexed receiver, uint256 amount);
    event Transferred(uint64 indexed from, uint64 indexed to, uint16 indexed asset, uint256 amount);
    event Traded(
        Instrument indexed instrument,
        uint64 indexed buyer,
        uint64 indexed seller,
        uint256 size,
        uint256 price,
        uint256 quote,
        uint256 fee
    );
    event VariationSettled(uint64 indexed account, int256 amount, int256 cash);
    event ExpiredSettled(uint64 indexed account, Instrument indexed instrument, int256 size, int256 amount);
    event Liquidated(uint64 indexed account, uint64 indexed bidder, uint256 fraction, uint256 covered, uint256 shared);
    event InterestAccrued(uint256 amount, uint256 index);
    /// @notice The fund lacks `amount`; fees carried `absorbed` of it, the rest is shared from `dueAt` on.
    event LossPending(uint256 amount, uint256 absorbed, uint256 dueAt);
    event LossShared(uint256 amount, uint256 index);
    event FeesSwept(uint256 amount);
    event ModulesSet(address marginEngine, address liquidationEngine, address insuranceFund, address orderGateway);
    event Paused(uint256 until);

    error ClearingHouseUnknownAccount(uint64 account);
    error ClearingHouseNotAuthorised(uint64 account, address sender);
    /// @notice Bit 0 is to trade, bit 1 to withdraw, and there are no others.
    error ClearingHouseUnknownPermissions(uint8 permissions);
    error ClearingHouseUnknownAsset(uint16 asset);
    error ClearingHouseAssetAlreadyListed(address token);
    error ClearingHouseTooManyAssets(uint256 maximum);
    error ClearingHouseUnsupportedDecimals(address token, uint8 decimals);
    error ClearingHouseUnderlyingHasNoFeed(uint16 underlying);
    error ClearingHouseZeroAmount();
    /// @notice More would be held than the asset's cap.
    error ClearingHouseAssetCap(uint16 asset, uint256 held, uint256 cap);
    /// @notice The token moved another amount than it was asked to (a fee on transfer).
    error ClearingHouseTransferMismatch(uint16 asset, uint256 expected, uint256 actual);
    /// @notice The token's balance is below the ledger (a token that takes balances away).
    error ClearingHouseLedgerMismatch(uint16 asset, uint256 balance, uint256 ledger);
    error ClearingHouseInsufficientCollateral(uint64 account, uint16 asset, uint256 available, uint256 requested);
    /// @notice Withdrawals wait while known losses exceed the insurance fund (LOSS).
    error ClearingHouseWithdrawalsLocked(uint256 shortfall, uint256 fund);
    /// @notice The account would be below initial margin and the action does not reduce its risk (GATE).
    error ClearingHouseInsufficientMargin(uint64 account, int256 equity, uint256 initialMargin);
    /// @notice A volatility feed the account depends on is out of date, so it may take on no risk (ORACLE).
    error ClearingHouseStaleVolatility(uint64 account);
    error ClearingHousePriceTooHigh(uint256 price);
    error ClearingHouseSelfTrade(uint64 account);
    error ClearingHouseTooManyPositions(uint64 account, uint256 maximum);
    error ClearingHousePositionTooLarge(uint64 account, Instrument instrument, int256 size);
    /// @notice The amounts of a liquidation do not add up.
    error ClearingHouseUnbalanced(int256 difference);
    /// @notice There is no loss to share, or not yet, or no positive cash to share it over.
    error ClearingHouseNoLossDue(uint256 loss, uint256 dueAt);
    error ClearingHouseOnlyLiquidationEngine(address sender);
    error ClearingHouseOnlyOrderGateway(address sender);
    /// @notice New risk waits until the pause is over: reductions, deposits and liquidations do not.
    error ClearingHousePaused(uint256 until);
    /// @notice A pause lasts 1 second to 3 days, and 3 days must pass between one and the next.
    error ClearingHouseBadPause(uint256 duration, uint256 allowedAt);
    error ClearingHouseNotPaused();
    error ClearingHouseModulesAlreadySet();
    error ClearingHouseZeroAddress();

    // ─── Accounts

    /// @notice Open an account. Anyone may, any number of times.
    function createAccount() external returns (uint64 account);

    /// @notice Hand an account over. Owner only; operators keep nothing.
    function transferOwnership(uint64 account, address owner) external;

    /// @notice Give an operator permissions: bit 0 to trade, bit 1 to withdraw; 0 takes all away. Owner only.
    function setOperator(uint64 account, address operator, uint8 permissions) external;

    // ─── Collateral

    /// @notice Bring in tokens. The sender pays and must be the account's owner or one of its operators.
    /// @param amount Token units; exactly that much must arrive.
    function deposit(uint64 account, uint16 asset, uint256 amount) external;

    /// @notice Take tokens out; the account must be above initial margin after. Cash is marked to market first.
    /// @param amount Token units.
    function withdraw(uint64 account, uint16 asset, uint256 amount, address receiver) external;

    /// @notice Move collateral to another account; the giver must be above initial margin after.
    /// @param amount Token units.
    function transfer(uint64 from, uint64 to, uint16 asset, uint256 amount) external;

    // ─── Trading

    /// @notice Carry out a trade. Restricted to the order gateway. The instrument must be listed and not expired (the registry
    /// says so). A perpetual's price is owed through its quote, an option's premium paid in cash. Both sides must be above
    /// initial margin after, or have reduced their risk.
    /// @return quote Dollars that changed sides [wad]. @return fee What the taker paid for moving the premium [wad].
    function trade(Trade calldata agreed) external returns (uint256 quote, uint256 fee);

    /// @notice Variation margin: move an account's unrealised profit or loss on perpetuals into its cash at the index price.
    /// Anyone may.
    /// @return amount Dollars moved [wad], rounded against the account.
    function settleVariation(uint64 account) external returns (int256 amount);

    /// @notice Turn an account's expired options into cash: size · payoff at the settlement price. Anyone may; options whose
    /// expiry the registry has not settled yet are left as they are.
    /// @return amount Dollars moved [wad], each position's rounded against the account.
    function settleExpired(uint64 account) external returns (int256 amount);

    // ─── Liquidation

    /// @notice Carry out what the liquidation engine has worked out. Restricted to it: before its transaction ends it holds the
    /// bidder to its initial margin and has the insurance fund pay.
    /// @return whole Whether everything went to a bidder that held nothing.
    function liquidate(Liquidation calldata liquidation) external returns (bool whole);

    /// @notice Share what is due of the pending loss over positive cash. Anyone may. @return shared Dollars [wad].
    function shareLoss() external returns (uint256 shared);

    /// @notice Send collected fees to the insurance fund. Anyone may. @return amount Token units.
    function sweepFees() external returns (uint256 amount);

    // ─── Views

    /// @notice All that margin depends on.
    function portfolioOf(uint64 account) external view returns (Portfolio memory);

    /// @notice Settled cash after shared losses, or debt with interest [wad].
    function cashOf(uint64 account) external view returns (int256);

    /// @notice A position's units and its quote after funding [wad].
    function positionOf(uint64 account, Instrument instrument) external view returns (int256 size, int256 quote);

    /// @notice Collateral other than cash, token units.
    function collateralOf(uint64 account, uint16 asset) external view returns (uint256);

    function ownerOf(uint64 account) external view returns (address);

    function permissionsOf(uint64 account, address operator) external view returns (uint8);

    /// @notice Rises with every change of the account's money, positions or collateral.
    function nonceOf(uint64 account) external view returns (uint64);

    /// @notice Accounts are numbered from 1 to this.
    function accountCount() external view returns (uint64);

    function assetCount() external view returns (uint16);

    function assetOf(uint16 asset) external view returns (Asset memory);

    /// @notice Open interest: Σ of long sizes over the underlying's perpetuals and options [wad units]. Expired options count
    /// until they have become cash.
    function openInterestOf(uint16 underlying) external view returns (uint256);

    /// @notice Token units the ledger says are held.
    function heldOf(uint16 asset) external view returns (uint256);

    /// @notice An underlying's funding now.
    function fundingOf(uint16 underlying) external view returns (Funding memory);

    /// @notice Fees and interest collected and not yet swept [wad].
    function fees() external view returns (uint256);

    /// @notice Σ of positive cash over accounts [wad], which shared losses fall on.
    function positiveCash() external view returns (uint256);

    /// @notice What one dollar of cash from the beginning is worth after shared losses [ray].
    function lossIndex() external view returns (uint256);

    /// @notice Σ of negative cash with interest [wad], and what one dollar owed from the beginning has grown to [ray].
    function debts() external view returns (uint256 total, uint256 borrowIndex);

    /// @notice Loss that the fund could not carry and that is still to be shared [wad]; withdrawals wait for it.
    function pendingLoss() external view returns (uint128);

    /// @notice When it may be shared, unix seconds.
    function lossDueAt() external view returns (uint64);

    /// @notice New risk is barred before this time, unix seconds.
    function pausedUntil() external view returns (uint64);

    function priceOracle() external view returns (IPriceOracle);

    function marginEngine() external view returns (address);
    function liquidationEngine() external view returns (address);
    function insuranceFund() external view returns (address);
    function orderGateway() external view returns (address);

    // ─── Governance

    /// @notice List a token as collateral. Its underlying must have a price feed. @return asset Its id.
    function listAsset(address token, uint16 underlying, uint128 cap) external returns (uint16 asset);

    function setAssetCap(uint16 asset, uint128 cap) external;

    /// @notice Set the contracts this one works with, once and for all.
    function setModules(address marginEngine, address liquidationEngine, address insuranceFund, address orderGateway)
        external;

    /// @notice Bar new risk for a while: trades must reduce, accounts with positions or debts withdraw nothing. Deposits,
    /// reductions and liquidations go on. For the guardian; it ends by itself. @param duration Seconds, at most 3 days.
    function pause(uint256 duration) external;

    /// @notice End a pause early.
    function unpause() external;
}
