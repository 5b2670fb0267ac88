// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Actions } from "./Actions.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { InstrumentRegistry } from "contracts/InstrumentRegistry.sol";
import { MarginEngine } from "contracts/MarginEngine.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { AuctionMath } from "contracts/libraries/AuctionMath.sol";
import { RiskParameters } from "contracts/parameters/RiskParameters.sol";
import { TestToken } from "contracts/testing/TestToken.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Position } from "contracts/types/Portfolio.sol";
import { Test } from "forge-std/Test.sol";

/// @notice One campaign, every invariant of docs/design.md, over perpetuals and options. After each random action the state is
/// checked whole; what needs a before and after is judged inside Actions.
contract InvariantsTest is Test {
    uint256 private constant RAY = 1e27;

    Actions private actions;
    ClearingHouse private house;
    InstrumentRegistry private registry;
    MarginEngine private engine;
    RiskParameters private riskParameters;
    TestToken[3] private tokens;
    uint64[] private accounts;

    function setUp() public {
        actions = new Actions();
        (house, registry, engine, riskParameters, tokens) = actions.contracts();
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
        assertFalse(actions.isBreached("EXPIRED"), "an expired option traded");
        assertFalse(actions.isBreached("SETTLED"), "an expiry settled wrongly");
    }

    /// @dev CASH: what the ledgers promise, payoffs not yet paid included, is here: to the wei until a loss has been shared
    /// or a payoff rounded. ZERO-SUM: sizes cancel out for every instrument until it is settled and its holders are paid one
    /// by one. And the open interest is the sum of what is long.
    function _cash() private view {
        int256 ledgers = int256(house.fees());
        int256[3] memory long;
        int256 net;
        for (uint256 i; i < accounts.length; ++i) {
            ledgers += house.cashOf(accounts[i]);
            Position[] memory positions = house.portfolioOf(accounts[i]).positions;
            for (uint256 j; j < positions.length; ++j) {
                Instrument instrument = positions[j].instrument;
                int256 size = positions[j].size;
                ledgers += positions[j].quote;
                if (size > 0) long[instrument.underlying()] += size;
                if (instrument.isOption()) assertEq(positions[j].quote, 0, "an option with a quote");
                uint256 price = registry.settlementPriceOf(instrument.underlying(), instrument.expiry());
                if (price != 0) ledgers += AuctionMath.shareDown(size, instrument.payoff(price));
                // Weighted by what tells instruments apart, so that one sum speaks for each.
                else net += size * int256(uint256(keccak256(abi.encode(instrument))) >> 140);
            }
        }
        assertEq(net, 0, "ZERO-SUM");
        assertEq(uint256(long[1]), house.openInterestOf(1), "open interest");
        assertEq(uint256(long[2]), house.openInterestOf(2), "open interest");
        int256 held = int256(house.heldOf(0) * 1e12);
        // Less than a wei for each payoff paid or due.
        uint256 rounding = actions.payoffs() + 64 * accounts.length + (house.lossIndex() == RAY ? 0 : 1e6);
        if (actions.done("settle expiry") == 0 && house.lossIndex() == RAY) rounding = 0;
        assertApproxEqAbs(ledgers, held, rounding, "CASH");
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

    /// @dev A campaign that never gets anywhere would prove nothing: the same actions from a fixed seed must reach all of it,
    /// whatever the numbers of the day make of each.
    function test_campaign_reachesEveryAction() public {
        bytes32[18] memory names = [
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
            "shared",
            "option",
            "expire",
            "settle expiry",
            "payoff"
        ];
        uint256 reached;
        for (uint256 i; i < 3000 && (i < 800 || reached < names.length); ++i) {
            bytes32 seed = keccak256(abi.encode("campaign", i));
            actions.act(
                uint8(seed[0]),
                uint256(keccak256(abi.encode(seed, 1))),
                uint256(keccak256(abi.encode(seed, 2))),
                uint256(keccak256(abi.encode(seed, 3))),
                int256(uint256(keccak256(abi.encode(seed, 4)))),
                seed[1] & 0x01 == 0
            );
            while (reached < names.length && actions.done(names[reached]) != 0) ++reached;
        }
        invariant_all();
        for (uint256 i; i < names.length; ++i) {
            emit log_named_uint(string(abi.encodePacked(names[i])), actions.done(names[i]));
        }
        for (uint256 i; i < names.length; ++i) {
            assertGt(actions.done(names[i]), 0, string(abi.encodePacked(names[i])));
        }
    }
}
