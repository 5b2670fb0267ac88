// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "contracts/interfaces/IInstrumentRegistry.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Order } from "contracts/types/Order.sol";

/// @notice Options in the books: premium, open interest, and what becomes of them once they have expired. A call and a put
/// on BTC at 50,000, thirty days out, and an account with 100,000 dollars.
contract ClearingHouseOptionsTest is Accounts {
    uint64 private account;
    uint40 private expiry;
    Instrument private call;
    Instrument private put;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 100_000);
        expiry = uint40(block.timestamp + 30 days);
        call = listOption(BTC, expiry, 50_000, false);
        put = listOption(BTC, expiry, 50_000, true);
    }

    // ─── Premium (CASH, ZERO-SUM)

    function test_settleTrade_paysAPremiumInCash() public {
        trade(account, makerAccount, call, 2e18, 3000.5e18);
        assertEq(house.cashOf(account), 100_000e18 - 6001e18);
        assertEq(house.cashOf(makerAccount), 100_000_000e18 + 6001e18);
        _assertHolds(account, call, 2e18);
        _assertHolds(makerAccount, call, -2e18);
        requireBooks(0);
        trade(account, makerAccount, put, -1e18, 2000e18);
        assertEq(house.cashOf(account), 100_000e18 - 6001e18 + 2000e18);
        _assertHolds(account, put, -1e18);
        requireBooks(0);
    }

    function test_settleTrade_closingAnOptionLeavesNothingBehind() public {
        trade(account, makerAccount, call, 2e18, 3000e18);
        trade(account, makerAccount, call, -2e18, 3100e18);
        assertEq(house.cashOf(account), 100_200e18);
        assertEq(house.portfolioOf(account).positions.length, 0);
        assertEq(house.portfolioOf(makerAccount).positions.length, 0);
        requireBooks(0);
    }

    /// @notice ROUND: the premium rounds against the taker, whichever side that is.
    function test_settleTrade_roundsThePremiumAgainstTheTaker() public {
        trade(account, makerAccount, call, 1, 1.5e18);
        assertEq(house.cashOf(account), 100_000e18 - 2);
        trade(account, makerAccount, call, -1, 1.5e18);
        assertEq(house.cashOf(account), 100_000e18 - 1);
        requireBooks(0);
    }

    /// @notice GATE: a premium in hand does not carry the option that was sold for it, nor an option what was paid too much.
    function test_settleTrade_holdsOptionsToInitialMargin() public {
        uint64 poor = openAccount(stranger, 3000);
        (uint256 mark,) = lens.markOf(call);
        _expectRefused(poor, call, -1e18, mark, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        _expectRefused(poor, call, 0.5e18, mark + 12_000e18, IClearingHouse.ClearingHouseInsufficientMargin.selector);
        trade(poor, makerAccount, call, 0.5e18, mark);
        // Long, so it may sell as much again: that is closing.
        trade(poor, makerAccount, call, -0.5e18, mark);
    }

    function test_settleVariation_leavesOptionsAlone() public {
        trade(account, makerAccount, call, 2e18, 3000e18);
        assertEq(house.settleVariation(account), 0);
        trade(account, makerAccount, btcPerpetual, 1e18, 50_000e18);
        setPrice(BTC, 51_000);
        assertEq(house.settleVariation(account), 1000e18);
        _assertHolds(account, call, 2e18);
        requireBooks(0);
    }

    function test_settleTrade_revertsIfTheOptionHasExpiredOrIsNotListed() public {
        Instrument other = Instrument.wrap(Instrument.unwrap(call) + 1);
        _expectRefused(account, other, 1e18, 3000e18, IInstrumentRegistry.RegistryUnknownInstrument.selector);
        vm.warp(expiry);
        _expectRefused(account, call, 1e18, 3000e18, IInstrumentRegistry.RegistryExpired.selector);
    }

    function test_settleTrade_revertsIfTooManyOptions() public {
        Instrument[65] memory series;
        for (uint256 i; i < 65; ++i) {
            series[i] = listOption(BTC, expiry, 40_000 + 300 * i, i % 2 == 0);
            if (i < 64) trade(account, makerAccount, series[i], i % 3 == 0 ? int256(-1e15) : int256(1e15), 3000e18);
        }
        assertEq(house.portfolioOf(account).positions.length, 64);
        uint64 other = openAccount(stranger, 1_000_000);
        Order memory sell = orderOf(other, series[64], -1e15, 3000e18);
        Order memory buy = orderOf(account, series[64], 1e15, 3000e18);
        (bytes memory sellSignature, bytes memory buySignature) = (sign(sell), sign(buy));
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseTooManyPositions.selector, account, 64));
        gateway.settleTrade(sell, sellSignature, buy, buySignature, 1e15);
        // Expired and settled ones make room by themselves.
        Instrument next = listOption(BTC, expiry + 1 days, 50_000, false);
        settleAt(BTC, expiry, 50_000);
        trade(account, other, next, 1e15, 3000e18);
        assertEq(house.portfolioOf(account).positions.length, 1);
        house.settleExpired(makerAccount);
        requireBooks(128);
    }

    // ─── Open interest

    function test_openInterestOf_countsWhatIsLong() public {
        uint64 other = openAccount(stranger, 1_000_000);
        trade(account, makerAccount, call, 2e18, 3000e18);
        assertEq(house.openInterestOf(BTC), 2e18);
        trade(account, makerAccount, put, -1e18, 3000e18);
        assertEq(house.openInterestOf(BTC), 3e18);
        trade(account, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        assertEq(house.openInterestOf(BTC), 3.5e18);
        trade(account, other, call, -1.5e18, 3000e18); // changes hands
        assertEq(house.openInterestOf(BTC), 3.5e18);
        trade(account, makerAccount, call, -1e18, 3000e18); // through zero: half closes, half changes hands
        assertEq(house.openInterestOf(BTC), 3e18);
        assertEq(house.openInterestOf(ETH), 0);
        requireBooks(0);
        settleAt(BTC, expiry, 50_000);
        assertEq(house.openInterestOf(BTC), 3e18);
        house.settleExpired(account); // short call, short put, long perpetual
        assertEq(house.openInterestOf(BTC), 3e18);
        house.settleExpired(makerAccount);
        assertEq(house.openInterestOf(BTC), 2e18);
        house.settleExpired(other);
        assertEq(house.openInterestOf(BTC), 0.5e18);
        requireBooks(10);
    }

    function testFuzz_openInterestOf_isTheSumOfLongs(int256[10] memory sizes, uint256 who) public {
        uint64 other = openAccount(stranger, 10_000_000);
        deposit(account, CASH, 10_000_000e6);
        uint64[3] memory accounts = [account, other, makerAccount];
        Instrument[3] memory series = [call, put, btcPerpetual];
        for (uint256 i; i < sizes.length; ++i) {
            int256 size = bound(sizes[i], -10e18, 10e18);
            if (size == 0) continue;
            uint256 which = (who >> (i * 8 + 4)) % 3;
            uint256 first = (who >> (i * 8)) % 3;
            uint256 second = (first + 1 + (who >> (i * 8 + 2)) % 2) % 3;
            trade(accounts[first], accounts[second], series[which], size, which == 2 ? 50_000e18 : 3000e18);
            requireBooks(0); // looks at open interest too
        }
    }

    // ─── Settlement of what has expired

    function test_settleExpired_paysTheHolderAndChargesTheWriter() public {
        trade(account, makerAccount, call, 2e18, 3000e18);
        trade(account, makerAccount, put, 1e18, 3000e18);
        settleAt(BTC, expiry, 56_000);
        uint64 nonce = house.nonceOf(account);
        vm.expectEmit();
        emit IClearingHouse.ExpiredSettled(account, put, 1e18, 0);
        vm.expectEmit();
        emit IClearingHouse.ExpiredSettled(account, call, 2e18, 12_000e18);
        vm.prank(stranger); // anyone may
        assertEq(house.settleExpired(account), 12_000e18);
        assertEq(house.cashOf(account), 100_000e18 - 9000e18 + 12_000e18);
        assertEq(house.nonceOf(account), nonce + 1);
        assertEq(house.portfolioOf(account).positions.length, 0);
        requireBooks(0); // the writer's debt is counted before it is charged
        assertEq(house.settleExpired(makerAccount), -12_000e18);
        assertEq(house.cashOf(makerAccount), 100_000_000e18 + 9000e18 - 12_000e18);
        requireBooks(0);
        assertEq(house.settleExpired(account), 0);
        assertEq(house.nonceOf(account), nonce + 1);
    }

    function test_settleExpired_ofAPut() public {
        trade(account, makerAccount, put, -2e18, 3000e18);
        settleAt(BTC, expiry, 45_000);
        assertEq(house.settleExpired(account), -10_000e18);
        assertEq(house.settleExpired(makerAccount), 10_000e18);
        requireBooks(0);
    }

    function test_settleExpired_leavesWhatIsNotSettledOrNotExpired() public {
        Instrument later = listOption(BTC, expiry + 1 days, 50_000, false);
        Instrument ethCall = listOption(ETH, expiry, 2000, false);
        trade(account, makerAccount, call, 1e18, 3000e18);
        trade(account, makerAccount, later, 1e18, 3000e18);
        trade(account, makerAccount, ethCall, 1e18, 200e18);
        trade(account, makerAccount, btcPerpetual, 0.1e18, 50_000e18);
        assertEq(house.settleExpired(account), 0);
        vm.warp(expiry + 1);
        assertEq(house.settleExpired(account), 0);
        assertEq(house.portfolioOf(account).positions.length, 4);
        settleAt(BTC, expiry, 51_000);
        assertEq(house.settleExpired(account), 1000e18);
        _assertHolds(account, later, 1e18);
        _assertHolds(account, ethCall, 1e18);
        assertEq(sizeOf(account, btcPerpetual), 0.1e18);
        assertEq(sizeOf(account, call), 0);
    }

    function test_settleExpired_revertsIfAccountIsUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAccount.selector, 99));
        house.settleExpired(99);
    }

    /// @notice EQUITY: a settled option was worth its payoff before it became cash, and so it is after.
    function test_settleExpired_leavesEquityAsItWas() public {
        trade(account, makerAccount, call, 2.5e18, 3000e18);
        trade(account, makerAccount, put, -1.1e18, 3000e18);
        settleAt(BTC, expiry, 52_345);
        (int256 equity, int256 other, int256 total) = (equityOf(account), equityOf(makerAccount), totalEquity());
        assertEq(equity, house.cashOf(account) + 2.5e18 * 2345);
        house.settleExpired(account);
        house.settleExpired(makerAccount);
        assertEq(equityOf(account), equity);
        assertEq(equityOf(makerAccount), other);
        assertEq(totalEquity(), total);
    }

    /// @notice ZERO-SUM: however the sizes and the price fall, no more is paid than was charged, and at most a wei a position
    /// is left over.
    function testFuzz_settleExpired_paysOutWhatItTakesIn(int256[8] memory sizes, uint256 price, bool isPut) public {
        uint64[4] memory accounts = [account, makerAccount, openAccount(stranger, 1_000_000), keeperAccount];
        deposit(account, CASH, 10_000_000e6);
        Instrument option = isPut ? put : call;
        for (uint256 i; i < sizes.length; ++i) {
            int256 size = bound(sizes[i], -9e18, 9e18);
            if (size != 0) trade(accounts[i % 4], accounts[(i + 1 + i / 4) % 4], option, size, 2999.123456789e18);
        }
        requireBooks(0);
        vm.warp(expiry + 1);
        priceFeeds[BTC].pushAt(int256(bound(price, 30_000e8, 70_000e8)), expiry);
        registry.settle(BTC, expiry, priceOracle.latestRound(BTC));
        int256 paid;
        for (uint256 i; i < 4; ++i) {
            paid += house.settleExpired(accounts[i]);
            requireBooks(4);
        }
        assertLe(paid, 0);
        assertGe(paid, -4);
        assertEq(house.openInterestOf(BTC), 0);
    }

    // ─── Settled on the way

    function test_withdraw_settlesFirst() public {
        _holdAWinner();
        withdraw(account, CASH, 103_000e6);
        assertEq(house.cashOf(account), 0);
        assertEq(house.portfolioOf(account).positions.length, 0);
        requireBooks(0);
    }

    function test_transfer_settlesTheGiverFirst() public {
        _holdAWinner();
        vm.prank(trader);
        house.transfer(account, keeperAccount, CASH, 103_000e6);
        assertEq(house.cashOf(account), 0);
        assertEq(house.portfolioOf(account).positions.length, 0);
    }

    function test_settleTrade_settlesBothSidesFirst() public {
        _holdAWinner();
        trade(account, makerAccount, btcPerpetual, 0.1e18, 56_000e18);
        assertEq(house.cashOf(account), 103_000e18);
        assertEq(house.portfolioOf(account).positions.length, 1);
        assertEq(house.portfolioOf(makerAccount).positions.length, 1);
        requireBooks(0);
    }

    /// @notice An expiry nobody has settled stops nothing: its options count at their payoff at the index price.
    function test_withdraw_worksWhileAnExpiryIsNotSettled() public {
        trade(account, makerAccount, call, 1e18, 3000e18);
        vm.warp(expiry);
        pass(1);
        setPrice(BTC, 56_000);
        assertEq(equityOf(account), 103_000e18);
        withdraw(account, CASH, 90_000e6);
        trade(account, makerAccount, btcPerpetual, 0.01e18, 56_000e18);
        _assertHolds(account, call, 1e18);
        requireBooks(0);
    }

    // ─── Liquidation

    /// @notice Short 1.5 calls on 20,000 dollars, and BTC runs to 63,000.
    function test_bid_movesOptionsInProportion() public {
        uint64 writer = _writeCalls();
        setPrice(BTC, 63_000);
        trade(keeperAccount, makerAccount, put, 1e18, 1000e18);
        liquidation.flag(writer, keeperAccount);
        uint256 openInterest = house.openInterestOf(BTC);
        int256 total = totalEquity();
        uint256 fraction = bid(writer, 0.3e18).fraction;
        assertApproxEqAbs(sizeOf(writer, call), -1.5e18 * (1e18 - int256(fraction)) / 1e18, 1);
        assertEq(sizeOf(writer, call) + sizeOf(keeperAccount, call), -1.5e18);
        assertEq(house.openInterestOf(BTC), openInterest);
        assertGe(totalEquity(), total - 10);
        requireBooks(0);
    }

    /// @notice Flagged, and only then expired and settled: the bid divides what is left, and the payoff is cash.
    function test_bid_settlesExpiredOptionsOfBothFirst() public {
        uint64 writer = _writeCalls();
        trade(writer, makerAccount, btcPerpetual, -0.1e18, 50_000e18);
        trade(keeperAccount, makerAccount, call, 1e18, 3000e18);
        vm.warp(expiry - 10 minutes);
        pass(0);
        setPrice(BTC, 66_000);
        liquidation.flag(writer, keeperAccount);
        settleAt(BTC, expiry, 66_000);
        int256 keeperEquity = equityOf(keeperAccount);
        assertEq(liquidation.previewBid(writer, WAD).equity, -1100e18); // 24,500 less 24,000 and 1,600
        assertEq(bid(writer, WAD).equity, -1100e18);
        assertEq(house.portfolioOf(writer).positions.length, 0);
        assertEq(equityOf(writer), 0);
        assertEq(sizeOf(keeperAccount, call), 0);
        assertEq(sizeOf(keeperAccount, btcPerpetual), -0.1e18);
        assertGe(equityOf(keeperAccount), keeperEquity - 10);
        requireBooks(10);
    }

    function test_bid_worksWhileAnExpiryIsNotSettled() public {
        uint64 writer = _writeCalls();
        vm.warp(expiry);
        setPrice(BTC, 80_000);
        uint80 inForce = priceOracle.latestRound(BTC);
        pass(1);
        liquidation.flag(writer, keeperAccount);
        assertLt(equityOf(writer), 0);
        bid(writer, WAD);
        assertEq(sizeOf(writer, call), 0);
        assertEq(sizeOf(keeperAccount, call), -1.5e18);
        assertEq(equityOf(writer), 0);
        requireBooks(0);
        // And when it is, whoever holds it is charged.
        registry.settle(BTC, expiry, inForce);
        house.settleExpired(keeperAccount);
        house.settleExpired(makerAccount);
        assertEq(house.openInterestOf(BTC), 0);
        requireBooks(2);
    }

    function test_flag_settlesWhatHasExpired() public {
        uint64 writer = _writeCalls();
        settleAt(BTC, expiry, 70_000);
        liquidation.flag(writer, keeperAccount);
        assertEq(sizeOf(writer, call), 0);
        assertLt(house.cashOf(writer), 0);
        assertEq(int256(liquidation.reservedShortfall()), -house.cashOf(writer));
    }

    // ─── Helpers

    /// @dev A call for 3,000 that has expired and settled at 56,000; the maker wrote it.
    function _holdAWinner() private {
        trade(account, makerAccount, call, 1e18, 3000e18);
        settleAt(BTC, expiry, 56_000);
    }

    /// @dev 24,500 dollars in all, 4,500 of them premium.
    function _writeCalls() private returns (uint64 writer) {
        writer = openAccount(stranger, 20_000);
        trade(writer, makerAccount, call, -1.5e18, 3000e18);
    }

    function _assertHolds(uint64 which, Instrument instrument, int256 size) private view {
        (int256 held, int256 quote) = house.positionOf(which, instrument);
        assertEq(held, size);
        assertEq(quote, 0);
    }

    function _expectRefused(uint64 taker, Instrument instrument, int256 size, uint256 price, bytes4 selector) private {
        Order memory first = orderOf(makerAccount, instrument, -size, price);
        Order memory second = orderOf(taker, instrument, size, price);
        (bytes memory firstSignature, bytes memory secondSignature) = (sign(first), sign(second));
        cheats.expectPartialRevert(selector);
        gateway.settleTrade(first, firstSignature, second, secondSignature, uint128(absolute(size)));
    }
}
