// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "../types/Instrument.sol";
import { Order } from "../types/Order.sol";
import { Portfolio } from "../types/Portfolio.sol";

/// @title IClearingHouse
/// @notice Accounts, collateral, positions, trades, variation margin and the settlement of expired options: the only holder
/// of clients' money.
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

    /// @notice What a liquidation moves. Amounts in dollars [wad] unless said otherwise.
    /// @param account Account liquidated.
    /// @param bidder Account that takes the portfolio's fraction.
    /// @param fraction Share of every position and collateral moved [wad].
    /// @param accountCash Added to the liquidated account's cash (negative: taken).
    /// @param bidderCash Added to the bidder's.
    /// @param keeper Account that is paid the flag fee.
    /// @param keeperCash The fee.
    /// @param feeCash Added to protocol fees.
    /// @param cover What the insurance fund is asked for; what it lacks is shared over positive cash.
    struct Liquidation {
        uint64 account;
        uint64 bidder;
        uint256 fraction;
        int256 accountCash;
        int256 bidderCash;
        uint64 keeper;
        uint256 keeperCash;
        uint256 feeCash;
        uint256 cover;
    }

    event AccountCreated(uint64 indexed account, address indexed owner);
    event OwnershipTransferred(uint64 indexed account, address indexed previousOwner, address indexed owner);
    event OperatorSet(uint64 indexed account, address indexed operator, uint8 permissions);
    event AssetListed(uint16 indexed asset, address token, uint8 decimals, uint16 underlying, uint128 cap);
    event AssetCapSet(uint16 indexed asset, uint128 cap);
    event Deposited(uint64 indexed account, uint16 indexed asset, address indexed sender, uint256 amount);
    event Withdrawn(uint64 indexed account, uint16 indexed asset, address indexed receiver, uint256 amount);
    event Transferred(uint64 indexed from, uint64 indexed to, uint16 indexed asset, uint256 amount);
    event OrderFilled(
        bytes32 indexed order, uint64 indexed account, Instrument indexed instrument, bool bought, uint256 size
    );
    event Traded(
        Instrument indexed instrument,
        uint64 indexed buyer,
        uint64 indexed seller,
        uint256 size,
        uint256 price,
        uint256 quote
    );
    event OrderCancelled(bytes32 indexed order, uint64 indexed account);
    event OrdersCancelled(uint64 indexed account, uint64 epoch);
    event VariationSettled(uint64 indexed account, int256 amount, int256 cash);
    event ExpiredSettled(uint64 indexed account, Instrument indexed instrument, int256 size, int256 amount);
    event Liquidated(
        uint64 indexed account, uint64 indexed bidder, Liquidation liquidation, uint256 covered, uint256 shared
    );
    event LossShared(uint256 amount, uint256 index);
    event FeesSwept(uint256 amount);
    event ModulesSet(address marginEngine, address liquidationEngine, address insuranceFund);

    error ClearingHouseUnknownAccount(uint64 account);
    error ClearingHouseNotAuthorised(uint64 account, address sender);
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
    error ClearingHouseOrderExpired(bytes32 order, uint64 expiry);
    error ClearingHouseOrderCancelled(bytes32 order);
    error ClearingHouseOrderOverfilled(bytes32 order, uint256 remaining, uint256 size);
    error ClearingHouseBadSignature(bytes32 order, address signer);
    error ClearingHouseSignerNotAuthorised(bytes32 order, uint64 account, address signer);
    /// @notice The two orders do not cross: same side, other instrument, or limits apart.
    error ClearingHouseOrdersDoNotMatch(bytes32 maker, bytes32 taker);
    error ClearingHouseSelfTrade(uint64 account);
    error ClearingHouseTooManyPositions(uint64 account, uint256 maximum);
    error ClearingHousePositionTooLarge(uint64 account, Instrument instrument, int256 size);
    /// @notice The amounts of a liquidation do not add up.
    error ClearingHouseUnbalanced(int256 difference);
    /// @notice Even all positive cash could not carry the loss.
    error ClearingHouseLossTooLarge(uint256 loss, uint256 positiveCash);
    error ClearingHouseOnlyLiquidationEngine(address sender);
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

    /// @notice Settle two signed orders that cross, at the maker's limit price. Anyone may. The instrument must be listed and
    /// not expired (the registry says so). A perpetual's price is owed through its quote, an option's premium paid in cash.
    /// @param size Units [wad], at most what is left of each order.
    /// @return price The price [wad]. @return quote Dollars that changed sides [wad].
    function settleTrade(
        Order calldata maker,
        bytes calldata makerSignature,
        Order calldata taker,
        bytes calldata takerSignature,
        uint128 size
    ) external returns (uint256 price, uint256 quote);

    /// @notice Cancel what is left of one order. Owner, or an operator that may trade.
    function cancelOrder(Order calldata order) external;

    /// @notice Cancel every order signed so far. Owner, or an operator that may trade.
    function cancelAllOrders(uint64 account) external returns (uint64 epoch);

    /// @notice EIP-712 digest of an order for this contract on this chain.
    function orderHash(Order calldata order) external view returns (bytes32);

    /// @notice Units of an order already filled [wad]; type(uint128).max once cancelled.
    function filledOf(bytes32 order) external view returns (uint256);

    /// @notice The epoch an order must carry to be valid.
    function epochOf(uint64 account) external view returns (uint64);

    /// @notice Variation margin: move an account's unrealised profit or loss on perpetuals into its cash at the index price.
    /// Anyone may.
    /// @return amount Dollars moved [wad], rounded against the account.
    function settleVariation(uint64 account) external returns (int256 amount);

    /// @notice Turn an account's expired options into cash: size · payoff at the settlement price. Anyone may; options whose
    /// expiry the registry has not settled yet are left as they are.
    /// @return amount Dollars moved [wad], each position's rounded against the account.
    function settleExpired(uint64 account) external returns (int256 amount);

    // ─── Liquidation

    /// @notice Carry out a liquidation. Restricted to the liquidation engine; the bidder must be above initial margin after.
    /// @return covered Paid by the insurance fund [wad]. @return shared Shared over positive cash [wad].
    function liquidate(Liquidation calldata liquidation) external returns (uint256 covered, uint256 shared);

    /// @notice Send collected fees to the insurance fund. Anyone may. @return amount Token units.
    function sweepFees() external returns (uint256 amount);

    // ─── Views

    /// @notice All that margin depends on.
    function portfolioOf(uint64 account) external view returns (Portfolio memory);

    /// @notice Settled cash after shared losses [wad].
    function cashOf(uint64 account) external view returns (int256);

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

    /// @notice Fees collected and not yet swept [wad].
    function fees() external view returns (uint256);

    /// @notice Σ of positive cash over accounts [wad], which shared losses fall on.
    function positiveCash() external view returns (uint256);

    /// @notice What one dollar of cash from the beginning is worth after shared losses [ray].
    function lossIndex() external view returns (uint256);

    function marginEngine() external view returns (address);
    function liquidationEngine() external view returns (address);
    function insuranceFund() external view returns (address);

    // ─── Governance

    /// @notice List a token as collateral. Its underlying must have a price feed. @return asset Its id.
    function listAsset(address token, uint16 underlying, uint128 cap) external returns (uint16 asset);

    function setAssetCap(uint16 asset, uint128 cap) external;

    /// @notice Set the contracts this one works with, once and for all.
    function setModules(address marginEngine, address liquidationEngine, address insuranceFund) external;
}
