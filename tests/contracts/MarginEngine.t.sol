// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IMarginEngine } from "contracts/interfaces/IMarginEngine.sol";
import { IMarginLens } from "contracts/interfaces/IMarginLens.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { PushedFeed } from "contracts/oracles/PushedFeed.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";
import { InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Collateral, Portfolio, Position } from "contracts/types/Portfolio.sol";

/// @notice Reference numbers were computed with mpmath from the formulas of the design, not from the code:
/// BTC 50,000 at a volatility of 0.75 · 0.6 + 0.25 · 1 = 0.7, ETH 2,000 at 0.85; z 3.2 over a day and 3.6 over four hours;
/// offset 60%, correlations 0.6 and 0.95; half spread 3 basis points, Y 0.8, two billion dollars a day.
/// Fuzz tests ask for portfolios nobody holds, as a simulation or a calibrator would.
contract MarginEngineTest is Accounts {
    /// @dev The covariance counts in billionths of a dollar and rounds up twice.
    uint256 private constant ROUNDING = 2e9;

    // ─── By hand

    function test_marginOf_aLong() public {
        uint64 account = openAccount(trader, 20_000);
        trade(account, makerAccount, btcPerpetual, 1.5e18, 50_000e18);
        Margin memory margin = engine.marginOf(account);
        assertEq(margin.equity, 20_000e18);
        assertEq(margin.underlyings.length, 1);
        assertEq(margin.underlyings[0].price, 50_000e18);
        assertEq(margin.underlyings[0].deltaOne, 1.5e18);
        assertEq(margin.underlyings[0].delta, 1.5e18);
        assertEq(margin.underlyings[0].exposure, 75_000e18);
        assertEq(margin.underlyings[0].gamma, 0);
        assertEq(margin.underlyings[0].optionValue, 0);
        assertEq(margin.underlyings[0].volatilityInitial, 0.7e18);
        assertEq(margin.underlyings[0].volatilityMaintenance, 0.7e18);
        _near(margin.underlyings[0].rangeInitial, 0.11724695866020787e18, 10);
        _near(margin.underlyings[0].rangeMaintenance, 0.053849104239506717e18, 10);
        _near(margin.initial.liquidity, 31.474850706584452821e18, ROUNDING);
        _near(margin.initial.risk, 8793.521899515590219453e18, ROUNDING);
        _near(margin.initial.total, 8824.996750222174672274e18, ROUNDING);
        _near(margin.maintenance.total, 4070.157668669578222073e18, ROUNDING);
        // Linear: the worst is at the lower end of the range, the extreme counts at 35%.
        assertEq(margin.initial.worstNode, 1);
        assertEq(margin.initial.shortOptionMinimum, 0);
        assertEq(margin.initial.leverageFloor, 375e18);
        assertEq(margin.initial.longOptionCap, type(uint256).max);
    }

    function test_marginOf_aShort() public {
        uint64 account = openAccount(trader, 20_000);
        trade(account, makerAccount, ethPerpetual, -20e18, 2000e18);
        Margin memory margin = engine.marginOf(account);
        assertEq(margin.underlyings[0].exposure, -40_000e18);
        _near(margin.initial.risk, 5694.852277781525094503e18, ROUNDING);
        _near(margin.initial.total, 5711.096970053171429622e18, ROUNDING);
        _near(margin.maintenance.total, 2631.772612476258299968e18, ROUNDING);
    }

    function test_marginOf_twoOnTheSameSide() public view {
        Margin memory margin = engine.marginOfPortfolio(_portfolio(50_000e18, 1.5e18, 20e18));
        _near(margin.initial.standalone, 14_488.374177297115313956e18, ROUNDING);
        _near(margin.initial.joint, 14_488.374177297115313956e18, ROUNDING);
        _near(margin.initial.grid, 14_488.374177297115313956e18, ROUNDING);
        _near(margin.initial.expectedShortfall, 14_314.510312247920372258e18, 3 * ROUNDING);
        _near(margin.initial.total, 14_536.093720275346101896e18, ROUNDING);
        _near(margin.maintenance.total, 6701.930281145846522041e18, ROUNDING);
    }

    function test_marginOf_twoOnOppositeSidesOffset() public view {
        Margin memory margin = engine.marginOfPortfolio(_portfolio(50_000e18, 1.5e18, -20e18));
        _near(margin.initial.standalone, 14_488.374177297115313956e18, ROUNDING);
        _near(margin.initial.joint, 3098.669621734065124951e18, ROUNDING);
        _near(margin.initial.grid, 7654.551443959285200553e18, ROUNDING);
        _near(margin.initial.expectedShortfall, 7047.26897457447696076e18, 3 * ROUNDING);
        _near(margin.initial.total, 7702.270986937515988492e18, ROUNDING);
        _near(margin.maintenance.total, 3563.296776900312164221e18, ROUNDING);
    }

    function test_marginOf_multipliesRiskAndNotLiquidity() public {
        setParameter(Fields.MULTIPLIER, 0, 0, 1_300_000);
        Margin memory margin = engine.marginOfPortfolio(_portfolio(50_000e18, 1.5e18, -20e18));
        assertEq(margin.multiplier, 1.3e18);
        _near(margin.initial.total, 9998.636420125301548658e18, ROUNDING);
        _near(margin.maintenance.total, 4617.969947076936577107e18, ROUNDING);
    }

    /// @notice A range above the price takes all of a long, and more than that of a short.
    function test_marginOf_aLongLosesNoMoreThanAllOfIt() public {
        setVolatility(BTC, 500);
        setParameter(Fields.TAIL_INITIAL, BTC, 0, 10_000_000);
        Margin memory margin = engine.marginOfPortfolio(_single(BTC, 1e18));
        assertGt(margin.underlyings[0].rangeInitial, 2e18);
        assertEq(margin.initial.standalone, 50_000e18);
        margin = engine.marginOfPortfolio(_single(BTC, -1e18));
        assertEq(margin.initial.standalone, 50_000 * margin.underlyings[0].rangeInitial);
    }

    /// @notice The notional brackets bind a small risk, initially and not for maintenance.
    function test_marginOf_initialIsAtLeastTheLeverageFloor() public {
        Margin memory before = engine.marginOfPortfolio(_portfolio(0, 30e18, -20e18));
        setParameter(Fields.TIER_RATE_4, BTC, 0, 400_000);
        setParameter(Fields.TIER_RATE_3, BTC, 0, 400_000);
        setParameter(Fields.TIER_RATE_2, BTC, 0, 400_000);
        setParameter(Fields.TIER_RATE_1, BTC, 0, 250_000);
        Margin memory margin = engine.marginOfPortfolio(_portfolio(0, 30e18, -20e18));
        // A million at 25%, half a million at 40%; ether at half a percent.
        assertEq(margin.initial.leverageFloor, 250_000e18 + 200_000e18 + 200e18);
        assertEq(margin.initial.total, margin.initial.leverageFloor);
        assertEq(margin.initial.risk, before.initial.risk);
        assertEq(margin.maintenance.total, before.maintenance.total);
    }

    function test_marginOf_scalesInitialRiskWithOpenInterest() public {
        setParameter(Fields.OPEN_INTEREST_UPPER, ETH, 0, 100);
        setParameter(Fields.OPEN_INTEREST_LOWER, ETH, 0, 20);
        setParameter(Fields.OPEN_INTEREST_SCALE, ETH, 0, 1_800_000);
        Portfolio memory portfolio = _portfolio(50_000e18, 1.5e18, -20e18);
        Margin memory before = engine.marginOfPortfolio(portfolio);
        assertEq(before.openInterestScale, WAD);
        uint64 account = openAccount(trader, 100_000);
        trade(account, makerAccount, ethPerpetual, 30e18, 2000e18); // 60 of 20 to 100 thousand dollars
        Margin memory margin = engine.marginOfPortfolio(portfolio);
        assertEq(margin.openInterestScale, 1.4e18);
        assertEq(margin.initial.risk, before.initial.risk);
        assertApproxEqAbs(margin.initial.total, before.initial.total + before.initial.risk * 4 / 10, 2);
        assertEq(margin.maintenance.total, before.maintenance.total);
    }

    /// @notice ORACLE: the older the price, the wider the range.
    function test_marginOf_widensWithTheAgeOfThePrice() public {
        vm.warp(block.timestamp + 1 hours);
        Margin memory margin = engine.marginOfPortfolio(_portfolio(0, 1.5e18, 0));
        assertEq(margin.underlyings[0].age, 1 hours);
        _near(margin.initial.total, 9006.325557291033072774e18, ROUNDING);
        _near(margin.maintenance.total, 4546.859510969427032138e18, ROUNDING);
    }

    function test_marginOf_nothingNeedsNothing() public {
        uint64 account = openAccount(trader, 0);
        Margin memory margin = engine.marginOf(account);
        assertEq(margin.equity, 0);
        assertEq(margin.initial.total, 0);
        assertEq(margin.multiplier, WAD);
        assertTrue(margin.fresh);
    }

    // ─── Collateral is a position

    /// @notice Ether held against a short of as much: no exposure, so no requirement.
    function test_marginOf_collateralHedgesAPosition() public {
        uint64 account = openAccount(trader, 0);
        deposit(account, WETH, 10e18);
        trade(account, makerAccount, ethPerpetual, -10e18, 2000e18);
        Margin memory margin = engine.marginOf(account);
        assertEq(margin.equity, 20_000e18);
        assertEq(margin.collateral, 20_000e18);
        assertEq(margin.underlyings.length, 1);
        assertEq(margin.underlyings[0].delta, 0);
        assertEq(margin.initial.total, 0);
        assertEq(margin.maintenance.total, 0);
        // And the price may go where it will.
        setPrice(ETH, 9000);
        assertEq(equityOf(account), 20_000e18);
    }

    function test_haircutOf_isTheMarginOfALongAndRisesWithSize() public view {
        (uint256 value, uint256 haircut) = lens.haircutOf(WETH, 10e18);
        assertEq(value, 20_000e18);
        _near(haircut, uint256(2854.926864235428174467e18) / 20_000, ROUNDING);
        uint256 larger;
        (value, larger) = lens.haircutOf(WETH, 10_000e18);
        assertEq(value, 20_000_000e18);
        _near(larger, uint256(2_900_883.241205608589705574e18) / 20_000_000, ROUNDING);
        assertGt(larger, haircut);
        (value, haircut) = lens.haircutOf(WBTC, 2e8);
        assertEq(value, 100_000e18);
        (value, haircut) = lens.haircutOf(WBTC, 0);
        assertEq(value, 0);
        assertEq(haircut, 0);
    }

    function test_haircutOf_revertsIfAssetIsCashOrUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IMarginLens.MarginLensUnknownAsset.selector, CASH));
        lens.haircutOf(CASH, 1);
        vm.expectRevert();
        lens.haircutOf(9, 1);
    }

    // ─── Cash

    function test_marginOf_cashIsWorthNoMoreThanItsFeedOrADollar() public {
        PushedFeed feed = _listCashFeed(0.95e8);
        uint64 account = openAccount(trader, 10_000);
        assertEq(equityOf(account), 9500e18);
        deposit(account, WETH, 1e18);
        assertEq(equityOf(account), 11_500e18);
        feed.push(1.05e8);
        assertEq(equityOf(account), 12_000e18);
        feed.push(1e8);
        assertEq(equityOf(account), 12_000e18);
    }

    /// @notice A claim is discounted as a whole, and what is owed is owed in full.
    function test_marginOf_aDebtIsOwedInFull() public {
        _listCashFeed(0.9e8);
        uint64 account = openAccount(trader, 0);
        deposit(account, WETH, 10e18);
        trade(account, makerAccount, ethPerpetual, -10e18, 2000e18);
        setPrice(ETH, 2100);
        assertEq(equityOf(account), 21_000e18 - 1000e18);
        setPrice(ETH, 1900);
        assertEq(equityOf(account), 19_000e18 + 900e18);
    }

    function test_marginOf_revertsIfTheCashFeedIsStale() public {
        _listCashFeed(1e8);
        uint64 account = openAccount(trader, 100);
        vm.warp(block.timestamp + 1 days + 1);
        cheats.expectPartialRevert(IPriceOracle.PriceOracleStale.selector);
        engine.marginOf(account);
    }

    // ─── What it needs

    function test_marginOf_revertsIfNotCalibrated() public {
        priceOracle.setPriceFeed(3, priceOracle.feedOf(BTC));
        volatilityOracle.setVolatilityFeed(3, volatilityOracle.feedOf(BTC));
        Portfolio memory portfolio = _single(3, 1e18);
        vm.expectRevert(); // the volatility oracle has no numbers
        engine.marginOfPortfolio(portfolio);
        setParameter(Fields.VOLATILITY_CAP, 3, 0, 4_000_000);
        vm.expectRevert(abi.encodeWithSelector(IMarginEngine.MarginEngineNotCalibrated.selector, 3));
        engine.marginOfPortfolio(portfolio);
        setParameter(Fields.TAIL_MAINTENANCE, 3, 0, 3_000_000);
        vm.expectRevert(abi.encodeWithSelector(IMarginEngine.MarginEngineNotCalibrated.selector, 3));
        engine.marginOfPortfolio(portfolio);
        setParameter(Fields.TAIL_INITIAL, 3, 0, 3_000_000);
        engine.marginOfPortfolio(portfolio);
    }

    function test_marginOf_revertsIfAPriceFailsACheck() public {
        Portfolio memory portfolio = _single(BTC, 1e18);
        priceFeeds[BTC].push(0);
        cheats.expectPartialRevert(IPriceOracle.PriceOracleNotPositive.selector);
        engine.marginOfPortfolio(portfolio);
        priceFeeds[BTC].push(-1);
        cheats.expectPartialRevert(IPriceOracle.PriceOracleNotPositive.selector);
        engine.marginOfPortfolio(portfolio);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleNoFeed.selector, 9));
        engine.marginOfPortfolio(_single(9, 1e18));
    }

    /// @notice The two speeds: a jump in volatility calls for margin at once and does not liquidate at once.
    function test_marginOf_aJumpInVolatilityMovesInitialAtOnceAndMaintenanceSlowly() public {
        Portfolio memory portfolio = _single(BTC, 1e18);
        volatilityOracle.poke(BTC, 10); // the rise counts from here
        Margin memory calm = engine.marginOfPortfolio(portfolio);
        setVolatility(BTC, 180);
        Margin memory jump = engine.marginOfPortfolio(portfolio);
        assertEq(jump.underlyings[0].volatilityInitial, 1.6e18);
        assertEq(jump.maintenance.total, calm.maintenance.total);
        assertGt(jump.initial.total, 2 * calm.initial.total);
        vm.warp(block.timestamp + 1 hours);
        volatilityOracle.poke(BTC, 10);
        Margin memory later = engine.marginOfPortfolio(portfolio);
        assertApproxEqAbs(later.underlyings[0].volatilityMaintenance, 0.854981930712e18, 1e12); // 0.7 · e^0.2
    }

    /// @notice ORACLE: out-of-date volatility is said, and margin does not fall for it.
    function test_marginOf_staleVolatilityIsNotFreshAndNotLower() public {
        Portfolio memory portfolio = _single(BTC, 1e18);
        vm.warp(block.timestamp + 1 days);
        priceFeeds[BTC].push(50_000e8);
        Margin memory fresh = engine.marginOfPortfolio(portfolio);
        assertTrue(fresh.fresh);
        vm.warp(block.timestamp + 1);
        Margin memory stale = engine.marginOfPortfolio(portfolio);
        assertFalse(stale.fresh);
        assertGe(stale.initial.total, fresh.initial.total);
        assertEq(stale.underlyings[0].volatilityInitial, 1e18); // the stressed level
        assertGe(stale.maintenance.total, 0);
    }

    // ─── ORDER

    function testFuzz_marginOf_maintenanceIsAtMostInitial(
        uint256 btc,
        uint256 eth,
        uint256[2] memory volatilities,
        uint256 age,
        uint256 offset
    ) public {
        setVolatility(BTC, bound(volatilities[0], 2, 900));
        setVolatility(ETH, bound(volatilities[1], 2, 900));
        setParameter(Fields.OFFSET, 0, 0, int32(int256(bound(offset, 0, 800_000))));
        vm.warp(block.timestamp + bound(age, 0, 2 hours));
        _requireOrder(engine.marginOfPortfolio(_portfolio(0, _size(btc), _size(eth))));
    }

    /// @notice The hedge's own volatility may jump so far that the joint loss at the initial horizon, where it counts at
    /// once, is smaller than at the maintenance horizon, where it does not count yet. Initial is held up all the same.
    function test_marginOf_maintenanceIsAtMostInitialWhenTheHedgeJumps() public {
        setParameter(Fields.OFFSET, 0, 0, 800_000);
        setParameter(Fields.VOLATILITY_STRESS, ETH, 0, 300_000);
        setVolatility(ETH, 20);
        volatilityOracle.poke(ETH, 100);
        // Both horizons nearly alike, as with an old price and a long heartbeat.
        setParameter(Fields.HORIZON_INITIAL, 0, 0, 18_000);
        setVolatility(ETH, 500);
        _requireOrder(engine.marginOfPortfolio(_portfolio(0, 1e18, -3e18)));
    }

    function testFuzz_marginOf_risesWithVolatilityAgeAndSize(
        uint256 btc,
        uint256 eth,
        uint256 volatility,
        uint256 more,
        uint256 age
    ) public {
        // One side only: a hedge may become a better one with its own volatility.
        (int256 first, int256 second) = (int256(absolute(_size(btc))), int256(absolute(_size(eth))));
        if (btc % 2 == 0) (first, second) = (-first, -second);
        volatility = bound(volatility, 2, 800);
        setVolatility(BTC, volatility);
        Portfolio memory portfolio = _portfolio(0, first, second);
        Margin memory lower = engine.marginOfPortfolio(portfolio);
        setVolatility(BTC, volatility + bound(more, 1, 100));
        Margin memory higher = engine.marginOfPortfolio(portfolio);
        assertGe(higher.initial.total, lower.initial.total, "volatility");
        assertGe(higher.maintenance.total, lower.maintenance.total, "volatility");
        vm.warp(block.timestamp + bound(age, 1, 2 hours));
        Margin memory older = engine.marginOfPortfolio(portfolio);
        assertGe(older.initial.total, higher.initial.total, "age");
        assertGe(older.maintenance.total, higher.maintenance.total, "age");
        portfolio.positions[0].size += int128(first) / 3;
        Margin memory larger = engine.marginOfPortfolio(portfolio);
        assertGe(larger.initial.total, older.initial.total, "size");
        assertGe(larger.maintenance.total, older.maintenance.total, "size");
    }

    // ─── COHERENCE

    function testFuzz_marginOf_riskOfTwoTogetherIsAtMostTheSum(int256[4] memory sizes, uint256 offset) public {
        setParameter(Fields.OFFSET, 0, 0, int32(int256(bound(offset, 0, 800_000))));
        for (uint256 i; i < 4; ++i) {
            sizes[i] = bound(sizes[i], -1e24, 1e24);
        }
        Margin memory first = engine.marginOfPortfolio(_portfolio(0, sizes[0], sizes[1]));
        Margin memory second = engine.marginOfPortfolio(_portfolio(0, sizes[2], sizes[3]));
        Margin memory both = engine.marginOfPortfolio(_portfolio(0, sizes[0] + sizes[2], sizes[1] + sizes[3]));
        assertLe(both.initial.standalone, first.initial.standalone + second.initial.standalone + 10);
        assertLe(both.initial.grid, first.initial.grid + second.initial.grid + 10);
        assertLe(both.maintenance.grid, first.maintenance.grid + second.maintenance.grid + 10);
        assertLe(
            both.initial.expectedShortfall,
            first.initial.expectedShortfall + second.initial.expectedShortfall + 4 * ROUNDING
        );
        assertLe(both.initial.risk, first.initial.risk + second.initial.risk + 4 * ROUNDING);
    }

    function testFuzz_marginOf_sizeCostsMoreNeverLess(int256 btc, int256 eth, uint256 times) public view {
        (btc, eth) = (bound(btc, -1e24, 1e24), bound(eth, -1e24, 1e24));
        times = bound(times, 1, 1000);
        Margin memory one = engine.marginOfPortfolio(_portfolio(0, btc, eth));
        Margin memory many = engine.marginOfPortfolio(_portfolio(0, btc * int256(times), eth * int256(times)));
        uint256 rounding = times * (one.initial.total / 1e15 + 4 * ROUNDING);
        assertGe(many.initial.total + rounding, times * one.initial.total);
        assertGe(many.maintenance.total + rounding, times * one.maintenance.total);
    }

    // ─── It always answers

    /// @notice A margin that can't be computed is an account that can't be liquidated.
    function testFuzz_marginOf_answersAtEverySizeAndPrice(
        int256[2] memory sizes,
        uint256[2] memory prices,
        uint256 weight,
        int256 cash
    ) public {
        priceFeeds[BTC].push(int256(bound(prices[0], 100, 1e17))); // 1e-6 to 1e9 dollars
        priceFeeds[ETH].push(int256(bound(prices[1], 100, 1e17)));
        setVolatility(BTC, weight % 900 + 1);
        Portfolio memory portfolio =
            _portfolio(bound(cash, -1e38, 1e38), bound(sizes[0], -1e28, 1e28), bound(sizes[1], -1e28, 1e28));
        portfolio.collateral = new Collateral[](1);
        portfolio.collateral[0] = Collateral(WETH, ETH, bound(weight, 0, 1e28));
        _requireOrder(engine.marginOfPortfolio(portfolio));
    }

    function test_marginOf_answersForSixtyFourOfTheLargest() public {
        Portfolio memory portfolio;
        portfolio.positions = new Position[](64);
        for (uint16 i; i < 64; ++i) {
            uint16 underlying = i + 3;
            priceOracle.setPriceFeed(underlying, priceOracle.feedOf(BTC));
            volatilityOracle.setVolatilityFeed(underlying, volatilityOracle.feedOf(BTC));
            portfolio.positions[i] =
                Position(InstrumentLibrary.perpetual(underlying), i % 2 == 0 ? int128(1e28) : -1e28, 0);
        }
        calibrateLike(BTC, 3, 66);
        priceFeeds[BTC].push(1e17);
        Margin memory margin = engine.marginOfPortfolio(portfolio);
        assertEq(margin.underlyings.length, 64);
        _requireOrder(margin);
    }

    /// @notice Underlyings come in rising order whatever the portfolio's, and lines of one underlying are netted.
    function test_marginOf_netsLinesOfOneUnderlying() public view {
        Portfolio memory portfolio;
        portfolio.positions = new Position[](3);
        portfolio.positions[0] = Position(ethPerpetual, -5e18, 0);
        portfolio.positions[1] = Position(btcPerpetual, 1e18, 0);
        portfolio.positions[2] = Position(ethPerpetual, 2e18, 0);
        portfolio.collateral = new Collateral[](1);
        portfolio.collateral[0] = Collateral(WBTC, BTC, 0.5e18);
        Margin memory margin = engine.marginOfPortfolio(portfolio);
        assertEq(margin.underlyings.length, 2);
        assertEq(margin.underlyings[0].underlying, BTC);
        assertEq(margin.underlyings[0].delta, 1.5e18);
        assertEq(margin.underlyings[1].underlying, ETH);
        assertEq(margin.underlyings[1].delta, -3e18);
    }

    // ─── Helpers

    function _requireOrder(Margin memory margin) private pure {
        assertLe(margin.maintenance.total, margin.initial.total, "ORDER");
        for (uint256 i; i < margin.underlyings.length; ++i) {
            assertLe(margin.underlyings[i].rangeMaintenance, margin.underlyings[i].rangeInitial, "ORDER: range");
        }
    }

    /// @dev Margin rounds up: at most `tolerance` above the reference and not below, but for the reference's last digit.
    function _near(uint256 actual, uint256 expected, uint256 tolerance) private pure {
        assertGe(actual + 1, expected);
        assertLe(actual, expected + tolerance);
    }

    function _size(uint256 seed) private pure returns (int256) {
        int256 size = int256(bound(seed >> 1, 1, 1e22));
        return seed & 1 == 0 ? size : -size;
    }

    function _single(uint16 underlying, int256 size) private pure returns (Portfolio memory portfolio) {
        portfolio.positions = new Position[](1);
        portfolio.positions[0] = Position(InstrumentLibrary.perpetual(underlying), int128(size), 0);
    }

    function _portfolio(int256 cash, int256 btc, int256 eth) private view returns (Portfolio memory portfolio) {
        portfolio.cash = cash;
        portfolio.positions = new Position[](2);
        portfolio.positions[0] = Position(btcPerpetual, int128(btc), 0);
        portfolio.positions[1] = Position(ethPerpetual, int128(eth), 0);
    }

    function _listCashFeed(int256 price) private returns (PushedFeed feed) {
        feed = new PushedFeed(address(manager), 8, "cash");
        feed.push(price);
        IPriceOracle.PriceFeed memory configuration;
        configuration.feed = address(feed);
        configuration.heartbeat = 1 days;
        configuration.minimum = 0.01e18;
        configuration.maximum = 10e18;
        priceOracle.setPriceFeed(0, configuration);
    }
}
