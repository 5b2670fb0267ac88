// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Order } from "contracts/types/Order.sol";

/// @notice What the common calls cost, each in a transaction of its own, so that storage is cold as for whoever pays. A figure
/// is of the whole transaction: its 21,000, its calldata, what it runs, less what is refunded. The figures are committed in tests/contracts/gas; FORGE_SNAPSHOT_CHECK=true makes a run fail where one has changed,
/// a run without it writes the new figures.
/// forge-config: default.isolate = true
contract GasTest is Accounts {
    uint64 private account;
    uint64 private other;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 10_000);
        other = openAccount(stranger, 10_000);
        // Everybody has traded before: first touches of an account's storage are paid once in its life.
        trade(account, makerAccount, btcPerpetual, 1.6e18, 50_000e18);
        trade(other, makerAccount, btcPerpetual, 0.1e18, 50_000e18);
        trade(keeperAccount, makerAccount, btcPerpetual, 0.1e18, 50_000e18);
    }

    function test_gas_deposit() public {
        dollar.mint(trader, 100e6);
        vm.prank(trader);
        dollar.approve(address(house), 100e6);
        vm.prank(trader);
        house.deposit(account, CASH, 100e6);
        assertLe(_snapshot("ClearingHouse", "deposit: cash"), 90_000);
    }

    function test_gas_depositIntoAFreshAccount() public {
        vm.prank(stranger);
        uint64 fresh = house.createAccount();
        dollar.mint(stranger, 100e6);
        vm.prank(stranger);
        dollar.approve(address(house), 100e6);
        vm.prank(stranger);
        house.deposit(fresh, CASH, 100e6);
        assertLe(_snapshot("ClearingHouse", "deposit: cash, the account's first"), 90_000);
    }

    function test_gas_withdraw() public {
        vm.prank(trader);
        house.withdraw(account, CASH, 100e6, trader);
        _snapshot("ClearingHouse", "withdraw: cash, one position");
    }

    function test_gas_withdrawFlat() public {
        uint64 flat = openAccount(stranger, 10_000);
        vm.prank(stranger);
        house.withdraw(flat, CASH, 100e6, trader);
        _snapshot("ClearingHouse", "withdraw: cash, no position");
    }

    function test_gas_withdrawFourOptions() public {
        uint64 writer = openAccount(stranger, 100_000);
        for (uint256 i; i < 4; ++i) {
            Instrument option = listOption(ETH, uint40(block.timestamp + 30 days), 1700 + 200 * i, i % 2 == 0);
            (uint256 mark,) = lens.markOf(option);
            trade(writer, makerAccount, option, i < 2 ? int256(1e18) : -1e18, mark);
        }
        vm.prank(stranger);
        house.withdraw(writer, CASH, 100e6, trader);
        _snapshot("ClearingHouse", "withdraw: cash, four options");
    }

    function test_gas_settleTrade() public {
        _trade(other, makerAccount, 0.1e18, 50_000e18, "settleTrade: both sides add to a position");
    }

    function test_gas_settleTradeClosing() public {
        _trade(other, makerAccount, -0.1e18, 50_000e18, "settleTrade: the taker closes its position");
    }

    function test_gas_settleTradeOfFreshAccounts() public {
        (uint64 buyer, uint64 seller) = (openAccount(trader, 10_000), openAccount(stranger, 10_000));
        _trade(buyer, seller, 0.1e18, 50_000e18, "settleTrade: fresh accounts at the index price");
    }

    function test_gas_settleTradeOfFreshAccountsOffTheIndex() public {
        (uint64 buyer, uint64 seller) = (openAccount(trader, 10_000), openAccount(stranger, 10_000));
        _trade(buyer, seller, 0.1e18, 50_100e18, "settleTrade: fresh accounts off the index price");
    }

    function test_gas_settleTradeOffTheIndex() public {
        _trade(other, makerAccount, 0.1e18, 50_100e18, "settleTrade: both sides add to a position off the index price");
    }

    function test_gas_settleVariation() public {
        setPrice(BTC, 51_000);
        house.settleVariation(account);
        _snapshot("ClearingHouse", "settleVariation: one position");
    }

    function test_gas_sweepFees() public {
        setPrice(BTC, 45_500);
        liquidation.flag(account, other);
        vm.warp(block.timestamp + 240);
        bid(account, WAD);
        house.sweepFees();
        _snapshot("ClearingHouse", "sweepFees");
    }

    function test_gas_marginOf() public {
        engine.marginOf(account);
        _snapshot("MarginEngine", "marginOf: one underlying");
        trade(account, makerAccount, ethPerpetual, -10e18, 2000e18);
        engine.marginOf(account);
        _snapshot("MarginEngine", "marginOf: two underlyings");
        deposit(account, WETH, 1e18);
        deposit(account, WBTC, 1e8);
        engine.marginOf(account);
        _snapshot("MarginEngine", "marginOf: two underlyings, two collaterals");
    }

    function test_gas_liquidation() public {
        setPrice(BTC, 45_500);
        liquidation.flag(account, other);
        _snapshot("LiquidationEngine", "flag");
        vm.warp(block.timestamp + 240);
        vm.prank(keeper);
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
        _snapshot("LiquidationEngine", "bid: solvent, to the target");
    }

    function test_gas_liquidationOfTheInsolvent() public {
        setPrice(BTC, 40_000);
        liquidation.flag(account, other);
        _snapshot("LiquidationEngine", "flag: insolvent");
        vm.prank(keeper);
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);
        _snapshot("LiquidationEngine", "bid: insolvent, the fund pays");
    }

    function test_gas_push() public {
        vm.warp(block.timestamp + 1 minutes);
        priceFeeds[BTC].push(50_100e8);
        _snapshot("PushedFeed", "push");
    }

    function _trade(uint64 taker, uint64 counter, int256 size, uint256 price, string memory name) private {
        Order memory first = orderOf(counter, btcPerpetual, -size, price);
        Order memory second = orderOf(taker, btcPerpetual, size, size > 0 ? price * 101 / 100 : price * 99 / 100);
        (bytes memory firstSignature, bytes memory secondSignature) = (sign(first), sign(second));
        gateway.settleTrade(first, firstSignature, second, secondSignature, uint128(absolute(size)));
        _snapshot("ClearingHouse", name);
    }

    function _snapshot(string memory group, string memory name) private returns (uint256) {
        return cheats.snapshotGasLastCall(group, name);
    }
}
