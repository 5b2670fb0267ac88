// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { NormalTable } from "contracts/NormalTable.sol";
import { Black76 } from "contracts/libraries/Black76.sol";
import { NormalDistribution } from "contracts/libraries/NormalDistribution.sol";
import { RevaluationGrid as Grid } from "contracts/libraries/RevaluationGrid.sol";
import { Test } from "forge-std/Test.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @notice The kernel against Black76, node by node. Prices from a millionth of a dollar to a billion, strikes from a
/// hundred-millionth to a hundred billion, ranges up to a hundred times the price.
contract RevaluationGridTest is Test {
    uint256 private constant WAD = 1e18;
    uint256 private constant LEAST_PRICE = 1e12;
    uint256 private constant MOST_PRICE = 1e27;
    uint256 private constant LEAST_STRIKE = 1e10;
    uint256 private constant MOST_STRIKE = 1e29;
    /// @dev What the kernel promises, relative to forward plus strike [wad]: a third of ERROR.
    uint256 private constant PROMISE = 3.5e9;

    address private data;

    /// @dev One strike and the grid around it, as the library has them.
    struct Case {
        uint256 forward;
        uint256 strike;
        uint256 range;
        uint256 deviation;
        uint256 risen;
        uint256 fallen;
    }

    function setUp() public {
        data = address(new NormalTable());
    }

    // ─── Accuracy

    /// @notice ROUND: a difference of two prices is off by less than ERROR, so a loss with ERROR added is never understated.
    function test_ERROR_coversTheDifferenceOfTwoPrices() public pure {
        assertGt(Grid.ERROR, 2 * PROMISE);
    }

    /// @notice At every node the kernel's price is within 3.5e-9 · (forward + strike) of the exact one.
    function testFuzz_subtract_isBlack76AtEveryNode(uint256[6] memory seeds) public view {
        _requireExact(_anyCase(seeds));
    }

    /// @notice The same where it matters most: strikes within a tenth and ten times the forward, deviations of listed
    /// options.
    function testFuzz_subtract_isBlack76NearTheMoney(uint256[6] memory seeds) public view {
        Case memory one = _anyCase(seeds);
        one.strike = one.forward * bound(seeds[1], 0.1e18, 10e18) / WAD + 1;
        one.range = bound(seeds[2], 0, 2e18);
        one.deviation = bound(seeds[3], 1e15, 3e18);
        _requireExact(one);
    }

    /// @notice Without a deviation, as at the expiry, an option is its payoff.
    function testFuzz_subtract_isThePayoffWithoutDeviation(uint256[6] memory seeds, uint256 deviation) public view {
        Case memory one = _anyCase(seeds);
        one.deviation = deviation % 1e9;
        (one.risen, one.fallen) = (WAD, WAD);
        int256[33] memory losses = _losses(one, 1e18);
        for (uint256 i; i < Grid.PRICES; ++i) {
            uint256 forward = _node(one, i);
            // The time value left at a deviation of a billionth is below F · φ(0) / 1e9.
            uint256 tolerance = (forward + one.strike) / 1e9 + 2;
            int256 payoff = int256(FixedPoint.zeroFloorSub(forward, one.strike));
            assertApproxEqAbs(-losses[3 * i + 1] / 1e18, payoff, tolerance, "payoff");
        }
    }

    // ─── The two ways

    /// @notice Wide ranges leave the table and narrow ones don't; the middle node is the same for both, to the last bit.
    function testFuzz_subtract_outsideTheTableIsTheSameAsInside(uint256[6] memory seeds) public view {
        Case memory one = _anyCase(seeds);
        one.strike = one.forward * bound(seeds[1], 0.5e18, 2e18) / WAD + 1;
        one.deviation = bound(seeds[3], 0.2e18, 1e18);
        (one.risen, one.fallen) = (WAD, WAD);
        one.range = bound(seeds[2], 0, 0.3e18);
        int256[33] memory inside = _losses(one, 1e18);
        // Here the lower nodes are a billionth of the price, twenty deviations away or more.
        one.range = 100e18;
        int256[33] memory outside = _losses(one, 1e18);
        for (uint256 volatility; volatility < 3; ++volatility) {
            assertEq(outside[12 + volatility], inside[12 + volatility]);
        }
        assertEq(outside[0], 0, "worth nothing at a billionth of the price");
    }

    /// @notice No step at the border of the table: d1 crosses 8 somewhere between the two strikes.
    function test_subtract_hasNoStepAtTheBorderOfTheTable() public view {
        Case memory one = Case(2000e18, 0, 0.1e18, 0.1e18, WAD, WAD);
        uint256 largest;
        int256 previous;
        for (uint256 i; i < 400; ++i) {
            // ln(2000·1.1/strike)/0.1 from 7.4 to 8.6 deviations
            one.strike = 2000e18 * 1.1e18 / uint256(FixedPoint.expWad(int256(0.74e18 + 3e14 * i)));
            int256 price = -_losses(one, 1e18)[25] / 1e18;
            int256 timeValue = price - int256(_node(one, 8) - one.strike);
            if (i != 0) largest = FixedPoint.max(largest, FixedPoint.abs(timeValue - previous));
            previous = timeValue;
        }
        // What the 48 fraction bits leave of a probability.
        assertLe(largest, uint256(4000e18) >> 46);
    }

    // ─── A part of the nodes

    /// @notice What is wanted is the same to the last bit as where all is, inside the table and outside.
    function testFuzz_subtract_isTheSameForAPartOfTheNodes(uint256[6] memory seeds, uint256 wanted, bool few)
        public
        view
    {
        Case memory one = _anyCase(seeds);
        // Few enough that most rows are a sequence with gaps, or nothing.
        if (few) wanted = 1 << wanted % 33 | 1 << (wanted >> 8) % 33 | 1 << (wanted >> 16) % 33;
        wanted &= Grid.ALL;
        int256[33] memory all = _losses(one, 1e18);
        int256[33] memory part = _losses(one, 1e18, wanted);
        for (uint256 i; i < 33; ++i) {
            // What lies between may be anything.
            if (wanted >> i & 1 != 0) assertEq(part[i], all[i], "wanted");
        }
    }

    function test_rowsOf_isTheShortestSequenceOfEachVolatility() public pure {
        assertEq(Grid.rowsOf(0), 0);
        assertEq(Grid.rowsOf(Grid.ALL), 9 << 80 | 1 << 72 | 11 << 48 | 1 << 40 | 9 << 16 | 1 << 8);
        assertEq(Grid.rowsOf(1 << 14), (4 | 1 << 8 | 1 << 16) << 64, "price 4, volatility up");
        assertEq(Grid.rowsOf(1 | 1 << 24), 0 | 8 << 8 | 2 << 16, "both ends");
        assertEq(Grid.rowsOf(1 << 3 | 1 << 9 | 1 << 15), 1 | 2 << 8 | 3 << 16, "every second");
        assertEq(Grid.rowsOf(1 << 3 | 1 << 9 | 1 << 12), 1 | 1 << 8 | 4 << 16, "no sequence");
        assertEq(Grid.rowsOf(1 << Grid.EXTREME_DOWN | 1 << Grid.EXTREME_UP), (9 | 1 << 8 | 2 << 16) << 32, "extremes");
    }

    // ─── Shape

    function test_stepOf_isNineWithinTheRangeAndTwoAtTwiceIt() public pure {
        for (uint256 i; i < 9; ++i) {
            assertEq(Grid.stepOf(i), int256(i) - 4);
        }
        assertEq(Grid.stepOf(9), -8);
        assertEq(Grid.stepOf(10), 8);
        assertEq(Grid.EXTREME_DOWN, 3 * 9 + 1);
        assertEq(Grid.EXTREME_UP, 3 * 10 + 1);
    }

    function test_subtract_leavesTheFourUnusedAlone() public view {
        int256[33] memory losses = _losses(Case(2000e18, 2100e18, 0.2e18, 0.15e18, 1.3e18, 1.2e18), 5e18);
        for (uint256 i = 27; i < 33; ++i) {
            if (i == Grid.EXTREME_DOWN || i == Grid.EXTREME_UP) assertLt(losses[i], 0);
            else assertEq(losses[i], 0);
        }
    }

    /// @notice A call is worth more at a higher price and a higher volatility, and losses are linear in the size.
    function testFuzz_subtract_risesWithPriceAndVolatilityAndIsLinearInSize(uint256[6] memory seeds, int256 size)
        public
        view
    {
        Case memory one = _anyCase(seeds);
        int256[33] memory losses = _losses(one, 1e18);
        uint256 slack = 2 * ((_node(one, 10) + one.strike) * PROMISE / WAD + 2) * WAD;
        for (uint256 i; i < 9; ++i) {
            assertLe(losses[3 * i + 2], losses[3 * i + 1] + int256(slack), "volatility");
            assertLe(losses[3 * i + 1], losses[3 * i] + int256(slack), "volatility");
            if (i != 0) assertLe(losses[3 * i + 1], losses[3 * i - 2] + int256(slack), "price");
        }
        assertLe(losses[1], losses[Grid.EXTREME_DOWN] + int256(slack), "price");
        assertLe(losses[Grid.EXTREME_UP], losses[25] + int256(slack), "price");
        size = bound(size, -1e10, 1e10);
        int256[33] memory many = _losses(one, size * 1e18);
        for (uint256 i; i < 33; ++i) {
            assertEq(many[i], size * losses[i], "size");
        }
    }

    /// @notice A margin that can't be computed is an account that can't be liquidated: nothing reverts, nothing wraps round.
    function testFuzz_subtract_neverRevertsNorOverflows(uint256[6] memory seeds, int256 size) public view {
        Case memory one = _anyCase(seeds);
        size = bound(size, -1e28, 1e28) * 64;
        int256[33] memory losses = _losses(one, size);
        for (uint256 i; i < 33; ++i) {
            uint256 most = FixedPoint.abs(size) * (_node(one, 10) + one.strike);
            assertLe(FixedPoint.abs(losses[i]), most);
            // What the kernel is off by may have the other sign.
            if (FixedPoint.abs(losses[i]) > most / WAD * PROMISE) assertEq(losses[i] < 0, size > 0);
        }
    }

    // ─── Helpers

    function _anyCase(uint256[6] memory seeds) private pure returns (Case memory one) {
        one.forward = _logarithmic(seeds[0], LEAST_PRICE, MOST_PRICE);
        one.strike = _logarithmic(seeds[1], LEAST_STRIKE, MOST_STRIKE);
        one.range = _logarithmic(seeds[2], 1, 100e18);
        one.deviation = _logarithmic(seeds[3], 1, 60e18);
        one.risen = bound(seeds[4], WAD, 4e18);
        one.fallen = bound(seeds[5], WAD, 4e18);
    }

    /// @dev Even over the logarithm, so that small numbers come up as often as large ones.
    function _logarithmic(uint256 seed, uint256 low, uint256 high) private pure returns (uint256) {
        int256 exponent = bound(int256(seed >> 1), FixedPoint.lnWad(int256(low)), FixedPoint.lnWad(int256(high)));
        return FixedPoint.clamp(uint256(FixedPoint.expWad(exponent)), low, high);
    }

    function _factor(Case memory one, uint256 i) private pure returns (int256) {
        return FixedPoint.max(int256(WAD) + Grid.stepOf(i) * int256(one.range) / 4, 1e9);
    }

    /// @dev Forward at a price node, as the title of the library has it.
    function _node(Case memory one, uint256 i) private pure returns (uint256) {
        return one.forward * uint256(_factor(one, i)) / WAD;
    }

    function _logMoneyness(Case memory one) private pure returns (int256) {
        return FixedPoint.lnWad(int256(one.forward)) - FixedPoint.lnWad(int256(one.strike));
    }

    function _losses(Case memory one, int256 size) private view returns (int256[33] memory) {
        return _losses(one, size, Grid.ALL);
    }

    function _losses(Case memory one, int256 size, uint256 wanted) private view returns (int256[33] memory losses) {
        Grid.Kernel memory kernel;
        uint256[33] memory nodes = Grid.nodesOf(one.range, wanted);
        Grid.setForward(nodes, one.forward);
        kernel.table = NormalDistribution.Table.unwrap(NormalDistribution.load(data));
        kernel.strike = one.strike;
        kernel.size = size;
        kernel.logMoneyness = Grid.toQ57(_logMoneyness(one));
        kernel.rows = Grid.rowsOf(wanted);
        Grid.aim(kernel, nodes, losses);
        Grid.subtract(kernel, one.deviation, one.risen, one.fallen);
    }

    function _requireExact(Case memory one) private view {
        int256[33] memory losses = _losses(one, 1e18);
        NormalDistribution.Table exact = NormalDistribution.load(data);
        uint256[3] memory deviations =
            [one.deviation * WAD / one.fallen, one.deviation, one.deviation * one.risen / WAD];
        for (uint256 i; i < Grid.PRICES; ++i) {
            uint256 forward = _node(one, i);
            int256 logMoneyness = _logMoneyness(one) + FixedPoint.lnWad(_factor(one, i));
            for (uint256 volatility; volatility < 3; ++volatility) {
                if (i > 8 && volatility != 1) continue;
                // Below a billionth of deviation it is a payoff all the same.
                uint256 deviation = FixedPoint.max(deviations[volatility], 1e9);
                (uint256 call,,) = Black76.evaluate(exact, forward, one.strike, logMoneyness, deviation);
                assertApproxEqAbs(
                    -losses[3 * i + volatility] / 1e18,
                    int256(call),
                    (forward + one.strike) * PROMISE / WAD + 2,
                    "not Black-76"
                );
            }
        }
    }
}
