// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Funding } from "../types/Funding.sol";
import { SignedWad } from "./SignedWad.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title FundingMath
/// @notice What longs pay shorts while a perpetual trades above its index, and the reverse.
///
///     premium p     exponentially weighted mean of (trade price − index), clamped, which fades with time constant τ
///     funding       dF = p / T · dt, dollars a unit: with p fading, F + p · τ/T stands still until the next trade
///     a trade       of n units at premium δ, with open interest N before it: p ← p + (δ − p) · n / (n + N)
///     its fee       n · |δ − p| · τ/T, paid by the taker to the insurance fund
///
/// Why nobody can move the premium for free, not even by trading with himself: the open interest after the trade is at
/// most N + n, so all funding that the move of p can ever bring, to whoever holds all of one side, is
/// (N + n) · |Δp| · τ/T = n · |δ − p| · τ/T, which is the fee. Later trades only dilute it.
///
/// T = 8 h is the custom of perpetuals (BitMEX, 2016); τ = 1 h makes p an hour's mean. The clamp of half a percent in
/// eight hours is that of most exchanges within a factor of two.
library FundingMath {
    uint256 internal constant WAD = 1e18;
    /// @dev τ
    uint256 internal constant TIME_CONSTANT = 1 hours;
    /// @dev T
    uint256 internal constant PERIOD = 8 hours;
    /// @dev Of the index price.
    uint256 internal constant MAXIMUM_PREMIUM = 0.005e18;

    /// @notice Funding and premium as they are at `timestamp`, not before `updatedAt`. The premium is rounded towards zero
    /// and what it has lost is what the index gains, rounded towards zero: both sides of every position see the same index.
    function at(Funding memory self, uint256 timestamp) internal pure returns (Funding memory) {
        uint256 elapsed = timestamp - self.updatedAt;
        if (elapsed == 0 || self.premium == 0) return Funding(self.index, self.premium, uint40(timestamp));
        // e^(−x) is 0 from x = 42 on.
        uint256 kept =
            elapsed > 42 * TIME_CONSTANT ? 0 : uint256(FixedPoint.expWad(-int256(elapsed * WAD / TIME_CONSTANT)));
        int256 premium = int256(self.premium) * int256(kept) / int256(WAD);
        int256 gained = (self.premium - premium) * int256(TIME_CONSTANT) / int256(PERIOD);
        // The index moves by less than the premium; a century of the largest premium on a price of a billion fits.
        return Funding(int128(self.index + gained), int88(premium), uint40(timestamp));
    }

    /// @notice A trade's effect on the premium, and its fee.
    /// @param self As of now [at]. @param size Units [wad], above 0. @param price Of the trade [wad]. @param index Index price
    /// [wad], at most 1e27. @param openInterest Units before the trade [wad].
    /// @return premium After the trade [wad dollars a unit]. @return fee Dollars [wad], rounded up.
    function tradeUp(Funding memory self, uint256 size, uint256 price, uint256 index, uint256 openInterest)
        internal
        pure
        returns (int88 premium, uint256 fee)
    {
        int256 limit = int256(FixedPoint.mulWad(index, MAXIMUM_PREMIUM));
        int256 traded = FixedPoint.clamp(int256(price) - int256(index), -limit, limit);
        int256 distance = traded - self.premium;
        uint256 gap = FixedPoint.abs(distance);
        uint256 moved = FixedPoint.fullMulDiv(gap, size, size + openInterest);
        fee = FixedPoint.fullMulDivUp(size * gap, TIME_CONSTANT, PERIOD * WAD);
        // Between the old premium and the traded one, and those are below 5e24 and fit.
        premium = int88(distance < 0 ? self.premium - int256(moved) : self.premium + int256(moved));
    }

    /// @notice size · index, rounded up: what a position of that size has paid.
    function paidUp(int256 size, int256 index) internal pure returns (int256) {
        // Sizes have 104 bits, an index 128. Written out for gas: every look at a position passes here.
        unchecked {
            if (index < 0) index = -index;
            else size = -size;
            return -SignedWad.mulDown(size, uint256(index));
        }
    }
}
