// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInsuranceFund } from "./interfaces/IInsuranceFund.sol";
import { ILiquidationEngine } from "./interfaces/ILiquidationEngine.sol";
import { IERC4626 } from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { ERC4626 } from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title InsuranceFund
/// @notice First-loss capital. Shares rise with the fund's part of liquidation discounts and fall with what it pays.
/// While a loss is known and not yet settled nobody may redeem ahead of it (LOSS).
contract InsuranceFund is IInsuranceFund, ERC4626 {
    using SafeERC20 for IERC20;

    IClearingHouse public immutable clearingHouse;

    constructor(IClearingHouse clearingHouse_, IERC20 cash) ERC4626(cash) ERC20("Plimsoll Insurance Fund", "plimINS") {
        clearingHouse = clearingHouse_;
    }

    /// @inheritdoc IInsuranceFund
    function cover(uint256 assets) external returns (uint256 paid) {
        if (msg.sender != address(clearingHouse)) revert InsuranceFundOnlyClearingHouse(msg.sender);
        paid = Math.min(assets, totalAssets());
        emit LossCovered(assets, paid);
        IERC20(asset()).safeTransfer(msg.sender, paid);
    }

    /// @inheritdoc IERC4626
    function maxWithdraw(address owner) public view override(ERC4626, IERC4626) returns (uint256) {
        return _lossPending() ? 0 : super.maxWithdraw(owner);
    }

    /// @inheritdoc IERC4626
    function maxRedeem(address owner) public view override(ERC4626, IERC4626) returns (uint256) {
        return _lossPending() ? 0 : super.maxRedeem(owner);
    }

    function _lossPending() private view returns (bool) {
        return ILiquidationEngine(clearingHouse.liquidationEngine()).reservedShortfall() != 0;
    }

    /// @dev A million virtual shares an asset: a donation before the first deposit costs the donor a million times what it
    /// takes from the depositor.
    function _decimalsOffset() internal pure override returns (uint8) {
        return 6;
    }
}
