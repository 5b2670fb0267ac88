// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";

interface SnapshotCheats {
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
}

/// @notice What the initial-margin view of an options account costs with all storage cold, and the margin of both horizons:
/// gasleft around the call, after every contract has been cooled. The account really holds the options, bought and sold
/// from the maker: spot 2000, strikes evenly from 1500 to 2500, calls and puts alternating, long and short alternating by
/// twos. The figures are committed in tests/contracts/gas/InitialMarginCold.json.
contract GasOptionsTest is Accounts {
    uint64 private account;

    function setUp() public override {
        super.setUp();
        account = openAccount(trader, 1_000_000);
    }

    function test_gas_initialMargin4() public {
        _buy(ETH, 4, 1, 0);
        _snapshot("4");
    }

    function test_gas_initialMargin16() public {
        _buy(ETH, 16, 1, 0);
        _snapshot("16");
    }

    function test_gas_initialMargin32() public {
        _buy(ETH, 32, 1, 0);
        _snapshot("32");
    }

    function test_gas_initialMargin64() public {
        _buy(ETH, 64, 1, 0);
        _snapshot("64");
    }

    function test_gas_initialMarginFourExpiries() public {
        _buy(ETH, 16, 4, 0);
        _snapshot("16 in 4 expiries");
    }

    function test_gas_initialMarginFourUnderlyings() public {
        _addLike(ETH, 3);
        _addLike(ETH, 4);
        for (uint16 underlying = BTC; underlying <= 4; ++underlying) {
            uint256 price = underlying == BTC ? 50_000 : 2000;
            _buy(underlying, 4, 1, price * 3 / 4);
            trade(account, makerAccount, registry.listPerpetual(underlying), 1e18, price * 1e18);
        }
        _snapshot("16 and 4 perpetuals over 4 underlyings");
    }

    /// @dev `lowest` is the first strike, 0 for three quarters of 2000; the last is 5/3 of it.
    function _buy(uint16 underlying, uint256 count, uint256 expiries, uint256 lowest) private {
        if (lowest == 0) lowest = 1500;
        uint256 step = lowest * 2 / 3 * 1e8 / (count - 1);
        for (uint256 i; i < count; ++i) {
            uint40 expiry = uint40(vm.getBlockTimestamp() + 30 days * (1 + i % expiries));
            uint64[] memory strikes = new uint64[](1);
            strikes[0] = uint64(lowest * 1e8 + i * step);
            registry.listOptions(underlying, expiry, strikes);
            Instrument instrument = InstrumentLibrary.option(i % 2 == 1, underlying, expiry, strikes[0]);
            (uint256 mark,) = lens.markOf(instrument);
            trade(account, makerAccount, instrument, i / 2 % 2 == 0 ? int256(1e18) : -1e18, mark);
        }
    }

    function _snapshot(string memory name) private {
        _cool();
        uint256 gas = gasleft();
        engine.initialMarginOf(account);
        gas -= gasleft();
        SnapshotCheats(address(cheats)).snapshotValue("InitialMarginCold", name, gas);
        _cool();
        gas = gasleft();
        engine.marginOf(account);
        gas -= gasleft();
        SnapshotCheats(address(cheats)).snapshotValue("MarginCold", name, gas);
    }

    function _cool() private {
        cheats.cool(address(house));
        cheats.cool(address(engine));
        cheats.cool(address(registry));
        cheats.cool(address(priceOracle));
        cheats.cool(address(volatilityOracle));
        cheats.cool(address(riskParameters));
        cheats.cool(engine.normalTable());
        for (uint16 underlying = BTC; underlying <= 4; ++underlying) {
            if (address(priceFeeds[underlying]) == address(0)) continue;
            cheats.cool(address(priceFeeds[underlying]));
            cheats.cool(address(volatilityFeeds[underlying]));
        }
    }

    /// @dev One more underlying with the feeds' answers and the numbers of another.
    function _addLike(uint16 model, uint16 underlying) private {
        (, int256 price,,,) = priceFeeds[model].latestRoundData();
        (, int256 volatility,,,) = volatilityFeeds[model].latestRoundData();
        calibrateLike(model, underlying, underlying);
        _addUnderlying(underlying, price, volatility);
        volatilityOracle.poke(underlying, 100);
    }
}
