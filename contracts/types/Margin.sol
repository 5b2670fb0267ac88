// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice One requirement, taken apart, so that a person can follow the number. All in dollars [wad].
/// total = multiplier · max(grid, expectedShortfall) + liquidity, where
/// grid = (1 − offset) · standalone + offset · joint.
/// @param standalone Every underlying at its own worst node, added up.
/// @param joint Every underlying at the same node of its range, the worst of them.
/// @param grid The two, weighted by the offset allowed between underlyings.
/// @param expectedShortfall From the covariance of the exposures, the worse of the two correlation matrices.
/// @param risk The larger of grid and expectedShortfall; of the initial requirement, at least the maintenance risk.
/// @param liquidity Cost of closing: half the spread and square-root impact.
/// @param total The requirement.
struct Requirement {
    uint256 standalone;
    uint256 joint;
    uint256 grid;
    uint256 expectedShortfall;
    uint256 risk;
    uint256 liquidity;
    uint256 total;
}

/// @notice One underlying's part in a margin.
/// @param underlying Its id.
/// @param price Index price [wad dollars a unit].
/// @param age Seconds since the price was reported.
/// @param delta Units held, positions and collateral netted [wad].
/// @param exposure delta · price [wad dollars].
/// @param volatilityInitial Live level behind the initial requirement, annualised [wad].
/// @param volatilityMaintenance Rate-limited level behind the maintenance requirement, annualised [wad].
/// @param rangeInitial Expected-shortfall move over the initial horizon, relative to the price [wad].
/// @param rangeMaintenance The same over the maintenance horizon [wad].
/// @param liquidityInitial Liquidity add-on at the live level [wad dollars].
/// @param liquidityMaintenance Liquidity add-on at the rate-limited level [wad dollars].
struct UnderlyingMargin {
    uint16 underlying;
    uint256 price;
    uint256 age;
    int256 delta;
    int256 exposure;
    uint256 volatilityInitial;
    uint256 volatilityMaintenance;
    uint256 rangeInitial;
    uint256 rangeMaintenance;
    uint256 liquidityInitial;
    uint256 liquidityMaintenance;
}

/// @notice What an account has and what it must hold. All in dollars [wad].
/// @param equity cash at min(1, its feed) if positive, plus unrealised profit, plus collateral at market.
/// @param cash Settled cash as the ledger has it.
/// @param unrealised Σ size · price + quote over positions.
/// @param collateral Non-cash collateral at market.
/// @param multiplier m ≥ 1 [wad].
/// @param fresh False when a volatility feed the account depends on is out of date: the figures then rest on the
/// stress level and the last known maintenance level, good enough to liquidate on, not to add risk on.
/// @param initial Requirement over the longer horizon.
/// @param maintenance Requirement over the shorter one.
/// @param underlyings The parts.
struct Margin {
    int256 equity;
    int256 cash;
    int256 unrealised;
    uint256 collateral;
    uint256 multiplier;
    bool fresh;
    Requirement initial;
    Requirement maintenance;
    UnderlyingMargin[] underlyings;
}
