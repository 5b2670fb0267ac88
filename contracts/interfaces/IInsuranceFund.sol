// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IERC4626 } from "@openzeppelin/contracts/interfaces/IERC4626.sol";

/// @title IInsuranceFund
/// @notice First-loss capital of the clearing house: an ERC-4626 vault on the cash token, which earns the fund's share of
/// liquidations and pays only the liquidations of its own clearing house.
interface IInsuranceFund is IERC4626 {
    event LossCovered(uint256 requested, uint256 paid);

    error InsuranceFundOnlyClearingHouse(address sender);

    /// @notice Pay a liquidation's loss to the clearing house, as far as the fund goes. Clearing house only.
    /// @param assets Token units asked for. @return paid Token units sent.
    function cover(uint256 assets) external returns (uint256 paid);
}
