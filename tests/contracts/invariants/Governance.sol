// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { World } from "./World.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { ILiquidationEngine } from "contracts/interfaces/ILiquidationEngine.sol";
import { IParameterSteward } from "contracts/interfaces/IParameterSteward.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Margin } from "contracts/types/Margin.sol";
import { ParameterChange } from "contracts/types/ParameterChange.sol";

/// @notice A calibrator that pushes what it may and what it may not, a guardian that pauses, governance with its settings, and
/// outsiders who try all of it.
abstract contract Governance is World {
    int32 internal constant LOWEST_TAIL = 1_500_000;
    int32 internal constant HIGHEST_TAIL = 20_000_000;
    uint256 private constant WINDOW = 1 days;

    /// @dev What a push must not touch. @param heldDown Whether the maintenance requirement is no more than the initial one, which
    /// may move at once.
    struct Seen {
        int256 equity;
        uint256 maintenance;
        bool heldDown;
        bool flaggable;
    }

    /// @dev The window of a number, kept apart from the steward's own.
    struct Window {
        uint256 beganAt;
        int256 anchor;
    }

    mapping(bytes32 number => Window) private _windows;
    /// @dev The changes that wait, encoded.
    bytes private _scheduled;

    function _setLimits() internal {
        steward.setMarket(MARKET);
        IParameterSteward.Limits memory limits = IParameterSteward.Limits({
            stepUp: 100_000,
            stepDown: 100_000,
            minimumInterval: 1 hours,
            absolute: false,
            budgetUp: 250_000,
            budgetDown: 150_000,
            window: uint32(WINDOW)
        });
        steward.setLooseningDelay(1 hours);
        for (uint256 i; i < 3; ++i) {
            steward.setLimits(_pushable(i), limits);
        }
        manager.grantRole(1, calibrator, 0);
        bytes4[] memory selectors = new bytes4[](2);
        (selectors[0], selectors[1]) = (steward.push.selector, steward.schedule.selector);
        manager.setTargetFunctionRole(address(steward), selectors, 1);
        (selectors[0], selectors[1]) = (riskParameters.applyBundle.selector, riskParameters.measureAtTarget.selector);
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

    /// @dev BOUNDS: the steward moves up by its steps, within its budget and inside the bounds, or not at all.
    function push() internal {
        ParameterChange[] memory changes = _someChange();
        int256 before_ = _valueOf(changes[0]);
        Seen[] memory seen = _look(_goesThrough(changes));
        vm.prank(calibrator);
        try steward.push(changes, provenance()) {
            _count("push", true);
            _judge("BOUNDS", _valueOf(changes[0]) >= before_, "a push that loosens");
            _judgeMove(changes[0], before_);
            _judgePush(seen);
        } catch {
            _count("push", false);
            _judge("BOUNDS", _valueOf(changes[0]) == before_, "a refused push moved a number");
        }
    }

    /// @dev What lowers margin is announced, and now and then vetoed.
    function schedule() internal {
        ParameterChange[] memory changes = _someChange();
        vm.prank(calibrator);
        try steward.schedule(changes, provenance()) {
            _count("schedule", true);
            _scheduled = abi.encode(changes);
            if (!_chance(20)) return;
            steward.veto();
            _judge("BOUNDS", steward.pending().bundle == 0, "a vetoed bundle waits");
        } catch {
            _count("schedule", false);
        }
    }

    function execute() internal {
        if (_scheduled.length == 0) return;
        ParameterChange[] memory changes = abi.decode(_scheduled, (ParameterChange[]));
        int256 before_ = _valueOf(changes[0]);
        IParameterSteward.Pending memory pending = steward.pending();
        bool inTime = pending.bundle != 0 && vm.getBlockTimestamp() >= pending.readyAt
            && vm.getBlockTimestamp() <= pending.expiresAt;
        Seen[] memory seen = _look(inTime);
        vm.prank(house.ownerOf(_someone()));
        try steward.execute(changes, provenance()) {
            _count("execute", true);
            _judge("BOUNDS", inTime, "executed out of time, or vetoed");
            _judgeMove(changes[0], before_);
            _judgePush(seen);
        } catch {
            _count("execute", false);
            _judge("BOUNDS", _valueOf(changes[0]) == before_, "a refused bundle moved a number");
        }
    }

    /// @dev A step is a tenth: half of the attempts go further.
    function _someChange() private returns (ParameterChange[] memory changes) {
        changes = new ParameterChange[](1);
        changes[0].field = _pushable(_draw(3));
        changes[0].underlying = _underlying();
        int256 before_ = _valueOf(changes[0]);
        changes[0].value = int32(_between(before_ * 8 / 10, before_ * 12 / 10));
    }

    /// @dev BOUNDS: by a step at most, and no further than a budget from where the window began.
    function _judgeMove(ParameterChange memory changed, int256 before_) private {
        int256 value = _valueOf(changed);
        if (value == before_) return;
        Window storage window = _windows[keccak256(abi.encode(changed.field, changed.underlying))];
        if (vm.getBlockTimestamp() >= window.beganAt + WINDOW) {
            (window.beganAt, window.anchor) = (vm.getBlockTimestamp(), before_);
        }
        bool small = value <= before_ * 11 / 10 + 1 && value >= before_ * 9 / 10 - 1;
        _judge("BOUNDS", small, "a step larger than its limit");
        bool within = value <= window.anchor * 125 / 100 + 1 && value >= window.anchor * 85 / 100 - 1;
        _judge("BOUNDS", within, "a budget overdrawn");
    }

    /// @dev Governance is bound by the bounds, and by the ramp. What it sets would leave nobody solvent for long, so it is
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
        Seen[] memory seen = _look(within);
        try riskParameters.applyBundle(changes, provenance()) {
            _count("set tails", true);
            _judge("BOUNDS", within, "a number beyond its bounds");
            _judgePush(seen);
            riskParameters.applyBundle(former, provenance());
        } catch {
            _count("set tails", false);
        }
    }

    function _valueOf(ParameterChange memory change) private view returns (int256) {
        return riskParameters.get(change.field, change.underlying, change.other);
    }

    function _goesThrough(ParameterChange[] memory changes) private returns (bool) {
        return abi.decode(_imagine(abi.encodeCall(this.imaginePush, (changes))), (bool));
    }

    /// @dev Only for `_imagine`.
    function imaginePush(ParameterChange[] calldata changes) external {
        vm.prank(calibrator);
        try steward.push(changes, provenance()) {
            _undo(abi.encode(true));
        } catch {
            _undo(abi.encode(false));
        }
    }

    /// @dev Everybody before a push; nobody while there are no prices, or where nothing will be pushed: it is the dearest of all
    /// actions. Where there is an auction its owner has just saved his account, and nobody has ended it yet.
    function _look(bool wanted) private returns (Seen[] memory seen) {
        if (!wanted || !isPriced()) return seen;
        _saveSomebody();
        seen = new Seen[](accounts.length);
        bool[] memory flaggable = _flaggable();
        for (uint256 i; i < seen.length; ++i) {
            Margin memory margin = engine.marginOf(accounts[i]);
            seen[i] = Seen(
                margin.equity, margin.maintenance.total, margin.maintenance.total == margin.initial.total, flaggable[i]
            );
        }
    }

    function _flaggable() private returns (bool[] memory) {
        return abi.decode(_imagine(abi.encodeCall(this.imagineFlags, ())), (bool[]));
    }

    /// @dev Only for `_imagine`: whom the keeper could flag for liquidation now. A protective auction is the owner's own wish,
    /// and begins at the target, which moves with initial margin.
    function imagineFlags() external {
        bool[] memory flaggable = new bool[](accounts.length);
        for (uint256 i; i < flaggable.length; ++i) {
            try liquidation.flag(accounts[i], keeper) {
                flaggable[i] = !liquidation.auctionOf(accounts[i]).protective;
            } catch { }
        }
        _undo(abi.encode(flaggable));
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

    /// @dev PUSH: in the block of a push no mark moves and no maintenance requirement rises; so whoever could not be flagged
    /// can't be, and whoever could can be still.
    function _judgePush(Seen[] memory seen) private {
        if (seen.length == 0) return;
        bool[] memory flaggable = _flaggable();
        for (uint256 i; i < seen.length; ++i) {
            Margin memory margin = engine.marginOf(accounts[i]);
            _judge("PUSH", margin.equity == seen[i].equity, "a mark moved in the block of a push");
            if (seen[i].heldDown) continue;
            uint256 maintenance = margin.maintenance.total;
            _judge("PUSH", maintenance <= seen[i].maintenance, "maintenance rose in the block of a push");
            _judge("PUSH", seen[i].flaggable || !flaggable[i], "flagged by a push");
            bool held = flaggable[i] || !seen[i].flaggable || maintenance < seen[i].maintenance;
            _judge("PUSH", held, "a push held a flag off");
            if (!_isSaved(accounts[i], margin)) continue;
            _count("push into an auction", true);
            vm.prank(house.ownerOf(keeper));
            try liquidation.bid(accounts[i], keeper, 1e12, type(int128).max, type(uint64).max) {
                _judge("PUSH", false, "liquidated in the block of a push");
            } catch { }
        }
    }

    /// @dev In an auction, and healthy again.
    function _isSaved(uint64 account, Margin memory margin) private view returns (bool) {
        return _isInAuction(account) && account != keeper && !liquidation.auctionOf(account).protective
            && margin.equity >= int256(margin.maintenance.total);
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
