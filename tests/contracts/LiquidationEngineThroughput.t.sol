// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Auctions } from "./support/Auctions.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { UnderlyingMargin } from "contracts/types/Margin.sol";

/// @notice How much of an underlying may be liquidated at a time. The account's exposure at 45,500 is 72,800 dollars; the window
/// is 600 seconds, and here a hundred-thousandth of the average daily volume of two billion, 20,000 dollars, fits in it.
contract LiquidationEngineThroughputTest is Auctions {
    uint256 private constant LIMIT = 20_000e18;

    function setUp() public override {
        super.setUp();
        _setThroughput(1e13, 1e18, 600);
    }

    // ─── The limit

    function test_throughputOf_growsWithTheAverageDailyVolume() public {
        (uint256 room, uint256 limit) = liquidation.throughputOf(BTC);
        assertEq(limit, LIMIT);
        assertEq(room, LIMIT);
        setParameter(Fields.AVERAGE_DAILY_VOLUME, BTC, 0, 6_000_000);
        (room, limit) = liquidation.throughputOf(BTC);
        assertEq(limit, 3 * LIMIT);
        assertEq(room, 3 * LIMIT);
        (, limit) = liquidation.throughputOf(ETH);
        assertEq(limit, LIMIT, "each its own");
    }

    function test_throughputOf_isAtLeastTheMinimum() public {
        _setThroughput(1e13, 30_000e18, 600);
        (uint256 room, uint256 limit) = liquidation.throughputOf(BTC);
        assertEq(limit, 30_000e18);
        assertEq(room, 30_000e18);
        (, limit) = liquidation.throughputOf(99);
        assertEq(limit, 30_000e18, "nothing known of it");
    }

    /// @notice A volume that makes no sense must not stop liquidations.
    function test_throughputOf_takesANegativeVolumeForNone() public {
        _setBounds(Fields.AVERAGE_DAILY_VOLUME, -1, 1);
        setParameter(Fields.AVERAGE_DAILY_VOLUME, BTC, 0, -1);
        (, uint256 limit) = liquidation.throughputOf(BTC);
        assertEq(limit, 1e18);
    }

    // ─── Bids

    function test_bid_takesWhatThereIsRoomFor() public {
        flagAt(45_500);
        uint256 wanted = LIMIT * WAD / 72_800e18;
        assertEq(liquidation.previewBid(account, WAD).fraction, wanted);
        assertEq(bid(account, WAD).fraction, wanted);
        assertApproxEqRel(absolute(sizeOf(account, btcPerpetual)), 1.6e18 - 1.6e18 * wanted / WAD, 1e6);
        (uint256 room,) = liquidation.throughputOf(BTC);
        assertLe(room, 72_800); // less than the smallest fraction is worth
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationThroughput.selector, BTC, LIMIT, 600));
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationThroughput.selector, BTC, LIMIT, 600));
        liquidation.previewBid(account, WAD);
        requireBooks(0);
    }

    function test_bid_usesOnlyWhatItTakes() public {
        flagAt(45_500);
        bid(account, 0.1e18);
        (uint256 room,) = liquidation.throughputOf(BTC);
        assertEq(room, LIMIT - 7280e18);
        uint256 exposure = uint256(engine.marginOf(account).underlyings[0].exposure);
        assertEq(bid(account, WAD).fraction, (LIMIT - 7280e18) * WAD / exposure);
    }

    /// @notice What is used up comes back in a straight line over the window.
    function testFuzz_bid_roomComesBackOverTheWindow(uint256 elapsed) public {
        elapsed = bound(elapsed, 0, 900);
        flagAt(45_500);
        bid(account, WAD);
        (uint256 left,) = liquidation.throughputOf(BTC);
        vm.warp(block.timestamp + elapsed);
        (uint256 room,) = liquidation.throughputOf(BTC);
        uint256 used = LIMIT - left;
        assertEq(room, elapsed >= 600 ? LIMIT : LIMIT - used * (600 - elapsed) / 600);
        if (elapsed == 0) return;
        uint256 exposure = uint256(engine.marginOf(account).underlyings[0].exposure);
        uint256 fraction = bid(account, WAD).fraction;
        assertLe(fraction, room * WAD / exposure);
        // Less only because no more was needed.
        if (fraction < room * WAD / exposure) assertEq(liquidation.auctionOf(account).startedAt, 0);
    }

    function test_bid_theTightestUnderlyingBinds() public {
        uint64 mixed = openAccount(trader, 12_000);
        trade(mixed, makerAccount, btcPerpetual, 1e18, 50_000e18);
        trade(mixed, makerAccount, ethPerpetual, 15e18, 2000e18);
        setParameter(Fields.AVERAGE_DAILY_VOLUME, ETH, 0, 200_000);
        pass(12);
        setPrice(BTC, 44_000);
        setPrice(ETH, 1800);
        liquidation.flag(mixed, flagger);
        // 2,000 of 27,000 dollars of ETH; of BTC 20,000 of 44,000 would have fitted.
        ILiquidationEngine.Bid memory taken = bid(mixed, WAD);
        assertEq(taken.fraction, uint256(2000e18) * WAD / 27_000e18);
        (uint256 room,) = liquidation.throughputOf(BTC);
        assertApproxEqAbs(room, LIMIT - taken.fraction * 44_000, 1);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationThroughput.selector, ETH, 2000e18, 600));
        liquidation.previewBid(mixed, WAD);
        // Another account's auction shares the room, and one without ETH has that of BTC.
        liquidation.flag(account, flagger);
        uint256 exposure = uint256(engine.marginOf(account).underlyings[0].exposure);
        assertEq(liquidation.previewBid(account, WAD).fraction, room * WAD / exposure);
    }

    function test_bid_insolventAccountsAreExemptAndUseNone() public {
        flagAt(40_000);
        assertEq(bid(account, WAD).fraction, WAD);
        (uint256 room,) = liquidation.throughputOf(BTC);
        assertEq(room, LIMIT);
    }

    function test_bid_solventByLessThanTheDiscountIsLimited() public {
        flagAt(44_000);
        vm.warp(block.timestamp + 1200);
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertGt(taken.cover, 0);
        assertEq(taken.fraction, LIMIT * WAD / 70_400e18);
    }

    /// @notice Every auction ends, however narrow the way: here through windows of a twentieth of the account, which take longer
    /// than an auction does before it lapses.
    function test_bid_anAuctionEndsThroughSeveralWindows() public {
        _setThroughput(0, 3640e18, 600);
        flagAt(45_500);
        uint256 windows;
        while (liquidation.auctionOf(account).startedAt != 0) {
            flagIfLapsed(account);
            bid(account, WAD);
            pass(600);
            ++windows;
            assertLt(windows, 25);
        }
        assertGt(windows, 5);
        (int256 equity,, uint256 maintenance) = requirementsOf(account);
        assertGe(equity, int256(maintenance));
        requireBooks(0);
    }

    /// @notice In no window more than twice the limit: a full one, and what comes back meanwhile.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_bid_noWindowTakesMoreThanTwiceTheLimit(uint256[12] memory gaps, uint256[12] memory fractions)
        public
    {
        uint64 large = openAccount(trader, 100_000);
        trade(large, makerAccount, btcPerpetual, 16e18, 50_000e18);
        setPrice(BTC, 45_000);
        liquidation.flag(large, flagger);
        uint256[12] memory taken;
        uint256[12] memory at;
        for (uint256 i; i < 12 && liquidation.auctionOf(large).startedAt != 0; ++i) {
            pass(bound(gaps[i], 1, 300));
            flagIfLapsed(large);
            (uint256 room,) = liquidation.throughputOf(BTC);
            uint256 exposure = uint256(engine.marginOf(large).underlyings[0].exposure);
            (taken[i], at[i]) =
            (exposure * bid(large, bound(fractions[i], 1e9, 0.05e18)).fraction / WAD, block.timestamp);
            assertLe(taken[i], room);
            uint256 total;
            for (uint256 j; j <= i; ++j) {
                if (at[j] + 600 > block.timestamp) total += taken[j];
            }
            assertLe(total, 2 * LIMIT);
        }
    }

    /// @notice A remainder too small to keep goes as soon as there is room, not before.
    function test_bid_closesASmallRemainderAsRoomAllows() public {
        _setThroughput(0, 100e18, 600);
        uint64 small = openAccount(trader, 100);
        trade(small, makerAccount, btcPerpetual, 0.015e18, 50_000e18);
        setPrice(BTC, 45_700); // 685.5 dollars of exposure, maintenance about 37
        liquidation.flag(small, flagger);
        assertEq(bid(small, WAD).fraction, uint256(100e18) * WAD / 685.5e18);
        assertGt(liquidation.auctionOf(small).startedAt, 0);
        _setThroughput(0, 1000e18, 600);
        assertEq(bid(small, WAD).fraction, WAD);
        assertEq(sizeOf(small, btcPerpetual), 0);
        assertEq(liquidation.auctionOf(small).startedAt, 0);
    }

    // ─── Parameters in the middle of a window

    function test_setAuctionParameters_inTheMiddleOfAWindow() public {
        flagAt(45_500);
        bid(account, WAD);
        vm.warp(block.timestamp + 300);
        (uint256 room,) = liquidation.throughputOf(BTC);
        assertApproxEqAbs(room, LIMIT / 2, 1e6);
        _setThroughput(1e12, 1e18, 600); // 2,000: more is used than may be
        (room,) = liquidation.throughputOf(BTC);
        assertEq(room, 0);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationThroughput.selector, BTC, 2000e18, 600));
        liquidation.previewBid(account, WAD);
        _setThroughput(1e13, 1e18, 1200); // a longer window gives back more slowly
        (room,) = liquidation.throughputOf(BTC);
        assertApproxEqAbs(room, LIMIT / 4, 1e6);
        _setThroughput(1e13, 1e18, 300); // a shorter one has passed
        (room,) = liquidation.throughputOf(BTC);
        assertEq(room, LIMIT);
        _setThroughput(1e14, 1e18, 600);
        (room,) = liquidation.throughputOf(BTC);
        assertApproxEqAbs(room, 9.5e18 * 20_000, 1e6);
        bid(account, WAD);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
    }

    function testFuzz_setAuctionParameters_neverLocksAnAuction(
        uint64[3] memory shares,
        uint96[3] memory least,
        uint32[3] memory windows,
        uint32[3] memory gaps
    ) public {
        flagAt(45_500);
        for (uint256 i; i < 3; ++i) {
            _setThroughput(uint64(bound(shares[i], 0, 1e18)), uint96(bound(least[i], 1e18, type(uint96).max)), 600);
            if (liquidation.auctionOf(account).startedAt == 0) return;
            flagIfLapsed(account);
            bid(account, WAD);
            _setThroughput(0, 1e18, uint32(bound(windows[i], 1, 1 days)));
            pass(bound(gaps[i], 0, 1 hours));
            UnderlyingMargin[] memory parts = engine.marginOf(account).underlyings;
            if (parts.length != 0) liquidation.throughputOf(parts[0].underlying);
            pass(1 days);
            (uint256 room, uint256 limit) = liquidation.throughputOf(BTC);
            assertEq(room, limit);
        }
    }

    // ─── Helpers

    function _setThroughput(uint64 share, uint96 least, uint32 window) private {
        ILiquidationEngine.AuctionParameters memory parameters = liquidation.auctionParameters();
        parameters.throughput = share;
        parameters.minimumThroughput = least;
        parameters.throughputWindow = window;
        liquidation.setAuctionParameters(parameters);
    }
}
