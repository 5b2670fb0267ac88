// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Portfolio } from "contracts/types/Portfolio.sol";

/// @notice A whole portfolio handed to a bidder that held nothing changes hands by exchanging the two books. It must come to
/// what moving it piece by piece does. The fallen account holds perpetuals, options, collateral and a funding that runs.
contract ClearingHouseHandoverTest is Accounts {
    uint64 private fallen;
    uint64 private bidder;
    Instrument private call;
    Instrument private put;
    Instrument[4] private instruments;

    function setUp() public override {
        super.setUp();
        fallen = openAccount(trader, 18_000);
        bidder = openAccount(stranger, 500_000);
        uint40 expiry = uint40(block.timestamp + 30 days);
        call = listOption(BTC, expiry, 50_000, false);
        put = listOption(BTC, expiry, 45_000, true);
        instruments = [btcPerpetual, ethPerpetual, call, put];
        deposit(fallen, WETH, 3.123456789e18);
        deposit(fallen, WBTC, 0.1e8);
        trade(fallen, makerAccount, btcPerpetual, 1e18, 50_100e18);
        trade(fallen, makerAccount, ethPerpetual, -3.3e18, 1995e18);
        trade(fallen, makerAccount, call, -0.7e18, 3000e18);
        trade(fallen, makerAccount, put, 0.4e18, 1000e18);
        pass(1 hours);
    }

    // ─── The same either way

    /// @notice Against a bidder with a speck of collateral, which takes the long way.
    function test_liquidate_exchangingBooksComesToTheSameAsMovingThem() public {
        uint256 snapshot = vm.snapshot();
        assertTrue(_handOver(WAD));
        Portfolio memory exchanged = house.portfolioOf(bidder);
        (uint256 btc, uint256 eth) = (house.openInterestOf(BTC), house.openInterestOf(ETH));
        (int256[4] memory sizes, int256[4] memory quotes) = _positionsOf(bidder);
        _assertEmpty(fallen);
        int256 cash = house.cashOf(fallen);
        requireBooks(10);
        vm.revertTo(snapshot);

        deposit(bidder, WETH, 1);
        assertFalse(_handOver(WAD));
        _assertEmpty(fallen);
        assertEq(house.cashOf(fallen), cash);
        assertEq(house.cashOf(bidder), exchanged.cash);
        (int256[4] memory movedSizes, int256[4] memory movedQuotes) = _positionsOf(bidder);
        for (uint256 i; i < 4; ++i) {
            assertEq(sizes[i], movedSizes[i]);
            assertEq(quotes[i], movedQuotes[i]);
        }
        assertEq(exchanged.positions.length, 4);
        assertEq(exchanged.collateral.length, 2);
        assertEq(house.collateralOf(bidder, WETH), exchanged.collateral[0].amount + 1);
        assertEq(house.collateralOf(bidder, WBTC) * 1e10, exchanged.collateral[1].amount);
        assertEq(house.openInterestOf(BTC), btc);
        assertEq(house.openInterestOf(ETH), eth);
        requireBooks(10);
    }

    /// @notice Nor is a bidder with a position of its own, or a part of the portfolio, the short way's business.
    function test_liquidate_movesPieceByPieceUnlessAllGoesToWhoHeldNothing() public {
        uint256 snapshot = vm.snapshot();
        trade(bidder, makerAccount, ethPerpetual, 1e15, 2000e18);
        assertFalse(_handOver(WAD));
        assertEq(sizeOf(bidder, ethPerpetual), -3.3e18 + 1e15);
        assertEq(sizeOf(bidder, btcPerpetual), 1e18);
        _assertEmpty(fallen);
        requireBooks(10);
        vm.revertTo(snapshot);

        assertFalse(_handOver(WAD - 1));
        assertEq(sizeOf(bidder, btcPerpetual), 1e18 - 1);
        assertEq(sizeOf(fallen, btcPerpetual), 1);
        requireBooks(10);
    }

    /// @notice Funding runs on with the quote as it was stored: no settlement on the way.
    function test_liquidate_carriesTheFundingOn() public {
        (, int256 before_) = house.positionOf(fallen, btcPerpetual);
        _handOver(WAD);
        (, int256 after_) = house.positionOf(bidder, btcPerpetual);
        assertEq(after_, before_);
        pass(1 hours);
        (, int256 later) = house.positionOf(bidder, btcPerpetual);
        assertLt(later, after_);
        requireBooks(10);
    }

    // ─── Afterwards

    /// @notice The fallen account has the bidder's old book: empty, though it has been written in before.
    function test_liquidate_theFallenStartsFromAnEmptyBook() public {
        // The bidder's book has been used, in more places than it will have again at once, and given up.
        deposit(bidder, WETH, 1e18);
        deposit(bidder, WBTC, 1e8);
        for (uint256 i; i < 4; ++i) {
            trade(bidder, makerAccount, instruments[i], -0.1e18, _priceOf(i));
        }
        for (uint256 i; i < 4; ++i) {
            trade(bidder, makerAccount, instruments[i], 0.1e18, _priceOf(i));
        }
        withdraw(bidder, WETH, 1e18);
        withdraw(bidder, WBTC, 1e8);
        assertTrue(_handOver(WAD));
        _assertEmpty(fallen);

        // It trades, deposits and withdraws as a new one would, and the bidder's things are the bidder's.
        Portfolio memory taken = house.portfolioOf(bidder);
        deposit(fallen, CASH, 100_000e6);
        deposit(fallen, WBTC, 0.5e8);
        trade(fallen, makerAccount, put, 0.2e18, 1000e18);
        trade(fallen, makerAccount, btcPerpetual, -0.3e18, 50_000e18);
        assertEq(house.portfolioOf(fallen).positions.length, 2);
        assertEq(house.portfolioOf(fallen).collateral.length, 1);
        assertEq(sizeOf(fallen, put), 0.2e18);
        assertEq(sizeOf(fallen, btcPerpetual), -0.3e18);
        assertEq(house.collateralOf(fallen, WBTC), 0.5e8);
        assertEq(house.collateralOf(fallen, WETH), 0);
        _assertSame(house.portfolioOf(bidder), taken);
        requireBooks(20);

        withdraw(fallen, WBTC, 0.5e8);
        trade(fallen, makerAccount, put, -0.2e18, 1000e18);
        trade(fallen, makerAccount, btcPerpetual, 0.3e18, 50_000e18);
        withdraw(fallen, CASH, 90_000e6);
        assertEq(house.portfolioOf(fallen).positions.length, 0);
        _assertSame(house.portfolioOf(bidder), taken);
        requireBooks(20);
    }

    /// @notice And back again, and on to a third: a book is never shared.
    function test_liquidate_booksGoRound() public {
        uint64 third = openAccount(backer, 0);
        Portfolio memory whole = house.portfolioOf(fallen);
        _handOver(WAD);
        (fallen, bidder) = (bidder, third);
        _handOver(WAD);
        _assertSame(house.portfolioOf(third), whole);
        _assertEmpty(fallen);
        (fallen, bidder) = (third, 3);
        _handOver(WAD);
        _assertSame(house.portfolioOf(3), whole);
        _assertEmpty(third);
        for (uint64 i = 3; i <= house.accountCount(); ++i) {
            deposit(i, WETH, i);
        }
        assertEq(house.collateralOf(third, WETH), third);
        assertEq(house.collateralOf(3, WETH), 3.123456789e18 + 3);
        requireBooks(20);
    }

    // ─── Through the auction

    /// @notice GATE: the bidder's margin is looked at without working it out anew. It must be what it would be.
    function test_bid_holdsWhoTakesAllToItsMargin() public {
        setPrice(BTC, 1000);
        assertLt(equityOf(fallen), 0);
        liquidation.flag(fallen, keeperAccount);
        uint256 snapshot = vm.snapshot();
        vm.prank(stranger);
        liquidation.bid(fallen, bidder, WAD, ANY_PRICE, ANY_NONCE);
        (int256 equity, uint256 initial,) = requirementsOf(bidder);
        assertGe(equity, int256(initial));
        _assertEmpty(fallen);
        requireBooks(20);
        vm.revertTo(snapshot);

        // Enough to the dollar, and one dollar too little.
        uint256 free = uint256(equity - int256(initial)) / 1e18;
        withdraw(bidder, CASH, (free - 1) * 1e6);
        snapshot = vm.snapshot();
        vm.prank(stranger);
        liquidation.bid(fallen, bidder, WAD, ANY_PRICE, ANY_NONCE);
        vm.revertTo(snapshot);
        withdraw(bidder, CASH, 2e6);
        vm.prank(stranger);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        liquidation.bid(fallen, bidder, WAD, ANY_PRICE, ANY_NONCE);
    }

    // ─── Helpers

    function _handOver(uint256 fraction) private returns (bool whole) {
        IClearingHouse.Liquidation memory order;
        (order.account, order.bidder, order.keeper) = (fallen, bidder, keeperAccount);
        order.fraction = fraction;
        uint64 nonce = house.nonceOf(fallen);
        uint64 other = house.nonceOf(bidder);
        vm.prank(address(liquidation));
        whole = house.liquidate(order);
        assertGt(house.nonceOf(fallen), nonce);
        assertGt(house.nonceOf(bidder), other);
    }

    function _positionsOf(uint64 account) private view returns (int256[4] memory sizes, int256[4] memory quotes) {
        for (uint256 i; i < 4; ++i) {
            (sizes[i], quotes[i]) = house.positionOf(account, instruments[i]);
        }
    }

    function _priceOf(uint256 i) private pure returns (uint256) {
        return i == 0 ? 50_000e18 : i == 1 ? 2000e18 : i == 2 ? 3000e18 : 1000e18;
    }

    function _assertEmpty(uint64 account) private view {
        Portfolio memory portfolio = house.portfolioOf(account);
        assertEq(portfolio.positions.length, 0);
        assertEq(portfolio.collateral.length, 0);
        assertEq(house.collateralOf(account, WETH), 0);
        assertEq(house.collateralOf(account, WBTC), 0);
    }

    /// @dev Positions and collateral; cash is not in a book.
    function _assertSame(Portfolio memory a, Portfolio memory b) private pure {
        assertEq(abi.encode(a.positions), abi.encode(b.positions));
        assertEq(abi.encode(a.collateral), abi.encode(b.collateral));
    }
}
