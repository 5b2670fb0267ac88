// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Governance } from "./Governance.sol";
import { Liquidations } from "./Liquidations.sol";
import { Money } from "./Money.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { InstrumentRegistry } from "contracts/InstrumentRegistry.sol";
import { InsuranceFund } from "contracts/InsuranceFund.sol";
import { LiquidationEngine } from "contracts/LiquidationEngine.sol";
import { MarginEngine } from "contracts/MarginEngine.sol";
import { RiskParameters } from "contracts/parameters/RiskParameters.sol";

/// @notice Everything the campaign does to the system, at random and often out of bounds on purpose: one number decides who
/// does what, so that a counterexample is a list of numbers. `forge test -vvvv` shows what each of them did.
contract Actions is Money, Liquidations, Governance {
    function() internal[] private _lots;

    constructor() {
        _setLimits();
        _passTime(12);
        _listSeries();
        _openPositions();
        _fillMarket();
        _fillLiquidations();
        _fillMoney();
        _fillGovernance();
    }

    /// @dev Everybody is near a limit from the start: a run is short.
    function _openPositions() private {
        trade(accounts[0], keeper, btcPerpetual, 2.2e18, _index(BTC));
        trade(accounts[1], keeper, ethPerpetual, -90e18, _index(ETH));
        trade(accounts[2], keeper, ethPerpetual, 200e18, _index(ETH));
        trade(accounts[3], accounts[4], btcPerpetual, -4e18, _index(BTC));
        trade(thief, accounts[3], ethPerpetual, 60e18, _index(ETH));
        trade(thiefsOther, accounts[4], btcPerpetual, -1e18, _index(BTC));
        trade(accounts[4], accounts[0], series[2], -2e18, 1000e18);
        trade(thief, accounts[2], series[9], -20e18, 40e18);
    }

    /// @dev Trading and the market most often, so that accounts get into trouble.
    function _fillMarket() private {
        _add(tradePerpetual, 32);
        _add(tradeOption, 24);
        _add(close, 8);
        _add(selfTrade, 4);
        _add(farmFunding, 1);
        _add(tradeNonsense, 3);
        _add(cancelOrders, 1);
        _add(move, 18);
        _add(wait_, 6);
        _add(moveVolatility, 4);
        _add(poke, 3);
        _add(lie, 4);
        _add(fallSilent, 2);
        _add(loseVolatility, 3);
        _add(proposeFeed, 4);
        _add(applyFeed, 5);
        _add(cancelFeed, 1);
        _add(expire, 3);
        _add(settleExpiry, 4);
        _add(settleExpired, 5);
        _add(settleVariation, 5);
    }

    function _fillLiquidations() private {
        _add(crash, 12);
        _add(flagSome, 3);
        _add(bidSome, 10);
        _add(endAll, 2);
        _add(reserveAll, 2);
        _add(protect, 5);
        _add(payClaims, 5);
        _add(shareLoss, 5);
    }

    function _fillMoney() private {
        _add(depositSome, 5);
        _add(withdrawSome, 8);
        _add(transferSome, 4);
        _add(goInCircles, 3);
        _add(splitAndMerge, 3);
        _add(donate, 2);
        _add(handOver, 2);
        _add(reenter, 3);
        _add(joinFund, 3);
        _add(askBack, 2);
        _add(keepShares, 1);
        _add(leaveFund, 4);
        _add(sweep, 3);
    }

    function _fillGovernance() private {
        _add(push, 5);
        _add(schedule, 3);
        _add(execute, 2);
        _add(setTails, 2);
        _add(pause, 2);
        _add(unpause, 1);
        _add(setAuctions, 3);
        _add(lowerCap, 1);
        _add(intrude, 2);
    }

    function _add(function() internal action, uint256 lots) private {
        for (uint256 i; i < lots; ++i) {
            _lots.push(action);
        }
    }

    /// @notice One action.
    function act(uint256 seed) external {
        _throw(seed);
        // Who lied is found out soon, or nothing else would happen any more.
        if (_chance(50) && !isPriced()) _passTime(0);
        _lots[_draw(_lots.length)]();
    }

    function contracts()
        external
        view
        returns (ClearingHouse, InstrumentRegistry, MarginEngine, LiquidationEngine, InsuranceFund, RiskParameters)
    {
        return (house, registry, engine, liquidation, fund, riskParameters);
    }

    /// @notice For the last look: an hour passes in which nothing is reported, or more volatility is.
    function age(uint256 time) external {
        vm.warp(vm.getBlockTimestamp() + time);
    }

    function refresh() external {
        _passTime(0);
    }

    function agitate() external {
        for (uint16 underlying = BTC; underlying <= ETH; ++underlying) {
            volatilityOf[underlying] = volatilityOf[underlying] * 3 / 2;
            _sayVolatility(underlying);
        }
    }
}
