// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Requirements } from "../types/Margin.sol";
import { Portfolio } from "../types/Portfolio.sol";

/// @title IReferenceMargin
/// @notice What imagined portfolios must hold, many at once.
interface IReferenceMargin {
    /// @notice The totals of IMarginEngine.marginOfPortfolio, for less gas where portfolios on the same underlyings stand together.
    function requirementsOf(Portfolio[] calldata portfolios) external view returns (Requirements[] memory);
}
