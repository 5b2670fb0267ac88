// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title InterestMath
/// @notice What accounts whose cash is negative owe for what they have borrowed from those whose cash is positive.
///
///     utilisation u = debts / positive cash, at most 1
///     rate          2% a year at u = 0, in a straight line to 10% at u = 80%, and on to 100% at u = 1
///
/// The kinked line is the usual one of lending pools (Compound, Aave): cheap while cash is plenty, prohibitive before it
/// runs out, since cash that is lent cannot be withdrawn.
library InterestMath {
    uint256 internal constant WAD = 1e18;
    uint256 internal constant YEAR = 365 days;
    uint256 internal constant BASE = 0.02e18;
    uint256 internal constant KINK = 0.8e18;
    uint256 internal constant AT_KINK = 0.1e18;
    uint256 internal constant AT_FULL = 1e18;

    /// @notice Interest rate a year [wad], rounded down. @param debts [wad dollars] @param supply Positive cash [wad dollars].
    function rate(uint256 debts, uint256 supply) internal pure returns (uint256) {
        uint256 utilisation = debts >= supply ? WAD : debts * WAD / supply;
        if (utilisation <= KINK) return BASE + (AT_KINK - BASE) * utilisation / KINK;
        return AT_KINK + (AT_FULL - AT_KINK) * (utilisation - KINK) / (WAD - KINK);
    }

    /// @notice What a dollar owed grows by [wad], simple interest, rounded down.
    function growth(uint256 debts, uint256 supply, uint256 elapsed) internal pure returns (uint256) {
        return rate(debts, supply) * elapsed / YEAR;
    }
}
