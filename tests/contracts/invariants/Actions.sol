// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { System } from "../support/System.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { InstrumentRegistry } from "contracts/InstrumentRegistry.sol";
import { MarginEngine } from "contracts/MarginEngine.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { RiskParameters } from "contracts/parameters/RiskParameters.sol";
import { TestToken } from "contracts/testing/TestToken.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Order } from "contracts/types/Order.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice Everything the campaign does to the system, at random and often out of bounds on purpose. What can only be
/// judged by looking before and after an action is judged here, and a breach is written down in `breached`: a revert
/// would only end the action.
contract Actions is System {
    // What the campaign looks at.
    function contracts()
        external
        view
        returns (ClearingHouse, InstrumentRegistry, MarginEngine, RiskParameters, TestToken[3] memory)
    {
        return (house, registry, engine, riskParameters, [dollar, weth, wbtc]);
    }

    /// @dev Calls and puts of the expiry that is traded now, and expiries that have passed and nobody has settled.
    Instrument[] internal series;
    uint40 internal expiry;
    uint40[] internal unsettled;
    /// @dev Option positions that have become cash, each rounded by less than a wei.
    uint256 public payoffs;

    uint64[] internal accounts;
    uint64 internal keeper;
    mapping(bytes32 invariant => bool) public isBreached;
    mapping(bytes32 action => uint256) public done;

    // What the fund and the index have paid, counted from what the engine returned, and what it asked for (LOSS).
    uint256 public asked;
    uint256 public covered;
    uint256 public shared;
    uint256 public fundExpected;

    constructor() {
        setUp();
        string[5] memory names = ["long", "short", "hedger", "whale", "gambler"];
        for (uint256 i; i < names.length; ++i) {
            accounts.push(openAccount(actor(names[i]), 20_000 * (i + 1)));
        }
        deposit(accounts[2], WETH, 50e18);
        deposit(accounts[3], WBTC, 5e8);
        keeper = openAccount(actor("keeper"), 3_000_000);
        accounts.push(keeper);
        // Or the campaign's own crashes would raise margin until nobody could get into trouble again.
        setParameter(Fields.REALISED_WEIGHT, BTC, 0, 50_000);
        setParameter(Fields.REALISED_WEIGHT, ETH, 0, 50_000);
        _setLimits();
        _listSeries();
        // A fund that some crashes empty, so that losses are shared too.
        uint256 shares = fund.balanceOf(backer) * 9 / 10;
        vm.prank(backer);
        fund.redeem(shares, backer, backer);
        fundExpected = dollar.balanceOf(address(fund));
    }

    function _setLimits() private {
        steward.setMarket(MARKET);
        steward.setLimits(Fields.TAIL_INITIAL, _limits());
        steward.setLimits(Fields.TAIL_MAINTENANCE, _limits());
        steward.setLimits(Fields.VOLATILITY_STRESS, _limits());
        manager.grantRole(1, calibrator, 0);
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = steward.push.selector;
        manager.setTargetFunctionRole(address(steward), selectors, 1);
        selectors[0] = riskParameters.applyBundle.selector;
        manager.setTargetFunctionRole(address(riskParameters), selectors, 2);
        manager.grantRole(2, address(steward), 0);
        manager.grantRole(2, address(this), 0);
        _setBounds(Fields.TAIL_INITIAL, 1_500_000, 6_000_000);
        _setBounds(Fields.TAIL_MAINTENANCE, 1_500_000, 6_000_000);
    }

    function _limits() private pure returns (IParameterSteward.Limits memory) {
        return
            IParameterSteward.Limits({ stepUp: 100_000, stepDown: 100_000, minimumInterval: 1 hours, absolute: false });
    }

    /// @notice One action, drawn from 40 lots: trading and the market most often, so that accounts get into trouble.
    function act(uint8 lot, uint256 who, uint256 whom, uint256 amount, int256 size, bool btc) external {
        vm.recordLogs();
        _act(lot % 40, who, whom, amount, size, btc);
        _countPayoffs(vm.getRecordedLogs());
    }

    function _act(uint256 lot, uint256 who, uint256 whom, uint256 amount, int256 size, bool btc) private {
        if (lot < 9) return tradeSome(who, whom, btc, size, amount);
        if (lot < 14) return move(btc, amount, whom);
        if (lot < 18) return crash(btc, amount, whom);
        if (lot == 18) return depositSome(who, whom, amount);
        if (lot < 21) return withdrawSome(who, whom, amount);
        if (lot == 21) return transferSome(who, whom, amount >> 128, amount);
        if (lot == 22) return roundTrip(who, whom, amount);
        if (lot == 23) return closeSome(who, whom, btc, amount);
        if (lot == 24) return settleSome(who);
        if (lot == 25) return btc ? moveVolatility(whom % 2 == 0, amount) : pokeSome(whom % 2 == 0);
        if (lot == 26) return fault(amount, who, whom, size);
        if (lot == 27) return flagSome(who);
        if (lot == 28) return bidSome(who, amount, btc);
        if (lot == 29) return btc ? endAll() : reserveSome(who);
        if (lot == 30) return drainFund(amount);
        if (lot == 31) return push(whom, btc, size);
        if (lot < 37) return tradeOption(who, whom, amount, size);
        if (lot == 37) return expire(btc, amount);
        if (lot == 38) return settleExpiry(whom);
        return settleExpiredSome(who);
    }

    // ─── Options

    /// @dev The next day's calls and puts, on both underlyings: at the money and a tenth either side.
    function _listSeries() private {
        delete series;
        expiry = uint40(vm.getBlockTimestamp() + 1 days);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            (, int256 price,,,) = priceFeeds[underlying].latestRoundData();
            uint64[] memory strikes = new uint64[](3);
            for (uint256 i; i < 3; ++i) {
                strikes[i] = uint64(uint256(price) * (9 + i) / 10);
                series.push(InstrumentLibrary.option(false, underlying, expiry, strikes[i]));
                series.push(InstrumentLibrary.option(true, underlying, expiry, strikes[i]));
            }
            registry.listOptions(underlying, expiry, strikes);
        }
    }

    /// @dev Mostly near the mark, sometimes far from it.
    function tradeOption(uint256 who, uint256 whom, uint256 which, int256 size) private {
        if (!isPriced()) return;
        uint64 taker = _account(who);
        Instrument instrument = series[which % series.length];
        (, int256 index,,,) = priceFeeds[instrument.underlying()].latestRoundData();
        (uint256 mark,) = engine.markOf(instrument);
        uint256 spread = which % 7 == 0 ? 4000 : 50;
        mark = mark * _bound(which >> 16, 10_000 - spread, 10_000 + spread) / 10_000;
        (int256 held,) = house.positionOf(taker, instrument);
        // A third of them close.
        if (held != 0 && which % 3 == 0) size = -held;
        else size = _sizeFor(taker, size, uint256(index) * 1e10);
        if (_trade(taker, _account(whom), instrument, size, mark)) {
            ++done[vm.getBlockTimestamp() < expiry ? bytes32("option") : bytes32("EXPIRED")];
        }
    }

    /// @dev The day comes: each price moves at the expiry itself, and another expiry is listed. Nobody has settled it yet.
    function expire(bool fall, uint256 part) private {
        if (vm.getBlockTimestamp() < expiry) vm.warp(expiry);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            (, int256 price,,,) = priceFeeds[underlying].latestRoundData();
            (, int256 volatility,,,) = volatilityFeeds[underlying].latestRoundData();
            price = price * int256(fall ? 10_000 - part % 800 : 10_000 + part % 800) / 10_000;
            priceFeeds[underlying].push(price);
            volatilityFeeds[underlying].push(volatility);
        }
        unsettled.push(expiry);
        // An expired option is refused by the registry, whatever the orders say.
        _judge("EXPIRED", !_settle(_pair(accounts[0], accounts[1], series[part % series.length], 1e15, 1e18)));
        pass(1);
        _listSeries();
        ++done["expire"];
    }

    /// @dev Anyone, with every round there is: one settles, and the price is written once.
    function settleExpiry(uint256 which) private {
        if (unsettled.length == 0) return;
        uint256 index = which % unsettled.length;
        uint40 time = unsettled[index];
        int256[] memory before_ = _equities();
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            for (uint80 roundId = priceOracle.latestRound(underlying); roundId > 0; --roundId) {
                try registry.settle(underlying, time, roundId) returns (uint256 price) {
                    _judge("SETTLED", price == registry.settlementPriceOf(underlying, time));
                    break;
                } catch { }
            }
            _judge("SETTLED", registry.settlementPriceOf(underlying, time) != 0);
            try registry.settle(underlying, time, priceOracle.latestRound(underlying)) {
                _judge("SETTLED", false);
            } catch { }
        }
        unsettled[index] = unsettled[unsettled.length - 1];
        unsettled.pop();
        ++done["settle expiry"];
        // What one gains by the settlement price another loses.
        if (before_.length == 0) return;
        int256 change;
        for (uint256 i; i < before_.length; ++i) {
            change += equityOf(accounts[i]) - before_[i];
        }
        _judge("EQUITY", change <= 1e6 && change >= -1e6);
    }

    function _equities() private view returns (int256[] memory equities) {
        if (!isPriced()) return equities;
        equities = new int256[](accounts.length);
        for (uint256 i; i < equities.length; ++i) {
            equities[i] = equityOf(accounts[i]);
        }
    }

    /// @dev EQUITY: cash is worth what the option was.
    function settleExpiredSome(uint256 who) private {
        uint64 account = _account(who);
        if (!isPriced()) return;
        int256 before_ = equityOf(account);
        house.settleExpired(account);
        _judge("EQUITY", equityOf(account) <= before_ && equityOf(account) >= before_ - 64);
    }

    function _countPayoffs(Vm.Log[] memory logs) private {
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != IClearingHouse.ExpiredSettled.selector) continue;
            ++payoffs;
            ++done["payoff"];
        }
    }

    // ─── Money

    function depositSome(uint256 who, uint256 asset, uint256 amount) private {
        uint64 account = _account(who);
        uint16 id = uint16(asset % 3);
        amount = _bound(amount, 0, id == CASH ? 20_000e6 : id == WETH ? 10e18 : 0.5e8);
        TestToken token = TestToken(house.assetOf(id).token);
        address owner = house.ownerOf(account);
        token.mint(owner, amount);
        vm.startPrank(owner);
        token.approve(address(house), amount);
        try house.deposit(account, id, amount) {
            ++done["deposit"];
        } catch { }
        vm.stopPrank();
    }

    function withdrawSome(uint256 who, uint256 asset, uint256 amount) private {
        uint64 account = _account(who);
        uint16 id = uint16(asset % 3);
        // Twice what is there, so that half of the attempts must fail.
        uint256 most = id == CASH ? 100_000e6 : 2 * house.collateralOf(account, id) + 2;
        amount = _bound(amount, 1, most);
        bool locked = liquidation.reservedShortfall() > dollar.balanceOf(address(fund)) * 1e12;
        address owner = house.ownerOf(account);
        vm.prank(owner);
        try house.withdraw(account, id, amount, owner) {
            ++done["withdraw"];
            _judge("LOSS", !locked);
            Margin memory margin = engine.marginOf(account);
            _judge("GATE", margin.equity >= int256(margin.initial.total));
        } catch { }
    }

    function transferSome(uint256 who, uint256 whom, uint256 asset, uint256 amount) private {
        uint64 from = _account(who);
        uint64 to = _account(whom);
        uint16 id = uint16(asset % 3);
        amount = _bound(amount, 1, id == CASH ? 40_000e6 : 2 * house.collateralOf(from, id) + 2);
        vm.prank(house.ownerOf(from));
        try house.transfer(from, to, id, amount) {
            ++done["transfer"];
            Margin memory margin = engine.marginOf(from);
            _judge("GATE", margin.equity >= int256(margin.initial.total));
        } catch { }
    }

    /// @dev ROUND: out and in again, through another account, leaves nobody richer.
    function roundTrip(uint256 who, uint256 whom, uint256 amount) private {
        uint64 a = _account(who);
        uint64 b = _account(whom);
        if (a == b || !isPriced()) return;
        amount = _bound(amount, 1, 50_000e6);
        int256 before_ = equityOf(a) + equityOf(b);
        address ownerA = house.ownerOf(a);
        vm.prank(ownerA);
        try house.transfer(a, b, CASH, amount) { }
        catch {
            return;
        }
        address ownerB = house.ownerOf(b);
        vm.prank(ownerB);
        try house.withdraw(b, CASH, amount, ownerA) {
            vm.startPrank(ownerA);
            dollar.approve(address(house), amount);
            house.deposit(a, CASH, amount);
            vm.stopPrank();
            ++done["round"];
        } catch { }
        _judge("ROUND", equityOf(a) + equityOf(b) <= before_);
    }

    // ─── Trading

    function tradeSome(uint256 who, uint256 whom, bool btc, int256 size, uint256 price) private {
        uint64 taker = _account(who);
        uint64 maker = _account(whom);
        uint16 underlying = btc ? BTC : ETH;
        (, int256 index,,,) = priceFeeds[underlying].latestRoundData();
        // Mostly near the index, sometimes far from it.
        uint256 spread = price % 10 == 0 ? 4000 : 50;
        price = uint256(index) * 1e10 * _bound(price, 10_000 - spread, 10_000 + spread) / 10_000;
        size = _sizeFor(taker, size, price);
        _trade(taker, maker, btc ? btcPerpetual : ethPerpetual, size, price);
    }

    /// @dev Up to twelve times the free equity, a little more than anybody may: accounts live near their limit. Each leans
    /// one way, so that positions grow into trouble instead of cancelling out.
    function _sizeFor(uint64 account, int256 size, uint256 price) private view returns (int256) {
        if (!isPriced()) return size % 1e18;
        Margin memory margin = engine.marginOf(account);
        int256 free = margin.equity - int256(margin.initial.total);
        if (free < 1000e18) return size % 1e17;
        int256 most = free * 12 * int256(WAD) / int256(price);
        size = _bound(size, -most / 8, most);
        return account % 2 == 0 ? -size : size;
    }

    function closeSome(uint256 who, uint256 whom, bool btc, uint256 part) private {
        uint64 taker = _account(who);
        Instrument instrument = btc ? btcPerpetual : ethPerpetual;
        (int256 size,) = house.positionOf(taker, instrument);
        (, int256 index,,,) = priceFeeds[btc ? BTC : ETH].latestRoundData();
        _trade(taker, _account(whom), instrument, -size * int256(_bound(part, 1, 4)) / 4, uint256(index) * 1e10);
    }

    struct Pair {
        Order maker;
        Order taker;
        bytes makerSignature;
        bytes takerSignature;
        uint128 units;
    }

    function _pair(uint64 taker, uint64 maker, Instrument instrument, int256 size, uint256 price)
        private
        returns (Pair memory pair)
    {
        pair.maker = orderOf(maker, instrument, -size, price);
        pair.taker = orderOf(taker, instrument, size, price);
        pair.makerSignature = sign(pair.maker);
        pair.takerSignature = sign(pair.taker);
        pair.units = uint128(uint256(size < 0 ? -size : size));
    }

    function _settle(Pair memory pair) private returns (bool) {
        try house.settleTrade(pair.maker, pair.makerSignature, pair.taker, pair.takerSignature, pair.units) {
            return true;
        } catch {
            return false;
        }
    }

    function _trade(uint64 taker, uint64 maker, Instrument instrument, int256 size, uint256 price)
        private
        returns (bool traded)
    {
        if (size == 0 || taker == maker) return false;
        Pair memory pair = _pair(taker, maker, instrument, size, price);
        if (!isPriced()) {
            _judge("ORACLE", !_settle(pair));
            return false;
        }
        Margin memory takerBefore = engine.marginOf(taker);
        Margin memory makerBefore = engine.marginOf(maker);
        if (!_settle(pair)) return false;
        ++done["trade"];
        _judgeGate(takerBefore, engine.marginOf(taker));
        _judgeGate(makerBefore, engine.marginOf(maker));
        // The same orders again: filled, so refused.
        pair.units = 1;
        _judge("REPLAY", !_settle(pair));
        return true;
    }

    function settleSome(uint256 who) private {
        uint64 account = _account(who);
        if (!isPriced()) return;
        int256 before_ = equityOf(account);
        house.settleVariation(account);
        ++done["settle"];
        _judge("EQUITY", equityOf(account) <= before_ && equityOf(account) >= before_ - 4);
    }

    // ─── Market

    function move(bool btc, uint256 factor, uint256 time) private {
        time = _bound(time, 1, 90 minutes);
        vm.warp(vm.getBlockTimestamp() + time);
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            (, int256 price,,,) = priceFeeds[underlying].latestRoundData();
            (, int256 volatility,,,) = volatilityFeeds[underlying].latestRoundData();
            bool moves = btc == (underlying == BTC);
            // A quarter of the moves are crashes or squeezes, a quarter of those beyond what margin is made for.
            uint256 width = factor % 16 == 0 ? 4000 : factor % 4 == 0 ? 2200 : 300;
            if (moves) price = price * int256(_bound(factor, 10_000 - width, 10_000 + width)) / 10_000;
            if (price < 1e5) price = 1e5;
            priceFeeds[underlying].push(price);
            volatilityFeeds[underlying].push(volatility);
        }
        ++done["move"];
    }

    function moveVolatility(bool btc, uint256 percent) private {
        setVolatility(btc ? BTC : ETH, _bound(percent, 10, 150));
    }

    function pokeSome(bool btc) private {
        uint16 underlying = btc ? BTC : ETH;
        if (!isPriced()) return;
        uint256 before_ = volatilityOracle.stateOf(underlying).maintenance;
        volatilityOracle.poke(underlying, 50);
        (uint256 live, uint256 maintenance,,,) = volatilityOracle.levels(underlying);
        // Two speeds: at a fifth of a logarithm an hour, and an hour at most, it rises by less than 22.15%.
        _judge("ORDER", maintenance <= live && maintenance <= before_ * 12_215 / 10_000);
        ++done["poke"];
    }

    /// @dev ORACLE: the feeds fall silent, or say nonsense; then whatever is tried, nothing is added and nothing leaves.
    function fault(uint256 kind, uint256 who, uint256 whom, int256 size) private {
        uint64 account = _account(who);
        uint64 other = _account(whom);
        (int256 held,) = house.positionOf(account, btcPerpetual);
        (int256 heldOther,) = house.positionOf(other, btcPerpetual);
        if (account == other || held == 0 || heldOther == 0) return;
        uint256 snapshot = vm.snapshot();
        kind = kind % 4;
        if (kind == 0) vm.warp(vm.getBlockTimestamp() + 3 hours);
        if (kind == 1) priceFeeds[BTC].push(0);
        if (kind == 2) priceFeeds[BTC].push(-1);
        if (kind == 3) priceFeeds[BTC].push(1e20);
        size = _bound(size, -3e18, 3e18);
        bool added = _settle(_pair(account, other, btcPerpetual, size == 0 ? int256(1) : size, 50_000e18));
        vm.prank(house.ownerOf(account));
        try house.withdraw(account, CASH, 1, address(this)) {
            added = true;
        } catch { }
        for (uint16 asset = WETH; asset <= WBTC; ++asset) {
            vm.prank(house.ownerOf(account));
            try house.withdraw(account, asset, 1, address(this)) {
                added = true;
            } catch { }
        }
        vm.revertTo(snapshot);
        _judge("ORACLE", !added);
        ++done["fault"];
    }

    // ─── Liquidation

    /// @dev A bad hour: the price gaps, everybody who must be is flagged, and the auctions run for a while.
    function crash(bool btc, uint256 factor, uint256 wait) private {
        move(btc, 4 * (factor / 4), 10 minutes);
        for (uint256 i; i < accounts.length; ++i) {
            flagSome(i);
        }
        if (wait % 4 != 0) pass(_bound(wait, 1, 30 minutes));
        // Sometimes nobody comes, and an auction is left for later.
        if (wait % 3 == 0) return;
        for (uint256 i; i < accounts.length; ++i) {
            bidSome(i, wait, wait % 8 != 1);
        }
    }

    function flagSome(uint256 who) private {
        uint64 account = _account(who);
        try liquidation.flag(account, keeper) {
            ++done["flag"];
            _judge("LIQUIDATE", equityOf(account) < int256(engine.marginOf(account).maintenance.total));
        } catch { }
    }

    function bidSome(uint256 who, uint256 fraction, bool whole) private {
        uint64 account = _account(who);
        if (account == keeper || liquidation.auctionOf(account).startedAt == 0 || !isPriced()) return;
        fraction = whole ? WAD : _bound(fraction, 0, 2 * WAD);
        Margin memory before_ = engine.marginOf(account);
        uint256 fundAssets = dollar.balanceOf(address(fund));
        _countPayoffs(vm.getRecordedLogs());
        vm.prank(house.ownerOf(keeper));
        try liquidation.bid(account, keeper, fraction, type(int128).max, type(uint64).max) returns (
            ILiquidationEngine.Bid memory bid
        ) {
            ++done["bid"];
            _judgeHealth(before_, engine.marginOf(account));
            _countLoss(bid.cover, fundAssets - dollar.balanceOf(address(fund)));
            before_ = engine.marginOf(keeper);
            _judge("GATE", before_.equity >= int256(before_.initial.total));
        } catch { }
    }

    function _countLoss(uint256 cover, uint256 paid) private {
        asked += cover;
        covered += paid * 1e12 < cover ? paid * 1e12 : cover;
        fundExpected -= paid;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        _countPayoffs(logs);
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != IClearingHouse.LossShared.selector) continue;
            (uint256 loss,) = abi.decode(logs[i].data, (uint256, uint256));
            shared += loss;
            ++done["shared"];
        }
    }

    function endAll() private {
        for (uint256 i; i < accounts.length; ++i) {
            try liquidation.end(accounts[i]) {
                ++done["end"];
                Margin memory margin = engine.marginOf(accounts[i]);
                _judge("LIQUIDATE", margin.equity >= int256(margin.maintenance.total));
            } catch { }
        }
    }

    function reserveSome(uint256 who) private {
        try liquidation.reserve(_account(who)) { } catch { }
    }

    function sweep() external {
        uint256 before_ = dollar.balanceOf(address(fund));
        house.sweepFees();
        fundExpected += dollar.balanceOf(address(fund)) - before_;
    }

    /// @dev Takes the fund almost empty, so that losses must be shared.
    function drainFund(uint256 part) private {
        uint256 before_ = dollar.balanceOf(address(fund));
        uint256 shares = fund.balanceOf(backer) * _bound(part, 1, 60) / 100;
        bool pending = liquidation.reservedShortfall() != 0;
        vm.prank(backer);
        try fund.redeem(shares, backer, backer) {
            _judge("LOSS", !pending);
            fundExpected -= before_ - dollar.balanceOf(address(fund));
            ++done["redeem"];
        } catch { }
    }

    // ─── Parameters

    /// @dev BOUNDS: the steward moves by its steps and inside the bounds, or not at all.
    function push(uint256 which, bool btc, int256 value) private {
        ParameterChange[] memory changes = new ParameterChange[](1);
        changes[0].field = [Fields.TAIL_INITIAL, Fields.TAIL_MAINTENANCE, Fields.VOLATILITY_STRESS][which % 3];
        changes[0].underlying = btc ? BTC : ETH;
        int256 before_ = riskParameters.get(changes[0].field, changes[0].underlying, 0);
        // A step is a tenth: half of the attempts go further.
        changes[0].value = int32(_bound(value, before_ * 8 / 10, before_ * 12 / 10));
        vm.prank(calibrator);
        try steward.push(changes, provenance()) {
            ++done["push"];
            int256 after_ = riskParameters.get(changes[0].field, changes[0].underlying, 0);
            _judge("BOUNDS", after_ <= before_ * 11 / 10 + 1 && after_ >= before_ * 9 / 10 - 1);
        } catch {
            _judge("BOUNDS", riskParameters.get(changes[0].field, changes[0].underlying, 0) == before_);
        }
    }

    // ─── Judging

    function _judge(bytes32 invariant, bool held) private {
        if (!held) isBreached[invariant] = true;
    }

    /// @dev GATE: above initial margin after, or no more risk than before and no worse health.
    function _judgeGate(Margin memory before_, Margin memory now_) private {
        if (now_.equity >= int256(now_.initial.total)) return;
        _judge(
            "GATE", now_.initial.total <= before_.initial.total && now_.maintenance.total <= before_.maintenance.total
        );
        _judgeHealth(before_, now_);
    }

    /// @dev LIQUIDATE: equity over maintenance has not fallen; solvent stays solvent; insolvent loses no more.
    function _judgeHealth(Margin memory before_, Margin memory now_) private {
        int256 rounding = 1e9;
        if (before_.equity < 0) return _judge("LIQUIDATE", now_.equity >= before_.equity - rounding);
        _judge("LIQUIDATE", now_.equity >= -rounding);
        _judge(
            "LIQUIDATE",
            (now_.equity + rounding) * int256(before_.maintenance.total)
                >= before_.equity * (int256(now_.maintenance.total) - rounding)
        );
    }

    function isPriced() public view returns (bool) {
        try priceOracle.price(BTC) { }
        catch {
            return false;
        }
        try priceOracle.price(ETH) {
            return true;
        } catch {
            return false;
        }
    }

    function accountAt(uint256 i) external view returns (uint64) {
        return accounts[i];
    }

    function fundAddress() external view returns (address) {
        return address(fund);
    }

    function accountTotal() external view returns (uint256) {
        return accounts.length;
    }

    function _account(uint256 seed) private view returns (uint64) {
        return accounts[seed % accounts.length];
    }
}
