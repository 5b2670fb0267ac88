// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { NormalDistribution } from "contracts/libraries/NormalDistribution.sol";

/// @title Black76
/// @notice Undiscounted value and Greeks of a European call on a forward (Black, The pricing of commodity contracts,
/// Journal of Financial Economics 3, 1976): with s = σ√τ, d1 = ln(F/K)/s + s/2 and d2 = d1 − s,
///   call = F·N(d1) − K·N(d2), put = call − F + K.
/// From what `evaluate` returns the other Greeks follow:
///   delta  = N(d1); of the put N(d1) − 1       [per unit]
///   gamma  = density / (F²·s)                  [per dollar]
///   vega   = density·√τ                        [dollars per unit of σ]; density·s per relative unit of σ
///   theta  = −density·σ / (2√τ)                [dollars a year, F held]
/// Domain: F and K in [1e6, 1e29] (1e-12 to 1e11 dollars), s up to 60e18 and any ln(F/K) between two such prices. No
/// function reverts there.
library Black76 {
    using NormalDistribution for NormalDistribution.Table;

    int256 private constant WAD = 1e18;

    /// @notice Value, delta and density of a call.
    /// @param table The normal distribution, loaded.
    /// @param forward F [wad dollars]. @param strike K [wad dollars]. @param logMoneyness ln(F/K) [wad].
    /// @param deviation s = σ√τ [wad]; 0: the payoff.
    /// @return call Dollars [wad], rounded down, never below max(F − K, 0) nor above F. Error below 1e-13·(F + K):
    /// 1e-9·F for K up to ten thousand times F.
    /// @return delta N(d1) [wad]; without deviation 1 in the money, else 0.
    /// @return density F·φ(d1) = K·φ(d2) [wad dollars], rounded down; without deviation 0.
    function evaluate(
        NormalDistribution.Table table,
        uint256 forward,
        uint256 strike,
        int256 logMoneyness,
        uint256 deviation
    ) internal pure returns (uint256 call, uint256 delta, uint256 density) {
        // In the domain |ln(F/K)| < 54e18, so d1 is below 1e38, a product with a probability below 1e48.
        unchecked {
            if (forward > strike) call = forward - strike;
            if (deviation == 0) return (call, forward > strike ? uint256(WAD) : 0, 0);
            int256 d1 = logMoneyness * WAD / int256(deviation) + int256(deviation >> 1);
            delta = table.cdf(d1);
            int256 value = int256(forward * delta) - int256(strike * table.cdf(d1 - int256(deviation)));
            if (value > int256(call) * WAD) {
                call = uint256(value) / uint256(WAD);
                if (call > forward) call = forward;
            }
            density = forward * NormalDistribution.pdf(d1) / uint256(WAD);
        }
    }
}
