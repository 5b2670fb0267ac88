// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IPriceOracle } from "../interfaces/IPriceOracle.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title CashValue
/// @notice What a claim to cash is worth: cash counts at no more than a dollar, and at its feed's price below it.
library CashValue {
    uint256 private constant WAD = 1e18;

    /// @notice Dollars [wad], rounded down. A debt is owed in full even while cash trades below a dollar.
    function valueDown(int256 claim, IPriceOracle priceOracle) internal view returns (int256) {
        if (claim <= 0 || !priceOracle.hasFeed(0)) return claim;
        (uint256 price,) = priceOracle.price(0);
        return price < WAD ? int256(FixedPoint.fullMulDiv(uint256(claim), price, WAD)) : claim;
    }
}
