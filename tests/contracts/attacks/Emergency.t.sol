// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";

/// @notice Attacks by those who may do something: the calibrator, the volatility reporter, the guardian.
contract EmergencyTest is Coalition {
    uint64 private account;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 10_000);
        trade(account, makerAccount, btcPerpetual, 1.2e18, 50_000e18);
    }

    // ─── Push → liquidate in one block

    /// @notice Attack: a calibrator in league with a liquidator doubles the tails, flags whoever is below the new maintenance margin
    /// and buys it, in one block, before anybody can bring money.
    /// Fails (PUSH): in the block of the push nothing has moved. The owner has hours in which to see it coming.
    function test_pushThenLiquidateInOneBlock() public {
        uint64 liquidator = member("attacker", 1_000_000);
        setPrice(BTC, 46_000);
        (int256 equity,, uint256 maintenance) = requirementsOf(account);
        assertGt(equity, int256(maintenance), "healthy before");
        int256 before_ = wealth();
        riskParameters.applyBundle(change(Fields.TAIL_MAINTENANCE, BTC, 0, 7_200_000), provenance());
        vm.expectRevert(
            abi.encodeWithSelector(ILiquidationEngine.LiquidationNotLiquidatable.selector, account, equity, maintenance)
        );
        liquidation.flag(account, liquidator);

        pass(20 minutes);
        (,, uint256 later) = requirementsOf(account);
        assertGt(later, maintenance, "on its way");
        assertLt(later, maintenance * 11 / 10, "but slowly");
        deposit(account, CASH, 5000e6);
        pass(6 hours);
        (equity,, maintenance) = requirementsOf(account);
        assertLt(equity - 5000e18, int256(maintenance), "it would have been liquidated");
        vm.expectRevert(
            abi.encodeWithSelector(ILiquidationEngine.LiquidationNotLiquidatable.selector, account, equity, maintenance)
        );
        liquidation.flag(account, liquidator);
        assertEq(wealth(), before_);
    }

    /// @notice Attack: a push in every block, so that nobody is ever flagged, least of all the calibrator's own account.
    /// Fails: flags and bids ask nothing of pushes.
    function test_pushThenLiquidateInOneBlock_aPushInEveryBlock() public {
        uint64 own = member("attacker", 10_000);
        trade(own, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 43_500);
        riskParameters.applyBundle(change(Fields.TAIL_MAINTENANCE, BTC, 0, 3_700_000), provenance());
        liquidation.flag(account, keeperAccount);
        liquidation.flag(own, keeperAccount);
        bid(own, WAD);
        bid(account, WAD);
        assertLt(sizeOf(account, btcPerpetual), 1.2e18);
    }

    /// @notice Attack: a liquidator flags an account, leaves its auction open once it has recovered, and waits for the push that
    /// takes it below maintenance again, to bid at the highest discount before anybody else can look.
    /// Fails: not in the block of the push; and by the time that the ramp leads there, the auction has lapsed, so its discount begins
    /// at zero.
    function test_pushThenLiquidateInOneBlock_onAnAuctionNobodyEnded() public {
        uint64 liquidator = member("attacker", 1_000_000);
        setPrice(BTC, 43_500);
        liquidation.flag(account, liquidator);
        setPrice(BTC, 46_000);
        int256 before_ = wealth();
        riskParameters.applyBundle(change(Fields.TAIL_MAINTENANCE, BTC, 0, 7_200_000), provenance());
        vm.prank(house.ownerOf(liquidator));
        cheats.expectPartialRevert(ILiquidationEngine.LiquidationNotLiquidatable.selector);
        liquidation.bid(account, liquidator, WAD, ANY_PRICE, ANY_NONCE);

        pass(6 hours);
        vm.prank(house.ownerOf(liquidator));
        vm.expectRevert(abi.encodeWithSelector(ILiquidationEngine.LiquidationNotFlagged.selector, account));
        liquidation.bid(account, liquidator, WAD, ANY_PRICE, ANY_NONCE);
        liquidation.flag(account, liquidator);
        assertEq(liquidation.discountOf(account), 0);
        assertEq(wealth(), before_);
    }

    /// @notice Attack: the reporter of volatility says 400% in the block in which his friend flags.
    /// Fails: the level behind maintenance rises at a limited rate from where it was last, so in the same block not at all.
    function test_pushThenLiquidateInOneBlock_ofVolatility() public {
        setPrice(BTC, 46_000);
        pass(0);
        volatilityOracle.poke(BTC, 10);
        (,, uint256 maintenance) = requirementsOf(account);
        setVolatility(BTC, 400);
        volatilityOracle.poke(BTC, 10);
        (int256 equity,, uint256 after_) = requirementsOf(account);
        assertEq(after_, maintenance);
        vm.expectRevert(
            abi.encodeWithSelector(ILiquidationEngine.LiquidationNotLiquidatable.selector, account, equity, maintenance)
        );
        liquidation.flag(account, keeperAccount);
    }

    // ─── Pause

    /// @notice Attack: the guardian (or whoever has his key) pauses while the price falls, so that those in trouble can't bring
    /// money or reduce, and are liquidated for want of it; or so that his own account is not liquidated.
    /// Fails: a pause bars new risk alone. Repayment, reductions, variation, flags and bids go on, and who has no position
    /// leaves.
    function test_pausedSystemBlockingRepayment() public {
        uint64 debtor = openAccount(stranger, 0);
        deposit(debtor, WETH, 20e18);
        trade(debtor, makerAccount, btcPerpetual, 0.5e18, 50_000e18);
        uint64 guardians = member("guardian", 10_000);
        trade(guardians, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        setPrice(BTC, 45_500);
        house.settleVariation(debtor);
        assertEq(house.cashOf(debtor), -2250e18);
        int256 before_ = wealth();
        house.pause(3 days);
        bytes memory refusal = abi.encodeWithSelector(IClearingHouse.ClearingHousePaused.selector, house.pausedUntil());

        deposit(debtor, CASH, 1000e6);
        vm.prank(maker);
        vm.expectRevert(refusal);
        house.withdraw(makerAccount, CASH, 1e6, maker);
        uint64 idle = openAccount(makeAddr("idle"), 5000);
        vm.prank(makeAddr("idle"));
        house.transfer(idle, debtor, CASH, 1000e6);
        assertGe(house.cashOf(debtor), -251e18, "repaid");
        withdraw(idle, CASH, 4000e6);
        // Both sides reduce.
        trade(debtor, makerAccount, btcPerpetual, -0.25e18, 45_500e18);
        house.settleVariation(debtor);
        vm.expectRevert(refusal);
        this.tryTrade(keeperAccount, makerAccount, 0.01e18);
        liquidation.flag(guardians, keeperAccount);
        bid(guardians, WAD);
        assertLt(sizeOf(guardians, btcPerpetual), 1.6e18);
        assertLe(wealth(), before_);

        pass(3 days);
        this.tryTrade(keeperAccount, makerAccount, 0.01e18);
        withdraw(makerAccount, CASH, 1e6);
    }

    /// @notice Attack: the guardian pauses again whenever he may, in any lengths, ending some early, so that nobody with a position
    /// ever withdraws.
    /// Fails: three days at most, and three days after the end of one before the next: at least half of any time, less one
    /// pause, is free.
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_guardianPausingForEver(uint256 seed) public {
        uint256 start = block.timestamp;
        uint256 paused;
        uint256 longest;
        uint256 run;
        while (block.timestamp < start + 60 days) {
            seed = uint256(keccak256(abi.encode(seed)));
            try house.pause(seed % 4 == 0 ? bound(seed, 1, 3 days) : 3 days) { } catch { }
            if (seed >> 8 & 31 == 0) try house.unpause() { } catch { }
            uint256 step = 2 hours;
            run = block.timestamp < house.pausedUntil() ? run + step : 0;
            if (run != 0) paused += step;
            if (run > longest) longest = run;
            vm.warp(block.timestamp + step);
        }
        assertGt(paused, 0);
        assertLe(paused, 30 days + 3 days);
        assertLe(longest, 3 days);
    }

    function tryTrade(uint64 taker, uint64 other, int256 size) external {
        trade(taker, other, btcPerpetual, size, 45_500e18);
    }
}
