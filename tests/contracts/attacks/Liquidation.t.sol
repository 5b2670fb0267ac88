// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { Margin } from "contracts/types/Margin.sol";

/// @notice Attacks on the auction: by owners who flag and buy themselves, by both sides of a trade, by bids that are empty,
/// too high or too late, and by using up what may be liquidated.
contract LiquidationAttacksTest is Coalition {
    uint64 private account;
    uint64 private sybil;
    uint64 private flagger;

    // ─── Self-liquidation and sybil bidder

    /// @notice Attack: the attacker's account, 1.6 BTC long from 50,000 on 10,000 dollars, falls below maintenance. He flags it
    /// for the fee, waits as long as he likes while nobody else bids, and buys it with another account in parts.
    /// Fails: where the account can pay the discount and the fee it does, so what one pocket gains the other loses, less the
    /// fund's share. Where it can't, the fund pays what it would pay anybody, discount and fee, which is less than the
    /// margin he lost to get there.
    function testFuzz_selfLiquidationAndSybilBidder(uint256 price, uint256 time, uint256[3] memory fractions) public {
        int256 start = _openLosing();
        setPrice(BTC, bound(price, 38_000, 45_500));
        int256 before_ = wealth();
        liquidation.flag(account, flagger);
        pass(bound(time, 0, 1500));
        int256 fundFees;
        int256 fromTheFund;
        for (uint256 i; i < 3 && liquidation.auctionOf(account).startedAt != 0; ++i) {
            ILiquidationEngine.Bid memory taken = _bidAs(sybil, bound(fractions[i], 1e9, WAD));
            fundFees += int256(taken.fundFee);
            // What is paid beyond the worth of what is taken over.
            int256 worth = taken.equity * int256(taken.fraction) / 1e18;
            fromTheFund += int256(taken.cover) + (taken.cover != 0 && worth < 0 ? worth : int256(0));
            if (taken.cover == 0) continue;
            uint256 reward = taken.discount * taken.maintenance / WAD * taken.fraction / WAD + taken.fee;
            assertLe(taken.cover, reward + (worth < 0 ? uint256(-worth) : 0) + 2);
        }
        assertLe(wealth(), before_ - fundFees + fromTheFund + ROUNDING);
        assertLt(wealth(), start, "less than he had before the price fell");
        if (fromTheFund == 0) assertLe(wealth(), before_ + ROUNDING, "no gain");
    }

    /// @notice The same with a keeper who bids a minute after the flag, as soon as the discount pays it: the attacker is left
    /// with the auction's first minute, in which there is nothing to gain.
    function testFuzz_selfLiquidationAndSybilBidder_againstAPromptKeeper(
        uint256 price,
        uint256 time,
        uint256[3] memory fractions
    ) public {
        _openLosing();
        setPrice(BTC, bound(price, 43_850, 45_500));
        uint256 capital = fund.totalAssets();
        int256 before_ = wealth();
        liquidation.flag(account, flagger);
        time = bound(time, 0, 59);
        pass(time);
        _bidAs(sybil, bound(fractions[0], 1e9, WAD));
        pass(60 - time);
        if (liquidation.auctionOf(account).startedAt != 0) bid(account, WAD);
        for (uint256 i = 1; i < 3 && liquidation.auctionOf(account).startedAt != 0; ++i) {
            _bidAs(sybil, bound(fractions[i], 1e9, WAD));
        }
        assertLe(wealth(), before_ + ROUNDING, "no gain");
        assertEq(fund.totalAssets(), capital);
    }

    // ─── Insurance drain by two-sided self-trade

    /// @notice Attack: two own accounts take the two sides of a perpetual at the highest leverage. Whatever the price does, one
    /// wins what the other loses; the winner's money is taken out, new positions are opened at made-up prices, and the
    /// loser's debt is to be the fund's.
    /// Fails: as long as the price moves within the maintenance range from one look of the keeper to the next (nine tenths of
    /// it here, with a minute from flag to bid), the loser's margin pays for everything; money comes out, and trades at
    /// made-up prices go through, only where both sides keep initial margin.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_insuranceDrainByTwoSidedSelfTrade(uint256 seed) public {
        uint64[3] memory own =
            [member("attacker", 100_000), member("attacker 2", 100_000), member("attacker 3", 50_000)];
        this.tryTrade(own[0], own[1], 11e18, 50_000);
        int256 start = wealth();
        uint256 capital = fund.totalAssets();
        uint256 price = 50_000;
        // What the price does to what he holds against others, once a keeper has taken a part of one side, is trading.
        int256 trading;
        for (uint256 step; step < 20; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            int256 net = sizeOf(own[0], btcPerpetual) + sizeOf(own[1], btcPerpetual) + sizeOf(own[2], btcPerpetual);
            Margin memory margin = engine.marginOf(makerAccount);
            if (margin.underlyings.length == 0) margin = engine.marginOf(own[step % 2]);
            uint256 range = margin.underlyings.length == 0 ? 0.05e18 : margin.underlyings[0].rangeMaintenance;
            uint256 move = price * range / WAD * 9 / 10 * (seed % 1001) / 1000;
            price = seed >> 16 & 1 == 0 ? price + move : price - move;
            trading += net * (seed >> 16 & 1 == 0 ? int256(move) : -int256(move));
            pass(5 minutes);
            setPrice(BTC, price);
            for (uint256 i; i < 3; ++i) {
                (int256 equity,, uint256 maintenance) = requirementsOf(own[i]);
                if (equity >= int256(maintenance)) continue;
                liquidation.flag(own[i], keeperAccount);
                pass(1 minutes);
                bid(own[i], WAD);
            }
            _scheme(own, price, seed >> 32);
        }
        for (uint256 i; i < 3; ++i) {
            withdrawAll(own[i]);
        }
        assertLe(wealth() - trading, start + ROUNDING, "no gain");
        assertEq(fund.totalAssets(), capital, "the fund has paid nothing");
        assertEq(house.pendingLoss(), 0);
    }

    /// @notice The same over a gap of twice the initial range, in which no keeper can act. The winner is gone with its money
    /// before the loser is flagged: the gain is the loser's bad debt.
    /// What bounds it: both sides had to hold initial margin, so the debt is at most notional · (gap − initial range), and the
    /// notional at most capital / (2 · initial margin rate); with the tests' numbers a gap of 23% brings him 49% of the
    /// margin he put at risk. A gap as large as the range brings nothing.
    function test_insuranceDrainByTwoSidedSelfTrade_gapBeyondTheRange() public {
        uint64 long = member("attacker", 100_000);
        uint64 short = member("attacker 2", 100_000);
        int256 size = 11e18;
        trade(long, short, btcPerpetual, size, 50_000e18);
        withdrawAll(long);
        withdrawAll(short);
        Margin memory margin = engine.marginOf(long);
        uint256 range = margin.underlyings[0].rangeInitial;
        uint256 capital = margin.initial.total * 2;
        int256 start = wealth();
        uint256 assets = fund.totalAssets();
        uint256 now_ = states.snapshotState();

        setPrice(BTC, 50_000 - 50_000 * range * 99 / 100 / WAD);
        withdrawAll(short);
        liquidateAtOnce(long);
        assertLe(wealth(), start + ROUNDING, "within the range");
        assertEq(fund.totalAssets(), assets);

        states.revertToState(now_);
        uint256 fallen = 50_000 * 2 * range / WAD;
        setPrice(BTC, 50_000 - fallen);
        uint256 debt = uint256(-equityOf(long));
        withdrawAll(short);
        liquidateAtOnce(long);
        int256 gain = wealth() - start;
        emit log_named_decimal_uint("gap, parts of the price", fallen * WAD / 50_000, 18);
        emit log_named_decimal_int("gain", gain, 18);
        emit log_named_decimal_uint("margin at risk", capital, 18);
        assertApproxEqAbs(gain, int256(debt), 1e13, "his gain is the bad debt");
        assertLe(gain, size * int256(fallen - 50_000 * range / WAD));
        assertApproxEqAbs(assets - fund.totalAssets(), (debt + 10e18) / 1e12, 2);
    }

    // ─── Empty, excessive and late bids

    /// @notice Attack: an account without a cent bids for a portfolio, to hold it for nothing and keep what it may gain, or to be
    /// paid by the fund for taking it.
    /// Fails: whoever takes a portfolio must hold initial margin for it after the bid, also where the fund pays. Only what
    /// needs no margin, a debt, can be taken with nothing, and then to the wei for what is paid with it.
    function test_zeroCashBid() public {
        _openLosing();
        uint64 empty = member("attacker 4", 0);
        setPrice(BTC, 45_500);
        uint256 solvent = states.snapshotState();
        liquidation.flag(account, keeperAccount);
        _expectUncarried(empty, WAD);
        _expectUncarried(empty, 1e12);
        states.revertToState(solvent);
        setPrice(BTC, 42_000);
        liquidation.flag(account, keeperAccount);
        pass(1200); // the fund pays half the maintenance margin on top
        _expectUncarried(empty, WAD);
        _expectUncarried(empty, 1e12);
        assertEq(house.portfolioOf(empty).positions.length, 0);

        // Nothing but a debt.
        trade(account, makerAccount, btcPerpetual, -1.6e18, 42_000e18);
        int256 before_ = wealth();
        ILiquidationEngine.Bid memory taken = _bidAs(empty, WAD);
        assertEq(taken.price, -2800e18);
        assertEq(equityOf(empty), 0);
        assertEq(wealth(), before_);
    }

    /// @notice Attack: bid far above the price, for more than there is. With his own account on the other side the attacker hopes
    /// to carry money past the margin check; with another's, to buy more of it than it must sell.
    /// Fails: the limit is a limit. The price is the auction's, the fraction what brings the account to its target, and the two
    /// accounts together have afterwards what they had, less the fund's share.
    function testFuzz_overpayingBid(uint256 price, uint256 time, uint256 fraction, int256 limit) public {
        _openLosing();
        setPrice(BTC, bound(price, 43_850, 45_500));
        liquidation.flag(account, keeperAccount);
        pass(bound(time, 0, 60));
        fraction = bound(fraction, WAD, type(uint256).max - WAD);
        int256 before_ = wealth();
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, WAD);
        limit = int256(bound(uint256(limit), uint256(preview.equity), uint256(type(int256).max) - 1));
        vm.prank(house.ownerOf(sybil));
        ILiquidationEngine.Bid memory taken = liquidation.bid(account, sybil, fraction, limit, ANY_NONCE);
        assertEq(taken.price, preview.price);
        assertEq(taken.fraction, preview.fraction);
        assertLe(taken.price, preview.equity * int256(preview.fraction) / 1e18 + 1, "above its worth");
        (int256 equity, uint256 initial, uint256 maintenance) = requirementsOf(account);
        if (taken.fraction < WAD) {
            uint256 target = maintenance + (initial - maintenance) / 2;
            assertApproxEqRel(uint256(equity), target, 0.005e18, "not sold beyond the target");
        }
        assertLe(wealth(), before_ - int256(taken.fee + taken.fundFee) + ROUNDING);
    }

    /// @notice Attack: the owner of a flagged account sees a bid coming and changes what is bid for: he sells the good half to
    /// himself first. Or the bid is held back until the price has fallen.
    /// Fails: the account's nonce rises with every change, the bid names the one it saw; and a price limit holds for whoever
    /// does not care what he gets.
    function test_bidOnAStaleState() public {
        account = member("attacker", 14_000);
        sybil = member("attacker 2", 100_000);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        trade(account, makerAccount, ethPerpetual, 10e18, 2000e18);
        setPrice(BTC, 43_800);
        setPrice(ETH, 1850);
        liquidation.flag(account, sybil);
        pass(240);
        uint64 seen = house.nonceOf(account);
        ILiquidationEngine.Bid memory preview = liquidation.previewBid(account, WAD);
        int256 limit = preview.price * 1e18 / int256(preview.fraction) + 1;
        int256 keepers = equityOf(keeperAccount);
        int256 before_ = wealth();
        uint256 now_ = states.snapshotState();

        trade(account, sybil, ethPerpetual, -10e18, 1850e18);
        uint64 changed = house.nonceOf(account);
        vm.prank(keeper);
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationStaleBid.selector, account, seen, changed));
        liquidation.bid(account, keeperAccount, WAD, limit, seen);
        assertLe(wealth(), before_ + ROUNDING);
        assertEq(equityOf(keeperAccount), keepers);

        states.revertToState(now_);
        setPrice(BTC, 44_200); // recovered a little: dearer than what the bidder has seen
        vm.prank(keeper);
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationPriceLimit.selector);
        liquidation.bid(account, keeperAccount, WAD, limit, ANY_NONCE);

        states.revertToState(now_);
        vm.prank(keeper);
        liquidation.bid(account, keeperAccount, WAD, limit, seen);
        assertGt(equityOf(keeperAccount), keepers);
    }

    /// @notice Every way in which an account's money, positions or collateral can change moves its nonce.
    function test_bidOnAStaleState_everyChangeMovesTheNonce() public {
        _openLosing();
        uint64 nonce = house.nonceOf(account);
        deposit(account, CASH, 1);
        nonce = _requireMoved(nonce);
        deposit(account, WETH, 1);
        nonce = _requireMoved(nonce);
        withdraw(account, WETH, 1);
        nonce = _requireMoved(nonce);
        vm.prank(house.ownerOf(sybil));
        house.transfer(sybil, account, CASH, 1);
        nonce = _requireMoved(nonce);
        house.settleVariation(account);
        nonce = _requireMoved(nonce);
        trade(makerAccount, account, btcPerpetual, 0.1e18, 50_000e18);
        nonce = _requireMoved(nonce);
        setPrice(BTC, 44_500);
        liquidation.flag(account, keeperAccount);
        bid(account, 0.01e18);
        nonce = _requireMoved(nonce);
        bid(account, WAD);
        nonce = _requireMoved(nonce);
        address owner = house.ownerOf(account);
        vm.prank(owner);
        house.transferOwnership(account, stranger);
        _requireMoved(nonce);
    }

    // ─── Using up the throughput

    /// @notice Attack: two own accounts are below maintenance. The attacker buys the larger one himself, which uses up what may be
    /// liquidated of the underlying for now, so that the smaller one keeps its position and its chance of a recovery.
    /// What it gives: time, and no more than the window's. Room comes back at once and in proportion, so the smaller account is
    /// down to its target after (what it must sell / limit) of a window. What it costs: initial margin for the large
    /// account and for its buyer, and the discount, which rises while the other auction waits. If the price stays, the
    /// attacker has lost by it; once the account is insolvent nothing protects it. That he keeps the chance meanwhile is
    /// not defended.
    function test_throughputUsedUpToShieldAnotherAccount() public {
        uint64 shielded = member("attacker", 10_000_000);
        uint64 large = member("attacker 2", 60_000_000);
        sybil = member("attacker 3", 60_000_000);
        trade(shielded, makerAccount, btcPerpetual, 400e18, 50_000e18);
        trade(large, makerAccount, btcPerpetual, 2000e18, 50_000e18);
        withdrawAll(shielded);
        withdrawAll(large);
        setPrice(BTC, 44_800);
        liquidation.flag(shielded, keeperAccount);
        liquidation.flag(large, keeperAccount);
        uint256 flagged = states.snapshotState();

        // Without a shield: a keeper takes what is to be had a minute after the flag.
        pass(1 minutes);
        bid(shielded, WAD);
        assertEq(liquidation.auctionOf(shielded).startedAt, 0);
        int256 unshielded = wealth();

        states.revertToState(flagged);
        uint256 committed = uint256(equityOf(large));
        _bidAs(sybil, WAD);
        (, uint256 margin,) = engine.initialMarginOf(sybil);
        committed += margin;
        (uint256 room, uint256 limit) = liquidation.throughputOf(BTC);
        assertLt(room, limit / 100, "used up");
        uint256 shieldedFor = states.snapshotState();
        uint256 waited;
        uint256 sold = uint256(sizeOf(shielded, btcPerpetual));
        while (liquidation.auctionOf(shielded).startedAt != 0) {
            pass(12);
            waited += 12;
            if (waited < 60) continue;
            bid(shielded, WAD);
        }
        sold = (sold - uint256(sizeOf(shielded, btcPerpetual))) * 44_800;
        emit log_named_uint("seconds until the shielded account was at its target", waited);
        emit log_named_decimal_uint("what it sold", sold, 18);
        emit log_named_decimal_uint("margin that held the shield", committed, 18);
        emit log_named_decimal_int("cost where the price stays", unshielded - wealth(), 18);
        assertLe(waited, 600 * sold / limit + 24, "its own share of the window");
        assertLe(wealth(), unshielded + ROUNDING, "no gain where the price stays");

        states.revertToState(shieldedFor);
        setPrice(BTC, 40_000);
        assertLt(equityOf(shielded), 0);
        bid(shielded, WAD);
        assertEq(sizeOf(shielded, btcPerpetual), 0, "insolvent: taken whole, at once");
    }

    // ─── Helpers

    function tryTrade(uint64 taker, uint64 other, int256 size, uint256 price) external {
        trade(taker, other, btcPerpetual, size, price * 1e18);
    }

    /// @dev What the attacker thinks of next. Things that are refused are part of it.
    function _scheme(uint64[3] memory own, uint256 price, uint256 seed) private {
        uint64 first = own[seed % 3];
        uint64 second = own[(seed % 3 + 1 + (seed >> 8) % 2) % 3];
        address wallet = house.ownerOf(first);
        uint256 what = (seed >> 16) % 4;
        if (what == 0) {
            // All the cash there is, margin or no margin; else what may be had.
            int256 cash = house.cashOf(first);
            vm.prank(wallet);
            try house.withdraw(first, CASH, uint256(cash > 0 ? cash : int256(0)) / 1e12, wallet) { }
            catch {
                withdrawAll(first);
            }
        } else if (what == 1) {
            uint256 amount = dollar.balanceOf(wallet);
            if (amount == 0) return;
            vm.startPrank(wallet);
            dollar.approve(address(house), amount);
            house.deposit(first, CASH, amount);
            vm.stopPrank();
        } else if (what == 2) {
            int256 cash = house.cashOf(first);
            if (cash <= 1e12) return;
            vm.prank(wallet);
            try house.transfer(first, second, CASH, uint256(cash) / 1e12 * (seed >> 64 & 0xff) / 255) { } catch { }
        } else {
            int256 size = int256((seed >> 32) % 15e18) - 7e18;
            // Up to a fifth above or below the index.
            uint256 at = price * (800 + (seed >> 128) % 401) / 1000;
            if (size != 0) try this.tryTrade(first, second, size, at) { } catch { }
        }
    }

    function _openLosing() private returns (int256) {
        account = member("attacker", 10_000);
        sybil = member("attacker 2", 200_000);
        flagger = member("attacker 3", 0);
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        return wealth();
    }

    /// @dev The large account in the test of the throughput, else the one under attack.
    function _bidAs(uint64 bidder, uint256 fraction) private returns (ILiquidationEngine.Bid memory) {
        uint64 target = account == 0 ? sybil - 1 : account;
        vm.prank(house.ownerOf(bidder));
        return liquidation.bid(target, bidder, fraction, ANY_PRICE, ANY_NONCE);
    }

    function _expectUncarried(uint64 bidder, uint256 fraction) private {
        vm.prank(house.ownerOf(bidder));
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        liquidation.bid(account, bidder, fraction, ANY_PRICE, ANY_NONCE);
    }

    function _requireMoved(uint64 nonce) private view returns (uint64 moved) {
        moved = house.nonceOf(account);
        assertGt(moved, nonce);
    }
}
