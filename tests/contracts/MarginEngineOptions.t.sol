// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IMarginEngine } from "contracts/interfaces/IMarginEngine.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Greeks, Margin, Requirement, ScenarioLosses } from "contracts/types/Margin.sol";
import { Collateral, Portfolio, Position } from "contracts/types/Portfolio.sol";

/// @notice Margin of options. Reference numbers were computed in Python with scipy from these formulas, not from the code:
///
///     τ = seconds / 365 d, F = S·e^(0.02 τ), G(τ) = 1.2 − 0.2·(1 − e^(−2τ))/(2τ), θ = σ²·τ·G(τ)/G(30 d)
///     φ = 0.9/(θ^0.4·(1 + θ)^0.6), k = ln(K/F), s² = θ/2·(1 − 0.2·φk + √((φk − 0.2)² + 0.96))
///     call = F·N(d1) − K·N(d1 − s), d1 = ln(F/K)/s + s/2, put = call − F + K
///     loss = n·(call − call at F·(1 + i·r/4) and s·√((τ − h)/τ) if n > 0, times f or over f') + 1e-8·|n|·(F·(1 + 2r) + K)
///     f = 1 + v, f' = 1 + 0.75·v, v = 0.4 or 0.2 · (30 d/τ)^0.3; extremes i = ±8 at 35%
///     shortfall: integral of the Edgeworth density below the Cornish-Fisher quantile, taken numerically
///     liquidity = N·(0.0003 + ⅔·0.8·σ_day·√(N/2e9)) + 0.02·Σ|n|·F·φ(d1)·s; minimum = 0.002·S a unit net short
///
/// BTC 50,000 marked at a volatility of 0.6, live 0.7; ETH 2,000 at 0.8, live 0.85. Fuzz tests ask for portfolios nobody
/// holds.
contract MarginEngineOptionsTest is Accounts {
    /// @dev Two prices, each off by 3.5e-9 of forward plus strike, as part of a requirement.
    uint256 private constant KERNEL = 1e12;
    uint256 private constant EXACT = 1e10;
    /// @dev Rounding of some dozen lines, of as much as ten thousand units each [wad dollars].
    uint256 private constant ROUNDING = 1e7;

    uint256 private start;

    function setUp() public override {
        super.setUp();
        start = block.timestamp;
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            setParameter(Fields.TERM_RATIO, underlying, 0, 1_200_000);
            setParameter(Fields.CARRY, underlying, 0, 20_000);
        }
    }

    // ─── By hand

    function test_marginOf_aShortCall() public view {
        Margin memory margin = engine.marginOfPortfolio(_book(_option(BTC, 30 days, 55_000, false, -2e18)));
        assertApproxEqRel(margin.equity, -3201.38465785444e18, EXACT);
        assertEq(margin.unrealised, margin.equity);
        assertEq(margin.underlyings[0].optionValue, margin.equity);
        assertEq(margin.underlyings[0].volatilityMark, 0.6e18);
        _check(
            margin.initial,
            [uint256(8205.548330612e18), 8205.548330612e18, 26, 5603.221057124e18, 132.6726871133e18, 200e18, 500e18],
            8538.221017725e18
        );
        _check(
            margin.maintenance,
            [uint256(3442.158499534e18), 3442.158499534e18, 26, 2310.999812597e18, 132.6726871133e18, 200e18, 0],
            3774.831186648e18
        );
        assertEq(margin.initial.longOptionCap, type(uint256).max);
    }

    /// @notice Its shortfall is more than it can lose: its value is the requirement.
    function test_marginOf_aLongPut() public view {
        Margin memory margin = engine.marginOfPortfolio(_book(_option(BTC, 7 days, 48_000, true, 3e18)));
        assertApproxEqRel(margin.equity, 2554.66342226889e18, EXACT);
        _check(
            margin.initial,
            [uint256(2548.561643143e18), 2548.561643143e18, 24, 5227.837051844e18, 106.8521383813e18, 0, 0],
            2554.663422269e18
        );
        _check(
            margin.maintenance,
            [uint256(2146.455387108e18), 2146.455387108e18, 24, 2297.955669791e18, 106.8521383813e18, 0, 0],
            2404.807808173e18
        );
        assertApproxEqRel(margin.initial.longOptionCap, 2554.663422269e18, EXACT);
        assertEq(margin.maintenance.longOptionCap, type(uint256).max); // it could not bind
    }

    function test_marginOf_aShortStraddle() public view {
        Portfolio memory book =
            _book(_option(ETH, 14 days, 2000, false, -10e18), _option(ETH, 14 days, 2000, true, -10e18));
        Margin memory margin = engine.marginOfPortfolio(book);
        assertApproxEqRel(margin.equity, -2489.44222209888e18, EXACT);
        _check(
            margin.initial,
            [uint256(2143.386404005e18), 2143.386404005e18, 26, 1623.278448835e18, 50.10919166144e18, 80e18, 200e18],
            2273.495595666e18
        );
        _check(
            margin.maintenance,
            [uint256(896.7848764234e18), 896.7848764234e18, 26, 679.1153313949e18, 50.10919166144e18, 80e18, 0],
            1026.894068085e18
        );
    }

    /// @notice Two hours before expiry a far strike is nothing until the extreme node, which counts at 35%.
    function test_marginOf_aFarCallJustBeforeExpiry() public view {
        Margin memory margin = engine.marginOfPortfolio(_book(_option(BTC, 2 hours, 57_000, false, -1e18)));
        _check(
            margin.initial,
            [uint256(1653.74261615342e18), 1653.74261615342e18, 28, 0, 0, 100e18, 250e18],
            1753.74261615342e18
        );
        _check(margin.maintenance, [uint256(2.2252768446e18), 2.2252768446e18, 28, 0, 0, 100e18, 0], 102.2252768446e18);
    }

    /// @notice The shortfall binds where prices between the nodes and beyond them would.
    function test_marginOf_aRatioSpread() public view {
        Margin memory margin = engine.marginOfPortfolio(
            _book(_option(BTC, 3 days, 54_000, false, 4e18), _option(BTC, 3 days, 58_000, false, -5e18))
        );
        _check(
            margin.initial,
            [
                uint256(361.5511131580466e18),
                361.5511131580466e18,
                2,
                2230.471880905323e18,
                41.21153976506826e18,
                500e18,
                1250e18
            ],
            2771.683420670391e18
        );
        assertApproxEqRel(margin.initial.longOptionCap, 8006.7051206143515e18, KERNEL);
        _check(
            margin.maintenance,
            [uint256(352.773337771e18), 352.773337771e18, 0, 825.6636664147939e18, 41.21153976506826e18, 500e18, 0],
            1366.875206179862e18
        );
        assertApproxEqRel(margin.maintenance.longOptionCap, 2118.525192475136e18, KERNEL);
    }

    function test_marginOf_aBookOnTwoUnderlyings() public view {
        Margin memory margin = engine.marginOfPortfolio(_mixed());
        assertApproxEqRel(margin.equity, -1833.66399990049e18 - 502.675833883283e18 + 25_000e18 - 8000e18, EXACT);
        _check(
            margin.initial,
            [uint256(3035.90466194e18), 2904.918660532e18, 2, 2430.207305323e18, 243.6620582904e18, 228e18, 765e18],
            3428.975119386e18
        );
        assertApproxEqRel(margin.initial.longOptionCap, 8687.940926419e18, KERNEL);
        _check(
            margin.maintenance,
            [uint256(1259.17857149e18), 1259.17857149e18, 2, 934.7206575052e18, 243.6620582904e18, 228e18, 0],
            1730.84062978e18
        );
    }

    /// @notice Calls and puts of one strike are netted whatever the order of the lines, and lines of one series are added.
    function test_marginOf_doesNotDependOnTheOrderOfLines() public view {
        Portfolio memory book = _mixed();
        Margin memory margin = engine.marginOfPortfolio(book);
        Portfolio memory other;
        other.positions = new Position[](book.positions.length + 1);
        for (uint256 i; i < book.positions.length; ++i) {
            other.positions[book.positions.length - i] = book.positions[i];
        }
        other.positions[0] = other.positions[1];
        other.positions[0].size -= 1e18;
        other.positions[1] = Position(other.positions[0].instrument, int128(1e18), 0);
        assertEq(abi.encode(engine.marginOfPortfolio(other)), abi.encode(margin));
    }

    // ─── Marks and Greeks

    function test_markOf_matchesReference() public {
        (uint256 price, uint256 volatility) = lens.markOf(_series(BTC, start + 30 days, 55_000, false));
        assertApproxEqRel(price, 1600.69232892722e18, EXACT);
        assertApproxEqRel(volatility, 0.588157058523386e18, EXACT);
        (price, volatility) = lens.markOf(_series(BTC, start + 30 days, 55_000, true));
        assertApproxEqRel(price, 6518.43295618536e18, EXACT);
        assertApproxEqRel(volatility, 0.588157058523386e18, EXACT);
        (price, volatility) = lens.markOf(_series(ETH, start + 60 days, 1500, true));
        assertApproxEqRel(price, 71.7305030050802e18, EXACT);
        assertApproxEqRel(volatility, 0.880086669095971e18, EXACT);
        (price, volatility) = lens.markOf(btcPerpetual);
        assertEq(price, 50_000e18);
        assertEq(volatility, 0);
        // Expired: what it pays at the index, then at the settlement price.
        listOption(BTC, uint40(start + 1 days), 48_000, false);
        vm.warp(start + 1 days);
        priceFeeds[BTC].push(50_500e8);
        (price, volatility) = lens.markOf(_series(BTC, start + 1 days, 48_000, false));
        assertEq(price, 2500e18);
        assertEq(volatility, 0);
        settleAt(BTC, uint40(start + 1 days), 51_000);
        setPrice(BTC, 60_000);
        (price, volatility) = lens.markOf(_series(BTC, start + 1 days, 48_000, false));
        assertEq(price, 3000e18);
        assertEq(volatility, 0);
        (price,) = lens.markOf(_series(BTC, start + 1 days, 48_000, true));
        assertEq(price, 0);
    }

    /// @notice Options are marked at what the feed reports, not at the stressed level.
    function test_markOf_followsTheFeed() public {
        Instrument call = _series(BTC, start + 30 days, 55_000, false);
        (uint256 before,) = lens.markOf(call);
        setParameter(Fields.VOLATILITY_STRESS, BTC, 0, 2_000_000);
        (uint256 price,) = lens.markOf(call);
        assertEq(price, before);
        setVolatility(BTC, 61);
        (price,) = lens.markOf(call);
        assertGt(price, before);
    }

    function test_greeksOf_matchesReference() public {
        uint64 account = _holdMixed();
        Greeks[] memory greeks = lens.greeksOf(account);
        assertEq(greeks.length, 2);
        assertEq(greeks[0].underlying, BTC);
        assertApproxEqRel(greeks[0].delta, 0.189488970026522e18, EXACT);
        assertApproxEqRel(greeks[0].gamma, -0.000026548666576329e18, EXACT);
        assertApproxEqRel(greeks[0].vega, -3159.0587025997e18, EXACT);
        assertApproxEqRel(greeks[0].theta, 11_124.7670175654e18, EXACT);
        assertApproxEqRel(greeks[0].value, -1833.66399990049e18, EXACT);
        assertEq(greeks[1].underlying, ETH);
        assertApproxEqRel(greeks[1].delta, 1.47002007673374e18, EXACT);
        assertApproxEqRel(greeks[1].gamma, -0.00720970313797948e18, EXACT);
        assertApproxEqRel(greeks[1].vega, -100.591762468042e18, 10 * EXACT);
        assertApproxEqRel(greeks[1].theta, 8683.71257864055e18, EXACT);
        assertApproxEqRel(greeks[1].value, -502.675833883283e18, EXACT);
        Margin memory margin = engine.marginOf(account);
        for (uint256 i; i < 2; ++i) {
            assertEq(margin.underlyings[i].delta, greeks[i].delta);
            assertEq(margin.underlyings[i].gamma, greeks[i].gamma);
            assertEq(margin.underlyings[i].vega, greeks[i].vega);
            assertEq(margin.underlyings[i].optionValue, greeks[i].value);
            assertApproxEqAbs(
                margin.underlyings[i].exposure, greeks[i].delta * int256(margin.underlyings[i].price) / 1e18, 1e6
            );
        }
        assertEq(margin.underlyings[0].deltaOne, 0.5e18);
        assertEq(margin.underlyings[1].deltaOne, -4e18);
    }

    // ─── The ways to ask

    /// @notice The premium is cash: paid at the trade, so that equity is where it was when the price was the mark.
    function test_marginOf_premiumIsPaidUpFront() public {
        uint64 account = openAccount(trader, 100_000);
        Instrument call = listOption(BTC, uint40(start + 30 days), 55_000, false);
        (uint256 mark,) = lens.markOf(call);
        trade(account, makerAccount, call, 2e18, mark);
        Margin memory margin = engine.marginOf(account);
        assertApproxEqAbs(margin.cash, 100_000e18 - 3201.38465785444e18, 1e10);
        assertApproxEqAbs(margin.unrealised, 3201.38465785444e18, 1e10);
        assertEq(margin.equity, 100_000e18);
        assertLe(margin.initial.total, uint256(margin.unrealised));
        assertEq(engine.marginOf(makerAccount).equity, 100_000_000e18);
    }

    function test_marginOf_isThatOfThePortfolio() public {
        uint64 account = _holdMixed();
        (int256 equity, uint256 requirement, bool fresh) = engine.initialMarginOf(account);
        Margin memory margin = engine.marginOf(account);
        assertEq(equity, margin.equity);
        assertEq(requirement, margin.initial.total);
        assertTrue(fresh);
        assertEq(abi.encode(engine.marginOfPortfolio(house.portfolioOf(account))), abi.encode(margin));
        assertApproxEqRel(requirement, 3428.975119386e18, KERNEL);
    }

    /// @notice The figures can be followed: losses at the nodes give standalone, joint and the worst node.
    function test_scenarioLosses_giveTheRequirement() public {
        uint64 account = _holdMixed();
        Margin memory margin = engine.marginOf(account);
        ScenarioLosses[] memory losses = lens.scenarioLosses(account);
        assertEq(losses[0].underlying, BTC);
        assertEq(losses[1].underlying, ETH);
        _checkLosses(losses[0].initial, losses[1].initial, margin.initial);
        _checkLosses(losses[0].maintenance, losses[1].maintenance, margin.maintenance);
        // Nothing moves at node 13 but what is aged, and the error of the kernel.
        assertGt(losses[0].initial[13], 0);
        assertLt(losses[0].initial[13], 500e18);
    }

    // ─── A part of the nodes

    /// @notice LIQUIDATE: whoever is liquidatable by some nodes is liquidatable by all of them.
    function testFuzz_marginAt_asksForNoMoreThanMarginOf(uint256 nodes, uint256[2] memory dollars, bool few) public {
        uint64 account = _holdMixed();
        setPrice(BTC, bound(dollars[0], 30_000, 70_000));
        setPrice(ETH, bound(dollars[1], 1200, 3000));
        if (few) nodes = 1 << nodes % 30 | 1 << (nodes >> 8) % 30;
        Margin memory part = engine.marginAt(account, nodes);
        Margin memory margin = engine.marginOf(account);
        assertEq(part.equity, margin.equity);
        assertLe(part.initial.total, margin.initial.total);
        assertLe(part.maintenance.total, margin.maintenance.total);
        assertLe(part.initial.standalone, margin.initial.standalone);
        assertLe(part.initial.joint, margin.initial.joint);
        assertLe(part.maintenance.expectedShortfall, margin.maintenance.expectedShortfall);
    }

    function test_marginAt_isMarginOfWhereWhatDecidesIsAmongThem() public {
        uint64 account = _holdMixed();
        Margin memory margin = engine.marginOf(account);
        assertEq(abi.encode(engine.marginAt(account, (1 << 30) - 1)), abi.encode(margin), "all of them");

        ScenarioLosses[] memory losses = lens.scenarioLosses(account);
        uint256 nodes = 1 << margin.initial.worstNode | 1 << margin.maintenance.worstNode;
        for (uint256 i; i < 2; ++i) {
            nodes |= 1 << _worstOf(losses[i].initial) | 1 << _worstOf(losses[i].maintenance);
        }
        Margin memory part = engine.marginAt(account, nodes);
        assertEq(part.initial.total, margin.initial.total);
        assertEq(part.maintenance.total, margin.maintenance.total);
        assertEq(part.initial.grid, margin.initial.grid);
        assertEq(part.initial.expectedShortfall, 0, "the Greeks were not asked for");
        part = engine.marginAt(account, nodes ^ 1 << margin.initial.worstNode | 1 << 29);
        assertLt(part.initial.joint, margin.initial.joint);
        assertEq(part.initial.expectedShortfall, margin.initial.expectedShortfall);
        assertEq(engine.marginAt(account, 0).initial.grid, 0);
    }

    // ─── Reductions

    function test_isReduction_asksForRiskAndHealth() public {
        uint64 account = _holdMixed();
        Portfolio memory before = house.portfolioOf(account);
        assertTrue(engine.isReduction(account, before), "nothing has changed");
        before.cash += 1;
        assertFalse(engine.isReduction(account, before), "equity has fallen");
        before.cash = -1e24;
        assertTrue(engine.isReduction(account, before), "less is lost than before");

        before = house.portfolioOf(account);
        for (uint256 i; i < before.positions.length; ++i) {
            before.positions[i].size /= 2;
        }
        before.cash = -1e24;
        assertFalse(engine.isReduction(account, before), "the requirements were half of it");
        for (uint256 i; i < before.positions.length; ++i) {
            before.positions[i].size *= 4;
        }
        assertTrue(engine.isReduction(account, before), "they were twice that");
    }

    function test_isReduction_isNoneWhereEquityFallsBelowZero() public {
        uint64 account = openAccount(trader, 8000);
        trade(account, makerAccount, btcPerpetual, 1e18, 50_000e18);
        setPrice(BTC, 41_000);
        Portfolio memory before = house.portfolioOf(account);
        assertTrue(engine.isReduction(account, before));
        before.cash += 2000e18;
        assertFalse(engine.isReduction(account, before));
    }

    function test_marginOf_revertsIfTheSurfaceIsNotCalibrated() public {
        priceOracle.setPriceFeed(3, priceOracle.feedOf(BTC));
        volatilityOracle.setVolatilityFeed(3, volatilityOracle.feedOf(BTC));
        setParameter(Fields.VOLATILITY_CAP, 3, 0, 4_000_000);
        setParameter(Fields.TAIL_MAINTENANCE, 3, 0, 3_000_000);
        setParameter(Fields.TAIL_INITIAL, 3, 0, 3_000_000);
        Portfolio memory book = _book(_option(3, 30 days, 55_000, false, 1e18));
        vm.expectRevert(abi.encodeWithSelector(IMarginEngine.MarginEngineNotCalibrated.selector, 3));
        engine.marginOfPortfolio(book);
        book.positions[0].instrument = InstrumentLibrary.perpetual(3);
        engine.marginOfPortfolio(book);
    }

    // ─── Charges

    function test_marginOf_scalesInitialRiskWithOpenInterest() public {
        Portfolio memory book = _book(_option(BTC, 30 days, 55_000, false, -2e18));
        Margin memory before = engine.marginOfPortfolio(book);
        setParameter(Fields.OPEN_INTEREST_UPPER, BTC, 0, 1000);
        setParameter(Fields.OPEN_INTEREST_SCALE, BTC, 0, 2_000_000);
        uint64 account = openAccount(trader, 1_000_000);
        trade(account, makerAccount, btcPerpetual, 10e18, 50_000e18); // half a million of a million
        Margin memory margin = engine.marginOfPortfolio(book);
        assertEq(margin.openInterestScale, 1.5e18);
        assertEq(margin.initial.risk, before.initial.risk);
        assertApproxEqAbs(margin.initial.total, before.initial.total + before.initial.risk / 2, 2);
        assertEq(margin.maintenance.total, before.maintenance.total);
        // Of another underlying none at all.
        assertEq(engine.marginOfPortfolio(_book(_option(ETH, 30 days, 2000, true, -1e18))).openInterestScale, WAD);
    }

    /// @notice The floor counts delta-one net and every short option; it binds only initially.
    function test_marginOf_initialIsAtLeastTheLeverageFloor() public {
        Portfolio memory book = _book(_option(BTC, 30 days, 55_000, false, -2e18));
        book.positions = _append(book.positions, Position(btcPerpetual, -1e18, 0));
        book.positions = _append(book.positions, _option(BTC, 7 days, 40_000, true, -4e18));
        book.positions = _append(book.positions, _option(BTC, 7 days, 40_000, false, 5e18));
        setParameter(Fields.TIER_RATE_4, BTC, 0, 400_000);
        setParameter(Fields.TIER_RATE_3, BTC, 0, 400_000);
        setParameter(Fields.TIER_RATE_2, BTC, 0, 400_000);
        setParameter(Fields.TIER_RATE_1, BTC, 0, 400_000);
        Margin memory margin = engine.marginOfPortfolio(book);
        assertEq(margin.initial.leverageFloor, 0.4e18 * 7 * 50_000);
        assertEq(margin.initial.total, margin.initial.leverageFloor);
        assertEq(margin.maintenance.leverageFloor, 0);
        assertLt(margin.maintenance.total, margin.initial.total);
    }

    /// @notice Beside an option as without one: a range above the price takes all of a long, more than that of a short.
    function test_marginOf_aLongLosesNoMoreThanAllOfIt() public {
        setVolatility(BTC, 500);
        setParameter(Fields.TAIL_INITIAL, BTC, 0, 10_000_000);
        Portfolio memory book = _book(Position(btcPerpetual, 1e18, 0), _option(BTC, 1 hours, 1_000_000, false, 1));
        Margin memory margin = engine.marginOfPortfolio(book);
        assertGt(margin.underlyings[0].rangeInitial, 2e18);
        assertApproxEqAbs(margin.initial.standalone, 50_000e18, 1e6);
        book.positions[0].size = -1e18;
        margin = engine.marginOfPortfolio(book);
        assertApproxEqAbs(margin.initial.standalone, 50_000 * margin.underlyings[0].rangeInitial, 1e6);
    }

    // ─── Expiry

    /// @notice Between its expiry and its settlement an option is its payoff, and may still move.
    function test_marginOf_expiredAndUnsettledIsThePayoffAtTheIndex() public {
        Portfolio memory book = _book(_option(BTC, 1 days, 48_000, false, -2e18));
        vm.warp(start + 1 days);
        priceFeeds[BTC].push(50_000e8);
        Margin memory margin = engine.marginOfPortfolio(book);
        assertEq(margin.equity, -4000e18);
        assertEq(margin.underlyings[0].delta, -2e18);
        assertEq(margin.underlyings[0].gamma, 0);
        assertEq(margin.underlyings[0].vega, 0);
        // At the upper end 50,000 · range above what it is now; ES is linear too.
        uint256 range = margin.underlyings[0].rangeInitial;
        assertApproxEqRel(margin.initial.risk, 100_000 * range, KERNEL);
        // Long, it can lose its value and no more.
        book.positions[0].size = 2e18;
        margin = engine.marginOfPortfolio(book);
        assertEq(margin.initial.total, 4000e18);
    }

    function test_marginOf_settledIsCashInAllButName() public {
        listOption(BTC, uint40(start + 1 days), 48_000, false);
        Portfolio memory book =
            _book(_option(BTC, 1 days, 48_000, false, -2e18), _option(BTC, 1 days, 52_000, true, 3e18));
        settleAt(BTC, uint40(start + 1 days), 50_000);
        setPrice(BTC, 70_000);
        Margin memory margin = engine.marginOfPortfolio(book);
        assertEq(margin.equity, -4000e18 + 6000e18);
        assertEq(margin.initial.total, 0);
        assertEq(margin.maintenance.total, 0);
        assertEq(margin.underlyings[0].exposure, 0);
        // Nor does it lend its value to a long option that can still lose.
        book.positions = _append(book.positions, _option(BTC, 30 days, 90_000, false, 1e15));
        margin = engine.marginOfPortfolio(book);
        assertLe(margin.initial.total, uint256(margin.equity - 2000e18) + 1);
    }

    // ─── ORDER

    function testFuzz_marginOf_maintenanceIsAtMostInitial(uint256 seed, uint256[2] memory volatilities, uint256 age)
        public
    {
        Portfolio memory book = _randomBook(seed, 12);
        setVolatility(BTC, bound(volatilities[0], 2, 900));
        setVolatility(ETH, bound(volatilities[1], 2, 900));
        vm.warp(block.timestamp + bound(age, 0, 2 hours));
        _requireOrder(engine.marginOfPortfolio(book));
    }

    // ─── COHERENCE

    function testFuzz_marginOf_gridOfTwoTogetherIsAtMostTheSum(uint256 first, uint256 second, uint256 offset) public {
        setParameter(Fields.OFFSET, 0, 0, int32(int256(bound(offset, 0, 800_000))));
        Portfolio memory one = _randomBook(first, 8);
        Portfolio memory two = _randomBook(second, 8);
        if (second % 3 == 0) _opposeStrikes(one, two, second);
        Margin memory a = engine.marginOfPortfolio(one);
        Margin memory b = engine.marginOfPortfolio(two);
        Margin memory both = engine.marginOfPortfolio(_union(one, two));
        assertLe(both.initial.standalone, a.initial.standalone + b.initial.standalone + ROUNDING, "standalone");
        assertLe(both.initial.joint, a.initial.joint + b.initial.joint + ROUNDING, "joint");
        assertLe(both.initial.grid, a.initial.grid + b.initial.grid + ROUNDING, "grid");
        assertLe(both.maintenance.grid, a.maintenance.grid + b.maintenance.grid + ROUNDING, "maintenance");
        assertLe(
            both.initial.shortOptionMinimum, a.initial.shortOptionMinimum + b.initial.shortOptionMinimum + ROUNDING
        );
    }

    function testFuzz_marginOf_sizeCostsMoreNeverLess(uint256 seed, uint256 times) public view {
        Portfolio memory book = _randomBook(seed, 12);
        Margin memory one = engine.marginOfPortfolio(book);
        times = bound(times, 1, 5);
        for (uint256 i; i < book.positions.length; ++i) {
            book.positions[i].size *= int128(int256(times));
        }
        for (uint256 i; i < book.collateral.length; ++i) {
            book.collateral[i].amount *= times;
        }
        Margin memory many = engine.marginOfPortfolio(book);
        uint256 rounding = times * (one.initial.expectedShortfall / 1e12 + 1e10);
        assertGe(many.initial.total + rounding, times * one.initial.total, "initial");
        assertGe(many.maintenance.total + rounding, times * one.maintenance.total, "maintenance");
    }

    // ─── Long options

    /// @notice What can't lose more than its value never needs more.
    function testFuzz_marginOf_longOptionsAloneNeedAtMostTheirValue(uint256 seed) public view {
        Portfolio memory book = _randomBook(seed, 12);
        uint256 count;
        for (uint256 i; i < book.positions.length; ++i) {
            Position memory position = book.positions[i];
            if (!position.instrument.isOption()) continue;
            if (position.size < 0) position.size = -position.size;
            book.positions[count++] = position;
        }
        Position[] memory positions = book.positions;
        assembly ("memory-safe") {
            mstore(positions, count)
        }
        book.collateral = new Collateral[](0);
        Margin memory margin = engine.marginOfPortfolio(book);
        assertLe(margin.initial.total, uint256(margin.equity) + 2);
        assertLe(margin.maintenance.total, uint256(margin.equity) + 2);
    }

    /// @notice Whatever else is held, long options raise the requirement by no more than they are worth together.
    function testFuzz_marginOf_longOptionsCostAtMostTheirValue(uint256 seed) public view {
        Portfolio memory book = _randomBook(seed, 12);
        Margin memory margin = engine.marginOfPortfolio(book);
        Margin memory rest = engine.marginOfPortfolio(_withoutLongOptions(book));
        uint256 most = uint256(margin.equity - rest.equity) + ROUNDING;
        assertLe(margin.initial.total, rest.initial.total + most, "initial");
        assertLe(margin.maintenance.total, rest.maintenance.total + most, "maintenance");
        if (margin.initial.longOptionCap != type(uint256).max) {
            assertLe(margin.initial.total, margin.initial.longOptionCap);
            assertApproxEqAbs(margin.initial.longOptionCap, rest.initial.total + most, 2 * ROUNDING, "cap");
        }
    }

    /// @notice COHERENCE: one more adds no more than its value to the grid. (Of the shortfall that isn't true.)
    function testFuzz_marginOf_aLongOptionAddsAtMostItsValueToTheGrid(uint256 seed, uint256 option) public view {
        Portfolio memory book = _randomBook(seed, 8);
        Margin memory before = engine.marginOfPortfolio(book);
        Position memory long = _randomOption(option);
        if (long.size < 0) long.size = -long.size;
        book.positions = _append(book.positions, long);
        Margin memory margin = engine.marginOfPortfolio(book);
        uint256 most = uint256(margin.equity - before.equity);
        // The kernel's error, ERROR · size · (forward + strike), with strikes up to twice the price.
        most += uint256(uint128(long.size)) * 8 * (long.instrument.underlying() == BTC ? 50_000 : 2000) / 1e8 + ROUNDING;
        assertLe(margin.initial.grid, before.initial.grid + most, "initial");
        assertLe(margin.maintenance.grid, before.maintenance.grid + most, "maintenance");
    }

    // ─── Parity

    /// @notice Long a call and short a put is a forward; a box of two is their difference in strikes for certain.
    function testFuzz_marginOf_aSyntheticForwardIsThePerpetual(
        uint256 strike,
        uint256 time,
        int256 size,
        uint256 volatility
    ) public {
        setParameter(Fields.CARRY, BTC, 0, 0);
        setVolatility(BTC, bound(volatility, 10, 300));
        size = bound(size, -1e21, 1e21);
        (strike, time) = (bound(strike, 5000, 500_000), bound(time, 1, 730 days));
        Margin memory synthetic = engine.marginOfPortfolio(
            _book(_option(BTC, time, strike, false, size), _option(BTC, time, strike, true, -size))
        );
        Portfolio memory book;
        book.positions = _append(book.positions, Position(btcPerpetual, int128(size), 0));
        Margin memory perpetual = engine.marginOfPortfolio(book);
        assertApproxEqAbs(synthetic.equity, perpetual.equity - size * int256(strike), 1e5, "parity");
        assertApproxEqAbs(synthetic.underlyings[0].delta, size, 1e6);
        assertEq(synthetic.initial.shortOptionMinimum, 0);
        _requireSame(synthetic.initial, perpetual.initial);
        _requireSame(synthetic.maintenance, perpetual.maintenance);
    }

    /// @notice No risk, nothing to close: only the floor on leverage, which counts what is short.
    function testFuzz_marginOf_aBoxHasNoRisk(uint256 lower, uint256 upper, uint256 time, uint256 size) public view {
        (lower, upper) = (bound(lower, 5000, 50_000), bound(upper, 50_001, 500_000));
        (size, time) = (bound(size, 1, 1e21), bound(time, 1, 730 days));
        Portfolio memory book =
            _book(_option(BTC, time, lower, false, int256(size)), _option(BTC, time, lower, true, -int256(size)));
        book.positions = _append(book.positions, _option(BTC, time, upper, false, -int256(size)));
        book.positions = _append(book.positions, _option(BTC, time, upper, true, int256(size)));
        Margin memory margin = engine.marginOfPortfolio(book);
        assertApproxEqAbs(margin.equity, int256(size * (upper - lower)), 1e5);
        assertLe(margin.initial.risk, ROUNDING);
        assertLe(margin.initial.liquidity, ROUNDING);
        assertEq(margin.initial.shortOptionMinimum, 0);
        assertLe(margin.maintenance.total, ROUNDING);
        assertGt(margin.initial.leverageFloor, 0);
        assertLe(margin.initial.total, margin.initial.leverageFloor + ROUNDING);
    }

    // ─── Monotonicity

    /// @notice A short option needs more at a higher volatility, for more of it, and at an older price.
    function testFuzz_marginOf_aShortRisesWithVolatilitySizeAndAge(
        uint256 strike,
        uint256 time,
        uint256 volatility,
        uint256 more,
        uint256 age
    ) public {
        // At deviations above one prices hardly feel the volatility any more, and less of it can be more.
        time = bound(time, 3 hours, 90 days);
        Portfolio memory book = _book(_option(BTC, time, bound(strike, 30_000, 80_000), strike % 2 == 0, -1e18));
        // And while what was realised holds the live level up, a lower mark only makes gamma larger.
        volatility = bound(volatility, 35, 150);
        setVolatility(BTC, volatility);
        Margin memory lower = engine.marginOfPortfolio(book);
        setVolatility(BTC, volatility + bound(more, 1, 50));
        Margin memory higher = engine.marginOfPortfolio(book);
        assertGe(higher.initial.total + 1e15, lower.initial.total, "volatility");
        book.positions[0].size = -1.5e18;
        Margin memory larger = engine.marginOfPortfolio(book);
        assertGe(larger.initial.total, higher.initial.total, "size");
        assertGe(larger.maintenance.total, higher.maintenance.total, "size");
        // The clock moves the option's expiry along, so that the price alone gets older.
        age = bound(age, 1, 2 hours);
        vm.warp(block.timestamp + age);
        book.positions[0] = _option(BTC, time, bound(strike, 30_000, 80_000), strike % 2 == 0, -1.5e18);
        volatilityFeeds[BTC].push(int256((volatility + bound(more, 1, 50)) * 1e3));
        Margin memory older = engine.marginOfPortfolio(book);
        assertGe(older.initial.total + 1e15, larger.initial.total, "age");
    }

    // ─── It always answers

    /// @notice A margin that can't be computed is an account that can't be liquidated. Sixty-four options of any size,
    /// strike and time to expiry, some of it over, at any price and any volatility the feeds may report.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_marginOf_answersForSixtyFourOfAnything(uint256 seed, uint256[4] memory market) public {
        priceFeeds[BTC].push(int256(_logarithmic(market[0], 100, 1e17))); // 1e-6 to 1e9 dollars
        priceFeeds[ETH].push(int256(_logarithmic(market[1], 100, 1e17)));
        setVolatility(BTC, bound(market[2], 1, 1000));
        setVolatility(ETH, bound(market[3], 1, 1000));
        if (seed % 4 == 0) {
            volatilityOracle.poke(BTC, 100);
            volatilityOracle.poke(ETH, 100);
        }
        Portfolio memory book;
        book.cash = int256(seed % 1e30) - 5e29;
        book.positions = new Position[](64);
        for (uint256 i; i < 64; ++i) {
            uint256 draw = uint256(keccak256(abi.encode(seed, i)));
            book.positions[i] = Position(
                InstrumentLibrary.option(
                    draw % 2 == 0,
                    draw % 5 < 3 ? BTC : ETH,
                    // A few series, some of which have expired.
                    uint40(
                        start + _logarithmic(uint256(keccak256(abi.encode(seed, draw % 9))), 1, 730 days)
                            - (draw % 9 == 0 ? 2 days : 0)
                    ),
                    uint64(_logarithmic(draw >> 64, 1, 1e17))
                ),
                int128(int256(_logarithmic(draw >> 128, 1, 1e28)) * (draw % 7 < 3 ? int256(1) : int256(-1))),
                0
            );
        }
        _requireNoOverflow(book);
        // The price gets old, the volatility out of date.
        vm.warp(block.timestamp + 2 hours);
        _requireOrder(engine.marginOfPortfolio(book));
        volatilityFeeds[BTC].push(-1);
        vm.warp(block.timestamp + 1 days);
        priceFeeds[BTC].push(int256(_logarithmic(market[1], 100, 1e17)));
        priceFeeds[ETH].push(int256(_logarithmic(market[0], 100, 1e17)));
        Margin memory margin = engine.marginOfPortfolio(book);
        assertFalse(margin.fresh);
        _requireOrder(margin);
    }

    /// @notice An option needs margin on every second of its life, and after it.
    function testFuzz_marginOf_answersUntilAndAfterExpiry(uint256 when, uint256 dollars, int256 size) public {
        uint40 expiry = uint40(start + 30 days);
        listOption(BTC, expiry, 50_000, false);
        Portfolio memory book = _book(_option(BTC, 30 days, 50_000, false, bound(size, -1e28, 1e28)));
        book.positions = _append(book.positions, _option(BTC, 30 days, 50_000, true, bound(size >> 1, -1e28, 1e28)));
        uint256 last = when % 4 == 0 ? 1 : when % 4 == 1 ? 2 hours : 30 days;
        vm.warp(bound(when >> 8, expiry - last, expiry + last));
        if (block.timestamp > expiry && when & 8 == 0) {
            settleAt(BTC, expiry, bound(dollars, 1, 1e9));
        }
        setPrice(BTC, bound(dollars >> 8, 1, 1e9));
        _requireOrder(engine.marginOfPortfolio(book));
    }

    /// @notice A volatility feed that answers no more: the maintenance level takes its place, and nothing stands still.
    function test_marginOf_answersWithoutAVolatilityFeed() public {
        Portfolio memory book = _book(_option(BTC, 30 days, 55_000, false, -2e18));
        Margin memory before = engine.marginOfPortfolio(book);
        assertTrue(before.fresh);
        volatilityFeeds[BTC].push(0);
        Margin memory margin = engine.marginOfPortfolio(book);
        assertFalse(margin.fresh);
        assertEq(margin.underlyings[0].volatilityMark, margin.underlyings[0].volatilityMaintenance);
        assertGt(margin.initial.total, before.initial.total);
        _requireOrder(margin);
        // Out of date it still says what an option is worth.
        volatilityFeeds[BTC].push(60_000);
        vm.warp(block.timestamp + 1 days + 1);
        priceFeeds[BTC].push(50_000e8);
        margin = engine.marginOfPortfolio(book);
        assertFalse(margin.fresh);
        assertEq(margin.underlyings[0].volatilityMark, 0.6e18);
    }

    /// @notice Sixty-four strikes on two underlyings at eight expiries each, both horizons, with and without the long ones.
    function test_marginOf_sixtyFourOptionsFitIntoABlock() public view {
        Portfolio memory book;
        book.positions = new Position[](64);
        for (uint256 i; i < 64; ++i) {
            uint16 underlying = i % 2 == 0 ? BTC : ETH;
            book.positions[i] = _option(
                underlying,
                (1 + i / 2 % 8) * 11 days,
                (underlying == BTC ? 40_000 + 700 * i : 1600 + 28 * i),
                i % 4 < 2,
                i % 8 < 2 ? int256(0.1e18) : int256(-1e18)
            );
        }
        uint256 gas = gasleft();
        Margin memory margin = engine.marginOfPortfolio(book);
        gas -= gasleft();
        assertLt(margin.initial.longOptionCap, type(uint256).max);
        assertLt(gas, 30_000_000);
    }

    // ─── Helpers

    /// @param expected standalone, joint, worst node, shortfall, liquidity, short option minimum, leverage floor.
    function _check(Requirement memory actual, uint256[7] memory expected, uint256 total) private pure {
        assertApproxEqAbs(actual.standalone, expected[0], expected[0] / 1e6 + 1e14, "standalone");
        assertApproxEqAbs(actual.joint, expected[1], expected[1] / 1e6 + 1e14, "joint");
        assertEq(actual.worstNode, expected[2], "node");
        uint256 grid = expected[0] * 4 / 10 + expected[1] * 6 / 10;
        assertApproxEqAbs(actual.grid, grid, grid / 1e6 + 1e14, "grid");
        assertApproxEqAbs(actual.expectedShortfall, expected[3], expected[3] / 1e8 + 1e10, "shortfall");
        assertEq(actual.risk, actual.grid > actual.expectedShortfall ? actual.grid : actual.expectedShortfall, "risk");
        assertApproxEqAbs(actual.liquidity, expected[4], expected[4] / 1e8 + 1e10, "liquidity");
        assertEq(actual.shortOptionMinimum, expected[5], "minimum");
        assertEq(actual.leverageFloor, expected[6], "floor");
        assertApproxEqRel(actual.total, total, KERNEL, "total");
    }

    function _checkLosses(int256[29] memory btc, int256[29] memory eth, Requirement memory requirement) private pure {
        int256[3] memory worst;
        uint256 node;
        for (uint256 i; i < 29; ++i) {
            if (btc[i] > worst[0]) worst[0] = btc[i];
            if (eth[i] > worst[1]) worst[1] = eth[i];
            if (btc[i] + eth[i] > worst[2]) (worst[2], node) = (btc[i] + eth[i], i);
        }
        assertApproxEqAbs(uint256(worst[0] + worst[1]), requirement.standalone, 2);
        assertApproxEqAbs(uint256(worst[2]), requirement.joint, 2);
        assertEq(node, requirement.worstNode);
    }

    function _worstOf(int256[29] memory losses) private pure returns (uint256 worst) {
        for (uint256 node = 1; node < 29; ++node) {
            if (losses[node] > losses[worst]) worst = node;
        }
    }

    function _requireSame(Requirement memory synthetic, Requirement memory perpetual) private pure {
        uint256 rounding = perpetual.total / 1e12 + 1e10;
        assertApproxEqAbs(synthetic.risk, perpetual.risk, rounding, "risk");
        assertApproxEqAbs(synthetic.liquidity, perpetual.liquidity, rounding, "liquidity");
    }

    function _requireOrder(Margin memory margin) private pure {
        assertLe(margin.maintenance.total, margin.initial.total, "ORDER");
        // Room that no overflow would leave.
        assertLt(margin.initial.total, 1e60);
        assertGe(margin.initial.risk, margin.initial.grid);
        assertGe(margin.initial.standalone, margin.initial.joint);
    }

    /// @dev A millionth (2^-20) of the book has a millionth of the grid, which no sum that wrapped round would have.
    function _requireNoOverflow(Portfolio memory book) private view {
        for (uint256 i; i < book.positions.length; ++i) {
            book.positions[i].size >>= 20;
        }
        Margin memory small = engine.marginOfPortfolio(book);
        for (uint256 i; i < book.positions.length; ++i) {
            book.positions[i].size <<= 20;
        }
        Margin memory large = engine.marginOfPortfolio(book);
        _requireOrder(large);
        assertApproxEqAbs(large.unrealised, small.unrealised << 20, 1e9, "value");
        assertApproxEqAbs(large.initial.grid, small.initial.grid << 20, large.initial.grid / 1e12 + 1e9, "initial");
        assertApproxEqAbs(
            large.maintenance.grid, small.maintenance.grid << 20, large.maintenance.grid / 1e12 + 1e9, "maintenance"
        );
        assertGe(large.initial.total + 1e9, small.initial.total);
    }

    function _series(uint16 underlying, uint256 expiry, uint256 dollars, bool isPut) private pure returns (Instrument) {
        return InstrumentLibrary.option(isPut, underlying, uint40(expiry), uint64(dollars * 1e8));
    }

    /// @param time From now on [seconds].
    function _option(uint16 underlying, uint256 time, uint256 dollars, bool isPut, int256 size)
        private
        view
        returns (Position memory)
    {
        return Position(_series(underlying, block.timestamp + time, dollars, isPut), int128(size), 0);
    }

    function _book(Position memory one) private pure returns (Portfolio memory book) {
        book.positions = _append(book.positions, one);
    }

    function _book(Position memory one, Position memory two) private pure returns (Portfolio memory book) {
        book.positions = _append(_append(book.positions, one), two);
    }

    function _append(Position[] memory positions, Position memory last)
        private
        pure
        returns (Position[] memory longer)
    {
        longer = new Position[](positions.length + 1);
        for (uint256 i; i < positions.length; ++i) {
            longer[i] = positions[i];
        }
        longer[positions.length] = last;
    }

    function _union(Portfolio memory one, Portfolio memory two) private pure returns (Portfolio memory both) {
        both.positions = one.positions;
        for (uint256 i; i < two.positions.length; ++i) {
            both.positions = _append(both.positions, two.positions[i]);
        }
        both.collateral = new Collateral[](one.collateral.length + two.collateral.length);
        for (uint256 i; i < both.collateral.length; ++i) {
            both.collateral[i] =
                i < one.collateral.length ? one.collateral[i] : two.collateral[i - one.collateral.length];
        }
    }

    /// @dev What is left when the series held long, all lines of one together, are taken away.
    function _withoutLongOptions(Portfolio memory book) private pure returns (Portfolio memory rest) {
        rest.cash = book.cash;
        rest.collateral = book.collateral;
        for (uint256 i; i < book.positions.length; ++i) {
            Position memory position = book.positions[i];
            int256 size;
            for (uint256 j; j < book.positions.length; ++j) {
                if (book.positions[j].instrument == position.instrument) size += book.positions[j].size;
            }
            if (!position.instrument.isOption() || size < 0) rest.positions = _append(rest.positions, position);
        }
    }

    /// @dev Puts some of the first book's series into the second with any size, so that they net when put together.
    function _opposeStrikes(Portfolio memory one, Portfolio memory two, uint256 seed) private pure {
        for (uint256 i; i < two.positions.length && i < one.positions.length; ++i) {
            two.positions[i].instrument = one.positions[i].instrument;
            two.positions[i].size = -one.positions[i].size * int128(int256(bound(seed >> i, 1, 30))) / 10;
        }
    }

    /// @dev Up to so many lines of options and perpetuals on both underlyings, and sometimes collateral.
    function _randomBook(uint256 seed, uint256 most) private view returns (Portfolio memory book) {
        uint256 count = 1 + uint256(keccak256(abi.encode(seed))) % most;
        book.positions = new Position[](count);
        for (uint256 i; i < count; ++i) {
            book.positions[i] = _randomOption(uint256(keccak256(abi.encode(seed, i))));
        }
        // Not first, so that there is always an option.
        if (count > 1 && seed % 2 == 0) book.positions[1].instrument = btcPerpetual;
        if (count > 2 && seed % 3 == 0) book.positions[2].instrument = ethPerpetual;
        if (seed % 5 == 0) {
            book.collateral = new Collateral[](1);
            book.collateral[0] = Collateral(WETH, ETH, uint256(keccak256(abi.encode(seed, "weth"))) % 1e20);
        }
    }

    /// @dev Half to twice the price, six expiries, a thousandth to a thousand units.
    function _randomOption(uint256 draw) private view returns (Position memory) {
        uint16 underlying = draw & 1 == 0 ? BTC : ETH;
        uint256 price = underlying == BTC ? 50_000 : 2000;
        uint256 time = [uint256(1 hours), 1 days, 3 days, 14 days, 60 days, 500 days][(draw >> 8) % 6];
        int256 size = int256(_logarithmic(draw >> 32, 1e15, 1e21));
        // Few strikes, so that calls and puts meet.
        uint256 strike = price * (10 + (draw >> 16) % 31) / 20;
        return _option(underlying, time, strike, draw & 2 == 0, draw & 4 == 0 ? size : -size);
    }

    /// @dev Even over powers of two.
    function _logarithmic(uint256 seed, uint256 low, uint256 high) private pure returns (uint256 x) {
        uint256 bits;
        while (high >> bits > low) ++bits;
        x = high >> (seed % (bits + 1));
        x -= x / 2 * (seed >> 16 & 0xffff) / 0xffff;
        return x < low ? low : x;
    }

    /// @dev Half a bitcoin and a call spread on it; short four ether, a strangle with an uneven straddle.
    function _mixed() private view returns (Portfolio memory book) {
        book.positions = new Position[](7);
        book.positions[0] = Position(btcPerpetual, 0.5e18, 0);
        book.positions[1] = _option(BTC, 30 days, 55_000, false, -2e18);
        book.positions[2] = _option(BTC, 30 days, 60_000, false, 2e18);
        book.positions[3] = Position(ethPerpetual, -4e18, 0);
        book.positions[4] = _option(ETH, 14 days, 2000, false, 3e18);
        book.positions[5] = _option(ETH, 14 days, 2000, true, -10e18);
        book.positions[6] = _option(ETH, 60 days, 1500, true, 5e18);
    }

    /// @dev An account that holds it.
    function _holdMixed() private returns (uint64 account) {
        account = openAccount(trader, 1_000_000);
        Position[] memory positions = _mixed().positions;
        for (uint256 i; i < positions.length; ++i) {
            Instrument instrument = positions[i].instrument;
            if (instrument.isOption()) {
                listOption(instrument.underlying(), instrument.expiry(), instrument.strike() / WAD, instrument.isPut());
            }
            (uint256 mark,) = lens.markOf(instrument);
            trade(account, makerAccount, instrument, positions[i].size, mark);
        }
    }
}
