// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FundingMath } from "contracts/libraries/FundingMath.sol";
import { Funding } from "contracts/types/Funding.sol";
import { Test } from "forge-std/Test.sol";

/// @notice τ = 1 h, T = 8 h: what a premium can still bring in all is an eighth of it.
contract FundingMathTest is Test {
    using FundingMath for Funding;

    uint256 private constant WAD = 1e18;
    uint40 private constant START = 1_700_000_000;
    int256 private constant RATIO = 8; // T/τ

    // ─── p(t) = p(0) · e^(−t/τ), F(t) = F(0) + (p(0) − p(t)) · τ/T

    /// @notice Reference numbers from mpmath at fifty digits. The exponential is right to a few parts in 1e18.
    function test_at_matchesReference() public pure {
        _assertFaded(100e18, 1, 99_972_226_079_889_713_877, 3_471_740_013_785_765);
        _assertFaded(100e18, 3600, 36_787_944_117_144_232_159, 7_901_506_985_356_970_980);
        _assertFaded(-37.123456789012345678e18, 900, -28_911_777_217_600_276_151, -1_026_459_946_426_508_690);
        _assertFaded(250e18, 28_800, 83_865_656_975_627_959, 31_239_516_792_878_046_505);
        _assertFaded(12_345, 1800, 7487, 607);
        _assertFaded(-5_000_000e18, 7200, -676_676_416_183_063_459_469_997, -540_415_447_977_117_067_566_250);
        _assertFaded(249.5e18, 150_000, 200, 31_187_499_999_999_999_974);
    }

    /// @notice The differential equation itself, dp = −p/τ dt and dF = p/T dt, in steps of a second by the midpoint rule.
    function test_at_agreesWithNumericalIntegration() public pure {
        int256 premium = 100e18;
        int256 index;
        for (uint256 i; i < 7200; ++i) {
            int256 middle = premium - premium / 7200;
            premium -= middle / 3600;
            index += middle / 28_800;
        }
        Funding memory funding = Funding(0, 100e18, START).at(START + 7200);
        assertApproxEqRel(funding.premium, premium, 1e12);
        assertApproxEqRel(funding.index, index, 1e12);
    }

    /// @notice Between trades F + p · τ/T stands still, to less than a wei, and p only fades.
    function testFuzz_at_onlyTurnsPremiumIntoIndex(int128 index, int88 premium, uint256 elapsed) public pure {
        index /= 2;
        elapsed = bound(elapsed, 0, 60 hours);
        Funding memory funding = Funding(index, premium, START).at(START + elapsed);
        assertEq(funding.updatedAt, START + elapsed);
        int256 lost = int256(premium) - funding.premium;
        int256 gained = int256(funding.index) - index;
        assertEq(gained, lost / RATIO);
        assertTrue(premium >= 0 ? funding.premium >= 0 && lost >= 0 : funding.premium <= 0 && lost <= 0);
    }

    /// @notice However often somebody looks, or trades at the mean, the funding is the same: a few wei a look.
    function testFuzz_at_isIndependentOfTheSteps(int88 premium, uint256[12] memory steps) public pure {
        premium = int88(bound(int256(premium), -5e24, 5e24));
        Funding memory stepwise = Funding(0, premium, START);
        uint256 elapsed;
        for (uint256 i; i < steps.length; ++i) {
            elapsed += bound(steps[i], 0, 3 hours);
            stepwise = stepwise.at(START + elapsed);
        }
        Funding memory once = Funding(0, premium, START).at(START + elapsed);
        uint256 rounding = steps.length * (2 + 4 * _absolute(premium) / WAD);
        assertApproxEqAbs(stepwise.premium, once.premium, rounding);
        assertApproxEqAbs(stepwise.index, once.index, rounding);
    }

    function test_at_forgetsAfterFortyTwoHours() public pure {
        Funding memory funding = Funding(7e18, 5e24, START).at(START + 42 hours + 1);
        assertEq(funding.premium, 0);
        assertEq(funding.index, 7e18 + 5e24 / RATIO);
        assertEq(Funding(7e18, 0, START).at(START + 365 days).index, 7e18);
    }

    // ─── p ← p + (δ − p) · n / (n + N), fee = n · |δ − p| · τ/T

    function test_tradeUp_movesTheMeanByTheTradesShare() public pure {
        // A hundred dollars above the index, first alone, then a quarter of what is open, then below the index.
        _assertTrade(0, 1e18, 50_100e18, 0, 100e18, 12.5e18);
        _assertTrade(0, 1e18, 50_100e18, 3e18, 25e18, 12.5e18);
        _assertTrade(0, 2e18, 49_900e18, 2e18, -50e18, 25e18);
        // From a premium that stands already: only the distance counts, either way.
        _assertTrade(100e18, 1e18, 50_100e18, 1e18, 100e18, 0);
        _assertTrade(100e18, 1e18, 50_000e18, 1e18, 50e18, 12.5e18);
        _assertTrade(-40e18, 0.5e18, 50_020e18, 1.5e18, -25e18, 3.75e18);
    }

    /// @notice Half a percent of the index is as far as any price pulls: 250 dollars of 50,000.
    function test_tradeUp_clampsThePremium() public pure {
        _assertTrade(0, 1e18, 50_250e18, 0, 250e18, 31.25e18);
        _assertTrade(0, 1e18, 60_000e18, 0, 250e18, 31.25e18);
        _assertTrade(0, 1e18, 0, 0, -250e18, 31.25e18);
        _assertTrade(-250e18, 1e18, 1e27, 0, 250e18, 62.5e18);
    }

    /// @notice Nobody moves the premium for free: whoever held all of one side after the trade could gain
    /// (N + n) · |Δp| · τ/T by it, and that is never above the fee. What the fee exceeds n · |δ − p| · τ/T by is a wei.
    function testFuzz_tradeUp_costsAtLeastWhatTheMoveCanBring(
        int256 premium,
        uint256 size,
        uint256 price,
        uint256 index,
        uint256 openInterest
    ) public pure {
        index = bound(index, 1e6, 1e27);
        price = bound(price, 0, 1e27);
        if (price % 2 == 0) price = bound(price, index - index / 100, index + index / 100);
        premium = bound(premium, -5e24, 5e24);
        size = bound(size, 1, 1e28);
        openInterest = bound(openInterest, 0, 1e30);
        Funding memory funding = Funding(0, int88(premium), START);
        (int88 moved, uint256 fee) = funding.tradeUp(size, price, index, openInterest);
        int256 limit = int256(index * 0.005e18 / WAD);
        int256 traded = int256(price) - int256(index);
        traded = traded > limit ? limit : traded < -limit ? -limit : traded;
        _assertPaidFor(premium, moved, traded, size, openInterest + size, fee);
    }

    function _assertPaidFor(int256 premium, int256 moved, int256 traded, uint256 size, uint256 all, uint256 fee)
        private
        pure
    {
        uint256 change = _absolute(moved - premium);
        uint256 exact = size * _absolute(traded - premium); // · τ/T/WAD
        uint256 scaled = fee * WAD * uint256(RATIO);
        assertLe(all * change, scaled, "moved for less than it can bring");
        assertGe(scaled, exact, "the fee rounds up");
        assertLt(scaled, exact + WAD * uint256(RATIO), "by less than a wei");
        (int256 low, int256 high) = premium < traded ? (premium, traded) : (traded, premium);
        assertTrue(moved >= low && moved <= high, "between the old mean and the trade");
        assertGe((change + 1) * all, exact, "moved too little");
    }

    // ─── What a position has paid

    /// @notice The two sides of a position pay and get the same but for one wei, which neither gets.
    function testFuzz_paidUp_roundsAgainstBothSides(int256 size, int256 index) public pure {
        size = bound(size, -1e28, 1e28);
        index = bound(index, -1e38, 1e38);
        int256 paid = FundingMath.paidUp(size, index);
        assertGe(paid * 1e18, size * index);
        assertLt(paid * 1e18, size * index + 1e18);
        int256 both = paid + FundingMath.paidUp(-size, index);
        assertEq(both, size * index % 1e18 == 0 ? int256(0) : int256(1));
    }

    // ─── Helpers

    function _assertFaded(int256 premium, uint256 elapsed, int256 left, int256 index) private pure {
        Funding memory funding = Funding(0, int88(premium), START).at(START + elapsed);
        uint256 rounding = 1 + 4 * _absolute(premium) / WAD;
        assertApproxEqAbs(funding.premium, left, rounding);
        assertApproxEqAbs(funding.index, index, rounding);
    }

    function _assertTrade(
        int256 premium,
        uint256 size,
        uint256 price,
        uint256 openInterest,
        int256 expected,
        uint256 expectedFee
    ) private pure {
        Funding memory funding = Funding(0, int88(premium), START);
        (int88 moved, uint256 fee) = funding.tradeUp(size, price, 50_000e18, openInterest);
        assertEq(moved, expected);
        assertEq(fee, expectedFee);
    }

    function _absolute(int256 x) private pure returns (uint256) {
        return x < 0 ? uint256(-x) : uint256(x);
    }
}
