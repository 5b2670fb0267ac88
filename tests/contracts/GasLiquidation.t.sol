// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";

/// @notice What it costs to liquidate and to leave an account with options, each call a transaction of its own as in GasTest:
/// the same mixed books as in GasOptionsTest, on an account that has withdrawn all it can and then lost. The flag fee's
/// price feed is not the account's own.
/// forge-config: default.isolate = true
contract GasLiquidationTest is Accounts {
    uint64 private account;
    uint64 private bidder;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 1_000_000);
        bidder = openAccount(keeper, 1_000_000);
        _touch();
    }

    /// @dev Somebody has been liquidated before: the first touch of fees and throughput is paid once in the house's life.
    function _touch() private {
        uint64 other = openAccount(stranger, 10_000);
        trade(other, makerAccount, ethPerpetual, 34e18, 2000e18);
        setPrice(ETH, 1800);
        liquidation.flag(other, bidder);
        pass(300);
        bid(other, WAD);
        setPrice(ETH, 2000);
    }

    function test_gas_flag4() public {
        _lose(4);
        liquidation.flag(account, keeperAccount);
        cheats.snapshotGasLastCall("LiquidationEngine", "flag: 4 options");
    }

    function test_gas_flagAt4() public {
        _lose(4);
        uint256 nodes = _deciding();
        liquidation.flagAt(account, keeperAccount, nodes);
        cheats.snapshotGasLastCall("LiquidationEngine", "flagAt: 4 options, the deciding nodes");
    }

    function test_gas_flagAt16() public {
        _lose(16);
        uint256 nodes = _deciding();
        liquidation.flagAt(account, keeperAccount, nodes);
        cheats.snapshotGasLastCall("LiquidationEngine", "flagAt: 16 options, the deciding nodes");
    }

    function test_gas_bid16() public {
        _lose(16);
        liquidation.flag(account, keeperAccount);
        pass(1200);
        vm.prank(keeper);
        liquidation.bid(account, bidder, WAD, ANY_PRICE, ANY_NONCE);
        assertLe(cheats.snapshotGasLastCall("LiquidationEngine", "bid: 16 options, the whole account"), 980_000);
        assertEq(house.portfolioOf(account).positions.length, 0);
        assertEq(house.portfolioOf(bidder).positions.length, 16);
    }

    function _deciding() private view returns (uint256) {
        Margin memory margin = engine.marginOf(account);
        return 1 << margin.initial.worstNode | 1 << margin.maintenance.worstNode | 1 << 29;
    }

    /// @dev Mixed options, no more cash than initial margin asks for, and then a price at which that is too little.
    function _lose(uint256 count) private {
        for (uint256 i; i < count; ++i) {
            uint256 strike = 1500 + 1000 * i / (count - 1);
            Instrument option = listOption(ETH, uint40(vm.getBlockTimestamp() + 30 days), strike, i % 2 == 1);
            (uint256 mark,) = lens.markOf(option);
            trade(account, makerAccount, option, i / 2 % 2 == 0 ? int256(1e18) : -1e18, mark);
        }
        Margin memory margin = engine.marginOf(account);
        withdraw(account, CASH, (uint256(margin.equity) - margin.initial.total) / 1e12 - 1);
        for (uint256 move = 100; move <= 1500; move += 100) {
            setPrice(ETH, 2000 + move);
            if (_isLost()) return;
            if (move < 1500) setPrice(ETH, 2000 - move);
            if (_isLost()) return;
        }
        revert("the account cannot lose");
    }

    function _isLost() private view returns (bool) {
        Margin memory margin = engine.marginOf(account);
        return margin.equity < int256(margin.maintenance.total * 9 / 10);
    }
}
