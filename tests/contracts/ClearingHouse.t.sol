// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Accounts } from "./support/Accounts.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ClearingHouse } from "contracts/ClearingHouse.sol";
import { IClearingHouse } from "contracts/interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "contracts/interfaces/IInstrumentRegistry.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { FeeOnTransferToken } from "contracts/testing/FeeOnTransferToken.sol";
import { RebasingToken } from "contracts/testing/RebasingToken.sol";
import { ReentrantToken } from "contracts/testing/ReentrantToken.sol";
import { TestToken } from "contracts/testing/TestToken.sol";

/// @notice Accounts, collateral and governance. Trades and margin are in ClearingHouseTrading, the three indices
/// in ClearingHouseFunding, -Interest and -Loss, the pause in ClearingHousePause.
contract ClearingHouseTest is Accounts {
    uint8 private constant TRADE = 1;
    uint8 private constant WITHDRAW = 2;

    uint64 private account;
    address private operator;

    function setUp() public override {
        super.setUp();
        operator = actor("operator");
        account = openAccount(trader, 10_000);
    }

    // ─── Accounts

    function test_createAccount_numbersFromOneAndAnOwnerMayHaveMany() public {
        uint64 count = house.accountCount();
        vm.startPrank(stranger);
        assertEq(house.createAccount(), count + 1);
        assertEq(house.createAccount(), count + 2);
        vm.stopPrank();
        assertEq(house.accountCount(), count + 2);
        assertEq(house.ownerOf(count + 1), stranger);
        assertEq(house.ownerOf(count + 2), stranger);
        assertEq(house.cashOf(count + 1), 0);
    }

    function test_permissionsOf_revertsIfAccountIsUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAccount.selector, 99));
        house.permissionsOf(99, trader);
    }

    function test_setOperator_givesBitsAndTakesThemAway() public {
        assertEq(house.permissionsOf(account, operator), 0);
        vm.startPrank(trader);
        house.setOperator(account, operator, TRADE | WITHDRAW);
        assertEq(house.permissionsOf(account, operator), 3);
        house.setOperator(account, operator, 0);
        vm.stopPrank();
        assertEq(house.permissionsOf(account, operator), 0);
        assertEq(house.permissionsOf(account, trader), type(uint8).max);
    }

    function test_setOperator_revertsIfNotOwner() public {
        vm.prank(trader);
        house.setOperator(account, operator, TRADE | WITHDRAW);
        vm.prank(operator);
        vm.expectRevert(_notAuthorised(operator));
        house.setOperator(account, stranger, TRADE);
    }

    function test_transferOwnership_leavesOperatorsNothing() public {
        vm.prank(trader);
        house.setOperator(account, operator, TRADE | WITHDRAW);
        vm.prank(trader);
        house.transferOwnership(account, stranger);
        assertEq(house.ownerOf(account), stranger);
        assertEq(house.permissionsOf(account, operator), 0);
        assertEq(house.permissionsOf(account, trader), 0);
        // Given back, the first owner's operators are operators again, as it left them.
        vm.prank(stranger);
        house.transferOwnership(account, trader);
        assertEq(house.permissionsOf(account, operator), 3);
    }

    function test_transferOwnership_revertsIfNotOwnerOrToNobody() public {
        vm.prank(stranger);
        vm.expectRevert(_notAuthorised(stranger));
        house.transferOwnership(account, stranger);
        vm.prank(trader);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAddress.selector);
        house.transferOwnership(account, address(0));
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAccount.selector, 99));
        house.transferOwnership(99, trader);
    }

    // ─── Deposits

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_deposit_countsEachTokenInItsOwnUnits(uint256 cash, uint256 ether_, uint256 bitcoin) public {
        (cash, ether_, bitcoin) = (bound(cash, 1, 1e15), bound(ether_, 1, 1e25), bound(bitcoin, 1, 1e14));
        int256 before_ = house.cashOf(account);
        deposit(account, CASH, cash);
        deposit(account, WETH, ether_);
        deposit(account, WBTC, bitcoin);
        assertEq(house.cashOf(account), before_ + int256(cash * 1e12));
        assertEq(house.collateralOf(account, WETH), ether_);
        assertEq(house.collateralOf(account, WBTC), bitcoin);
        assertEq(house.portfolioOf(account).collateral[0].amount, ether_);
        assertEq(house.portfolioOf(account).collateral[1].amount, bitcoin * 1e10);
        assertEq(engine.marginOf(account).collateral, ether_ * 2000 + bitcoin * 1e10 * 50_000);
        requireBooks(0); // CASH
    }

    function test_deposit_raisesTheNonce() public {
        uint64 nonce = house.nonceOf(account);
        deposit(account, WETH, 1);
        deposit(account, CASH, 1);
        assertEq(house.nonceOf(account), nonce + 2);
    }

    function test_deposit_isOpenToOperatorsAndToNobodyElse() public {
        dollar.mint(operator, 2e6);
        vm.prank(trader);
        house.setOperator(account, operator, TRADE);
        vm.startPrank(operator);
        dollar.approve(address(house), 2e6);
        house.deposit(account, CASH, 1e6);
        vm.stopPrank();
        vm.prank(stranger);
        vm.expectRevert(_notAuthorised(stranger));
        house.deposit(account, CASH, 1e6);
    }

    function test_deposit_revertsIfAccountOrAssetIsUnknownOrAmountZero() public {
        vm.startPrank(trader);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAccount.selector, 99));
        house.deposit(99, CASH, 1);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAsset.selector, 3));
        house.deposit(account, 3, 1);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAmount.selector);
        house.deposit(account, CASH, 0);
    }

    function test_deposit_revertsIfAboveTheCap() public {
        house.setAssetCap(WETH, 5e18);
        deposit(account, WETH, 5e18);
        vm.prank(trader);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseAssetCap.selector, WETH, 5e18 + 1, 5e18));
        house.deposit(account, WETH, 1);
    }

    function test_deposit_revertsIfTokenTakesAFee() public {
        FeeOnTransferToken token = new FeeOnTransferToken(18);
        uint16 asset = house.listAsset(address(token), ETH, type(uint128).max);
        token.mint(trader, 100e18);
        vm.startPrank(trader);
        token.approve(address(house), 100e18);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseTransferMismatch.selector, asset, 50e18, 49.5e18)
        );
        house.deposit(account, asset, 50e18);
        vm.stopPrank();
        assertEq(house.heldOf(asset), 0);
        assertEq(token.balanceOf(trader), 100e18);
    }

    function test_withdraw_revertsIfTokenTakesMoreThanItWasAsked() public {
        FeeOnTransferToken token = new FeeOnTransferToken(18);
        token.setTaxSender(true);
        uint16 asset = house.listAsset(address(token), ETH, type(uint128).max);
        token.mint(trader, 0.5e18); // this tax is the trader's
        deposit(account, asset, 50e18);
        vm.prank(trader);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseTransferMismatch.selector, asset, 10e18, 10.1e18)
        );
        house.withdraw(account, asset, 10e18, trader);
    }

    function test_deposit_revertsIfTokenTookBalancesAway() public {
        RebasingToken token = new RebasingToken(18);
        uint16 asset = house.listAsset(address(token), ETH, type(uint128).max);
        deposit(account, asset, 10e18);
        token.rebase(address(house), -1);
        token.mint(trader, 1e18);
        vm.startPrank(trader);
        token.approve(address(house), 1e18);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseLedgerMismatch.selector, asset, 10e18 - 1, 10e18)
        );
        house.deposit(account, asset, 1e18);
    }

    function test_deposit_givesNobodyWhatATokenAddedByItself() public {
        RebasingToken token = new RebasingToken(18);
        uint16 asset = house.listAsset(address(token), ETH, type(uint128).max);
        deposit(account, asset, 10e18);
        token.rebase(address(house), 5e18);
        deposit(account, asset, 1e18);
        assertEq(house.collateralOf(account, asset), 11e18);
        assertEq(house.heldOf(asset), 11e18);
    }

    // ─── Withdrawals

    function test_withdraw_paysTheReceiverAndClosesTheLedger() public {
        deposit(account, WBTC, 3e8);
        vm.startPrank(trader);
        house.withdraw(account, WBTC, 3e8, stranger);
        house.withdraw(account, CASH, 10_000e6, stranger);
        vm.stopPrank();
        assertEq(wbtc.balanceOf(stranger), 3e8);
        assertEq(dollar.balanceOf(stranger), 10_000e6);
        assertEq(house.portfolioOf(account).collateral.length, 0);
        assertEq(house.cashOf(account), 0);
        requireBooks(0); // CASH
    }

    function test_withdraw_needsThePermission() public {
        vm.startPrank(trader);
        house.setOperator(account, operator, TRADE);
        vm.stopPrank();
        vm.prank(operator);
        vm.expectRevert(_notAuthorised(operator));
        house.withdraw(account, CASH, 1, operator);
        vm.prank(trader);
        house.setOperator(account, operator, WITHDRAW);
        vm.prank(operator);
        house.withdraw(account, CASH, 1, operator);
        assertEq(dollar.balanceOf(operator), 1);
    }

    function test_withdraw_revertsIfMoreThanTheAccountHas() public {
        deposit(account, WETH, 1e18);
        vm.startPrank(trader);
        vm.expectRevert(_insufficient(CASH, 10_000e6, 10_000e6 + 1));
        house.withdraw(account, CASH, 10_000e6 + 1, trader);
        vm.expectRevert(_insufficient(WETH, 1e18, 1e18 + 1));
        house.withdraw(account, WETH, 1e18 + 1, trader);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAmount.selector);
        house.withdraw(account, WETH, 0, trader);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAddress.selector);
        house.withdraw(account, WETH, 1, address(0));
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAsset.selector, 3));
        house.withdraw(account, 3, 1, trader);
    }

    /// @notice GATE: equity may fall to the initial requirement and not below.
    function test_withdraw_stopsAtInitialMargin() public {
        trade(account, makerAccount, btcPerpetual, 1e18, 50_000e18);
        (int256 equity, uint256 initial,) = requirementsOf(account);
        uint256 free = (uint256(equity) - initial) / 1e12;
        vm.prank(trader);
        vm.expectRevert(
            abi.encodeWithSelector(
                IClearingHouse.ClearingHouseInsufficientMargin.selector,
                account,
                equity - int256((free + 1) * 1e12),
                initial
            )
        );
        house.withdraw(account, CASH, free + 1, trader);
        withdraw(account, CASH, free);
        (equity, initial,) = requirementsOf(account);
        assertGe(equity, int256(initial));
    }

    /// @notice GATE: a hedge is risk taken away, so it can't be withdrawn while what it hedges stays.
    function test_withdraw_revertsIfTheHedgeLeaves() public {
        uint64 hedged = openAccount(trader, 1000);
        deposit(hedged, WETH, 10e18);
        trade(hedged, makerAccount, ethPerpetual, -10e18, 2000e18);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        vm.prank(trader);
        house.withdraw(hedged, WETH, 10e18, trader);
    }

    /// @notice Profit is paid out of what others deposited only as far as it is there.
    function test_withdraw_marksToMarketFirst() public {
        trade(account, makerAccount, btcPerpetual, 1e18, 50_000e18);
        setPrice(BTC, 55_000);
        withdraw(account, CASH, 6000e6);
        assertEq(house.cashOf(account), 9000e18);
        (, int256 quote) = house.positionOf(account, btcPerpetual);
        assertEq(quote, -55_000e18);
        setPrice(BTC, 54_000);
        // The loss since is taken before the cash is counted.
        vm.prank(trader);
        vm.expectRevert(_insufficient(CASH, 8000e6, 8500e6));
        house.withdraw(account, CASH, 8500e6, trader);
        requireBooks(0);
    }

    /// @notice CASH: cash lent to an account in debt is not there to be paid out.
    function test_withdraw_revertsIfTheHouseHoldsLess() public {
        uint64 seller = openAccount(stranger, 0);
        deposit(seller, WETH, 1000e18);
        vm.startPrank(maker);
        house.withdraw(makerAccount, CASH, 100_000_000e6, maker);
        vm.stopPrank();
        vm.startPrank(keeper);
        house.withdraw(keeperAccount, CASH, 10_000_000e6, keeper);
        vm.stopPrank();
        // The seller, with collateral but no cash, owes the trader 5000 of profit.
        trade(account, seller, btcPerpetual, 1e18, 50_000e18);
        setPrice(BTC, 55_000);
        house.settleVariation(account);
        house.settleVariation(seller);
        assertEq(house.cashOf(account), 15_000e18);
        assertEq(house.cashOf(seller), -5000e18);
        trade(seller, account, btcPerpetual, 1e18, 55_000e18);
        vm.prank(trader);
        vm.expectRevert(_insufficient(CASH, 10_000e6, 15_000e6));
        house.withdraw(account, CASH, 15_000e6, trader);
        withdraw(account, CASH, 10_000e6);
        requireBooks(0);
    }

    /// @notice ROUND: no sequence of deposits and withdrawals earns anything.
    function testFuzz_withdraw_returnsWhatWasDeposited(uint256 cash, uint256 ether_, uint256 part) public {
        (cash, ether_) = (bound(cash, 1, 1e13), bound(ether_, 1, 1e22));
        uint64 fresh = openAccount(stranger, 0);
        deposit(fresh, CASH, cash);
        deposit(fresh, WETH, ether_);
        // Collateral first: without cash beside it, dust is below its own requirement, which is in billionths of a dollar.
        uint256 first = bound(part, 0, ether_);
        if (first != 0) withdraw(fresh, WETH, first);
        if (first != ether_) withdraw(fresh, WETH, ether_ - first);
        first = bound(part, 0, cash);
        if (first != 0) withdraw(fresh, CASH, first);
        if (first != cash) withdraw(fresh, CASH, cash - first);
        assertEq(dollar.balanceOf(stranger), cash);
        assertEq(weth.balanceOf(stranger), ether_);
        requireBooks(0);
    }

    // ─── Transfers

    function test_transfer_movesCashAndCollateral() public {
        uint64 second = openAccount(trader, 0);
        deposit(account, WETH, 2e18);
        vm.startPrank(trader);
        house.transfer(account, second, CASH, 4000e6);
        house.transfer(account, second, WETH, 2e18);
        vm.stopPrank();
        assertEq(house.cashOf(account), 6000e18);
        assertEq(house.cashOf(second), 4000e18);
        assertEq(house.collateralOf(second, WETH), 2e18);
        assertEq(house.portfolioOf(account).collateral.length, 0);
        requireBooks(0);
    }

    function test_transfer_revertsWithoutPermissionToItselfAndToNobody() public {
        vm.prank(stranger);
        vm.expectRevert(_notAuthorised(stranger));
        house.transfer(account, makerAccount, CASH, 1);
        vm.startPrank(trader);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseSelfTrade.selector, account));
        house.transfer(account, account, CASH, 1);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAccount.selector, 99));
        house.transfer(account, 99, CASH, 1);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAmount.selector);
        house.transfer(account, makerAccount, CASH, 0);
    }

    /// @notice GATE
    function test_transfer_revertsIfTheGiverWouldBeBelowInitialMargin() public {
        trade(account, makerAccount, btcPerpetual, 1e18, 50_000e18);
        vm.prank(trader);
        cheats.expectPartialRevert(IClearingHouse.ClearingHouseInsufficientMargin.selector);
        house.transfer(account, makerAccount, CASH, 9000e6);
    }

    /// @notice ROUND: money sent round in a circle, in parts, comes back as it was.
    function testFuzz_transfer_createsNothing(uint256 amount, uint256 part) public {
        uint64 second = openAccount(trader, 0);
        amount = bound(amount, 1, 10_000e6);
        part = bound(part, 1, amount);
        vm.startPrank(trader);
        house.transfer(account, second, CASH, amount);
        house.transfer(second, account, CASH, part);
        if (part != amount) house.transfer(second, account, CASH, amount - part);
        vm.stopPrank();
        assertEq(house.cashOf(account), 10_000e18);
        assertEq(house.cashOf(second), 0);
        requireBooks(0);
    }

    // ─── Re-entry

    function test_deposit_refusesReentryThroughTheToken() public {
        ReentrantToken token = new ReentrantToken(18);
        uint16 asset = house.listAsset(address(token), ETH, type(uint128).max);
        token.mint(trader, 2e18);
        token.arm(address(house), abi.encodeCall(house.settleVariation, (account)));
        vm.startPrank(trader);
        token.approve(address(house), 2e18);
        // Armed by now, and the approval is no transfer.
        house.deposit(account, asset, 1e18);
        vm.stopPrank();
        _assertRefused(token);
        assertEq(house.collateralOf(account, asset), 1e18);
    }

    function test_withdraw_refusesReentryThroughTheToken() public {
        ReentrantToken token = new ReentrantToken(18);
        uint16 asset = house.listAsset(address(token), ETH, type(uint128).max);
        deposit(account, asset, 1e18);
        // The token itself holds permission: only the guard stands in its way.
        vm.prank(trader);
        house.setOperator(account, address(token), WITHDRAW);
        bytes[4] memory calls = [
            abi.encodeCall(house.withdraw, (account, asset, 1, address(token))),
            abi.encodeCall(house.transfer, (account, makerAccount, asset, 1)),
            abi.encodeCall(house.deposit, (account, asset, 1)),
            abi.encodeCall(house.sweepFees, ())
        ];
        for (uint256 i; i < calls.length; ++i) {
            token.arm(address(house), calls[i]);
            withdraw(account, asset, 1e17);
            _assertRefused(token);
        }
        assertEq(house.collateralOf(account, asset), 0.6e18);
    }

    // ─── Governance

    function test_listAsset_revertsIfItCannotBeCollateral() public {
        TestToken token = new TestToken("Fine Grains", "GRAIN", 19);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseUnsupportedDecimals.selector, address(token), 19)
        );
        house.listAsset(address(token), ETH, 1);
        token = new TestToken("Fine", "FINE", 18);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnderlyingHasNoFeed.selector, 7));
        house.listAsset(address(token), 7, 1);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnderlyingHasNoFeed.selector, 0));
        house.listAsset(address(token), 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseAssetAlreadyListed.selector, address(weth)));
        house.listAsset(address(weth), ETH, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseAssetAlreadyListed.selector, address(dollar))
        );
        house.listAsset(address(dollar), ETH, 1);
    }

    function test_listAsset_stopsAtEight() public {
        for (uint256 i = house.assetCount(); i < 8; ++i) {
            house.listAsset(address(new TestToken("More", "MORE", 18)), ETH, type(uint128).max);
        }
        TestToken ninth = new TestToken("Ninth", "NINTH", 18);
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseTooManyAssets.selector, 8));
        house.listAsset(address(ninth), ETH, 1);
        for (uint16 asset = 1; asset < 8; ++asset) {
            deposit(account, asset, 1e8);
        }
        assertEq(house.portfolioOf(account).collateral.length, 7);
        for (uint16 asset = 7; asset > 0; --asset) {
            withdraw(account, asset, 1e8);
        }
        assertEq(house.portfolioOf(account).collateral.length, 0);
    }

    function test_constructor_revertsIfCashHasMoreThan18DecimalsOrAnAddressIsMissing() public {
        TestToken token = new TestToken("Fine Grains", "GRAIN", 19);
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseUnsupportedDecimals.selector, address(token), 19)
        );
        new ClearingHouse(address(manager), priceOracle, registry, address(token), 1);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAddress.selector);
        new ClearingHouse(address(0), priceOracle, registry, address(dollar), 1);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAddress.selector);
        new ClearingHouse(address(manager), IPriceOracle(address(0)), registry, address(dollar), 1);
        vm.expectRevert(IClearingHouse.ClearingHouseZeroAddress.selector);
        new ClearingHouse(address(manager), priceOracle, IInstrumentRegistry(address(0)), address(dollar), 1);
    }

    function test_setModules_worksOnceAndNeedsAllFour() public {
        vm.expectRevert(IClearingHouse.ClearingHouseModulesAlreadySet.selector);
        house.setModules(address(1), address(2), address(3), address(4));
        ClearingHouse fresh = new ClearingHouse(address(manager), priceOracle, registry, address(dollar), 1);
        address[4] memory modules;
        for (uint256 i; i < 4; ++i) {
            modules = [address(1), address(2), address(3), address(4)];
            modules[i] = address(0);
            vm.expectRevert(IClearingHouse.ClearingHouseZeroAddress.selector);
            fresh.setModules(modules[0], modules[1], modules[2], modules[3]);
        }
        fresh.setModules(address(1), address(2), address(3), address(4));
        assertEq(fresh.marginEngine(), address(1));
        assertEq(fresh.liquidationEngine(), address(2));
        assertEq(fresh.insuranceFund(), address(3));
        assertEq(fresh.orderGateway(), address(4));
    }

    function test_governance_refusesStrangers() public {
        bytes[5] memory calls = [
            abi.encodeCall(house.listAsset, (address(weth), ETH, 1)),
            abi.encodeCall(house.setAssetCap, (WETH, 1)),
            abi.encodeCall(house.setModules, (address(1), address(2), address(3), address(4))),
            abi.encodeCall(house.pause, (1)),
            abi.encodeCall(house.unpause, ())
        ];
        for (uint256 i; i < calls.length; ++i) {
            vm.prank(stranger);
            (bool ok, bytes memory answer) = address(house).call(calls[i]);
            assertFalse(ok);
            assertEq(answer, abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        }
    }

    function test_setAssetCap_revertsIfAssetIsUnknown() public {
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnknownAsset.selector, 3));
        house.setAssetCap(3, 1);
    }

    function test_liquidate_refusesAllButTheLiquidationEngineAndWhatDoesNotAddUp() public {
        IClearingHouse.Liquidation memory order;
        order.account = account;
        order.bidder = keeperAccount;
        order.accountCash = 1;
        vm.expectRevert(
            abi.encodeWithSelector(IClearingHouse.ClearingHouseOnlyLiquidationEngine.selector, address(this))
        );
        house.liquidate(order);
        vm.prank(address(liquidation));
        vm.expectRevert(abi.encodeWithSelector(IClearingHouse.ClearingHouseUnbalanced.selector, int256(1)));
        house.liquidate(order);
    }

    function _assertRefused(ReentrantToken token) private view {
        assertFalse(token.succeeded());
        assertEq(token.result(), abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
    }

    function _notAuthorised(address sender) private view returns (bytes memory) {
        return abi.encodeWithSelector(IClearingHouse.ClearingHouseNotAuthorised.selector, account, sender);
    }

    function _insufficient(uint16 asset, uint256 available, uint256 requested) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IClearingHouse.ClearingHouseInsufficientCollateral.selector, account, asset, available, requested
        );
    }
}
