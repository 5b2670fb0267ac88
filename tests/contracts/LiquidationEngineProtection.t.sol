// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Auctions } from "./support/Auctions.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";

/// @notice Protective auctions. At 46,500 the account has 4,400 dollars of equity, above maintenance by less than a fifth; at
/// 47,000 above it by more, at 45,500 it is below.
contract LiquidationEngineProtectionTest is Auctions {
    uint64 private constant TRIGGER = 1.2e18;
    uint64 private constant DISCOUNT = 0.1e18;

    // ─── The owner's wish

    function test_setProtection_isForTheOwnerAndTradingOperators() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotAuthorised.selector, account, stranger));
        liquidation.setProtection(account, TRIGGER, DISCOUNT);
        vm.prank(trader);
        house.setOperator(account, stranger, 2); // may withdraw
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotAuthorised.selector, account, stranger));
        liquidation.setProtection(account, TRIGGER, DISCOUNT);
        vm.prank(trader);
        house.setOperator(account, stranger, 1); // may trade
        vm.prank(stranger);
        liquidation.setProtection(account, TRIGGER, DISCOUNT);
        assertEq(liquidation.protectionOf(account).trigger, TRIGGER);
        assertEq(liquidation.protectionOf(account).maximumDiscount, DISCOUNT);
    }

    function test_setProtection_revertsIfOutOfBounds() public {
        _expectBadProtection(1e18, DISCOUNT); // at maintenance it is a liquidation
        _expectBadProtection(10e18 + 1, DISCOUNT);
        _expectBadProtection(TRIGGER, 0);
        _expectBadProtection(0, DISCOUNT);
        _expectBadProtection(TRIGGER, 0.5e18 + 1); // more than any auction gives
        _protect(1e18 + 1, 0.5e18);
        _protect(10e18, 1);
        _protect(0, 0);
        assertEq(liquidation.protectionOf(account).trigger, 0);
    }

    /// @notice Nobody inherits the wish of whoever had the account before.
    function test_setProtection_lapsesWhenTheAccountChangesHands() public {
        _protect(TRIGGER, DISCOUNT);
        vm.prank(trader);
        house.transferOwnership(account, stranger);
        assertEq(liquidation.protectionOf(account).trigger, 0);
        setPrice(BTC, 46_500);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.flag(account, flagger);
    }

    // ─── Flag

    function test_flag_onlyBelowTheTriggerAndOnlyIfWished() public {
        setPrice(BTC, 46_500);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.flag(account, flagger);
        _protect(TRIGGER, DISCOUNT);
        setPrice(BTC, 47_000);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.flag(account, flagger);
        setPrice(BTC, 46_500);
        // Some nodes would not show whether it is liquidatable.
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.flagAt(account, flagger, 1);
        vm.prank(stranger); // anyone may
        liquidation.flag(account, flagger);
        ILiquidationEngine.Auction memory auction = liquidation.auctionOf(account);
        assertTrue(auction.protective);
        assertEq(auction.startedAt, block.timestamp);
        assertEq(auction.fee, 0);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationAlreadyFlagged.selector, account));
        liquidation.flag(account, flagger);
    }

    /// @notice However high the trigger, an account that is above what a bid would bring it to is left alone.
    function test_flag_notAboveTheTarget() public {
        _protect(10e18, DISCOUNT);
        setPrice(BTC, 48_000);
        (int256 equity, uint256 initial, uint256 maintenance) = requirementsOf(account);
        assertGt(equity, int256((initial + maintenance) / 2));
        assertLt(equity, int256(initial));
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.flag(account, flagger);
    }

    function test_flag_aProtectiveAuctionOfALiquidatableAccountStartsAnew() public {
        _flagProtective();
        vm.warp(block.timestamp + 600);
        assertEq(liquidation.discountOf(account), DISCOUNT);
        setPrice(BTC, 45_500);
        // Neither bids nor an end: it waits for its flag.
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.previewBid(account, WAD);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationStillLiquidatable.selector);
        liquidation.end(account);
        liquidation.flag(account, keeperAccount);
        ILiquidationEngine.Auction memory auction = liquidation.auctionOf(account);
        assertFalse(auction.protective);
        assertEq(auction.fee, 10e18);
        assertEq(auction.keeper, keeperAccount);
        assertEq(liquidation.discountOf(account), 0);
        vm.warp(block.timestamp + 600);
        assertEq(liquidation.discountOf(account), 0.25e18, "the owner's limit is for protective auctions");
        assertEq(bid(account, WAD).fee, 10e18);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.end(account);
    }

    /// @notice LOSS: a gap to below zero is reserved whatever kind of auction was on.
    function test_reserve_countsAProtectedAccountThatIsInsolvent() public {
        _flagProtective();
        setPrice(BTC, 42_000);
        assertEq(liquidation.reserve(account), 2800e18);
        liquidation.flag(account, flagger);
        assertEq(liquidation.reservedShortfall(), 2800e18);
        bid(account, WAD);
        assertEq(liquidation.reservedShortfall(), 0);
    }

    // ─── Bids

    function test_bid_bringsAProtectedAccountToItsTargetWithoutFees() public {
        _flagProtective();
        vm.warp(block.timestamp + 120); // d = 0.05
        (int256 before_,, uint256 maintenanceBefore) = requirementsOf(account);
        int256 bidderBefore = equityOf(keeperAccount);
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(taken.discount, 0.05e18);
        assertEq(taken.fee, 0);
        assertEq(taken.fundFee, 0);
        assertEq(house.fees(), 0);
        assertEq(equityOf(flagger), 0);
        (int256 equity, uint256 initial, uint256 maintenance) = requirementsOf(account);
        assertGe(equity, int256(maintenance + (initial - maintenance) / 2));
        assertApproxEqRel(uint256(equity), maintenance + (initial - maintenance) / 2, 0.003e18);
        // What the owner gives is what the bidder gets: the discount on what is taken.
        uint256 discount = maintenanceBefore * 0.05e18 / WAD * taken.fraction / WAD;
        assertApproxEqAbs(uint256(before_ - equity), discount, 1e6);
        assertApproxEqAbs(uint256(equityOf(keeperAccount) - bidderBefore), discount, 1e6);
        assertEq(liquidation.auctionOf(account).startedAt, 0, "ended");
        requireBooks(0);
    }

    function testFuzz_bid_theDiscountIsThatOfAnyAuctionUpToTheOwnersLimit(uint256 elapsed, uint64 most) public {
        most = uint64(bound(most, 1, 0.5e18));
        elapsed = bound(elapsed, 0, 1500);
        _protect(TRIGGER, most);
        flagAt(46_500);
        vm.warp(block.timestamp + elapsed);
        uint256 curve = elapsed >= 1200 ? 0.5e18 : 0.5e18 * elapsed / 1200;
        assertEq(liquidation.discountOf(account), curve < most ? curve : most);
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, WAD);
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(keccak256(abi.encode(preview)), keccak256(abi.encode(taken)));
    }

    function test_bid_partsOfAProtectiveAuctionLeaveItOpen() public {
        _flagProtective();
        bid(account, 0.01e18);
        assertTrue(liquidation.auctionOf(account).protective);
        assertGt(liquidation.auctionOf(account).startedAt, 0);
        bid(account, WAD);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
    }

    /// @notice A small account that is liquidated is closed whole; one that is protected is only reduced.
    function test_bid_doesNotCloseASmallProtectedAccount() public {
        uint64 small = openAccount(trader, 100);
        trade(small, makerAccount, btcPerpetual, 0.015e18, 50_000e18);
        vm.prank(trader);
        liquidation.setProtection(small, TRIGGER, DISCOUNT);
        setPrice(BTC, 46_200);
        liquidation.flag(small, flagger);
        assertTrue(liquidation.auctionOf(small).protective);
        assertLt(bid(small, WAD).fraction, 0.5e18);
        assertGt(sizeOf(small, btcPerpetual), 0);
        assertEq(liquidation.auctionOf(small).startedAt, 0);
    }

    /// @notice Nobody can fill the throughput of liquidations with protective auctions between his own accounts.
    function test_bid_aProtectiveAuctionNeitherNeedsNorUsesThroughput() public {
        ILiquidationEngine.AuctionParameters memory parameters = liquidation.auctionParameters();
        (parameters.throughput, parameters.minimumThroughput) = (0, 1e18);
        liquidation.setAuctionParameters(parameters);
        _flagProtective();
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertGt(taken.fraction * 74_400, 1e18);
        (uint256 room, uint256 limit) = liquidation.throughputOf(BTC);
        assertEq(room, limit);
    }

    // ─── End

    function test_end_aboveTheTriggerOnly() public {
        _flagProtective();
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationStillLiquidatable.selector);
        liquidation.end(account);
        setPrice(BTC, 47_000); // still below initial margin, but above the trigger
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.previewBid(account, WAD);
        vm.prank(stranger);
        liquidation.end(account);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
    }

    function test_end_whenTheOwnerNoLongerWishes() public {
        _flagProtective();
        vm.warp(block.timestamp + 240);
        _protect(0, 0);
        assertEq(liquidation.discountOf(account), 0);
        vm.prank(keeper);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
        vm.prank(stranger);
        liquidation.end(account);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
    }

    /// @notice PUSH holds for protective auctions, too: what they begin at moves with the ramp.
    function test_flag_notByAPushInItsBlock() public {
        _protect(TRIGGER, DISCOUNT);
        setPrice(BTC, 47_500);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.flag(account, flagger);
        riskParameters.applyBundle(change(Fields.TAIL_MAINTENANCE, BTC, 0, 36_000_000), provenance());
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.flag(account, flagger);
        pass(3 hours);
        liquidation.flag(account, flagger);
    }

    // ─── Never worse off than by an auction

    /// @notice Two accounts alike, one protected. What a dollar of maintenance that is freed costs the owner is no more in the
    /// protective auction than in the liquidation of the other, bid on after the same time; and once the price has fallen the
    /// protected one is the richer.
    function testFuzz_bid_theOwnerIsNeverWorseOffThanByAnAuction(
        uint256[2] memory sizes,
        uint256[2] memory prices,
        uint256 elapsed,
        uint256 part
    ) public {
        uint64[2] memory twins;
        int256 btc = int256(bound(sizes[0], 1e18, 1.4e18));
        int256 eth = int256(bound(sizes[1], 0, 4e18));
        for (uint256 i; i < 2; ++i) {
            twins[i] = openAccount(trader, 11_000);
            trade(twins[i], makerAccount, btcPerpetual, btc, 50_000e18);
            if (eth != 0) trade(twins[i], makerAccount, ethPerpetual, eth, 2000e18);
        }
        vm.prank(trader);
        liquidation.setProtection(twins[0], 10e18, 0.5e18);
        elapsed = bound(elapsed, 0, 1200);
        part = bound(part, 0.05e18, WAD);

        setPrice(BTC, bound(prices[0], 42_500, 46_500));
        (int256 equity, uint256 initial, uint256 maintenance) = requirementsOf(twins[0]);
        if (equity < int256(maintenance) || equity >= int256((maintenance + initial) / 2)) return;
        (uint256 cost, uint256 freed) = _flagAndBid(twins[0], elapsed, part);

        setPrice(BTC, bound(prices[1], 41_000, 45_000));
        (equity,, maintenance) = requirementsOf(twins[1]);
        if (equity >= int256(maintenance) || equity < int256(maintenance / 2)) return;
        (uint256 costOfAuction, uint256 freedByAuction) = _flagAndBid(twins[1], elapsed, part);
        // A billionth of a dollar for roundings, and a thousandth for the liquidity charge, which does not scale.
        assertLe(cost * freedByAuction / WAD, costOfAuction * freed / WAD * 1001 / 1000 + freedByAuction / 1e9);
        assertGe(equityOf(twins[0]), equityOf(twins[1]) - 1e9);
    }

    // ─── Helpers

    function _flagAndBid(uint64 which, uint256 elapsed, uint256 part) private returns (uint256 cost, uint256 freed) {
        liquidation.flag(which, flagger);
        pass(elapsed);
        (int256 before_,, uint256 maintenanceBefore) = requirementsOf(which);
        // Margin may have risen meanwhile, and the other kind of auction be due.
        if (liquidation.auctionOf(which).protective != (before_ >= int256(maintenanceBefore))) return (0, 0);
        bid(which, part);
        (int256 equity,, uint256 maintenance) = requirementsOf(which);
        return (uint256(before_ - equity), maintenanceBefore - maintenance);
    }

    function _protect(uint64 trigger, uint64 discount) private {
        vm.prank(trader);
        liquidation.setProtection(account, trigger, discount);
    }

    function _flagProtective() private {
        _protect(TRIGGER, DISCOUNT);
        flagAt(46_500);
    }

    function _expectBadProtection(uint64 trigger, uint64 discount) private {
        vm.prank(trader);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationBadProtection.selector, trigger, discount));
        liquidation.setProtection(account, trigger, discount);
    }
}
