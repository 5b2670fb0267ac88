// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { Instrument } from "contracts/types/Instrument.sol";

/// @notice Dust blocking an auction: amounts too small to matter, put where something must be whole, empty, unchanged or free.
/// The account is 1.6 BTC long from 50,000 on 10,000 dollars, and its owner wants nobody to take it.
contract DustTest is Coalition {
    uint64 private account;
    uint64 private sybil;

    function setUp() public override {
        super.setUp();
        account = member("attacker", 10_000);
        sybil = member("attacker 2", 200_000);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
    }

    /// @notice Attack: send dust of every asset to the account and to its bidder, before and between bids: nonces move, books are
    /// no longer empty.
    /// Fails: only owners and operators may deposit; whoever transfers moves nonces, but a bid need not name one; and a
    /// bidder that holds dust gets the portfolio position by position instead of by the book.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_dustBlockingAnAuction_deposits(uint256 price, uint256 amount) public {
        dollar.mint(stranger, 1);
        vm.startPrank(stranger);
        dollar.approve(address(house), 1);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseNotAuthorised.selector, account, stranger));
        house.deposit(account, CASH, 1);
        vm.stopPrank();

        amount = bound(amount, 1, 100);
        deposit(sybil, WETH, amount * 8);
        deposit(sybil, WBTC, 8);
        setPrice(BTC, bound(price, 39_000, 45_500));
        int256 before_ = wealth();
        liquidation.flag(account, keeperAccount);
        address attacker = house.ownerOf(sybil);
        for (uint256 i; i < 4 && liquidation.auctionOf(account).startedAt != 0; ++i) {
            vm.startPrank(attacker);
            house.transfer(sybil, account, WETH, amount);
            house.transfer(sybil, account, WBTC, 1);
            house.transfer(sybil, keeperAccount, WETH, amount);
            house.transfer(sybil, keeperAccount, WBTC, 1);
            vm.stopPrank();
            bid(account, i == 0 ? 0.3e18 : WAD);
        }
        assertEq(liquidation.auctionOf(account).startedAt, 0, "over");
        assertLe(wealth(), before_ + ROUNDING);
        requireBooks(0);
    }

    /// @notice Attack: hold positions of a few wei, of which no fraction can be moved, beside the one that matters.
    /// Fails: what rounds to nothing stays behind, is worth nothing and needs next to nothing; it goes with the rest once the
    /// rest is taken whole.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_dustBlockingAnAuction_positions(uint256 price, uint256 size, uint256 fraction) public {
        Instrument[4] memory dust;
        for (uint256 i; i < 4; ++i) {
            dust[i] = listOption(BTC, uint40(block.timestamp + 30 days), 40_000 + 5000 * i, i % 2 == 0);
            trade(account, makerAccount, dust[i], i < 2 ? int256(bound(size, 1, 5)) : -int256(bound(size, 1, 5)), 1e18);
        }
        setPrice(BTC, bound(price, 39_000, 45_500));
        int256 before_ = wealth();
        liquidation.flag(account, keeperAccount);
        bid(account, bound(fraction, 1e9, 0.5e18));
        for (uint256 i; i < 2 && liquidation.auctionOf(account).startedAt != 0; ++i) {
            bid(account, WAD);
        }
        assertEq(liquidation.auctionOf(account).startedAt, 0, "over");
        assertLe(wealth(), before_ + ROUNDING);
        requireBooks(0);
    }

    /// @notice Attack: an account so small that no part of it is worth the gas, or made so by buying the rest of it: each bid would
    /// leave a smaller remainder, and the auction would never be over.
    /// Fails: where the maintenance margin left would be below the minimum, all of it is sold, to whoever bids next.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_dustBlockingAnAuction_remainder(uint256 price, uint256 time, uint256 fraction) public {
        uint64 small = member("attacker 3", 100);
        trade(small, makerAccount, btcPerpetual, 0.015e18, 50_000e18);
        setPrice(BTC, bound(price, 45_000, 45_700));
        int256 before_ = wealth();
        liquidation.flag(small, keeperAccount);
        pass(bound(time, 0, 60));
        vm.prank(house.ownerOf(sybil));
        // In the way of the small one: of what it is offered, all, he takes a part.
        liquidation.bid(small, sybil, bound(fraction, 1e9, 0.3e18), ANY_PRICE, ANY_NONCE);
        assertTrue(liquidation.auctionOf(small).startedAt != 0, "still below maintenance");
        assertEq(bid(small, WAD).fraction, WAD, "whole");
        assertEq(sizeOf(small, btcPerpetual), 0);
        assertEq(liquidation.auctionOf(small).startedAt, 0, "over");
        assertLe(wealth(), before_ + ROUNDING);
        requireBooks(0);
    }

    /// @notice Attack: forty bids for a billionth each, in front of every real one: to use up the throughput or the fee, to set the
    /// clock back, or to move the account a little above maintenance and end its auction before its time.
    /// Fails: what a bid uses up is what it takes; the clock runs from the flag; the next bid takes what it would have taken.
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_dustBlockingAnAuction_bids(uint256 price, uint256 time) public {
        setPrice(BTC, bound(price, 39_000, 45_400));
        liquidation.flag(account, keeperAccount);
        pass(bound(time, 0, 1500));
        (uint256 room,) = liquidation.throughputOf(BTC);
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, WAD);
        int256 before_ = wealth();
        for (uint256 i; i < 40; ++i) {
            _bid(1e9);
        }
        (uint256 left,) = liquidation.throughputOf(BTC);
        assertApproxEqAbs(room, left, 0.01e18, "a cent of room");
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(taken.discount, preview.discount);
        assertApproxEqAbs(taken.fraction, preview.fraction, 1e12);
        assertApproxEqAbs(taken.price, preview.price, 0.01e18);
        assertApproxEqAbs(taken.fee, preview.fee, 0.01e18);
        assertEq(liquidation.auctionOf(account).startedAt, 0, "over");
        // The fund pays the discount on what he took, as to anybody: less than a cent.
        assertLe(wealth(), before_ + 0.01e18);
    }

    function _bid(uint256 fraction) private {
        vm.prank(house.ownerOf(sybil));
        liquidation.bid(account, sybil, fraction, ANY_PRICE, ANY_NONCE);
    }
}
