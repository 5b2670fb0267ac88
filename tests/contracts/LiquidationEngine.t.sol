// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Auctions } from "./support/Auctions.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";

/// @notice A cheat that the forge-std interface at hand does not name: one answer after the other, the last again and again.
interface Sequence {
    function mockCalls(address target, bytes calldata data, bytes[] calldata answers) external;
}

/// @notice The auction from flag to end. What the flag costs, how much may be liquidated at a time, what owners may wish for
/// and who bears a loss have files of their own.
contract LiquidationEngineTest is Auctions {
    Sequence private constant sequence = Sequence(address(cheats));
    /// @dev Wei that interest on a debt leaves without an owner: owed rounded up, earned rounded down.
    uint256 private constant INTEREST = 100;

    // ─── Flag

    function test_flag_startsTheAuction() public {
        setPrice(BTC, 45_500);
        vm.prank(stranger); // anyone may, for anyone
        liquidation.flag(account, flagger);
        ILiquidationEngine.Auction memory auction = liquidation.auctionOf(account);
        assertEq(auction.startedAt, block.timestamp);
        assertEq(auction.keeper, flagger);
        assertEq(auction.fee, 10e18);
        assertEq(auction.shortfall, 0);
        assertEq(liquidation.reservedShortfall(), 0);
    }

    function test_flag_revertsIfNotLiquidatable() public {
        setPrice(BTC, 47_000); // a margin call, and no more
        (int256 equity, uint256 initial, uint256 maintenance) = requirementsOf(account);
        assertLt(equity, int256(initial));
        vm.expectRevert(
            abi.encodeWithSelector(ILiquidationEngine.LiquidationNotLiquidatable.selector, account, equity, maintenance)
        );
        liquidation.flag(account, flagger);
    }

    function test_flag_revertsIfTwiceOrForItselfOrForNobody() public {
        setPrice(BTC, 45_500);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationOwnAccount.selector, account));
        liquidation.flag(account, account);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAccount.selector, 99));
        liquidation.flag(account, 99);
        liquidation.flag(account, flagger);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationAlreadyFlagged.selector, account));
        liquidation.flag(account, flagger);
    }

    /// @notice PUSH: whoever was healthy is not flagged in the block of a push, and whoever was not is: no push holds a flag off.
    function test_flag_inTheBlockOfAPush() public {
        setPrice(BTC, 47_000);
        (int256 equity,, uint256 maintenance) = requirementsOf(account);
        assertGt(equity, int256(maintenance));
        riskParameters.applyBundle(change(Fields.TAIL_MAINTENANCE, BTC, 0, 36_000_000), provenance());
        vm.expectRevert(
            abi.encodeWithSelector(ILiquidationEngine.LiquidationNotLiquidatable.selector, account, equity, maintenance)
        );
        liquidation.flag(account, flagger);
        setPrice(BTC, 45_500);
        liquidation.flag(account, flagger);
    }

    /// @notice PUSH: a bid in the block of a push takes what it would have taken before.
    function test_bid_inTheBlockOfAPush() public {
        flagAt(45_500);
        uint256 state = vm.snapshot();
        ILiquidationEngine.Bid memory without = bid(account, WAD);
        vm.revertTo(state);
        riskParameters.applyBundle(change(Fields.TAIL_MAINTENANCE, BTC, 0, 36_000_000), provenance());
        assertEq(abi.encode(bid(account, WAD)), abi.encode(without));
    }

    /// @notice An auction nobody ended is no standing offer at the highest discount: it lapses, and begins anew.
    function test_bid_revertsOnceTheAuctionHasLapsed() public {
        flagAt(45_500);
        vm.warp(block.timestamp + 2400);
        assertEq(liquidation.discountOf(account), 0.5e18);
        vm.warp(block.timestamp + 1);
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
        liquidation.flag(account, flagger);
        assertEq(liquidation.discountOf(account), 0);
        bid(account, WAD);
    }

    function test_discountOf_risesToItsMaximum() public {
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.discountOf(account);
        flagAt(45_500);
        assertEq(liquidation.discountOf(account), 0);
        vm.warp(block.timestamp + 300);
        assertEq(liquidation.discountOf(account), 0.125e18);
        vm.warp(block.timestamp + 2000);
        assertEq(liquidation.discountOf(account), 0.5e18);
    }

    // ─── End

    function test_end_afterRecovery() public {
        flagAt(45_500);
        (int256 equity,, uint256 maintenance) = requirementsOf(account);
        vm.expectRevert(
            abi.encodeWithSelector(
                ILiquidationEngine.LiquidationStillLiquidatable.selector, account, equity, maintenance
            )
        );
        liquidation.end(account);
        deposit(account, CASH, 2000e6);
        liquidation.end(account);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.end(account);
        // It may fall again, and is flagged anew.
        setPrice(BTC, 44_000);
        liquidation.flag(account, flagger);
    }

    function test_end_freesTheReservedShortfall() public {
        flagAt(40_000);
        assertEq(liquidation.reservedShortfall(), 6000e18);
        setPrice(BTC, 50_000);
        liquidation.end(account);
        assertEq(liquidation.reservedShortfall(), 0);
    }

    // ─── Bids on a solvent account (LIQUIDATE)

    function test_bid_bringsTheAccountToItsTarget() public {
        flagAt(45_500);
        vm.warp(block.timestamp + 240); // d = 0.1
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(taken.discount, 0.1e18);
        assertLt(taken.fraction, WAD);
        (int256 equity, uint256 initial, uint256 maintenance) = requirementsOf(account);
        int256 target = int256(maintenance + (initial - maintenance) / 2);
        assertGe(equity, target);
        // The rest needs less than its share, for liquidity costs less a dollar the smaller the position.
        assertApproxEqRel(uint256(equity), uint256(target), 0.003e18);
        assertEq(liquidation.auctionOf(account).startedAt, 0, "ended");
        assertApproxEqRel(absolute(sizeOf(keeperAccount, btcPerpetual)), 1.6e18 * taken.fraction / WAD, 1e6);
        requireBooks(0);
    }

    /// @notice The bidder gains the discount on what it takes, less the fund's share, and all else is accounted for.
    function test_bid_paysEverybodyExactly() public {
        flagAt(45_500);
        vm.warp(block.timestamp + 480); // d = 0.2
        int256 before_ = equityOf(account);
        int256 bidderBefore = equityOf(keeperAccount);
        ILiquidationEngine.Bid memory taken = bid(account, 0.3e18);
        uint256 discount = taken.maintenance * 0.2e18 / WAD * 0.3e18 / WAD;
        assertEq(taken.fraction, 0.3e18);
        assertApproxEqAbs(taken.fundFee, discount / 5, 2);
        assertEq(taken.fee, 10e18);
        assertApproxEqAbs(absolute(before_ - equityOf(account)), discount + 10e18, 10);
        assertApproxEqAbs(absolute(equityOf(keeperAccount) - bidderBefore), discount * 4 / 5, 10);
        assertEq(equityOf(flagger), 10e18);
        assertEq(house.fees(), taken.fundFee);
        int256 price = int256(uint256(before_) * 0.3e18 / WAD) - int256(discount) + int256(taken.fundFee);
        assertApproxEqAbs(taken.price, price, 2);
        requireBooks(0);
    }

    function testFuzz_bid_doesWhatThePreviewSaid(uint256 price, uint256 time, uint256 fraction) public {
        flagAt(bound(price, 35_000, 45_500));
        vm.warp(block.timestamp + bound(time, 0, 1500));
        fraction = bound(fraction, 1e6, 1.5e18);
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, fraction);
        ILiquidationEngine.Bid memory taken = bid(account, fraction);
        assertEq(keccak256(abi.encode(preview)), keccak256(abi.encode(taken)));
        assertLe(taken.fraction, fraction);
    }

    function test_bid_paysTheFlagFeeOnce() public {
        flagAt(45_500);
        vm.warp(block.timestamp + 240);
        assertEq(bid(account, 0.1e18).fee, 10e18);
        assertEq(house.cashOf(flagger), 10e18);
        assertEq(liquidation.auctionOf(account).fee, 0);
        assertEq(bid(account, 0.1e18).fee, 0);
        assertEq(house.cashOf(flagger), 10e18);
    }

    /// @notice The fee comes out of the proceeds, so a bid too small to earn it leaves the rest owed.
    function test_bid_paysTheFlagFeeAsFarAsTheProceedsGo() public {
        flagAt(45_500);
        ILiquidationEngine.Bid memory taken = bid(account, 0.001e18);
        assertLt(taken.fee, 10e18);
        assertEq(int256(taken.fee), taken.price);
        assertEq(liquidation.auctionOf(account).fee, 10e18 - taken.fee);
        bid(account, 0.1e18);
        assertEq(house.cashOf(flagger), 10e18);
    }

    function test_bid_closesASmallRemainderWhole() public {
        uint64 small = openAccount(trader, 100);
        trade(small, makerAccount, btcPerpetual, 0.015e18, 50_000e18);
        setPrice(BTC, 45_700); // maintenance is then about 37, less than a remainder is worth
        liquidation.flag(small, flagger);
        ILiquidationEngine.Bid memory taken = bid(small, WAD);
        assertEq(taken.fraction, WAD);
        assertEq(sizeOf(small, btcPerpetual), 0);
        assertEq(liquidation.auctionOf(small).startedAt, 0);
        (int256 equity, uint256 initial,) = requirementsOf(small);
        assertEq(initial, 0);
        assertEq(equity, 35.5e18 - 10e18);
    }

    function test_bid_moreThanNeededIsNotToBeHad() public {
        flagAt(45_500);
        uint256 fraction = liquidation.previewBid(account, type(uint256).max).fraction;
        assertEq(liquidation.previewBid(account, WAD).fraction, fraction);
        assertLt(fraction, 0.6e18);
        assertGt(fraction, 0.5e18);
    }

    /// @notice The limit is on the whole portfolio's price and binds a part in proportion.
    function test_bid_revertsIfAboveThePriceLimit() public {
        flagAt(45_500);
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, 0.5e18);
        int256 limit = preview.price * 2; // the fraction is a half
        vm.startPrank(keeper);
        vm.expectRevert(
            abi.encodeWithSelector(ILiquidationEngine.LiquidationPriceLimit.selector, preview.price, preview.price - 1)
        );
        liquidation.bid(account, keeperAccount, 0.5e18, limit - 1, ANY_NONCE);
        liquidation.bid(account, keeperAccount, 0.5e18, limit, ANY_NONCE);
    }

    function test_bid_revertsIfTheAccountHasChanged() public {
        flagAt(45_500);
        uint64 seen = house.nonceOf(account);
        deposit(account, CASH, 1e6);
        uint64 now_ = house.nonceOf(account);
        vm.startPrank(keeper);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationStaleBid.selector, account, seen, now_));
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, seen);
        liquidation.bid(account, keeperAccount, 0.1e18, ANY_PRICE, now_);
        // An owner who keeps touching the account can't hold off a bidder who does not mind.
        house.settleVariation(account);
        liquidation.bid(account, keeperAccount, 0.1e18, ANY_PRICE, ANY_NONCE);
    }

    function test_bid_revertsIfTheBidderCannotCarryIt() public {
        uint64 poor = openAccount(stranger, 1000);
        flagAt(45_500);
        vm.prank(stranger);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        liquidation.bid(account, poor, WAD, ANY_PRICE, ANY_NONCE);
    }

    function test_bid_isForTheOwnerAndTradingOperators() public {
        flagAt(45_500);
        vm.prank(stranger);
        vm.expectRevert(
            abi.encodeWithSelector(ILiquidationEngine.LiquidationNotAuthorised.selector, keeperAccount, stranger)
        );
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
        vm.prank(keeper);
        house.setOperator(keeperAccount, stranger, 1);
        vm.prank(stranger);
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
    }

    function test_bid_revertsIfOwnAccountOrNothingOrNotFlaggedOrRecovered() public {
        vm.startPrank(keeper);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
        vm.stopPrank();
        flagAt(45_500);
        vm.prank(trader);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationOwnAccount.selector, account));
        liquidation.bid(account, account, WAD, ANY_PRICE, ANY_NONCE);
        vm.prank(keeper);
        vm.expectRevert(ILiquidationEngine.LiquidationZeroFraction.selector);
        liquidation.bid(account, keeperAccount, 0, ANY_PRICE, ANY_NONCE);
        setPrice(BTC, 50_000);
        vm.prank(keeper);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
    }

    /// @notice Volatility out of date bars new risk, but not a liquidation.
    function test_bid_worksWhileVolatilityIsStale() public {
        vm.warp(block.timestamp + 1 days + 1);
        flagAt(45_000);
        assertFalse(engine.marginOf(account).fresh);
        bid(account, WAD);
        assertLt(sizeOf(account, btcPerpetual), 1.6e18);
    }

    /// @notice Whatever the clearing house has done: it is looked at again after (LIQUIDATE). Here what is looked at is made up.
    function test_bid_revertsIfTheAccountWasHarmed() public {
        flagAt(45_500);
        Margin memory margin = engine.marginOf(account);
        bytes[] memory answers = new bytes[](2);
        answers[0] = abi.encode(margin);
        int256 before_ = margin.equity;
        margin.equity -= 1e10;
        answers[1] = abi.encode(margin);
        sequence.mockCalls(address(engine), abi.encodeCall(engine.marginOf, (account)), answers);
        vm.prank(keeper);
        vm.expectRevert(
            abi.encodeWithSelector(
                ILiquidationEngine.LiquidationHarmsAccount.selector, account, before_, before_ - 1e10
            )
        );
        liquidation.bid(account, keeperAccount, 1e9, ANY_PRICE, ANY_NONCE);
    }

    /// @notice No size makes the arithmetic overflow: an account worth more than all there is can be liquidated like any.
    function test_bid_worksAtTheLargestSizes() public {
        Margin memory margin = engine.marginOf(account);
        margin.maintenance.total = 1e41;
        margin.initial.total = 2e41;
        margin.equity = 0.9e41;
        margin.underlyings[0].exposure = 1e41;
        bytes[] memory answers = new bytes[](1);
        answers[0] = abi.encode(margin);
        sequence.mockCalls(address(engine), abi.encodeCall(engine.marginOf, (account)), answers);
        sequence.mockCalls(address(engine), abi.encodeCall(engine.marginAt, (account, type(uint256).max)), answers);
        liquidation.flag(account, flagger);
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, WAD);
        assertEq(preview.fraction, 50_000_000e18 * WAD / 1e41);
        // Nobody could pay for it, so the bidder's gate and the ledger are not at issue here.
        vm.mockCall(address(house), abi.encodeWithSelector(IClearingHouse.liquidate.selector), abi.encode(false));
        vm.mockCall(
            address(engine),
            abi.encodeCall(engine.initialMarginOf, (keeperAccount)),
            abi.encode(int256(0), uint256(0), true)
        );
        vm.prank(keeper);
        liquidation.bid(account, keeperAccount, WAD, type(int256).max, ANY_NONCE);
    }

    // ─── Fees

    function test_sweepFees_raisesWhatAShareOfTheFundIsWorth() public {
        flagAt(45_500);
        vm.warp(block.timestamp + 480);
        bid(account, WAD);
        uint256 fees = house.fees();
        assertGt(fees, 0);
        uint256 assets = fund.totalAssets();
        uint256 share = fund.convertToAssets(1e12);
        uint256 swept = house.sweepFees();
        assertEq(swept, fees / 1e12);
        assertEq(house.fees(), fees % 1e12);
        assertEq(fund.totalAssets(), assets + swept);
        assertGt(fund.convertToAssets(1e12), share);
        assertEq(house.sweepFees(), 0);
        requireBooks(0);
    }

    // ─── Dust and debts

    /// @notice A fee for flagging accounts that nothing is at stake in would empty the fund for the price of gas.
    function test_bid_paysNoFlagFeeForDust() public {
        uint64 dust = openAccount(stranger, 0);
        deposit(dust, WETH, 1);
        liquidation.flag(dust, flagger); // worth less than the billionth of a dollar its requirement is rounded to
        vm.warp(block.timestamp + 600);
        uint256 assets = fund.totalAssets();
        ILiquidationEngine.Bid memory taken = bid(dust, WAD);
        assertEq(taken.fraction, WAD);
        assertGe(fund.totalAssets() + 1, assets);
        assertLe(house.cashOf(flagger), 1e10);
    }

    /// @notice A debt and nothing else still pays whoever points it out, in proportion to what is taken.
    function test_bid_paysTheFlagFeeForADebt() public {
        setPrice(BTC, 43_000);
        trade(account, makerAccount, btcPerpetual, -1.6e18, 43_000e18);
        assertEq(house.cashOf(account), -1200e18);
        liquidation.flag(account, flagger);
        assertEq(bid(account, 0.001e18).fee, 1.2e18);
        assertEq(bid(account, 0.5e18).fee, 8.8e18);
        assertEq(house.cashOf(flagger), 10e18);
        bid(account, WAD);
        assertEq(house.cashOf(account), 0);
        requireBooks(0);
    }

    // ─── Any portfolio, any crash (LIQUIDATE)

    function testFuzz_bid_neverLowersHealthNorMakesADebt(
        int256 btc,
        int256 eth,
        uint256[2] memory prices,
        uint256 time,
        uint256 fraction,
        bool settled
    ) public {
        uint64 mixed = openAccount(trader, 12_000);
        deposit(mixed, WETH, 3e18);
        btc = bound(btc, -1.2e18, 1.2e18);
        eth = bound(eth, -15e18, 15e18);
        if (btc != 0) trade(mixed, makerAccount, btcPerpetual, btc, 50_000e18);
        if (eth != 0) trade(mixed, makerAccount, ethPerpetual, eth, 2000e18);
        // Against the account, so that most runs have something to liquidate.
        setPrice(BTC, btc > 0 ? bound(prices[0], 30_000, 47_000) : bound(prices[0], 53_000, 80_000));
        setPrice(ETH, eth > 0 ? bound(prices[1], 1200, 1900) : bound(prices[1], 2100, 3200));
        if (settled) house.settleVariation(mixed);
        (int256 equity,, uint256 maintenance) = requirementsOf(mixed);
        if (equity >= int256(maintenance)) return;
        liquidation.flag(mixed, flagger);
        vm.warp(block.timestamp + bound(time, 0, 1500));
        (equity,, maintenance) = requirementsOf(mixed);
        fraction = bound(fraction, 1e9, WAD);
        ILiquidationEngine.Bid memory taken = bid(mixed, fraction);
        assertLe(taken.fraction, fraction);
        _requireNoWorse(mixed, equity, maintenance);
        requireBooks(INTEREST); // the fund is rich
        // And the same again, until it is over.
        for (uint256 i; i < 3 && liquidation.auctionOf(mixed).startedAt != 0; ++i) {
            (equity,, maintenance) = requirementsOf(mixed);
            bid(mixed, WAD);
            _requireNoWorse(mixed, equity, maintenance);
        }
        assertEq(liquidation.auctionOf(mixed).startedAt, 0, "every auction ends");
        requireBooks(INTEREST);
    }

    /// @notice The same for books of options, mostly short, whatever the price does within the auction.
    function testFuzz_bid_neverLowersTheHealthOfAnOptionBook(
        int256[3] memory sizes,
        uint256[2] memory prices,
        uint256 time,
        uint256 fraction
    ) public {
        uint64 book = openAccount(trader, 15_000);
        uint40 expiry = uint40(block.timestamp + 7 days);
        Instrument[3] memory series =
            [listOption(BTC, expiry, 50_000, false), listOption(BTC, expiry, 45_000, true), ethPerpetual];
        for (uint256 i; i < 3; ++i) {
            int256 size = i == 2 ? bound(sizes[i], -8e18, 8e18) : bound(sizes[i], -0.5e18, 0.2e18);
            (uint256 mark,) = lens.markOf(series[i]);
            if (size != 0) trade(book, makerAccount, series[i], size, mark);
        }
        setPrice(BTC, bound(prices[0], 15_000, 110_000));
        (int256 equity,, uint256 maintenance) = requirementsOf(book);
        if (equity >= int256(maintenance)) return;
        liquidation.flag(book, flagger);
        vm.warp(block.timestamp + bound(time, 0, 1500));
        setPrice(BTC, bound(prices[1], 15_000, 110_000));
        for (uint256 i; i < 4 && liquidation.auctionOf(book).startedAt != 0; ++i) {
            (equity,, maintenance) = requirementsOf(book);
            if (equity >= int256(maintenance)) {
                liquidation.end(book);
                break;
            }
            bid(book, i == 0 ? bound(fraction, 1e9, WAD) : WAD);
            _requireNoWorse(book, equity, maintenance);
            requireBooks(INTEREST);
        }
        assertEq(liquidation.auctionOf(book).startedAt, 0, "every auction ends");
    }

    // ─── Parameters

    function test_setAuctionParameters_isForGovernanceAndWithinBounds() public {
        ILiquidationEngine.AuctionParameters memory parameters = liquidation.auctionParameters();
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        liquidation.setAuctionParameters(parameters);
        parameters.duration = 600;
        liquidation.setAuctionParameters(parameters);
        assertEq(liquidation.auctionParameters().duration, 600);

        parameters.duration = 0;
        _expectBadParameters(parameters, "duration must be 1 second to 1 day");
        parameters.duration = 1 days + 1;
        _expectBadParameters(parameters, "duration must be 1 second to 1 day");
        parameters = auctionParameters();
        parameters.maximumDiscount = 0;
        _expectBadParameters(parameters, "maximumDiscount must be above 0 and at most 1");
        parameters.maximumDiscount = 1e18 + 1;
        _expectBadParameters(parameters, "maximumDiscount must be above 0 and at most 1");
        parameters = auctionParameters();
        parameters.target = 1e18 + 1;
        _expectBadParameters(parameters, "target must be at most 1");
        parameters = auctionParameters();
        parameters.fundShare = 0.5e18 + 1;
        _expectBadParameters(parameters, "fundShare must be at most 1/2");
        parameters = auctionParameters();
        parameters.minimumFee = parameters.maximumFee + 1;
        _expectBadParameters(parameters, "minimumFee must be at most maximumFee");
        parameters = auctionParameters();
        parameters.throughputWindow = 0;
        _expectBadParameters(parameters, "throughputWindow must be 1 second to 1 day");
        parameters.throughputWindow = 1 days + 1;
        _expectBadParameters(parameters, "throughputWindow must be 1 second to 1 day");
        parameters = auctionParameters();
        parameters.minimumThroughput = 0;
        _expectBadParameters(parameters, "minimumThroughput must be above 0, or an auction might never end");
        parameters = auctionParameters();
        parameters.throughput = 1e18 + 1;
        _expectBadParameters(parameters, "throughput must be at most 1");
    }

    // ─── Helpers

    function _requireNoWorse(uint64 which, int256 equityBefore, uint256 maintenanceBefore) private view {
        (int256 equity,, uint256 maintenance) = requirementsOf(which);
        if (equityBefore < 0) {
            assertGe(equity, equityBefore - 1e9);
            return;
        }
        assertGe(equity, -1e9, "a debt");
        assertGe(
            uint256(equity + 1e9) * maintenanceBefore,
            uint256(equityBefore) * (maintenance > 1e9 ? maintenance - 1e9 : 0),
            "health"
        );
    }

    function _expectBadParameters(ILiquidationEngine.AuctionParameters memory parameters, string memory why) private {
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationBadParameters.selector, why));
        liquidation.setAuctionParameters(parameters);
    }
}
