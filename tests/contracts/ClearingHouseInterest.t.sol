// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @notice Interest on negative cash, by one index and for the insurance fund. The debtor has ether and no dollars; others have
/// a million dollars in all, so that what he owes in thousands is utilisation in tenths of a percent.
contract ClearingHouseInterestTest is Accounts {
    uint256 private constant RAY = 1e27;
    uint256 private constant YEAR = 365 days;

    uint64 private debtor;
    uint64 private lender;

    function setUp() public override {
        super.setUp();
        // The two with deep pockets leave again but for what their trades need.
        withdraw(makerAccount, CASH, 100_000_000e6);
        withdraw(keeperAccount, CASH, 10_000_000e6);
        deposit(makerAccount, WETH, 100_000e18);
        debtor = openAccount(trader, 0);
        deposit(debtor, WETH, 10_000e18);
        lender = openAccount(stranger, 1_000_000);
    }

    // ─── What is owed

    function test_cashOf_debtsGrowAtTheRateOfUtilisation() public {
        _owe(debtor, 200_000); // the maker has them: 200,000 of 1,200,000 dollars
        assertEq(house.positiveCash(), 1_200_000e18);
        pass(73 days);
        // u = 1/6: 2% and a sixth of the 10% that it would rise by over the whole; a fifth of a year
        uint256 rate = 0.02e18 + uint256(0.1e18) / 6;
        uint256 expected = 200_000 * (WAD + rate / 5);
        assertApproxEqRel(uint256(-house.cashOf(debtor)), expected, 1e6);
        assertApproxEqRel(house.fees(), expected - 200_000e18, 1e7);
        (uint256 total, uint256 index) = house.debts();
        assertApproxEqRel(total, expected, 1e6);
        assertApproxEqRel(index, RAY * expected / 200_000e18, 1e6);
        assertEq(house.cashOf(lender), 1_000_000e18); // nobody else's money moves
        requireBooks(10);
    }

    function test_cashOf_debtsCostMoreAboveTheKink() public {
        withdraw(lender, CASH, 900_000e6);
        _owe(debtor, 900_000); // of 1,000,000: 90%
        pass(73 days);
        assertApproxEqRel(uint256(-house.cashOf(debtor)), 900_000 * (WAD + 0.11e18), 1e6); // a fifth of 55%
        requireBooks(10);
    }

    function test_debts_nothingAccruesWhileNobodyOwes() public {
        pass(300 days);
        house.sweepFees();
        (uint256 total, uint256 index) = house.debts();
        assertEq(total, 0);
        assertEq(index, RAY);
        // Nor is the time before charged to who borrows after it.
        _owe(debtor, 100_000);
        assertEq(house.cashOf(debtor), -100_000e18);
        pass(YEAR / 100);
        uint256 rate = 0.02e18 + uint256(0.1e18) / 11;
        assertApproxEqRel(uint256(-house.cashOf(debtor)), 100_000 * (WAD + rate / 100), 1e6);
    }

    function test_deposit_repaysWithInterest() public {
        _owe(debtor, 100_000);
        pass(30 days);
        uint256 owed = uint256(-house.cashOf(debtor));
        uint256 units = owed / 1e12 + 1;
        deposit(debtor, CASH, units);
        assertEq(house.cashOf(debtor), int256(units * 1e12 - owed));
        (uint256 total,) = house.debts();
        assertEq(total, 0);
        uint256 interest = house.fees();
        assertApproxEqAbs(interest, owed - 100_000e18, 2);
        pass(30 days); // and that was all
        assertEq(house.fees(), interest);
        requireBooks(10);
        assertEq(house.sweepFees(), interest / 1e12);
        requireBooks(10);
    }

    /// @notice GATE sees the debt as it is: it is in equity without anybody touching the account.
    function test_marginOf_countsInterest() public {
        _owe(debtor, 500_000);
        int256 equity = equityOf(debtor);
        int256 cash = house.cashOf(debtor);
        pass(100 days);
        assertLt(house.cashOf(debtor), cash - 5000e18);
        assertEq(equityOf(debtor), equity - (cash - house.cashOf(debtor)));
    }

    // ─── One index

    /// @notice Two owe alike from the same moment; one is touched every day, and owes what the other does.
    function test_debts_areTheSameForWhoIsTouchedAndWhoIsNot() public {
        uint64 second = openAccount(keeper, 0);
        deposit(second, WETH, 10_000e18);
        _owe(debtor, 100_000);
        _owe(second, 100_000);
        for (uint256 i; i < 20; ++i) {
            pass(1 days);
            deposit(second, CASH, 1);
        }
        assertApproxEqAbs(house.cashOf(second) - 20e12, house.cashOf(debtor), uint256(0.4e12));
        requireBooks(50);
    }

    /// @notice Accrued once it is simple interest, accrued often compound: never less, and never above the exponential at
    /// the rate that stands in the end.
    function testFuzz_debts_lieBetweenSimpleAndContinuousInterest(uint256 debt, uint256 time, uint256 steps) public {
        _owe(debtor, bound(debt, 1000, 900_000));
        uint256 start = uint256(-house.cashOf(debtor));
        time = bound(time, 1 hours, 2 * YEAR);
        steps = bound(steps, 2, 12);
        uint256 snapshot = vm.snapshot();
        pass(time / steps * steps);
        uint256 simple = uint256(-house.cashOf(debtor));
        vm.revertTo(snapshot);
        for (uint256 i; i < steps; ++i) {
            pass(time / steps);
            house.sweepFees();
        }
        uint256 compound = uint256(-house.cashOf(debtor));
        assertGe(compound + steps, simple);
        uint256 utilisation = FixedPoint.min(WAD, compound * WAD / house.positiveCash());
        uint256 rate = utilisation <= 0.8e18 ? 0.02e18 + utilisation / 10 : 0.1e18 + (utilisation - 0.8e18) * 9 / 2;
        uint256 bound_ = start * uint256(FixedPoint.expWad(int256(rate * time / YEAR))) / WAD;
        assertLe(compound, bound_ + bound_ / 1e15);
        requireBooks(50);
    }

    /// @notice Nobody chooses the rate of time gone by: a deposit that comes and goes in one block leaves it as it was.
    function test_debts_anotherUtilisationCountsFromNowOn() public {
        _owe(debtor, 100_000);
        pass(100 days);
        uint256 owed = uint256(-house.cashOf(debtor));
        uint256 snapshot = vm.snapshot();
        deposit(lender, CASH, 500_000_000e6);
        assertEq(uint256(-house.cashOf(debtor)), owed);
        house.sweepFees();
        withdraw(lender, CASH, 500_000_000e6);
        assertEq(uint256(-house.cashOf(debtor)), owed);
        vm.revertTo(snapshot);
        withdraw(lender, CASH, 1_000_000e6);
        assertEq(uint256(-house.cashOf(debtor)), owed);
        pass(1 hours); // at full utilisation now: 100,000 of the maker's 100,000, and interest
        assertApproxEqRel(uint256(-house.cashOf(debtor)), owed + owed / 8760, 1e10);
    }

    // ─── Books (CASH)

    /// @notice Several accounts cross zero again and again: what they owe one by one is at least what is counted on, no more
    /// than a wei a touch above it, and all money has an owner.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_debts_areNeverLessThanCountedOn(uint256[12] memory moves, uint256 seed) public {
        uint64[3] memory parties = [debtor, openAccount(keeper, 0), openAccount(actor("second borrower"), 0)];
        deposit(parties[1], WETH, 10_000e18);
        deposit(parties[2], WETH, 10_000e18);
        for (uint256 i; i < moves.length; ++i) {
            uint64 party = parties[(seed >> (8 * i)) % 3];
            if ((seed >> (8 * i + 4)) % 2 == 0) _owe(party, bound(moves[i], 1, 300_000));
            else deposit(party, CASH, bound(moves[i], 1, 300_000e6));
            pass(bound(moves[i] >> 64, 0, 60 days));
            uint256 owed;
            for (uint256 j; j < 3; ++j) {
                owed += uint256(-FixedPoint.min(house.cashOf(parties[j]), 0));
            }
            (uint256 total,) = house.debts();
            assertLe(total, owed);
            assertGe(total + 10 * (i + 1), owed);
            requireBooks(10 * (i + 1));
        }
        house.sweepFees();
        requireBooks(200);
    }

    // ─── Helpers

    /// @dev Takes so many dollars of loss on ether: to the maker's credit, the account's debt.
    function _owe(uint64 account, uint256 dollars) private {
        (, int256 price,,,) = priceFeeds[ETH].latestRoundData();
        priceFeeds[ETH].push(2000e8);
        trade(account, makerAccount, ethPerpetual, 1000e18, 2000e18);
        priceFeeds[ETH].push(2000e8 - int256(dollars * 1e5));
        trade(account, makerAccount, ethPerpetual, -1000e18, 2000e18 - dollars * 1e15);
        priceFeeds[ETH].push(price);
    }
}
