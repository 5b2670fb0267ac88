// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { World } from "./World.sol";
import { TestToken } from "contracts/testing/TestToken.sol";

/// @notice Those who move money: in, out, about, in a circle, as a gift, from within a transfer, and in and out of the
/// insurance fund.
abstract contract Money is World {
    uint16 private constant ASSETS = 4;

    // ─── Accounts

    function depositSome() internal {
        uint64 account = _someone();
        uint16 asset = uint16(_draw(ASSETS));
        uint256 amount = _amountUpTo(_plenty(asset));
        TestToken token = TestToken(house.assetOf(asset).token);
        address sender = _chance(90) ? house.ownerOf(account) : backer;
        if (amount < type(uint128).max) token.mint(sender, amount);
        vm.startPrank(sender);
        token.approve(address(house), amount);
        try house.deposit(account, asset, amount) {
            _count("deposit", true);
            _judge("ORDERS", sender != backer, "a stranger deposited");
        } catch {
            _count("deposit", false);
        }
        vm.stopPrank();
    }

    /// @dev Up to twice what is there, so that half of the attempts must fail.
    function withdrawSome() internal {
        uint64 account = _someone();
        uint16 asset = uint16(_draw(ASSETS));
        uint256 amount = _amountUpTo(asset == CASH ? 20_000e6 : 2 * house.collateralOf(account, asset));
        bool locked = _isLocked();
        address owner = house.ownerOf(account);
        vm.prank(_chance(95) ? owner : backer);
        try house.withdraw(account, asset, amount, owner) {
            _count("withdraw", true);
            _judge("LOSS", !locked, "somebody left ahead of a loss");
            _judgeLeft(account, "a withdrawal left its account below initial margin");
        } catch {
            _count("withdraw", false);
            if (locked) _count("withdrawals locked", true);
        }
    }

    function transferSome() internal {
        (uint64 from, uint64 to) = (_someone(), _someone());
        uint16 asset = uint16(_draw(ASSETS));
        uint256 amount = _amountUpTo(asset == CASH ? 10_000e6 : 2 * house.collateralOf(from, asset));
        if (_chance(3)) to = type(uint64).max;
        vm.prank(house.ownerOf(from));
        try house.transfer(from, to, asset, amount) {
            _count("transfer", true);
            _judge("ORDERS", to <= house.accountCount(), "a transfer to nobody");
            _judgeLeft(from, "a transfer left its account below initial margin");
        } catch {
            _count("transfer", false);
        }
    }

    /// @dev GATE, ORACLE and the pause, for what has left an account.
    function _judgeLeft(uint64 account, string memory what) private {
        bool priced = _isPricedFor(account);
        _judge("ORACLE", priced, "something left an account without prices");
        if (priced) _judgeCovered(account, what);
        bool idle = house.portfolioOf(account).positions.length == 0;
        if (_isPaused()) _judge("GATE", idle && house.cashOf(account) >= 0, "something left in a pause");
    }

    /// @dev ROUND: out and in again, through another account, leaves nobody richer.
    function goInCircles() internal {
        (uint64 a, uint64 b) = (_chance(50) ? keeper : _someone(), _someone());
        if (a == b || !isPriced()) return;
        uint256 amount = 1 + _draw(5000e6);
        int256 before_ = equityOf(a) + equityOf(b);
        address owner = house.ownerOf(a);
        vm.prank(owner);
        try house.transfer(a, b, CASH, amount) { }
        catch {
            return _count("circle", false);
        }
        vm.prank(house.ownerOf(b));
        try house.withdraw(b, CASH, amount, owner) {
            vm.startPrank(owner);
            dollar.approve(address(house), amount);
            house.deposit(a, CASH, amount);
            vm.stopPrank();
            _count("circle", true);
        } catch {
            _count("circle", false);
        }
        _judge("ROUND", equityOf(a) + equityOf(b) <= before_ + 2, "going in a circle earned something");
    }

    /// @dev ROUND: split over two accounts in uneven parts and merged again.
    function splitAndMerge() internal {
        if (!isPriced()) return;
        uint16 asset = _chance(50) ? HOOK : CASH;
        uint256 whole = 1 + _draw(asset == CASH ? 5000e6 : 4e18);
        uint256 parts = 2 + _draw(3);
        int256 before_ = equityOf(thief) + equityOf(thiefsOther);
        uint256 moved;
        vm.startPrank(house.ownerOf(thief));
        for (uint256 i; i < parts; ++i) {
            try house.transfer(thief, thiefsOther, asset, whole / parts) {
                moved += whole / parts;
            } catch { }
        }
        vm.stopPrank();
        vm.prank(house.ownerOf(thiefsOther));
        bool back;
        if (moved != 0) {
            try house.transfer(thiefsOther, thief, asset, moved) {
                back = true;
            } catch { }
        }
        vm.stopPrank();
        _count("split and merge", back);
        // What each of the two holds is valued rounded down: a wei for each may seem gained, and is nobody's.
        _judge(
            "ROUND", equityOf(thief) + equityOf(thiefsOther) <= before_ + 2, "splitting and merging earned something"
        );
    }

    /// @dev Tokens that nobody asked for change nothing in the ledger.
    function donate() internal {
        uint256 amount = 1 + _draw(5000e6);
        if (_chance(50)) {
            uint256 assets = fund.totalAssets();
            dollar.mint(address(fund), amount);
            expectedFund += amount;
            _judge("CASH", fund.totalAssets() <= assets + amount, "the fund counts more than it was given");
        } else {
            uint16 asset = uint16(_draw(ASSETS));
            TestToken(house.assetOf(asset).token).mint(address(house), amount);
            donated[asset] += amount;
        }
        _count("donate", true);
    }

    /// @dev Who hands an account over has no more say in it.
    function handOver() internal {
        uint64 account = _someone();
        address previous = house.ownerOf(account);
        address next = house.ownerOf(_someone());
        vm.prank(previous);
        house.transferOwnership(account, next);
        if (next != previous) {
            vm.prank(previous);
            try house.withdraw(account, CASH, 1, previous) {
                _judge("ORDERS", false, "a former owner withdrew");
            } catch { }
        }
        _count("hand over", next != previous);
    }

    // ─── From within a transfer

    /// @dev A token that calls the house, the gateway or the engine while the house moves it, with all permissions of the
    /// account it acts for. Nothing gets in.
    function reenter() internal {
        bytes[9] memory calls = [
            abi.encodeCall(house.withdraw, (thief, CASH, 1, address(hook))),
            abi.encodeCall(house.withdraw, (thief, HOOK, 1, address(hook))),
            abi.encodeCall(house.transfer, (thief, thiefsOther, CASH, 1)),
            abi.encodeCall(house.deposit, (thief, HOOK, 1)),
            abi.encodeCall(house.settleVariation, (thief)),
            abi.encodeCall(house.settleExpired, (thief)),
            abi.encodeCall(house.sweepFees, ()),
            abi.encodeCall(liquidation.flag, (thief, keeper)),
            abi.encodeCall(liquidation.bid, (_someone(), thief, WAD, type(int128).max, type(uint64).max))
        ];
        uint256 kind = _draw(calls.length);
        bool comes = _chance(50);
        address owner = house.ownerOf(thief);
        uint256 amount = 1 + _draw(1e18);
        hook.mint(owner, amount);
        vm.prank(owner);
        hook.approve(address(house), amount);
        hook.arm(kind < 7 ? address(house) : address(liquidation), calls[kind]);
        vm.startPrank(owner);
        bool moved;
        if (comes) {
            try house.deposit(thief, HOOK, amount) {
                moved = true;
            } catch { }
        } else {
            try house.withdraw(thief, HOOK, amount, owner) {
                moved = true;
            } catch { }
        }
        vm.stopPrank();
        if (moved) _judge("REENTRY", !hook.succeeded(), "a call from within a transfer went through");
        hook.arm(address(0), "");
        _count("re-enter", moved);
    }

    // ─── The fund

    function joinFund() internal {
        address underwriter = underwriters[_draw(2)];
        uint256 amount = _amountUpTo(3000e6);
        if (amount < type(uint128).max) dollar.mint(underwriter, amount);
        (uint256 assets, uint256 supply) = _fundState();
        vm.startPrank(underwriter);
        dollar.approve(address(fund), amount);
        try fund.deposit(amount, underwriter) {
            expectedFund += amount;
            _count("join fund", true);
            _judgeShares(assets, supply);
        } catch {
            _count("join fund", false);
        }
        vm.stopPrank();
    }

    function askBack() internal {
        address underwriter = underwriters[_draw(2)];
        uint256 shares = fund.balanceOf(underwriter);
        shares = _chance(5) ? shares + 1 : shares * _draw(101) / 100;
        vm.prank(underwriter);
        try fund.requestRedemption(shares) {
            _count("ask shares back", true);
            // It takes notice, for what was asked for before as well: nothing may be had at once.
            _judge("LOSS", fund.maxRedeem(underwriter) == 0, "shares asked for may be redeemed at once");
        } catch {
            _count("ask shares back", false);
        }
    }

    function keepShares() internal {
        if (_chance(50)) askBack();
        vm.prank(underwriters[_draw(2)]);
        try fund.cancelRedemption() {
            _count("keep shares", true);
        } catch {
            _count("keep shares", false);
        }
    }

    function leaveFund() internal {
        address underwriter = underwriters[_draw(2)];
        (uint256 shares, uint256 readyAt) =
            (fund.redemptionOf(underwriter).shares, fund.redemptionOf(underwriter).readyAt);
        // Mostly in time for it.
        if (readyAt > vm.getBlockTimestamp() && _chance(70)) {
            _passTime(readyAt - vm.getBlockTimestamp() + _draw(50 hours));
        }
        if (_chance(70)) shares = shares * _draw(101) / 100;
        bool pending = liquidation.reservedShortfall() != 0;
        bool due = vm.getBlockTimestamp() >= readyAt && vm.getBlockTimestamp() <= readyAt + 2 days;
        (uint256 assets, uint256 supply) = _fundState();
        vm.prank(underwriter);
        try fund.redeem(shares, underwriter, underwriter) returns (uint256 paid) {
            expectedFund -= paid;
            if (shares == 0) return;
            _count("leave fund", true);
            _judge("LOSS", due, "shares were redeemed without notice, or too late");
            _judge("LOSS", !pending, "shares were redeemed ahead of a loss");
            _judgeShares(assets, supply);
        } catch {
            _count("leave fund", false);
            if (pending) _count("redemption barred", true);
        }
    }

    function sweep() internal {
        uint256 amount = house.sweepFees();
        expectedFund += amount;
        _count("sweep", amount != 0);
    }

    // ─── Small things

    function _fundState() private view returns (uint256 assets, uint256 supply) {
        return (fund.totalAssets(), fund.totalSupply());
    }

    /// @dev ROUND: nobody who comes or goes takes from those who stay: a share, virtual ones included, is worth no less.
    function _judgeShares(uint256 assets, uint256 supply) private {
        bool kept = (fund.totalAssets() + 1) * (supply + 1e6) >= (assets + 1) * (fund.totalSupply() + 1e6);
        _judge("ROUND", kept, "somebody took from those who stay in the fund");
    }

    function _plenty(uint16 asset) private pure returns (uint256) {
        return asset == CASH ? 20_000e6 : asset == WBTC ? 0.5e8 : 10e18;
    }
}
