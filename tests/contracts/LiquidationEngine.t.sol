// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { Instrument } from "contracts/types/Instrument.sol";

/// @notice The auction from flag to end. The account under test is long 1.6 BTC from 50,000 on 10,000 dollars: solvent and
/// below maintenance at 45,500, insolvent below 43,750. The auction runs for 1,200 seconds to a discount of a half.
contract LiquidationEngineTest is Accounts {
    uint64 private account;
    uint64 private flagger;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 10_000);
        flagger = openAccount(actor("flagger"), 0);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
    }

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

    function test_discountOf_risesToItsMaximum() public {
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.discountOf(account);
        _flagAt(45_500);
        assertEq(liquidation.discountOf(account), 0);
        vm.warp(block.timestamp + 300);
        assertEq(liquidation.discountOf(account), 0.125e18);
        vm.warp(block.timestamp + 10_000);
        assertEq(liquidation.discountOf(account), 0.5e18);
    }

    // ─── End

    function test_end_afterRecovery() public {
        _flagAt(45_500);
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
        _flagAt(40_000);
        assertEq(liquidation.reservedShortfall(), 6000e18);
        setPrice(BTC, 50_000);
        liquidation.end(account);
        assertEq(liquidation.reservedShortfall(), 0);
    }

    // ─── Bids on a solvent account (LIQUIDATE)

    function test_bid_bringsTheAccountToItsTarget() public {
        _flagAt(45_500);
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
        _flagAt(45_500);
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
        _flagAt(bound(price, 35_000, 45_500));
        vm.warp(block.timestamp + bound(time, 0, 1500));
        fraction = bound(fraction, 1e6, 1.5e18);
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, fraction);
        ILiquidationEngine.Bid memory taken = bid(account, fraction);
        assertEq(keccak256(abi.encode(preview)), keccak256(abi.encode(taken)));
        assertLe(taken.fraction, fraction);
    }

    function test_bid_paysTheFlagFeeOnce() public {
        _flagAt(45_500);
        vm.warp(block.timestamp + 240);
        assertEq(bid(account, 0.1e18).fee, 10e18);
        assertEq(house.cashOf(flagger), 10e18);
        assertEq(liquidation.auctionOf(account).fee, 0);
        assertEq(bid(account, 0.1e18).fee, 0);
        assertEq(house.cashOf(flagger), 10e18);
    }

    /// @notice The fee comes out of the proceeds, so a bid too small to earn it leaves the rest owed.
    function test_bid_paysTheFlagFeeAsFarAsTheProceedsGo() public {
        _flagAt(45_500);
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
        _flagAt(45_500);
        uint256 fraction = liquidation.previewBid(account, type(uint256).max).fraction;
        assertEq(liquidation.previewBid(account, WAD).fraction, fraction);
        assertLt(fraction, 0.6e18);
        assertGt(fraction, 0.5e18);
    }

    /// @notice The limit is on the whole portfolio's price and binds a part in proportion.
    function test_bid_revertsIfAboveThePriceLimit() public {
        _flagAt(45_500);
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
        _flagAt(45_500);
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
        _flagAt(45_500);
        vm.prank(stranger);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        liquidation.bid(account, poor, WAD, ANY_PRICE, ANY_NONCE);
    }

    function test_bid_isForTheOwnerAndTradingOperators() public {
        _flagAt(45_500);
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
        _flagAt(45_500);
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
        _flagAt(45_000);
        assertFalse(engine.marginOf(account).fresh);
        bid(account, WAD);
        assertLt(sizeOf(account, btcPerpetual), 1.6e18);
    }

    // ─── Fees

    function test_sweepFees_raisesWhatAShareOfTheFundIsWorth() public {
        _flagAt(45_500);
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

    // ─── Insolvent accounts (LOSS)

    function test_bid_theFundPaysForAnInsolventAccount() public {
        _flagAt(40_000);
        assertEq(equityOf(account), -6000e18);
        uint256 assets = fund.totalAssets();
        int256 bidderBefore = equityOf(keeperAccount);
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(taken.price, -6000e18);
        assertEq(taken.cover, 6010e18);
        assertEq(fund.totalAssets(), assets - 6010e6);
        assertEq(equityOf(account), 0);
        assertEq(house.cashOf(account), 0);
        assertEq(house.cashOf(flagger), 10e18);
        assertApproxEqAbs(equityOf(keeperAccount), bidderBefore, 2);
        assertEq(liquidation.reservedShortfall(), 0);
        assertEq(liquidation.auctionOf(account).startedAt, 0);
        assertEq(house.lossIndex(), 1e27);
        requireBooks(0);
    }

    /// @notice Solvent, but by less than the discount: nobody pays for it, so the fund pays to have it taken.
    function test_bid_theFundPaysTheRestOfTheDiscount() public {
        _flagAt(44_000);
        vm.warp(block.timestamp + 1200);
        ILiquidationEngine.Bid memory taken = bid(account, 0.5e18);
        assertEq(taken.equity, 400e18);
        uint256 payout = (taken.maintenance / 2 - 400e18) / 2;
        assertApproxEqAbs(absolute(taken.price), payout, 1);
        assertApproxEqAbs(equityOf(account), 200e18, 10);
        bid(account, WAD);
        assertEq(equityOf(account), 0);
        requireBooks(0);
    }

    /// @notice The sum of what the fund pays and what is shared is the whole of the loss, and the share is exact.
    function test_bid_sharesOverPositiveCashWhatTheFundLacks() public {
        _leaveInFund(1000e6);
        _flagAt(40_000);
        uint256 positive = house.positiveCash();
        assertEq(positive, 110_010_000e18);
        vm.recordLogs();
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        assertEq(fund.totalAssets(), 0);
        uint256 shared = taken.cover - 1000e18;
        assertEq(shared, 5010e18);
        // The account's own cash is gone before anything is shared.
        uint256 index = uint256(1e27) * (110_000_000e18 - shared) / 110_000_000e18;
        assertEq(house.lossIndex(), index);
        uint256 share = 100_000_000e18 * index / 1e27;
        assertEq(house.cashOf(makerAccount), int256(share));
        uint256 keeperShare = 10_000_000e18 * index / 1e27;
        assertEq(house.cashOf(keeperAccount), int256(keeperShare) + 10_000e18 + 6000e18); // cash moved and payout
        assertEq(house.cashOf(flagger), 10e18);
        assertEq(house.cashOf(account), 0);
        assertEq(equityOf(account), 0);
        assertEq(house.positiveCash(), 110_000_000e18 - shared + 16_010e18);
        requireBooks(1e12);
        // New money is whole: the index is behind it.
        uint64 late = openAccount(stranger, 500);
        assertEq(house.cashOf(late), 500e18);
        withdraw(late, CASH, 500e6);
        requireBooks(1e12);
    }

    /// @notice EQUITY: through bankruptcy and sharing nothing is made or lost but what the fund put in.
    function testFuzz_bid_lossEqualsWhatTheFundPaidAndWhatWasShared(uint256 price, uint256 fund_, uint256 time) public {
        fund_ = bound(fund_, 0, 20_000e6);
        _leaveInFund(fund_);
        _flagAt(bound(price, 30_000, 43_700));
        vm.warp(block.timestamp + bound(time, 0, 1500));
        int256 equity = totalEquity();
        ILiquidationEngine.Bid memory taken = bid(account, WAD);
        uint256 paid = (fund_ - fund.totalAssets()) * 1e12;
        uint256 covered = paid < taken.cover ? paid : taken.cover;
        uint256 shared = taken.cover - covered;
        if (shared == 0) assertEq(house.lossIndex(), 1e27);
        else assertEq(fund.totalAssets(), 0);
        assertEq(house.fees(), paid - covered);
        // Accounts together hold the fund's money more, less what was rounded up into fees.
        assertApproxEqAbs(totalEquity(), equity + int256(covered), 1e9);
        assertEq(equityOf(account), 0);
        assertEq(liquidation.reservedShortfall(), 0);
        requireBooks(1e12);
    }

    function test_bid_revertsIfAllCashTogetherCannotCarryTheLoss() public {
        _leaveInFund(0);
        setPrice(BTC, 40_000);
        liquidation.flag(account, flagger);
        uint64 shelter = openAccount(stranger, 0);
        deposit(shelter, WETH, 10_000e18);
        // Everybody else leaves while nothing is known of the loss.
        setPrice(BTC, 50_000);
        liquidation.reserve(account);
        withdraw(makerAccount, CASH, 99_980_000e6);
        withdraw(keeperAccount, CASH, 10_000_000e6);
        setPrice(BTC, 30_000);
        vm.prank(stranger);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseLossTooLarge.selector);
        liquidation.bid(account, shelter, WAD, ANY_PRICE, ANY_NONCE);
    }

    // ─── Nobody leaves ahead of a loss (LOSS)

    function test_withdraw_revertsWhileAKnownLossExceedsTheFund() public {
        _leaveInFund(1000e6);
        _flagAt(40_000);
        vm.prank(maker);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseWithdrawalsLocked.selector, 6000e18, 1000e18)
        );
        house.withdraw(makerAccount, CASH, 1e6, maker);
        bid(account, WAD);
        withdraw(makerAccount, CASH, 1e6);
    }

    function test_withdraw_isFreeWhileTheFundCoversTheLoss() public {
        _flagAt(40_000);
        assertEq(liquidation.reservedShortfall(), 6000e18);
        withdraw(keeperAccount, CASH, 1e6);
        // But the fund's backers may not leave ahead of it.
        assertEq(fund.maxRedeem(backer), 0);
    }

    function test_reserve_followsTheMarket() public {
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.reserve(account);
        _flagAt(45_500);
        assertEq(liquidation.reservedShortfall(), 0);
        setPrice(BTC, 42_000);
        vm.prank(stranger);
        assertEq(liquidation.reserve(account), 2800e18);
        assertEq(liquidation.reservedShortfall(), 2800e18);
        setPrice(BTC, 43_000);
        assertEq(liquidation.reserve(account), 1200e18);
        assertEq(liquidation.auctionOf(account).shortfall, 1200e18);
        setPrice(BTC, 44_000);
        assertEq(liquidation.reserve(account), 0);
        assertEq(liquidation.reservedShortfall(), 0);
    }

    function test_reserve_addsUpOverAccounts() public {
        uint64 second = openAccount(stranger, 10_000);
        trade(second, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        _flagAt(42_000);
        liquidation.flag(second, flagger);
        assertEq(liquidation.reservedShortfall(), 5600e18);
        bid(account, WAD);
        assertEq(liquidation.reservedShortfall(), 2800e18);
        // A part taken leaves a part of the loss.
        bid(second, 0.25e18);
        assertApproxEqAbs(liquidation.reservedShortfall(), 2100e18, 10);
    }

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
        requireBooks(0); // the fund is rich
        // And the same again, until it is over.
        for (uint256 i; i < 3 && liquidation.auctionOf(mixed).startedAt != 0; ++i) {
            (equity,, maintenance) = requirementsOf(mixed);
            bid(mixed, WAD);
            _requireNoWorse(mixed, equity, maintenance);
        }
        assertEq(liquidation.auctionOf(mixed).startedAt, 0, "every auction ends");
        requireBooks(0);
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
            (uint256 mark,) = engine.markOf(series[i]);
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
            requireBooks(0);
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
    }

    // ─── Helpers

    function _flagAt(uint256 dollars) private {
        setPrice(BTC, dollars);
        liquidation.flag(account, flagger);
    }

    function _leaveInFund(uint256 amount) private {
        vm.startPrank(backer);
        fund.withdraw(fund.totalAssets() - amount, backer, backer);
        vm.stopPrank();
        assertEq(fund.totalAssets(), amount);
    }

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
