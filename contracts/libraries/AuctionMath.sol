// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title AuctionMath
/// @notice The arithmetic of the liquidation auction. Roundings go against the bidder.
library AuctionMath {
    uint256 internal constant WAD = 1e18;

    /// @notice d(t): from 0 at the start to `maximum` at the end of `duration`, and there it stays.
    function discountDown(uint256 elapsed, uint256 duration, uint256 maximum) internal pure returns (uint256) {
        return elapsed >= duration ? maximum : maximum * elapsed / duration;
    }

    /// @notice Smallest fraction whose sale brings the account to its target, from
    /// equity − f · discount − fee = (1 − f) · target.
    /// Requirements of a part are at most that part of the requirement, so the account ends on target or above it.
    /// @param equity Below target [wad dollars]. @param discount d · maintenance, at most equity. @param fee Paid out of the
    /// proceeds. @param target [wad dollars]
    /// @return [wad], at most one, rounded down.
    function fractionDown(uint256 equity, uint256 discount, uint256 fee, uint256 target)
        internal
        pure
        returns (uint256)
    {
        uint256 missing = target - equity + fee;
        uint256 gained = target - discount;
        return missing >= gained ? WAD : FixedPoint.fullMulDiv(missing, WAD, gained);
    }

    /// @notice Cash to be paid so that whoever holds `held` of it has so many dollars more, where cash held counts at its price
    /// and cash owed in full.
    /// @param dollars [wad] @param held Negative: owed [wad]. @param cashPrice At most a dollar, above 0 [wad].
    /// @return [wad], at least `dollars`.
    function inCashUp(uint256 dollars, int256 held, uint256 cashPrice) internal pure returns (uint256) {
        uint256 repaid = held < 0 ? FixedPoint.min(FixedPoint.abs(held), dollars) : 0;
        return repaid + FixedPoint.fullMulDivUp(dollars - repaid, WAD, cashPrice);
    }

    /// @notice amount · fraction, rounded towards zero, so that a part is never more than the whole.
    function shareTowardsZero(int256 amount, uint256 fraction) internal pure returns (int256) {
        int256 size = int256(FixedPoint.fullMulDiv(FixedPoint.abs(amount), fraction, WAD));
        return amount < 0 ? -size : size;
    }
}
