// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IERC4626 } from "@openzeppelin/contracts/interfaces/IERC4626.sol";

/// @title IInsuranceFund
/// @notice First-loss capital of the clearing house: an ERC-4626 vault on the cash token, which earns the fund's share of
/// liquidations, premium fees and interest, and pays only the liquidations of its own clearing house.
///
/// Leaving takes notice: shares asked back are held here for a cooldown, bear losses all the while, and can be redeemed
/// in a window after it. Paying has a speed: a share of the capital an hour. What a liquidation is owed beyond that becomes
/// a claim, which counts as gone from the fund at once and is paid in order as room appears.
interface IInsuranceFund is IERC4626 {
    /// @param shares On their way out; there are many more after a fund that was emptied has been filled again.
    /// @param readyAt When their window begins, unix seconds.
    struct Redemption {
        uint192 shares;
        uint64 readyAt;
    }

    /// @param account Clearing-house account that is owed. @param amount Token units.
    struct Claim {
        uint64 account;
        uint128 amount;
    }

    event LossCovered(uint256 paid, uint256 queued, uint64 indexed beneficiary);
    event ClaimPaid(uint256 indexed claim, uint64 indexed account, uint256 amount, uint256 left);
    event RedemptionRequested(address indexed owner, uint256 shares, uint256 readyAt);
    event RedemptionCancelled(address indexed owner, uint256 shares);

    error InsuranceFundOnlyLiquidationEngine(address sender);
    /// @notice More is asked for than the fund has.
    error InsuranceFundShort(uint256 requested, uint256 available);
    error InsuranceFundZeroShares();
    error InsuranceFundNothingRequested(address owner);
    /// @notice No claim is open, or none may be paid before this time.
    error InsuranceFundNoClaimDue(uint256 open, uint256 allowance);

    /// @notice What would be paid now and what later of a loss, as far as the fund goes.
    /// @param assets Token units asked for. @param immediate Least that is paid now, whatever the allowance: the keeper's fee.
    function previewCover(uint256 assets, uint256 immediate) external view returns (uint256 paid, uint256 queued);

    /// @notice Pay `paid` of a liquidation's loss to the clearing house and owe `queued` to `beneficiary`, token units.
    /// Liquidation engine only.
    function cover(uint256 paid, uint256 queued, uint64 beneficiary) external;

    /// @notice Pay open claims in order, as far as the allowance goes. Anyone may. @param maximum Most claims looked at.
    /// @return paid Token units.
    function payClaims(uint256 maximum) external returns (uint256 paid);

    /// @notice Ask shares back. They are held here until redeemed or the request is cancelled; a second request adds to the
    /// first and starts its time again.
    function requestRedemption(uint256 shares) external;

    /// @notice Take all requested shares back into the owner's hands.
    function cancelRedemption() external returns (uint256 shares);

    function redemptionOf(address owner) external view returns (Redemption memory);

    /// @notice Token units that may be paid now.
    function allowanceNow() external view returns (uint256);

    /// @notice Σ of open claims, token units.
    function owed() external view returns (uint256);

    /// @notice Claims are numbered; those from `first` to before `next` are open.
    function openClaims() external view returns (uint256 first, uint256 next);

    function claimOf(uint256 claim) external view returns (Claim memory);
}
