// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { World } from "./World.sol";
import { Instrument, InstrumentLibrary } from "contracts/types/Instrument.sol";
import { Margin } from "contracts/types/Margin.sol";
import { Order } from "contracts/types/Order.sol";
import { Portfolio } from "contracts/types/Portfolio.sol";

/// @notice Those who trade: near the index and far from it, with others and with themselves, at once and in parts, more than
/// they can afford and what does not exist.
abstract contract Trading is World {
    struct Pair {
        Order maker;
        Order taker;
        bytes makerSignature;
        bytes takerSignature;
        uint128 units;
    }

    /// @dev Calls and puts of the expiry that is traded now.
    Instrument[] internal series;
    uint40 internal expiry;

    // ─── Actions

    function tradePerpetual() internal {
        uint64 taker = _someone();
        uint16 underlying = _underlying();
        uint256 price = _priceNear(_index(underlying), 50, 4000);
        int256 size = _sizeFor(taker, _index(underlying));
        _count("trade", _trade(taker, _someone(), _perpetual(underlying), size, price));
    }

    /// @dev Mostly near the mark. A third of those who hold it close.
    function tradeOption() internal {
        if (!isPriced()) return;
        uint64 taker = _someone();
        Instrument instrument = series[_draw(series.length)];
        (uint256 mark,) = lens.markOf(instrument);
        (int256 held,) = house.positionOf(taker, instrument);
        int256 size = held != 0 && _chance(33) ? -held : _sizeFor(taker, _index(instrument.underlying()));
        bool traded = _trade(taker, _someone(), instrument, size, _priceNear(mark, 50, 4000));
        _count("trade option", traded);
        if (traded) _judge("EXPIRED", vm.getBlockTimestamp() < expiry, "an expired option was traded");
    }

    /// @dev All or a part of it, at the index: it only reduces.
    function close() internal {
        uint64 taker = _someone();
        uint16 underlying = _underlying();
        (int256 size,) = house.positionOf(taker, _perpetual(underlying));
        size = -size * _between(1, 4) / 4;
        _count("close", _trade(taker, _someone(), _perpetual(underlying), size, _index(underlying)));
    }

    /// @dev ROUND: at whatever price, who trades with himself ends with no more, and the premium he moved costs him.
    function selfTrade() internal {
        if (!isPriced()) return;
        uint16 underlying = _underlying();
        int256 before_ = equityOf(thief) + equityOf(thiefsOther);
        (uint64 taker, uint64 maker) = _chance(50) ? (thief, thiefsOther) : (thiefsOther, thief);
        uint256 fees = house.fees();
        bool traded = _trade(
            taker,
            maker,
            _perpetual(underlying),
            _between(-1e18, 1e18) / (underlying == BTC ? int256(4) : int256(1)),
            _priceNear(_index(underlying), 200, 3000)
        );
        _count("self-trade", traded);
        if (!traded) return;
        int256 paid = int256(house.fees() - fees);
        int256 now_ = equityOf(thief) + equityOf(thiefsOther);
        // Every position's funding may be rounded anew, by a wei.
        _judge("ROUND", now_ <= before_ - paid + 64, "trading with oneself earned something");
        _judge("EQUITY", now_ >= before_ - paid - 64, "trading with oneself cost more than the fee");
    }

    /// @dev ROUND: premium moved by trading with oneself, at once or in parts, brings no more funding than it cost, whoever
    /// holds what.
    function farmFunding() internal {
        if (!isPriced()) return;
        uint16 underlying = _underlying();
        Pair memory pair = _pair(
            thief, thiefsOther, _perpetual(underlying), _between(-5e17, 5e17), _priceNear(_index(underlying), 100, 500)
        );
        uint256 time = _draw(12 hours);
        bytes memory idle = _imagine(abi.encodeCall(this.imagineFarming, (pair, 0, time)));
        bytes memory farmed = _imagine(abi.encodeCall(this.imagineFarming, (pair, 1 + _draw(4), time)));
        (int256 without,) = abi.decode(idle, (int256, bool));
        (int256 with, bool traded) = abi.decode(farmed, (int256, bool));
        _count("farm funding", traded);
        if (traded) _judge("ROUND", with <= without + 64, "a moved premium earned more than it cost");
    }

    /// @dev Only for `_imagine`: what the thief has after a time in which the index stands still.
    function imagineFarming(Pair memory pair, uint256 parts, uint256 time) external {
        bool traded = parts != 0;
        pair.units /= uint128(traded ? parts : 1);
        for (uint256 i; i < parts; ++i) {
            traded = _settle(pair) && traded;
        }
        _passTime(time);
        _undo(abi.encode(equityOf(thief) + equityOf(thiefsOther), traded));
    }

    /// @dev What must never go through: no size, more than there may be, too dear, a stranger's signature, an account that
    /// does not exist, one that trades with itself, an instrument nobody listed, another's order.
    function tradeNonsense() internal {
        uint64 taker = _someone();
        uint64 maker = _someone();
        Pair memory pair = _pair(taker, maker, btcPerpetual, 1e15, _index(BTC));
        uint256 kind = _draw(9);
        if (kind == 0) pair.units = 0;
        if (kind == 1) pair.units = uint128(1e15 + 1);
        if (kind == 2) pair = _pair(taker, maker, btcPerpetual, 2e28, _index(BTC));
        if (kind == 3) pair = _pair(taker, maker, btcPerpetual, 1e15, 1e27 + 1);
        if (kind == 4) pair.takerSignature = pair.makerSignature;
        if (kind == 5) pair.taker.account = type(uint64).max;
        if (kind == 6) pair = _pair(taker, taker, btcPerpetual, 1e15, _index(BTC));
        if (kind == 7) pair = _pair(taker, maker, InstrumentLibrary.perpetual(7), 1e15, _index(BTC));
        if (kind == 8) pair.taker.expiry = uint64(vm.getBlockTimestamp() - 1);
        bool traded = _settle(pair);
        _count("nonsense refused", !traded);
        _judge("ORDERS", !traded, "an impossible trade went through");
    }

    /// @dev What was signed and taken back is worth nothing.
    function cancelOrders() internal {
        (uint64 taker, uint64 maker) = (_someone(), _someone());
        if (taker == maker) return;
        Pair memory pair = _pair(taker, maker, btcPerpetual, 1e12, _index(BTC));
        vm.prank(pair.maker.signer);
        if (_chance(50)) gateway.cancelAllOrders(maker);
        else gateway.cancelOrder(pair.maker);
        _judge("ORDERS", !_settle(pair), "a cancelled order was filled");
        _count("cancel", true);
    }

    // ─── How they trade

    function _perpetual(uint16 underlying) internal view returns (Instrument) {
        return underlying == BTC ? btcPerpetual : ethPerpetual;
    }

    /// @dev Within a spread, and one time in eight within a wide one [ten thousandths].
    function _priceNear(uint256 price, int256 spread, int256 wide) internal returns (uint256) {
        if (_chance(12)) spread = wide;
        return price * uint256(10_000 + _between(-spread, spread)) / 10_000;
    }

    /// @dev Up to four times the account's cash, often more than it may: accounts live near their limit. Each leans one way, so
    /// that positions grow into trouble instead of cancelling out.
    function _sizeFor(uint64 account, uint256 price) private returns (int256 size) {
        int256 cash = house.cashOf(account);
        if (cash < 1000e18) return _between(-1e17, 1e17);
        // The keeper's wealth is for bids.
        int256 most = cash * int256(WAD) / int256(price) * 4 / (account == keeper ? int256(40) : int256(1));
        size = _between(-most / 8, most);
        return account % 2 == 0 ? -size : size;
    }

    function _pair(uint64 taker, uint64 maker, Instrument instrument, int256 size, uint256 price)
        internal
        returns (Pair memory pair)
    {
        pair.maker = orderOf(maker, instrument, -size, price);
        // The taker allows for the fee of moving the premium, but for one in eight, who may then be refused.
        uint256 limit = _chance(12) ? price : size > 0 ? price * 102 / 100 : price * 98 / 100;
        pair.taker = orderOf(taker, instrument, size, limit);
        pair.makerSignature = sign(pair.maker);
        pair.takerSignature = sign(pair.taker);
        pair.units = uint128(uint256(size < 0 ? -size : size));
    }

    function _settle(Pair memory pair) internal returns (bool) {
        try gateway.settleTrade(pair.maker, pair.makerSignature, pair.taker, pair.takerSignature, pair.units) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev GATE and ORACLE are judged of every trade that goes through.
    function _trade(uint64 taker, uint64 maker, Instrument instrument, int256 size, uint256 price)
        internal
        returns (bool)
    {
        if (size == 0 || taker == maker) return false;
        Pair memory pair = _pair(taker, maker, instrument, size, price);
        if (!_isPriced(instrument.underlying())) {
            _judge("ORACLE", !_settle(pair), "a trade without a price");
            return false;
        }
        Portfolio memory takerBefore = house.portfolioOf(taker);
        Portfolio memory makerBefore = house.portfolioOf(maker);
        if (!_settle(pair)) return false;
        _judgeGate(taker, takerBefore);
        _judgeGate(maker, makerBefore);
        if (_chance(10)) {
            pair.units = 1;
            _judge("ORDERS", !_settle(pair), "an order was filled twice");
        }
        return true;
    }

    /// @dev GATE: above initial margin after, or no more risk than before and no worse health. In a pause only the latter, and
    /// likewise while a volatility is out of date (ORACLE).
    function _judgeGate(uint64 account, Portfolio memory before_) private {
        (int256 equity, uint256 requirement, bool fresh) = engine.initialMarginOf(account);
        bool covered = equity >= int256(requirement);
        if (covered && fresh && !_isPaused()) return _judge("GATE", true, "");
        Margin memory was = engine.marginOfPortfolio(before_);
        Margin memory now_ = engine.marginOf(account);
        bool reduced = now_.initial.total <= was.initial.total && now_.maintenance.total <= was.maintenance.total;
        _judge(fresh ? bytes32("GATE") : bytes32("ORACLE"), reduced, "a trade added risk that it may not add");
        _count(covered ? bytes32("reduction while barred") : bytes32("reduction in trouble"), true);
        _judgeHealth(was, now_);
    }
}
