// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice One requirement, taken apart, so that a person can follow the number. All in dollars [wad].
///
///     grid  = (1 − offset) · standalone + offset · joint
///     risk  = max(grid, expectedShortfall)
///     total = min(max(scale · multiplier · risk + liquidity + shortOptionMinimum, leverageFloor), longOptionCap)
///
/// The maintenance total is also never above the initial total (ORDER).
/// @param standalone Every underlying at its own worst node, added up.
/// @param joint Every underlying at the same node, the worst of them.
/// @param worstNode The joint loss's node: price · 3 + volatility for the 27 nodes (price 0–8 from −range to +range,
/// volatility down, same, up), 27 and 28 the extremes below and above.
/// @param grid The two, weighted by the offset allowed between underlyings.
/// @param expectedShortfall From delta, gamma and vega, the worse of the two correlation matrices.
/// @param risk The larger of the two.
/// @param liquidity Cost of closing: half spread and square-root impact on delta, half spread in volatility on vega.
/// @param shortOptionMinimum Charge for what is net short at each strike.
/// @param leverageFloor Least initial margin by the notional brackets; 0 for maintenance.
/// @param longOptionCap Requirement without the long options, plus their value: they can't lose more. The largest integer
/// where no long option is held, or where their value alone is more than the requirement.
/// @param total The requirement.
struct Requirement {
    uint256 standalone;
    uint256 joint;
    uint256 worstNode;
    uint256 grid;
    uint256 expectedShortfall;
    uint256 risk;
    uint256 liquidity;
    uint256 shortOptionMinimum;
    uint256 leverageFloor;
    uint256 longOptionCap;
    uint256 total;
}

/// @notice Both totals of a portfolio [wad dollars].
struct Requirements {
    uint256 initial;
    uint256 maintenance;
}

/// @notice One underlying's part in a margin.
/// @param underlying Its id.
/// @param price Index price [wad dollars a unit].
/// @param age Seconds since the price was reported.
/// @param deltaOne Units of perpetuals and collateral, netted [wad].
/// @param delta Units of the underlying the whole part moves like, options included [wad].
/// @param gamma Change of delta for a dollar of price [wad].
/// @param vega Dollars for one whole unit (100 points) of implied volatility, parallel in relative terms: Σ size · ∂price/∂σ [wad].
/// @param exposure delta · price [wad dollars].
/// @param optionValue Mark value of the options, long positive [wad dollars].
/// @param volatilityMark 30-day at-the-money implied volatility options are marked at, annualised [wad].
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
    int256 deltaOne;
    int256 delta;
    int256 gamma;
    int256 vega;
    int256 exposure;
    int256 optionValue;
    uint256 volatilityMark;
    uint256 volatilityInitial;
    uint256 volatilityMaintenance;
    uint256 rangeInitial;
    uint256 rangeMaintenance;
    uint256 liquidityInitial;
    uint256 liquidityMaintenance;
}

/// @notice What an account has and what it must hold. All in dollars [wad].
/// @param equity cash at min(1, its feed) if positive, plus unrealised profit, plus options at mark, plus collateral at market.
/// @param cash Settled cash as the ledger has it.
/// @param unrealised Σ size · price + quote over perpetuals, Σ size · mark over options.
/// @param collateral Non-cash collateral at market.
/// @param multiplier m ≥ 1 [wad].
/// @param openInterestScale Scale on the initial requirement, ≥ 1: the largest of its underlyings' [wad].
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
    uint256 openInterestScale;
    bool fresh;
    Requirement initial;
    Requirement maintenance;
    UnderlyingMargin[] underlyings;
}

/// @notice One underlying's losses at the 29 nodes, in the order of Requirement.worstNode, extremes already weighted;
/// a gain is negative [wad dollars].
struct ScenarioLosses {
    uint16 underlying;
    int256[29] initial;
    int256[29] maintenance;
}

/// @notice One underlying's Greeks, perpetuals and collateral included in delta.
/// @param delta Units [wad]. @param gamma Units a dollar [wad]. @param vega Dollars for 100 points of implied volatility [wad].
/// @param theta Dollars a year [wad], negative where time costs.
/// @param value Options at mark [wad dollars].
struct Greeks {
    uint16 underlying;
    int256 delta;
    int256 gamma;
    int256 vega;
    int256 theta;
    int256 value;
}
