// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";

/// @notice Attacks on funding and interest.
contract FundingAttacksTest is Coalition {
    uint64[4] private own;

    /// @notice Attack: the attacker holds one side of most of the open interest, against a stranger, and moves the premium by
    /// trades between two more of his accounts at prices away from the index, so that the stranger pays him; opening,
    /// closing and turning, at any size and time.
    /// Fails: the taker of a trade that moves the mean premium pays the fund what all that are open could ever gain by it, so
    /// what he gets from strangers is at most what he has paid.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_fundingManipulationBySelfTrade(uint256 holding, bool isLong, uint256[8] memory seeds) public {
        own = [member("attacker", 20_000_000), member("attacker 2", 20_000_000), member("attacker 3", 20_000_000), 0];
        int256 size = int256(bound(holding, 1e18, 500e18));
        trade(own[0], makerAccount, btcPerpetual, isLong ? size : -size, 50_000e18);
        int256 start = wealth();
        int256 strangers = equityOf(makerAccount);
        uint256 collected = house.fees();
        for (uint256 i; i < 8; ++i) {
            uint256 seed = seeds[i];
            uint256 who = seed % 3;
            int256 amount = int256(bound(seed >> 8, 0.001e18, 300e18));
            uint256 price = bound(seed >> 72, 49_500e18, 50_500e18);
            try this.tryTrade(
                own[who], own[(who + 1 + (seed >> 4) % 2) % 3], seed >> 6 & 1 == 0 ? amount : -amount, price
            ) { }
                catch { }
            pass(bound(seed >> 200, 0, 4 hours));
            assertLe(wealth(), start + ROUNDING, "no gain on the way");
        }
        for (uint256 i; i < 48; ++i) {
            pass(1 hours);
        }
        assertLe(wealth(), start + ROUNDING, "no gain");
        // What he lost is what the stranger and the fund have.
        assertApproxEqAbs(start - wealth(), equityOf(makerAccount) - strangers + int256(house.fees() - collected), 1e12);
    }

    function tryTrade(uint64 taker, uint64 other, int256 size, uint256 price) external {
        trade(taker, other, btcPerpetual, size, price);
    }
}
