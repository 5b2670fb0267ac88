// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Oracles } from "../support/Oracles.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { CashValue } from "contracts/libraries/CashValue.sol";
import { PushedFeed } from "contracts/oracles/PushedFeed.sol";

contract CashValueTest is Oracles {
    uint16 private constant CASH = 0;

    PushedFeed private feed;

    function setUp() public override {
        super.setUp();
        feed = new PushedFeed(address(manager), 8, "USDC / USD");
    }

    function testFuzz_valueDown_isTheClaimWithoutAFeed(int256 claim) public view {
        assertEq(CashValue.valueDown(claim, priceOracle), claim);
    }

    function testFuzz_valueDown_isNeverMoreThanADollar(int256 claim, uint256 price) public {
        claim = bound(claim, -1e36, 1e36);
        price = bound(price, 0.5e8, 1.5e8);
        _setCashPrice(int256(price));
        int256 value = CashValue.valueDown(claim, priceOracle);
        // A debt is owed in full even while cash trades below a dollar.
        if (claim <= 0 || price >= 1e8) return assertEq(value, claim);
        assertEq(value, claim * int256(price) / 1e8); // both above 0: down
    }

    function test_valueDown_roundsDown() public {
        _setCashPrice(0.97e8);
        assertEq(CashValue.valueDown(100e18, priceOracle), 97e18);
        assertEq(CashValue.valueDown(1, priceOracle), 0);
        assertEq(CashValue.valueDown(-1, priceOracle), -1);
    }

    /// @notice ORACLE: a dead feed of the dollar values no claim. Debts need none.
    function test_valueDown_revertsIfTheFeedIsStale() public {
        _setCashPrice(1e8);
        pass(1 hours + 1);
        assertEq(CashValue.valueDown(-5e18, priceOracle), -5e18);
        assertEq(CashValue.valueDown(0, priceOracle), 0);
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleStale.selector, address(feed), START, 1 hours));
        this.valueDown(1);
    }

    /// @dev From outside, so that a revert can be seen.
    function valueDown(int256 claim) external view returns (int256) {
        return CashValue.valueDown(claim, priceOracle);
    }

    function _setCashPrice(int256 price) private {
        feed.push(price);
        IPriceOracle.PriceFeed memory configuration = priceFeed(address(feed));
        (configuration.minimum, configuration.maximum) = (0.5e18, 2e18);
        priceOracle.setPriceFeed(CASH, configuration);
    }
}
