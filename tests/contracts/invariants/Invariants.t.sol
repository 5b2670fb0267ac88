// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Actions } from "./Actions.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { MarginEngine } from "contracts/MarginEngine.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { RiskParameters } from "contracts/parameters/RiskParameters.sol";
import { TestToken } from "contracts/testing/TestToken.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Test } from "forge-std/Test.sol";

/// @notice One campaign, every invariant of docs/design.md that perpetuals have. After each random action the state is
/// checked whole; what needs a before and after is judged inside Actions.
contract InvariantsTest is Test {
    uint256 private constant RAY = 1e27;

    Actions private actions;
    ClearingHouse private house;
    MarginEngine private engine;
    RiskParameters private riskParameters;
    TestToken[3] private tokens;
    uint64[] private accounts;
    Instrument[2] private instruments = [InstrumentLibrary.perpetual(1), InstrumentLibrary.perpetual(2)];

    function setUp() public {
        actions = new Actions();
        (house, engine, riskParameters, tokens) = actions.contracts();
        for (uint256 i; i < actions.accountTotal(); ++i) {
            accounts.push(actions.accountAt(i));
        }
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = Actions.act.selector;
        targetContract(address(actions));
        targetSelector(FuzzSelector(address(actions), selectors));
    }

    /// forge-config: default.invariant.runs = 24
    /// forge-config: default.invariant.depth = 100
    function invariant_all() public {
        actions.sweep();
        _cash();
        _zeroSum();
        _positiveCash();
        if (actions.isPriced()) {
            _equity();
            _order();
        }
        _loss();
        _bounds();
        bytes32[8] memory judged =
            [bytes32("GATE"), "LIQUIDATE", "LOSS", "ORACLE", "ROUND", "BOUNDS", "EQUITY", "ORDER"];
        for (uint256 i; i < judged.length; ++i) {
            assertFalse(actions.isBreached(judged[i]), string(abi.encodePacked("judged: ", judged[i])));
        }
        assertFalse(actions.isBreached("REPLAY"), "an order filled twice");
    }

    /// @dev CASH: what the ledgers promise is here, and to the wei until a loss has been shared.
    function _cash() private view {
        int256 ledgers = int256(house.fees());
        for (uint256 i; i < accounts.length; ++i) {
            ledgers += house.cashOf(accounts[i]);
            for (uint256 j; j < instruments.length; ++j) {
                (, int256 quote) = house.positionOf(accounts[i], instruments[j]);
                ledgers += quote;
            }
        }
        int256 held = int256(house.heldOf(0) * 1e12);
        if (house.lossIndex() == RAY) assertEq(ledgers, held, "CASH");
        else assertApproxEqAbs(ledgers, held, 1e6, "CASH after a shared loss");
        assertLe(ledgers, held, "CASH promised more than held");
        for (uint16 asset; asset < 3; ++asset) {
            assertEq(tokens[asset].balanceOf(address(house)), house.heldOf(asset), "CASH tokens");
            if (asset == 0) continue;
            uint256 sum;
            for (uint256 i; i < accounts.length; ++i) {
                sum += house.collateralOf(accounts[i], asset);
            }
            assertEq(sum, house.heldOf(asset), "CASH collateral");
        }
    }

    function _zeroSum() private view {
        for (uint256 j; j < instruments.length; ++j) {
            int256 sum;
            for (uint256 i; i < accounts.length; ++i) {
                (int256 size,) = house.positionOf(accounts[i], instruments[j]);
                sum += size;
            }
            assertEq(sum, 0, "ZERO-SUM");
        }
    }

    /// @dev The sum that shared losses are divided by is never less than what it stands for.
    function _positiveCash() private view {
        uint256 sum;
        for (uint256 i; i < accounts.length; ++i) {
            int256 cash = house.cashOf(accounts[i]);
            if (cash > 0) sum += uint256(cash);
        }
        assertGe(house.positiveCash(), sum, "LOSS positive cash");
        assertLe(house.positiveCash() - sum, 1e6, "LOSS positive cash");
    }

    /// @dev Profits and losses cancel: all equity together is what all collateral is worth.
    function _equity() private view {
        int256 equity;
        uint256 collateral;
        for (uint256 i; i < accounts.length; ++i) {
            Margin memory margin = engine.marginOf(accounts[i]);
            equity += margin.equity;
            collateral += margin.collateral;
        }
        int256 value = int256(house.heldOf(0) * 1e12 - house.fees() + collateral);
        assertApproxEqAbs(equity, value, 2e6, "EQUITY");
        assertLe(equity, value, "EQUITY above its collateral");
    }

    function _order() private view {
        for (uint256 i; i < accounts.length; ++i) {
            Margin memory margin = engine.marginOf(accounts[i]);
            assertLe(margin.maintenance.total, margin.initial.total, "ORDER");
        }
    }

    /// @dev What liquidations cost is what the fund paid and what was shared, and the fund paid for nothing else.
    function _loss() private view {
        assertApproxEqAbs(actions.asked(), actions.covered() + actions.shared(), 1e9, "LOSS");
        assertEq(tokens[0].balanceOf(actions.fundAddress()), actions.fundExpected(), "LOSS fund");
    }

    function _bounds() private view {
        Field[3] memory fields = [Fields.TAIL_INITIAL, Fields.TAIL_MAINTENANCE, Fields.VOLATILITY_STRESS];
        for (uint256 i; i < fields.length; ++i) {
            IRiskParameters.Bounds memory bounds = riskParameters.boundsOf(fields[i]);
            for (uint16 underlying = 1; underlying <= 2; ++underlying) {
                int256 value = riskParameters.get(fields[i], underlying, 0);
                assertTrue(value >= bounds.minimum && value <= bounds.maximum, "BOUNDS");
            }
        }
    }

    /// @dev A campaign that never gets anywhere would prove nothing: the same actions from a fixed seed must reach all of it.
    function test_campaign_reachesEveryAction() public {
        for (uint256 i; i < 900; ++i) {
            bytes32 seed = keccak256(abi.encode("campaign", i));
            actions.act(
                uint8(seed[0]),
                uint256(keccak256(abi.encode(seed, 1))),
                uint256(keccak256(abi.encode(seed, 2))),
                uint256(keccak256(abi.encode(seed, 3))),
                int256(uint256(keccak256(abi.encode(seed, 4)))),
                seed[1] & 0x01 == 0
            );
        }
        invariant_all();
        bytes32[14] memory names = [
            bytes32("deposit"),
            "withdraw",
            "transfer",
            "round",
            "trade",
            "settle",
            "poke",
            "fault",
            "flag",
            "bid",
            "redeem",
            "push",
            "end",
            "shared"
        ];
        for (uint256 i; i < names.length; ++i) {
            emit log_named_uint(string(abi.encodePacked(names[i])), actions.done(names[i]));
        }
        for (uint256 i; i < names.length; ++i) {
            assertGt(actions.done(names[i]), 0, string(abi.encodePacked(names[i])));
        }
    }
}
