// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManager } from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import { Test } from "forge-std/Test.sol";

import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { IRiskParameters } from "contracts/interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "contracts/interfaces/IVolatilityOracle.sol";
import { PriceOracle } from "contracts/oracles/PriceOracle.sol";
import { PushedFeed } from "contracts/oracles/PushedFeed.sol";
import { VolatilityOracle } from "contracts/oracles/VolatilityOracle.sol";
import { RiskParameters } from "contracts/parameters/RiskParameters.sol";
import { FaultyFeed } from "contracts/testing/FaultyFeed.sol";
import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { ParameterChange, Provenance } from "contracts/types/ParameterChange.sol";

/// @notice The oracles and the numbers they read, for one underlying: price 40 000, feed volatility 80% a year. The test
/// contract is governance; `attacker` has no role.
abstract contract Oracles is Test {
    uint256 internal constant WAD = 1e18;
    uint256 internal constant START = 1_700_000_000;
    uint16 internal constant BTC = 1;
    uint256 internal constant STRESS = 1.2e18;
    uint256 internal constant FLOOR = 0.2e18;
    uint256 internal constant CAP = 4e18;
    /// @dev Natural logarithm per hour.
    uint256 internal constant RISE_RATE = 0.3e18;

    AccessManager internal manager;
    PriceOracle internal priceOracle;
    VolatilityOracle internal volatilityOracle;
    RiskParameters internal riskParameters;
    PushedFeed internal prices;
    PushedFeed internal volatilities;
    address internal attacker = makeAddr("attacker");

    function setUp() public virtual {
        // Governance is older than the rest, so that `set` may look back.
        vm.warp(START - 1 days);
        manager = new AccessManager(address(this));
        vm.warp(START);
        riskParameters = new RiskParameters(address(manager));
        prices = new PushedFeed(address(manager), 8, "BTC / USD");
        volatilities = new PushedFeed(address(manager), 5, "BTC volatility");
        prices.push(40_000e8);
        volatilities.push(0.8e5);
        setVolatilityParameters(0.25e6);
        deployOracles(priceFeed(address(prices)), volatilityFeed(address(volatilities)));
    }

    /// @dev Oracles with these as BTC's first feeds: one in use is changed slowly, and only for another that agrees.
    function deployOracles(IPriceOracle.PriceFeed memory price, IVolatilityOracle.VolatilityFeed memory volatility)
        internal
    {
        priceOracle = new PriceOracle(address(manager));
        volatilityOracle = new VolatilityOracle(address(manager), priceOracle, riskParameters);
        priceOracle.setPriceFeed(BTC, price);
        volatilityOracle.setVolatilityFeed(BTC, volatility);
    }

    function priceFeed(address feed) internal pure returns (IPriceOracle.PriceFeed memory configuration) {
        configuration.feed = feed;
        configuration.heartbeat = 1 hours;
        configuration.minimum = 1000e18;
        configuration.maximum = 1_000_000e18;
    }

    function volatilityFeed(address feed) internal pure returns (IVolatilityOracle.VolatilityFeed memory) {
        return IVolatilityOracle.VolatilityFeed({
            feed: feed, heartbeat: 1 hours, decimals: 0, scale: 1e18, minimum: 0.01e18, maximum: 10e18
        });
    }

    function setVolatilityParameters(int32 stressWeight) internal {
        set(Fields.VOLATILITY_CAP, BTC, 0, 4e6);
        set(Fields.VOLATILITY_STRESS, BTC, 0, 1.2e6);
        set(Fields.VOLATILITY_STRESS_WEIGHT, BTC, 0, stressWeight);
        set(Fields.VOLATILITY_FLOOR, BTC, 0, 0.2e6);
        set(Fields.REALISED_WEIGHT, BTC, 0, 0.7e6);
        set(Fields.VOLATILITY_RISE_RATE, BTC, 0, 0.3e6);
        set(Fields.REALISED_HALF_LIFE, BTC, 0, 6 hours);
    }

    /// @dev A volatility surface without arbitrage at any level up to the cap.
    function surface(uint16 underlying) internal pure returns (ParameterChange[] memory list) {
        list = new ParameterChange[](8);
        list[0] = ParameterChange(Fields.SURFACE_RHO, underlying, 0, -0.25e6);
        list[1] = ParameterChange(Fields.SURFACE_ETA, underlying, 0, 0.9e6);
        list[2] = ParameterChange(Fields.SURFACE_GAMMA, underlying, 0, 0.46e6);
        list[3] = ParameterChange(Fields.TERM_RATIO, underlying, 0, 1.2e6);
        list[4] = ParameterChange(Fields.TERM_SPEED, underlying, 0, 3e6);
        list[5] = ParameterChange(Fields.VOLATILITY_SHOCK_INITIAL, underlying, 0, 0.16e6);
        list[6] = ParameterChange(Fields.VOLATILITY_SHOCK_MAINTENANCE, underlying, 0, 0.08e6);
        list[7] = ParameterChange(Fields.VOLATILITY_SHOCK_EXPONENT, underlying, 0, 0.45e6);
    }

    /// @dev One number, with bounds as wide as they go, as if set so long ago that its ramp ends now.
    function set(Field field, uint16 underlying, uint16 other, int32 value) internal {
        riskParameters.setBounds(field, IRiskParameters.Bounds(type(int32).min, type(int32).max));
        uint256 time = vm.getBlockTimestamp();
        (, uint256 rampDuration,,,) = riskParameters.status();
        vm.warp(time - rampDuration);
        riskParameters.applyBundle(changes(field, underlying, other, value), provenance());
        vm.warp(time);
    }

    function changes(Field field, uint16 underlying, uint16 other, int32 value)
        internal
        pure
        returns (ParameterChange[] memory list)
    {
        list = new ParameterChange[](1);
        list[0] = ParameterChange(field, underlying, other, value);
    }

    function provenance() internal pure virtual returns (Provenance memory) {
        return Provenance(keccak256("report"), keccak256("data"), keccak256("market"), 3, 991_000);
    }

    /// @dev A faulty feed of 8 decimals that answers well, 40 000, until it is told otherwise.
    function faultyPriceFeed() internal returns (FaultyFeed feed) {
        feed = new FaultyFeed(8);
        feed.setRound(7, 40_000e8, START);
    }

    function pass(uint256 time) internal {
        vm.warp(vm.getBlockTimestamp() + time);
    }

    function err(bytes4 selector, address feed) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, feed);
    }
}
