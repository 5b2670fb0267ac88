// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Auctions } from "./support/Auctions.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { Instrument } from "contracts/types/Instrument.sol";

/// @notice The flag fee against the gas that the flag really used, every contract cooled before it, so that storage is as cold
/// as for any keeper. ETH, the gas token here, is at 2,000 dollars.
contract LiquidationEngineFeesTest is Auctions {
    uint256 private constant GWEI = 1e9;

    function test_flag_feeCoversTheGasForAPerpetual() public {
        setPrice(BTC, 45_500);
        _requireFeeCovers(account, 100 * GWEI);
    }

    function test_flag_feeCoversTheGasForAnInsolventAccount() public {
        setPrice(BTC, 40_000); // its shortfall is stored, too
        _requireFeeCovers(account, 100 * GWEI);
    }

    function test_flag_feeCoversTheGasFor16Options() public {
        uint64 book = openAccount(trader, 13_000);
        uint40 expiry = uint40(block.timestamp + 30 days);
        for (uint256 i; i < 16; ++i) {
            Instrument option = listOption(ETH, expiry, 1500 + 60 * i, i % 2 == 1);
            (uint256 mark,) = lens.markOf(option);
            trade(book, makerAccount, option, i / 2 % 2 == 0 ? int256(1e18) : -2e18, mark);
        }
        uint64 sink = openAccount(stranger, 1_000_000);
        trade(book, sink, ethPerpetual, -10e18, 2000e18);
        setPrice(ETH, 2900);
        (int256 equity,, uint256 maintenance) = requirementsOf(book);
        assertLt(equity, int256(maintenance));
        _requireFeeCovers(book, 15 * GWEI);
    }

    function test_flag_feeIsWithinItsBounds() public {
        setPrice(BTC, 45_500);
        vm.fee(1 * GWEI); // less than a dollar
        assertEq(_fee(), 10e18);
        vm.fee(5000 * GWEI); // more than a thousand
        assertEq(_fee(), 100e18);
        vm.fee(0);
        assertEq(_fee(), 10e18);
    }

    /// @notice At a base fee the fee goes with the price of the gas token.
    function test_flag_feeGoesWithThePriceOfTheGasToken() public {
        setPrice(BTC, 45_500);
        vm.fee(50 * GWEI);
        uint256 fee = _fee();
        assertGt(fee, 10e18);
        setPrice(ETH, 4000);
        assertApproxEqRel(_fee(), 2 * fee, 0.02e18);
    }

    function test_flag_feeIsTheLeastWithoutAPriceOfTheGasToken() public {
        setPrice(BTC, 45_500);
        vm.fee(100 * GWEI);
        assertGt(_fee(), 10e18);
        ILiquidationEngine.AuctionParameters memory parameters = liquidation.auctionParameters();
        parameters.nativeUnderlying = 0;
        liquidation.setAuctionParameters(parameters);
        assertEq(_fee(), 10e18);
        parameters.nativeUnderlying = 77; // has no feed
        liquidation.setAuctionParameters(parameters);
        assertEq(_fee(), 10e18);
        parameters.nativeUnderlying = ETH;
        liquidation.setAuctionParameters(parameters);
        assertGt(_fee(), 10e18);
        vm.warp(block.timestamp + 2 hours + 1);
        setPrice(BTC, 45_500); // ETH is not reported again: a dead feed
        assertEq(_fee(), 10e18);
    }

    // ─── Helpers

    /// @dev At least one and a half times the gas used, that of the transaction itself included, and no more than a quarter above.
    function _requireFeeCovers(uint64 which, uint256 baseFee) private {
        vm.fee(baseFee);
        bytes memory data = abi.encodeCall(liquidation.flag, (which, flagger));
        uint256 used = 21_000;
        for (uint256 i; i < data.length; ++i) {
            used += data[i] == 0 ? 4 : 16;
        }
        _cool();
        uint256 gas = gasleft();
        (bool done,) = address(liquidation).call(data);
        used += gas - gasleft();
        assertTrue(done);
        uint256 fee = liquidation.auctionOf(which).fee;
        assertGt(fee, 10e18);
        assertLt(fee, 100e18);
        (uint256 price,) = priceOracle.price(ETH);
        uint256 paidFor = fee * WAD / (baseFee * price);
        emit log_named_uint("gas used", used);
        emit log_named_uint("gas paid for", paidFor);
        assertGe(paidFor, used * 3 / 2);
        assertLe(paidFor, used * 15 / 8);
    }

    function _cool() private {
        address[7] memory parts = [
            address(house),
            address(engine),
            address(liquidation),
            address(registry),
            address(priceOracle),
            address(volatilityOracle),
            address(riskParameters)
        ];
        for (uint256 i; i < parts.length; ++i) {
            cheats.cool(parts[i]);
        }
        cheats.cool(engine.normalTable());
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            cheats.cool(address(priceFeeds[underlying]));
            cheats.cool(address(volatilityFeeds[underlying]));
        }
    }

    /// @dev Flags, and undoes it.
    function _fee() private returns (uint256 fee) {
        uint256 state = vm.snapshot();
        _cool();
        liquidation.flag(account, flagger);
        fee = liquidation.auctionOf(account).fee;
        vm.revertTo(state);
    }
}
