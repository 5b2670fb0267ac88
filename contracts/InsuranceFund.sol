// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInsuranceFund } from "./interfaces/IInsuranceFund.sol";
import { ILiquidationEngine } from "./interfaces/ILiquidationEngine.sol";
import { FadingSum } from "./types/FadingSum.sol";
import { IERC4626 } from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { ERC4626 } from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title InsuranceFund
/// @notice First-loss capital. Shares rise with the fund's income and fall with what it pays or comes to owe.
/// While a loss is known and not yet settled nobody may redeem ahead of it (LOSS).
contract InsuranceFund is IInsuranceFund, ERC4626, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @notice Longer than any crash takes to be settled, and than the news of one.
    uint256 public constant COOLDOWN = 7 days;
    /// @notice A request that is not used in this time lapses, so that nobody keeps one ready for the day of a loss.
    uint256 public constant REDEMPTION_WINDOW = 2 days;
    /// @notice Of the capital, what may be paid in one payout window: whoever finds a way to drain the fund gets this far.
    uint256 public constant PAYOUT_SHARE = 0.25e18;
    uint256 public constant PAYOUT_WINDOW = 1 hours;

    uint16 private constant CASH = 0;
    uint256 private constant WAD = 1e18;

    IClearingHouse public immutable clearingHouse;

    /// @inheritdoc IInsuranceFund
    uint256 public owed;

    /// @dev Paid of late, token units: it fades to nothing over a payout window, and with what is held, owed or not, makes the
    /// capital the allowance is a share of.
    FadingSum private _spent;
    uint256 private _first;
    uint256 private _next;
    mapping(uint256 claim => Claim) private _claims;
    mapping(address owner => Redemption) private _redemptions;

    constructor(IClearingHouse clearingHouse_, IERC20 cash) ERC4626(cash) ERC20("Plimsoll Insurance Fund", "plimINS") {
        clearingHouse = clearingHouse_;
    }

    // ─── Losses

    /// @inheritdoc IInsuranceFund
    function previewCover(uint256 assets, uint256 immediate) public view returns (uint256 paid, uint256 queued) {
        assets = FixedPoint.min(assets, totalAssets());
        // Whoever is queued already comes first.
        uint256 allowance = owed == 0 ? allowanceNow() : 0;
        paid = FixedPoint.min(assets, FixedPoint.max(allowance, immediate));
        queued = assets - paid;
    }

    /// @inheritdoc IInsuranceFund
    function cover(uint256 paid, uint256 queued, uint64 beneficiary) external nonReentrant {
        if (msg.sender != clearingHouse.liquidationEngine()) revert InsuranceFundOnlyLiquidationEngine(msg.sender);
        if (paid + queued > totalAssets()) revert InsuranceFundShort(paid + queued, totalAssets());
        _spent.add(paid, PAYOUT_WINDOW);
        if (queued != 0) {
            owed += queued;
            _claims[_next++] = Claim(beneficiary, queued.toUint128());
        }
        emit LossCovered(paid, queued, beneficiary);
        if (paid != 0) IERC20(asset()).safeTransfer(address(clearingHouse), paid);
    }

    /// @inheritdoc IInsuranceFund
    function payClaims(uint256 maximum) external nonReentrant returns (uint256 paid) {
        uint256 allowance = allowanceNow();
        if (owed == 0 || allowance == 0 || maximum == 0) revert InsuranceFundNoClaimDue(owed, allowance);
        for (uint256 first = _first; maximum != 0 && allowance != 0 && first != _next; --maximum) {
            Claim storage claim = _claims[first];
            uint256 amount = FixedPoint.min(claim.amount, allowance);
            (uint64 account, uint256 left) = (claim.account, claim.amount - amount);
            allowance -= amount;
            paid += amount;
            owed -= amount;
            _spent.add(amount, PAYOUT_WINDOW);
            claim.amount = uint128(left);
            emit ClaimPaid(first, account, amount, left);
            if (left == 0) {
                delete _claims[first];
                _first = ++first;
            }
            IERC20(asset()).forceApprove(address(clearingHouse), amount);
            clearingHouse.deposit(account, CASH, amount);
        }
    }

    /// @inheritdoc IInsuranceFund
    function allowanceNow() public view returns (uint256) {
        uint256 spent = _spent.current(PAYOUT_WINDOW);
        // Rounded up, so that the last units of a claim are paid, too.
        uint256 limit = FixedPoint.mulWadUp(IERC20(asset()).balanceOf(address(this)) + spent, PAYOUT_SHARE);
        return FixedPoint.zeroFloorSub(limit, spent);
    }

    /// @inheritdoc IInsuranceFund
    function openClaims() external view returns (uint256 first, uint256 next) {
        return (_first, _next);
    }

    /// @inheritdoc IInsuranceFund
    function claimOf(uint256 claim) external view returns (Claim memory) {
        return _claims[claim];
    }

    // ─── Leaving

    /// @inheritdoc IInsuranceFund
    function requestRedemption(uint256 shares) external {
        if (shares == 0) revert InsuranceFundZeroShares();
        Redemption storage redemption = _redemptions[msg.sender];
        redemption.shares += shares.toUint192();
        redemption.readyAt = uint64(block.timestamp + COOLDOWN);
        emit RedemptionRequested(msg.sender, redemption.shares, redemption.readyAt);
        _transfer(msg.sender, address(this), shares);
    }

    /// @inheritdoc IInsuranceFund
    function cancelRedemption() external returns (uint256 shares) {
        shares = _redemptions[msg.sender].shares;
        if (shares == 0) revert InsuranceFundNothingRequested(msg.sender);
        delete _redemptions[msg.sender];
        emit RedemptionCancelled(msg.sender, shares);
        _transfer(address(this), msg.sender, shares);
    }

    /// @inheritdoc IInsuranceFund
    function redemptionOf(address owner) external view returns (Redemption memory) {
        return _redemptions[owner];
    }

    /// @inheritdoc IERC4626
    /// @dev Without what is owed already.
    function totalAssets() public view override(ERC4626, IERC4626) returns (uint256) {
        return FixedPoint.zeroFloorSub(super.totalAssets(), owed);
    }

    /// @inheritdoc IERC4626
    /// @dev Fees that are collected and not swept yet are the shareholders' already: whoever comes in pays for a part of them,
    /// or he could buy in, sweep, and have it for nothing.
    function previewDeposit(uint256 assets) public view override(ERC4626, IERC4626) returns (uint256) {
        return FixedPoint.fullMulDiv(assets, totalSupply() + 10 ** _decimalsOffset(), totalAssets() + _unswept() + 1);
    }

    /// @inheritdoc IERC4626
    /// @dev At the price of a deposit.
    function previewMint(uint256 shares) public view override(ERC4626, IERC4626) returns (uint256) {
        return FixedPoint.fullMulDivUp(shares, totalAssets() + _unswept() + 1, totalSupply() + 10 ** _decimalsOffset());
    }

    /// @inheritdoc IERC4626
    /// @dev Shares whose cooldown is over and whose window is open, while no loss is pending.
    function maxRedeem(address owner) public view override(ERC4626, IERC4626) returns (uint256) {
        Redemption memory redemption = _redemptions[owner];
        bool open = block.timestamp >= redemption.readyAt && block.timestamp <= redemption.readyAt + REDEMPTION_WINDOW;
        return open && !_lossPending() ? redemption.shares : 0;
    }

    /// @inheritdoc IERC4626
    function maxWithdraw(address owner) public view override(ERC4626, IERC4626) returns (uint256) {
        return previewRedeem(maxRedeem(owner));
    }

    /// @dev The guard is for a token that calls its sender: between its arrival and the new shares, shares are worth too much.
    function _deposit(address caller, address receiver, uint256 assets, uint256 shares) internal override nonReentrant {
        super._deposit(caller, receiver, assets, shares);
    }

    /// @dev The shares are here already; what they were requested for is used up.
    function _withdraw(address caller, address receiver, address owner, uint256 assets, uint256 shares)
        internal
        override
        nonReentrant
    {
        if (caller != owner) _spendAllowance(owner, caller, shares);
        _redemptions[owner].shares -= uint192(shares);
        _burn(address(this), shares);
        emit Withdraw(caller, receiver, owner, assets, shares);
        IERC20(asset()).safeTransfer(receiver, assets);
    }

    function _lossPending() private view returns (bool) {
        return ILiquidationEngine(clearingHouse.liquidationEngine()).reservedShortfall() != 0;
    }

    // ─── Small things

    /// @dev Token units of fees in the clearing house.
    function _unswept() private view returns (uint256) {
        return clearingHouse.fees() / 10 ** (18 - clearingHouse.assetOf(CASH).decimals);
    }

    /// @dev A million virtual shares an asset: a donation before the first deposit costs the donor a million times what it
    /// takes from the depositor.
    function _decimalsOffset() internal pure override returns (uint8) {
        return 6;
    }
}
