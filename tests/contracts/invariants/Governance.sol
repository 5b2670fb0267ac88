// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { World } from "./World.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";

/// @notice A calibrator that pushes what it may and what it may not, a guardian that pauses, governance with its settings, and
/// outsiders who try all of it.
abstract contract Governance is World {
    int32 internal constant LOWEST_TAIL = 1_500_000;
    int32 internal constant HIGHEST_TAIL = 20_000_000;

    function _setLimits() internal {
        steward.setMarket(MARKET);
        IParameterSteward.Limits memory limits =
            IParameterSteward.Limits({ stepUp: 100_000, stepDown: 100_000, minimumInterval: 1 hours, absolute: false });
        for (uint256 i; i < 3; ++i) {
            steward.setLimits(_pushable(i), limits);
        }
        manager.grantRole(1, calibrator, 0);
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = steward.push.selector;
        manager.setTargetFunctionRole(address(steward), selectors, 1);
        selectors[0] = riskParameters.applyBundle.selector;
        manager.setTargetFunctionRole(address(riskParameters), selectors, 2);
        manager.grantRole(2, address(steward), 0);
        manager.grantRole(2, address(this), 0);
        _setBounds(Fields.TAIL_INITIAL, LOWEST_TAIL, HIGHEST_TAIL);
        _setBounds(Fields.TAIL_MAINTENANCE, LOWEST_TAIL, HIGHEST_TAIL);
    }

    function _pushable(uint256 index) internal pure returns (Field) {
        return [Fields.TAIL_INITIAL, Fields.TAIL_MAINTENANCE, Fields.VOLATILITY_STRESS][index];
    }

    // ─── Parameters

    /// @dev BOUNDS: the steward moves by its steps and inside the bounds, or not at all. PUSH: in the same block nobody who was
    /// healthy is liquidated.
    function push() internal {
        ParameterChange[] memory changes = new ParameterChange[](1);
        changes[0].field = _pushable(_draw(3));
        changes[0].underlying = _underlying();
        int256 before_ = _valueOf(changes[0]);
        // A step is a tenth: half of the attempts go further.
        changes[0].value = int32(_between(before_ * 8 / 10, before_ * 12 / 10));
        bool[] memory healthy = _healthy();
        vm.prank(calibrator);
        try steward.push(changes, provenance()) {
            _count("push", true);
            int256 now_ = _valueOf(changes[0]);
            bool small = now_ <= before_ * 11 / 10 + 1 && now_ >= before_ * 9 / 10 - 1;
            _judge("BOUNDS", small, "a step larger than its limit");
            _judgePush(healthy);
        } catch {
            _count("push", false);
            _judge("BOUNDS", _valueOf(changes[0]) == before_, "a refused push moved a number");
        }
    }

    /// @dev Governance is bound by the bounds, and by the block. What it sets would leave nobody solvent for long, so it is
    /// taken back once judged.
    function setTails() internal {
        uint16 underlying = _underlying();
        ParameterChange[] memory changes = new ParameterChange[](2);
        changes[0] = ParameterChange(Fields.TAIL_INITIAL, underlying, 0, int32(_between(3_000_000, 22_000_000)));
        changes[1] = ParameterChange(Fields.TAIL_MAINTENANCE, underlying, 0, int32(_between(3_000_000, 22_000_000)));
        bool within = changes[0].value <= HIGHEST_TAIL && changes[1].value <= HIGHEST_TAIL;
        ParameterChange[] memory former = new ParameterChange[](2);
        for (uint256 i; i < 2; ++i) {
            former[i] = ParameterChange(changes[i].field, underlying, 0, int32(_valueOf(changes[i])));
        }
        bool[] memory healthy = _healthy();
        try riskParameters.applyBundle(changes, provenance()) {
            _count("set tails", true);
            _judge("BOUNDS", within, "a number beyond its bounds");
            _judgePush(healthy);
            riskParameters.applyBundle(former, provenance());
        } catch {
            _count("set tails", false);
        }
    }

    function _valueOf(ParameterChange memory change) private view returns (int256) {
        return riskParameters.get(change.field, change.underlying, change.other);
    }

    /// @dev Who is above initial margin before a push; nobody while there are no prices. Where there is an auction its
    /// owner has just saved his account, and nobody has ended it yet.
    function _healthy() private returns (bool[] memory healthy) {
        if (!isPriced()) return healthy;
        _saveSomebody();
        healthy = new bool[](accounts.length);
        for (uint256 i; i < healthy.length; ++i) {
            (int256 equity, uint256 requirement,) = engine.initialMarginOf(accounts[i]);
            healthy[i] = equity >= int256(requirement);
        }
    }

    /// @dev To just above initial margin, the first account in an auction that can be.
    function _saveSomebody() private {
        for (uint256 i; i < accounts.length; ++i) {
            if (!_isInAuction(accounts[i])) continue;
            (int256 equity, uint256 requirement,) = engine.initialMarginOf(accounts[i]);
            int256 lacking = int256(requirement) - equity;
            if (lacking > 0) deposit(accounts[i], CASH, uint256(lacking) / 1e12 + 1 + _draw(500e6));
            return;
        }
    }

    function _judgePush(bool[] memory healthy) private {
        for (uint256 i; i < healthy.length; ++i) {
            if (!healthy[i] || accounts[i] == keeper) continue;
            try liquidation.flag(accounts[i], keeper) {
                _judge("PUSH", false, "flagged in the block of a push");
            } catch {
                _judge("PUSH", true, "");
            }
            if (!_isInAuction(accounts[i])) continue;
            _count("push into an auction", true);
            vm.prank(house.ownerOf(keeper));
            try liquidation.bid(accounts[i], keeper, 1e12, type(int128).max, type(uint64).max) {
                _judge("PUSH", false, "liquidated in the block of a push");
            } catch { }
        }
    }

    // ─── The guardian

    function pause() internal {
        uint256 duration = _amountUpTo(4 days);
        uint256 allowedAt = house.pausedUntil() == 0 ? 0 : house.pausedUntil() + 3 days;
        bool sound = duration != 0 && duration <= 3 days && vm.getBlockTimestamp() >= allowedAt;
        try house.pause(duration) {
            _judge("BOUNDS", sound, "a pause too long or too soon");
            _count("pause", true);
        } catch {
            _judge("BOUNDS", !sound, "a pause was refused");
            _count("pause", false);
        }
    }

    function unpause() internal {
        try house.unpause() {
            _count("unpause", true);
        } catch {
            _count("unpause", false);
        }
    }

    // ─── Settings

    /// @dev Now and then so little throughput that auctions must wait, and sometimes what makes no sense.
    function setAuctions() internal {
        ILiquidationEngine.AuctionParameters memory parameters = auctionParameters();
        parameters.duration = uint32(300 + _draw(3600));
        parameters.target = uint64(_draw(1e18));
        parameters.throughput = 0;
        parameters.minimumThroughput = uint96(_chance(50) ? 5000e18 + _draw(30_000e18) : 50_000_000e18);
        bool sound = !_chance(20);
        if (!sound) {
            if (_chance(50)) parameters.fundShare = 0.5e18 + 1;
            else parameters.minimumThroughput = 0;
        }
        try liquidation.setAuctionParameters(parameters) {
            _judge("BOUNDS", sound, "unsound auction parameters");
            _count("set auctions", true);
        } catch {
            _judge("BOUNDS", !sound, "auction parameters were refused");
            _count("set auctions", false);
        }
    }

    /// @dev A cap below what is held bars deposits and nothing else; then it is as it was.
    function lowerCap() internal {
        uint64 account = _someone();
        uint16 asset = uint16(_draw(3));
        house.setAssetCap(asset, uint128(house.heldOf(asset)));
        address owner = house.ownerOf(account);
        vm.prank(owner);
        try house.deposit(account, asset, 1) {
            _judge("BOUNDS", false, "a deposit above the cap");
        } catch { }
        house.setAssetCap(asset, type(uint128).max);
        _count("lower cap", true);
    }

    /// @dev BOUNDS: nobody without the role does any of it, nor plays the part of another contract.
    function intrude() internal {
        ParameterChange[] memory changes = new ParameterChange[](1);
        changes[0] = ParameterChange(Fields.TAIL_INITIAL, BTC, 0, LOWEST_TAIL);
        IPriceOracle.PriceFeed memory feed = priceOracle.feedOf(BTC);
        IClearingHouse.Liquidation memory taking;
        (taking.account, taking.bidder, taking.fraction) = (_someone(), thief, WAD);
        address[10] memory targets = [
            address(house),
            address(house),
            address(house),
            address(house),
            address(house),
            address(fund),
            address(steward),
            address(riskParameters),
            address(priceOracle),
            address(liquidation)
        ];
        bytes[10] memory calls = [
            abi.encodeCall(house.pause, (1 days)),
            abi.encodeCall(house.setModules, (address(this), address(this), address(this), address(this))),
            abi.encodeCall(house.setAssetCap, (CASH, 0)),
            abi.encodeCall(house.liquidate, (taking)),
            abi.encodeCall(house.trade, (IClearingHouse.Trade(btcPerpetual, thief, _someone(), 1e18, 0, true))),
            abi.encodeCall(fund.cover, (1, 0, thief)),
            abi.encodeCall(steward.push, (changes, provenance())),
            abi.encodeCall(riskParameters.applyBundle, (changes, provenance())),
            abi.encodeCall(priceOracle.proposePriceFeed, (BTC, feed)),
            abi.encodeCall(liquidation.setAuctionParameters, (auctionParameters()))
        ];
        uint256 kind = _draw(calls.length);
        vm.prank(house.ownerOf(thief));
        (bool through,) = targets[kind].call(calls[kind]);
        _judge("BOUNDS", !through, "an outsider got in");
        _count("intrude", true);
    }
}
