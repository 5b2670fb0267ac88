// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Actions } from "./Actions.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { InstrumentRegistry } from "contracts/InstrumentRegistry.sol";
import { InsuranceFund } from "contracts/InsuranceFund.sol";
import { LiquidationEngine } from "contracts/LiquidationEngine.sol";
import { MarginEngine } from "contracts/MarginEngine.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { SignedWad } from "contracts/libraries/SignedWad.sol";
import { RiskParameters } from "contracts/parameters/RiskParameters.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Collateral, Portfolio, Position } from "contracts/types/Portfolio.sol";
import { Test } from "forge-std/Test.sol";

/// @notice One campaign, every invariant of docs/design.md. What needs a before and after is judged inside Actions, at every
/// action; the state of the whole house is checked every few actions and at the end of every run (foundry.toml), and
/// what can be asked of any book then: COHERENCE, ORDER.
contract InvariantsTest is Test {
    uint256 private constant RAY = 1e27;
    uint16 private constant ASSETS = 4;
    /// @dev Relative error of the expected shortfall, absolute error of a requirement [wad].
    uint256 private constant SHORTFALL_ERROR = 1e12;
    uint256 private constant ROUNDING = 1e10;

    Actions private actions;
    ClearingHouse private house;
    InstrumentRegistry private registry;
    MarginEngine private engine;
    LiquidationEngine private liquidation;
    InsuranceFund private fund;
    RiskParameters private riskParameters;

    function setUp() public {
        actions = new Actions();
        (house, registry, engine, liquidation, fund, riskParameters) = actions.contracts();
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = Actions.act.selector;
        targetContract(address(actions));
        targetSelector(FuzzSelector(address(actions), selectors));
    }

    function invariant_all() public view {
        assertEq(actions.breach(), "");
        uint64[] memory accounts = actions.members();
        _cash(accounts);
        _loss(accounts);
        _bounds();
        if (actions.isPriced()) _equity(accounts);
    }

    function afterInvariant() public {
        actions.refresh();
        uint64[] memory accounts = actions.members();
        uint256 first = uint256(keccak256(abi.encode(house.nonceOf(accounts[0]), block.timestamp))) % accounts.length;
        Portfolio memory one = house.portfolioOf(accounts[first]);
        Portfolio memory other = house.portfolioOf(accounts[(first + 1) % accounts.length]);
        _coherence(one, other);
        _rising(one);
    }

    // ─── Money

    /// @dev What is summed up over accounts. `net` weighs sizes by what tells instruments apart, so that one sum speaks for each.
    struct Sum {
        int256 ledgers;
        uint256 positive;
        uint256 negative;
        int256 net;
        int256[3] long;
        uint256 positions;
        uint256[4] collateral;
    }

    /// @dev CASH: what the ledgers promise, payoffs not yet paid included, is here or still to be shared: to the wei a position's
    /// funding is rounded by, and a trillionth of a dollar for all that payoffs, interest and shared losses leave behind.
    /// ZERO-SUM: sizes cancel out for every instrument until it is settled and its holders are paid one by one. And the
    /// open interest is the sum of what is long.
    function _cash(uint64[] memory accounts) private view {
        Sum memory sum;
        for (uint256 i; i < accounts.length; ++i) {
            _add(sum, accounts[i]);
        }
        assertEq(sum.net, 0, "ZERO-SUM");
        assertEq(uint256(sum.long[1]), house.openInterestOf(1), "open interest");
        assertEq(uint256(sum.long[2]), house.openInterestOf(2), "open interest");

        int256 ledgers = sum.ledgers + int256(house.fees());
        int256 held = int256(house.heldOf(0) * 1e12 + house.pendingLoss());
        assertLe(ledgers, held, "CASH promised more than held");
        assertGe(ledgers + int256(_rounding() + sum.positions), held, "CASH without an owner");
        for (uint16 asset; asset < ASSETS; ++asset) {
            uint256 tokens = actions.tokenOf(asset).balanceOf(address(house));
            assertEq(tokens, house.heldOf(asset) + actions.donated(asset), "CASH tokens");
            if (asset != 0) assertEq(sum.collateral[asset], house.heldOf(asset), "CASH collateral");
        }

        // What losses are divided by is never less than it stands for; nor do accounts owe less than is counted on.
        assertGe(house.positiveCash(), sum.positive, "LOSS positive cash");
        assertLe(house.positiveCash(), sum.positive + _rounding(), "LOSS positive cash");
        (uint256 debts,) = house.debts();
        assertLe(debts, sum.negative, "CASH debts");
        assertGe(debts + _rounding(), sum.negative, "CASH debts");
    }

    function _add(Sum memory sum, uint64 account) private view {
        Portfolio memory portfolio = house.portfolioOf(account);
        sum.ledgers += portfolio.cash;
        if (portfolio.cash > 0) sum.positive += uint256(portfolio.cash);
        else sum.negative += uint256(-portfolio.cash);
        sum.positions += portfolio.positions.length;
        for (uint256 i; i < portfolio.positions.length; ++i) {
            Instrument instrument = portfolio.positions[i].instrument;
            int256 size = portfolio.positions[i].size;
            sum.ledgers += portfolio.positions[i].quote;
            if (size > 0) sum.long[instrument.underlying()] += size;
            uint256 price = registry.settlementPriceOf(instrument.underlying(), instrument.expiry());
            if (price != 0) sum.ledgers += SignedWad.mulDown(size, instrument.payoff(price));
            else sum.net += size * int256(uint256(keccak256(abi.encode(instrument))) >> 140);
        }
        for (uint16 asset = 1; asset < ASSETS; ++asset) {
            sum.collateral[asset] += house.collateralOf(account, asset);
        }
    }

    /// @dev A loss index that has fallen far divides cash in coarser steps.
    function _rounding() private view returns (uint256) {
        return 1e6 + 1e6 * house.positiveCash() / house.lossIndex();
    }

    /// @dev EQUITY: profits and losses cancel, all equity together is what all collateral is worth. ORDER for all of them.
    function _equity(uint64[] memory accounts) private view {
        int256 equity;
        uint256 collateral;
        for (uint256 i; i < accounts.length; ++i) {
            Margin memory margin = engine.marginOf(accounts[i]);
            equity += margin.equity;
            collateral += margin.collateral;
            assertLe(margin.maintenance.total, margin.initial.total, "ORDER");
        }
        int256 value = int256(house.heldOf(0) * 1e12 + house.pendingLoss() + collateral) - int256(house.fees());
        assertLe(equity, value, "EQUITY above its collateral");
        assertGe(equity + int256(_rounding() + 2e6), value, "EQUITY");
    }

    /// @dev LOSS: the fund has and owes what was done to it, its claims and escrowed shares add up, no loss is forgotten or known
    /// twice.
    function _loss(uint64[] memory accounts) private view {
        assertEq(actions.tokenOf(0).balanceOf(address(fund)), actions.expectedFund(), "LOSS fund");
        assertEq(fund.owed(), actions.expectedOwed(), "LOSS owed");
        assertEq(house.pendingLoss(), actions.expectedPending(), "LOSS pending");
        assertLe(fund.owed(), actions.expectedFund(), "LOSS owed more than there is");
        (uint256 first, uint256 next) = fund.openClaims();
        uint256 claims;
        for (uint256 claim = first; claim < next; ++claim) {
            claims += fund.claimOf(claim).amount;
        }
        assertEq(claims, fund.owed(), "LOSS claims");
        uint256 reserved;
        for (uint256 i; i < accounts.length; ++i) {
            reserved += liquidation.auctionOf(accounts[i]).shortfall;
        }
        assertEq(reserved, liquidation.reservedShortfall(), "LOSS reserved");
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
        assertLe(house.pausedUntil(), block.timestamp + 3 days, "BOUNDS pause");
    }

    // ─── Requirements

    /// @dev COHERENCE: the grid of two books together is at most the sum; and twice the size costs twice as much at least.
    function _coherence(Portfolio memory one, Portfolio memory other) private view {
        Margin memory a = engine.marginOfPortfolio(one);
        Margin memory b = engine.marginOfPortfolio(other);
        Margin memory both = engine.marginOfPortfolio(_union(one, other));
        assertLe(both.initial.grid, a.initial.grid + b.initial.grid + ROUNDING, "COHERENCE initial");
        assertLe(both.maintenance.grid, a.maintenance.grid + b.maintenance.grid + ROUNDING, "COHERENCE maintenance");
        Margin memory twice = engine.marginOfPortfolio(_union(one, one));
        uint256 rounding = 2 * (a.initial.expectedShortfall / SHORTFALL_ERROR + ROUNDING);
        assertGe(twice.initial.total + rounding, 2 * a.initial.total, "COHERENCE size, initial");
        assertGe(twice.maintenance.total + rounding, 2 * a.maintenance.total, "COHERENCE size, maintenance");
    }

    /// @dev ORDER: a perpetual alone needs no less when its price is older, and then no less when volatility is higher. (Where
    /// one position hedges another, the one whose volatility rises may offset more.)
    function _rising(Portfolio memory held) private {
        uint256 first;
        while (first < held.positions.length && held.positions[first].instrument.isOption()) ++first;
        if (first == held.positions.length) return;
        Portfolio memory book;
        book.positions = new Position[](1);
        book.positions[0] = held.positions[first];
        Margin memory young = engine.marginOfPortfolio(book);
        actions.age(1 hours);
        Margin memory old = engine.marginOfPortfolio(book);
        assertGe(old.initial.total, young.initial.total, "ORDER initial rises with age");
        assertGe(old.maintenance.total, young.maintenance.total, "ORDER maintenance rises with age");
        actions.agitate();
        Margin memory wild = engine.marginOfPortfolio(book);
        assertGe(wild.initial.total, old.initial.total, "ORDER initial rises with volatility");
        assertGe(wild.maintenance.total, old.maintenance.total, "ORDER maintenance rises with volatility");
    }

    function _union(Portfolio memory a, Portfolio memory b) private pure returns (Portfolio memory both) {
        (uint256 positions, uint256 assets) = (a.positions.length, a.collateral.length);
        both.positions = new Position[](positions + b.positions.length);
        both.collateral = new Collateral[](assets + b.collateral.length);
        for (uint256 i; i < both.positions.length; ++i) {
            both.positions[i] = i < positions ? a.positions[i] : b.positions[i - positions];
        }
        for (uint256 i; i < both.collateral.length; ++i) {
            both.collateral[i] = i < assets ? a.collateral[i] : b.collateral[i - assets];
        }
    }

    // ─── A tame campaign would prove nothing

    /// @dev The rare states that a campaign must have been in.
    bytes32[] private REACHED = [
        bytes32("insolvent bid"),
        "queue",
        "pay claims",
        "loss absorbed by fees",
        "pending loss",
        "share loss",
        "whole takeover",
        "protective bid",
        "self-liquidation",
        "bid on a stale state",
        "bid in a lapsed auction",
        "flag anew",
        "throughput",
        "withdrawals locked",
        "redemption barred",
        "reduction in trouble",
        "reduction while barred",
        "debt",
        "payoff",
        "push into an auction"
    ];

    /// @dev Most kinds of action and rare states there are.
    uint256 private constant KINDS = 128;

    /// @dev What has happened in all runs so far: how often each was tried, and how often it went through.
    struct Tally {
        bytes32[] names;
        uint256[] tried;
        uint256[] done;
        uint256 found;
    }

    /// @dev Runs like those of the campaign, from a fixed seed: in one of them every action must have gone through, and every
    /// rare state been reached. The log says how often, of how many tries.
    function test_campaign_reachesEverything() public {
        Tally memory tally = Tally(new bytes32[](KINDS), new uint256[](KINDS), new uint256[](KINDS), 0);
        uint256 start = vm.snapshot();
        string memory missing = "everything";
        for (uint256 run; run < 128 && (run < 16 || bytes(missing).length != 0); ++run) {
            for (uint256 i; i < 128; ++i) {
                actions.act(uint256(keccak256(abi.encode("campaign", run, i))));
            }
            invariant_all();
            _addTo(tally);
            missing = _missingFrom(tally);
            // What has been counted is in memory, and stays.
            assertTrue(vm.revertTo(start));
            start = vm.snapshot();
        }
        for (uint256 i; i < tally.found; ++i) {
            string memory figures = string.concat(vm.toString(tally.done[i]), " of ", vm.toString(tally.tried[i]));
            emit log_named_string(string(abi.encodePacked(tally.names[i])), figures);
        }
        assertEq(missing, "", "never reached");
    }

    function _addTo(Tally memory tally) private view {
        (bytes32[] memory names, uint256[] memory tried, uint256[] memory done) = actions.tally();
        for (uint256 i; i < names.length; ++i) {
            uint256 at = _find(tally, names[i]);
            if (at == tally.found) tally.names[tally.found++] = names[i];
            tally.tried[at] += tried[i];
            tally.done[at] += done[i];
        }
    }

    /// @dev The first action that has never gone through, or rare state that has not been reached; empty where there is none.
    function _missingFrom(Tally memory tally) private view returns (string memory) {
        for (uint256 i; i < tally.found; ++i) {
            if (tally.done[i] == 0) return string(abi.encodePacked(tally.names[i]));
        }
        for (uint256 i; i < REACHED.length; ++i) {
            if (_find(tally, REACHED[i]) == tally.found) return string(abi.encodePacked(REACHED[i]));
        }
        return "";
    }

    function _find(Tally memory tally, bytes32 name) private pure returns (uint256 at) {
        while (at < tally.found && tally.names[at] != name) ++at;
    }
}
