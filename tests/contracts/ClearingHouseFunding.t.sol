// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { Instrument } from "contracts/types/Instrument.sol";

/// @notice Funding: what a trade off the index costs its taker, what longs and shorts pay each other after it, and that
/// nobody moves the premium for free. The price stands at 50,000, of which half a percent is 250.
contract ClearingHouseFundingTest is Accounts {
    /// @dev 1 − 1/e: what of a premium an hour turns into funding [wad].
    int256 private constant HOUR = 632_120_558_828_557_678;

    uint64 private account;
    uint64 private other;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 1_000_000);
        other = openAccount(stranger, 1_000_000);
    }

    // ─── The fee

    function test_trade_chargesTheTakerForMovingThePremium() public {
        vm.expectEmit();
        emit IClearingHouse.Traded(btcPerpetual, account, makerAccount, 2e18, 50_100e18, 100_200e18, 25e18);
        trade(account, makerAccount, btcPerpetual, 2e18, 50_100e18);
        _assertQuote(account, -100_225e18);
        _assertQuote(makerAccount, 100_200e18); // the maker has its price, no less
        assertEq(house.fees(), 25e18);
        assertEq(house.fundingOf(BTC).premium, 100e18);
        requireBooks(0);
        // The same from the seller's side: a quarter of what is open pulls the mean to −50 from 100.
        trade(other, makerAccount, btcPerpetual, -1e18, 49_500e18);
        assertEq(house.fundingOf(BTC).premium, 100e18 - int256(350e18) / 3);
        _assertQuote(other, 49_500e18 - 43.75e18);
        assertEq(house.fees(), 68.75e18);
        requireBooks(0);
    }

    function test_trade_atTheIndexPriceCostsNothing() public {
        trade(account, makerAccount, btcPerpetual, 2e18, 50_000e18);
        assertEq(house.fees(), 0);
        assertEq(house.fundingOf(BTC).premium, 0);
        pass(3 days);
        assertEq(house.fundingOf(BTC).index, 0);
        _assertQuote(account, -100_000e18);
    }

    /// @notice One that closes has no position left to charge: it pays in cash, with what its quote has come to.
    function test_trade_chargesWhoClosesInCash() public {
        trade(account, makerAccount, btcPerpetual, 2e18, 50_000e18);
        trade(account, makerAccount, btcPerpetual, -2e18, 50_100e18);
        assertEq(house.cashOf(account), 1_000_000e18 + 200e18 - 25e18);
        assertEq(house.portfolioOf(account).positions.length, 0);
        assertEq(house.fees(), 25e18);
        requireBooks(0);
    }

    function test_trade_pullsThePremiumNoFurtherThanHalfAPercent() public {
        trade(account, makerAccount, btcPerpetual, 1e18, 55_000e18);
        assertEq(house.fundingOf(BTC).premium, 250e18);
        assertEq(house.fees(), 31.25e18);
    }

    function test_trade_ofAnOptionLeavesThePremiumAlone() public {
        Instrument call = listOption(BTC, uint40(block.timestamp + 30 days), 50_000, false);
        trade(account, makerAccount, call, 1e18, 3000e18);
        assertEq(house.fundingOf(BTC).premium, 0);
        assertEq(house.fees(), 0);
        // But it is open interest, which dilutes.
        trade(account, makerAccount, btcPerpetual, 1e18, 50_100e18);
        assertEq(house.fundingOf(BTC).premium, 50e18);
        assertEq(house.fees(), 12.5e18);
    }

    function test_trade_keepsTheUnderlyingsApart() public {
        trade(account, makerAccount, btcPerpetual, 1e18, 50_100e18);
        pass(1 hours);
        trade(account, makerAccount, ethPerpetual, -1e18, 1995e18);
        assertEq(house.fundingOf(ETH).premium, -5e18);
        assertEq(house.fundingOf(ETH).index, 0);
        assertGt(house.fundingOf(BTC).index, 0);
    }

    // ─── The flow (ZERO-SUM, EQUITY)

    function test_fundingOf_longsPayShortsAnHourOfThePremium() public {
        trade(account, makerAccount, btcPerpetual, 2e18, 50_100e18);
        int256 equity = equityOf(account);
        int256 others = equityOf(makerAccount);
        pass(1 hours);
        int256 paid = 2 * 100 * HOUR / 8; // 15.80 dollars
        assertApproxEqAbs(house.fundingOf(BTC).index, paid / 2, 500);
        assertApproxEqAbs(equityOf(account), equity - paid, 1000);
        assertApproxEqAbs(equityOf(makerAccount), others + paid, 1000);
        requireBooks(2);
        // Into cash, and no more after that but the rest of the premium.
        assertApproxEqAbs(house.settleVariation(account), -225e18 - paid, 1000);
        assertEq(house.settleVariation(account), 0);
        requireBooks(2);
        pass(5 days);
        assertApproxEqAbs(house.settleVariation(account), paid - 25e18, 1000);
        requireBooks(2);
    }

    function test_fundingOf_shortsPayLongsBelowTheIndex() public {
        trade(account, makerAccount, btcPerpetual, -2e18, 49_900e18);
        pass(5 days);
        assertEq(house.fundingOf(BTC).index, -12.5e18);
        _assertQuote(account, 99_800e18 - 25e18 - 25e18);
        _assertQuote(makerAccount, -99_800e18 + 25e18);
        requireBooks(2);
    }

    /// @notice Who comes later pays from then on, and who has gone pays no more.
    function test_fundingOf_countsFromTheTrade() public {
        trade(account, makerAccount, btcPerpetual, 1e18, 50_100e18);
        pass(1 hours);
        int256 before_ = house.fundingOf(BTC).index;
        uint256 fees = house.fees();
        trade(other, makerAccount, btcPerpetual, 1e18, 50_000e18);
        (, int256 entered) = house.positionOf(other, btcPerpetual);
        assertApproxEqAbs(entered, -50_000e18 - int256(house.fees() - fees), 1, "nothing of what accrued before");
        trade(account, makerAccount, btcPerpetual, -1e18, 50_000e18);
        int256 cash = house.cashOf(account);
        pass(1 hours);
        int256 since = house.fundingOf(BTC).index - before_;
        assertGt(since, 0);
        (, int256 quote) = house.positionOf(other, btcPerpetual);
        assertApproxEqAbs(entered - quote, since, 1);
        assertEq(house.cashOf(account), cash);
        assertEq(house.settleVariation(account), 0);
    }

    /// @notice Settled every minute or once: the same money, to a wei or two.
    function test_settleVariation_isIndependentOfHowOftenItIsCalled() public {
        trade(account, makerAccount, btcPerpetual, 2e18, 50_137e18);
        uint256 snapshot = vm.snapshot();
        pass(90 minutes);
        house.settleVariation(account);
        int256 once = house.cashOf(account);
        vm.revertTo(snapshot);
        for (uint256 i; i < 90; ++i) {
            pass(1 minutes);
            house.settleVariation(account);
        }
        assertApproxEqAbs(house.cashOf(account), once, 2);
    }

    /// @notice ZERO-SUM, CASH: whoever trades what, when and at which price, the quotes, what has been settled of them and the
    /// fees come to nothing, to a wei for each position and settlement.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_trade_fundingIsZeroSum(uint256[8] memory sizes, uint256[8] memory prices, uint256 seed) public {
        uint64[3] memory parties = [account, other, makerAccount];
        uint256 settled;
        for (uint256 i; i < sizes.length; ++i) {
            uint256 bits = seed >> (i * 16);
            int256 size = int256(bound(sizes[i], 1, 5e18));
            if (bits % 2 == 0) size = -size;
            uint64 taker = parties[(bits >> 1) % 3];
            uint64 counter = parties[((bits >> 1) % 3 + 1 + (bits >> 3) % 2) % 3];
            trade(taker, counter, btcPerpetual, size, bound(prices[i], 49_000e18, 51_000e18));
            pass((bits >> 4) % 3 hours);
            if ((bits >> 12) % 4 == 0) {
                house.settleVariation(parties[(bits >> 14) % 3]);
                ++settled;
            }
            requireBooks(3 + settled + i);
        }
        for (uint256 i; i < 3; ++i) {
            house.settleVariation(parties[i]);
        }
        requireBooks(20);
    }

    // ─── Nobody moves the premium for free

    /// @notice An attacker who holds all of one side trades with himself to have funding paid to that side, then waits: the
    /// fee is at least what comes in, at every size, price, premium before and time.
    function testFuzz_trade_selfTradeNeverGains(
        uint256 open,
        uint256[2] memory sizes,
        uint256[3] memory prices,
        uint256 time
    ) public {
        uint64 left = openAccount(attacker(), 50_000_000);
        uint64 right = openAccount(attacker(), 50_000_000);
        int256 honest = int256(bound(open, 1e15, 100e18));
        if (open % 2 == 0) honest = -honest;
        // The honest side pays for the premium it stands at.
        trade(makerAccount, left, btcPerpetual, honest, bound(prices[0], 49_500e18, 50_500e18));
        pass(bound(time, 0, 2 hours));

        uint256 snapshot = vm.snapshot();
        pass(bound(time >> 32, 0, 50 hours) + bound(time >> 64, 0, 50 hours));
        int256 still = equityOf(left) + equityOf(right);
        vm.revertTo(snapshot);

        for (uint256 i; i < 2; ++i) {
            _tradeAlone(left, right, sizes[i], bound(prices[i + 1], 49_000e18, 51_000e18));
            pass(bound(time >> (32 * (i + 1)), 0, 50 hours));
        }
        // The index is rounded to a wei or so a unit each time the premium fades.
        assertLe(equityOf(left) + equityOf(right), still + 1e6, "the premium was moved for less than it brought");
        requireBooks(8);
    }

    /// @notice The fee would come back whole to who is long all of the 15 that are open then; a self-trader is long no more
    /// than the honest side is short.
    function test_trade_selfTradeLosesPartOfTheFeeInTheEnd() public {
        uint64 left = openAccount(attacker(), 10_000_000);
        uint64 right = openAccount(attacker(), 10_000_000);
        trade(makerAccount, left, btcPerpetual, -10e18, 50_000e18); // all of the long side
        int256 before_ = equityOf(left) + equityOf(right);
        trade(left, right, btcPerpetual, 5e18, 49_800e18);
        assertEq(house.fees(), 125e18);
        assertEq(equityOf(left) + equityOf(right), before_ - 125e18);
        // p = −200/3 on the 10 that the honest side is short: 83.33 dollars of the 125 come back in the end, no more.
        pass(5 days);
        assertApproxEqAbs(equityOf(left) + equityOf(right), before_ - 125e18 + 83_333_333_333_333_333_333, 100);
    }

    // ─── Helpers

    function _tradeAlone(uint64 left, uint64 right, uint256 random, uint256 price) private {
        int256 size = int256(bound(random, 1e12, 200e18));
        (uint64 taker, uint64 counter) = random % 2 == 0 ? (left, right) : (right, left);
        trade(taker, counter, btcPerpetual, random % 3 == 0 ? -size : size, price);
    }

    function attacker() private returns (address) {
        return actor("attacker");
    }

    function _assertQuote(uint64 which, int256 expected) private view {
        (, int256 quote) = house.positionOf(which, btcPerpetual);
        assertEq(quote, expected);
    }
}
