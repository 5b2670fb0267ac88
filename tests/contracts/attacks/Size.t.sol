// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Coalition } from "./Coalition.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { Instrument } from "contracts/types/Instrument.sol";

/// @notice Attack: fill an account with as many instruments as it may hold, so that to flag it or to take it over needs more gas
/// than a block has, and let the fund carry it.
/// Fails: 64 instruments are flagged, bid on in part and taken whole for less than 30 million gas, every call in a transaction
/// of its own, cold. A bidder's own positions count towards its 64: who holds others takes it to a fresh account.
/// forge-config: default.isolate = true
contract SizeTest is Coalition {
    uint256 private constant BLOCK = 30_000_000;

    uint64 private account;
    uint64 private fresh;
    uint64 private holder;
    Instrument[] private series;

    function test_sixtyFourInstruments_optionsAndAPerpetual() public {
        _open();
        _fill(BTC, 63);
        trade(account, makerAccount, btcPerpetual, 2e18, 50_000e18);
        series.push(btcPerpetual);
        _requireLiquidatable("63 options and a perpetual");
    }

    function test_sixtyFourInstruments_optionsOverTwoUnderlyings() public {
        _open();
        _fill(BTC, 32);
        _fill(ETH, 32);
        _requireLiquidatable("64 options over two underlyings");
    }

    /// @dev Solvent: flagged, a part taken by one who holds three of the series, and nothing by one who holds another. Insolvent:
    /// taken whole by a fresh account, and by one that somebody has sent dust of collateral.
    function _requireLiquidatable(string memory what) private {
        assertEq(house.portfolioOf(account).positions.length, 64);
        for (uint256 i; i < 3; ++i) {
            trade(holder, makerAccount, series[20 * i], 0.01e18, _mark(series[20 * i]));
        }
        withdrawAll(account);
        (uint256 btc, uint256 eth) = (50_000, 2000);
        while (!_isBelowMaintenance()) {
            (btc, eth) = (btc - 250, eth - 10);
            setPrice(BTC, btc);
            setPrice(ETH, eth);
        }
        assertGt(equityOf(account), 0);
        uint256 start = states.snapshotState();
        liquidation.flag(account, keeperAccount);
        _requireFits(what, "flag");
        pass(120);
        address owner = house.ownerOf(holder);
        vm.prank(owner);
        uint256 fraction = liquidation.bid(account, holder, WAD, ANY_PRICE, ANY_NONCE).fraction;
        _requireFits(what, "bid: in part, to one who holds others");
        assertLt(fraction, WAD);
        assertEq(house.portfolioOf(holder).positions.length, 64);
        assertEq(liquidation.auctionOf(account).startedAt, 0, "ended");

        states.revertToState(start);
        liquidation.flag(account, keeperAccount);
        Instrument other = listOption(BTC, uint40(vm.getBlockTimestamp() + 90 days), 77_000, false);
        trade(keeperAccount, openAccount(stranger, 100_000), other, 0.01e18, _mark(other));
        vm.prank(keeper);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseTooManyPositions.selector, keeperAccount, 64)
        );
        liquidation.bid(account, keeperAccount, WAD, ANY_PRICE, ANY_NONCE);

        states.revertToState(start);
        while (equityOf(account) >= 0) {
            (btc, eth) = (btc - 500, eth - 20);
            setPrice(BTC, btc);
            setPrice(ETH, eth);
        }
        liquidation.flag(account, keeperAccount);
        start = states.snapshotState();
        owner = house.ownerOf(fresh);
        vm.prank(owner);
        liquidation.bid(account, fresh, WAD, ANY_PRICE, ANY_NONCE);
        _requireFits(what, "bid: whole, to a fresh account");
        assertEq(house.portfolioOf(account).positions.length, 0);
        assertEq(house.portfolioOf(fresh).positions.length, 64);

        states.revertToState(start);
        deposit(makerAccount, WETH, 1);
        vm.prank(maker);
        house.transfer(makerAccount, fresh, WETH, 1);
        vm.prank(owner);
        liquidation.bid(account, fresh, WAD, ANY_PRICE, ANY_NONCE);
        _requireFits(what, "bid: whole, to one that holds dust");
        assertEq(house.portfolioOf(account).positions.length, 0);
        assertEq(house.portfolioOf(fresh).positions.length, 64);
    }

    function _requireFits(string memory what, string memory call) private {
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint(string.concat(what, ", ", call), gas);
        assertGt(gas, 500_000);
        assertLt(gas, BLOCK, call);
    }

    function _open() private {
        account = member("attacker", 2_000_000);
        fresh = openAccount(actor("fresh bidder"), 5_000_000);
        holder = openAccount(actor("bidder"), 5_000_000);
    }

    /// @dev Strikes from three quarters to five quarters of the price over four expiries, calls and puts; two in three short.
    function _fill(uint16 underlying, uint256 count) private {
        uint256 price = underlying == BTC ? 50_000 : 2000;
        int256 unit = underlying == BTC ? int256(0.1e18) : int256(2e18);
        for (uint256 i; i < count; ++i) {
            uint40 expiry = uint40(vm.getBlockTimestamp() + (i % 4 + 1) * 15 days);
            Instrument option = listOption(underlying, expiry, price * 3 / 4 + price / 2 * i / count, i / 4 % 2 == 0);
            trade(account, makerAccount, option, i % 3 == 0 ? unit : -unit, _mark(option));
            series.push(option);
        }
    }

    function _mark(Instrument instrument) private view returns (uint256 price) {
        (price,) = lens.markOf(instrument);
    }

    function _isBelowMaintenance() private view returns (bool) {
        (int256 equity,, uint256 maintenance) = requirementsOf(account);
        return equity < int256(maintenance);
    }
}
