// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "../support/Accounts.sol";
import { TestToken } from "contracts/testing/TestToken.sol";

/// @notice Cheats that the forge-std interface at hand names otherwise.
interface StateCheats {
    function snapshotState() external returns (uint256);
    function revertToState(uint256 snapshot) external returns (bool);
}

/// @notice An attacker who is several people: what he is worth over all his accounts, wallets, vault shares and claims, so
/// that moving money from one of his pockets into another is no gain and leaving a debt behind is no loss.
abstract contract Coalition is Accounts {
    /// @dev A token unit [wad]: what rounding may give at most in any of these tests.
    int256 internal constant ROUNDING = 1e12;

    StateCheats internal constant states = StateCheats(address(uint160(uint256(keccak256("hevm cheat code")))));

    address[] private _wallets;
    uint64[] private _members;

    /// @dev A new account of the attacker's, in a wallet of its own.
    function member(string memory name, uint256 dollars) internal returns (uint64 account) {
        address wallet = actor(name);
        account = openAccount(wallet, dollars);
        enlist(account);
    }

    function enlist(uint64 account) internal {
        _members.push(account);
        enlistWallet(house.ownerOf(account));
    }

    function enlistWallet(address wallet) internal {
        for (uint256 i; i < _wallets.length; ++i) {
            if (_wallets[i] == wallet) return;
        }
        _wallets.push(wallet);
    }

    /// @dev Dollars [wad] at index prices: equity of every account as far as it is positive (he walks away from the rest),
    /// what the fund owes them, tokens in wallets, and vault shares at what redeeming them would bring.
    function wealth() internal view returns (int256 total) {
        (uint256 first, uint256 next) = fund.openClaims();
        for (uint256 i; i < _members.length; ++i) {
            int256 equity = equityOf(_members[i]);
            if (equity > 0) total += equity;
            for (uint256 claim = first; claim < next; ++claim) {
                if (fund.claimOf(claim).account == _members[i]) {
                    total += int256(uint256(fund.claimOf(claim).amount) * 1e12);
                }
            }
        }
        for (uint256 i; i < _wallets.length; ++i) {
            address wallet = _wallets[i];
            total += int256(dollar.balanceOf(wallet) * 1e12);
            uint256 shares = fund.balanceOf(wallet) + fund.redemptionOf(wallet).shares;
            total += int256(fund.previewRedeem(shares) * 1e12);
            for (uint16 asset = 1; asset < house.assetCount(); ++asset) {
                TestToken token = TestToken(house.assetOf(asset).token);
                (uint256 price,) = priceOracle.price(house.assetOf(asset).underlying);
                total += int256(token.balanceOf(wallet) * price / 10 ** token.decimals());
            }
        }
    }

    /// @dev All the cash that an account may take out, into its owner's wallet. @return Token units; 0 where it may not.
    function withdrawAll(uint64 account) internal returns (uint256) {
        house.settleVariation(account);
        int256 cash = house.cashOf(account);
        address owner = house.ownerOf(account);
        (int256 equity, uint256 requirement,) = engine.initialMarginOf(account);
        int256 free = equity - int256(requirement);
        if (free > cash) free = cash;
        // A millionth less, for requirements are rounded up.
        if (free <= 2e12) return 0;
        uint256 amount = uint256(free) / 1e12 - 1;
        vm.prank(owner);
        try house.withdraw(account, CASH, amount, owner) {
            return amount;
        } catch {
            return 0;
        }
    }

    /// @dev Deposit into the vault from a wallet.
    function back(address wallet, uint256 amount) internal returns (uint256 shares) {
        dollar.mint(wallet, amount);
        vm.startPrank(wallet);
        dollar.approve(address(fund), amount);
        shares = fund.deposit(amount, wallet);
        vm.stopPrank();
    }

    function requestRedemption(address wallet) internal {
        uint256 shares = fund.balanceOf(wallet);
        vm.prank(wallet);
        fund.requestRedemption(shares);
    }

    /// @dev The backer leaves this much of its capital, which takes the cooldown.
    function leaveInFund(uint256 amount) internal {
        requestRedemption(backer);
        pass(fund.COOLDOWN());
        uint256 assets = fund.totalAssets();
        vm.startPrank(backer);
        fund.withdraw(assets - amount, backer, backer);
        if (fund.redemptionOf(backer).shares != 0) fund.cancelRedemption();
        vm.stopPrank();
    }

    /// @dev Whoever keeps the house: flags the account for its own fee and takes what is to be had at once.
    function liquidateAtOnce(uint64 account) internal {
        liquidation.flag(account, keeperAccount);
        if (liquidation.auctionOf(account).startedAt != 0) bid(account, WAD);
    }
}
