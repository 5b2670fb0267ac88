// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Oracles } from "../support/Oracles.sol";
import { IPriceOracle } from "contracts/interfaces/IPriceOracle.sol";
import { IVolatilityOracle } from "contracts/interfaces/IVolatilityOracle.sol";
import { VolatilityMath } from "contracts/libraries/VolatilityMath.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";

/// @notice Chainlink's FluxAggregator, as far as the tests need it.
interface FluxAggregator {
    function changeOracles(
        address[] calldata removed,
        address[] calldata added,
        address[] calldata addedAdmins,
        uint32 minSubmissions,
        uint32 maxSubmissions,
        uint32 restartDelay
    ) external;
    function updateFutureRounds(
        uint128 paymentAmount,
        uint32 minSubmissions,
        uint32 maxSubmissions,
        uint32 restartDelay,
        uint32 timeout
    ) external;
    function submit(uint256 roundId, int256 submission) external;
}

/// @notice Chainlink's EACAggregatorProxy, likewise.
interface EACAggregatorProxy {
    function proposeAggregator(address aggregator) external;
    function confirmAggregator(address aggregator) external;
}

/// @notice The oracles on Chainlink's own contracts, from its own package and compiler: a FluxAggregator with two nodes
/// behind an EACAggregatorProxy, for the price and for the volatility. `plimsoll build` makes the artifacts.
contract ChainlinkTest is Oracles {
    uint16 private constant ETH = 2;
    uint80 private constant PHASE = 1 << 64;
    uint32 private constant TIMEOUT = 10 minutes;

    address private node = makeAddr("node");
    address private secondNode = makeAddr("second node");
    FluxAggregator private aggregator;
    EACAggregatorProxy private proxy;
    uint256 private roundId;

    function setUp() public override {
        super.setUp();
        aggregator = deployAggregator(8);
        proxy = EACAggregatorProxy(deploy("EACAggregatorProxy", abi.encode(aggregator, address(0))));
        submit(2000e8);
        priceOracle.setPriceFeed(ETH, priceFeed(address(proxy)));

        set(Fields.VOLATILITY_CAP, ETH, 0, 4e6);
        set(Fields.REALISED_HALF_LIFE, ETH, 0, 6 hours);
        FluxAggregator volatility = deployAggregator(5);
        vm.prank(node);
        volatility.submit(1, 70e5);
        IVolatilityOracle.VolatilityFeed memory configuration =
            volatilityFeed(deploy("EACAggregatorProxy", abi.encode(volatility, address(0))));
        configuration.scale = 1e16;
        volatilityOracle.setVolatilityFeed(ETH, configuration);
        volatilityOracle.poke(ETH, 10);
    }

    function deploy(string memory name, bytes memory arguments) private returns (address deployed) {
        string memory artifact = vm.readFile(string.concat(".build/artifacts/chainlink/", name, ".json"));
        bytes memory code = bytes.concat(vm.parseJsonBytes(artifact, ".bytecode"), arguments);
        assembly ("memory-safe") {
            deployed := create(0, add(code, 32), mload(code))
        }
        require(deployed != address(0), "not deployed");
    }

    function deployAggregator(uint8 decimals) private returns (FluxAggregator deployed) {
        deployed = FluxAggregator(
            deploy(
                "FluxAggregator",
                abi.encode(address(0), 0, TIMEOUT, address(0), int256(1), int256(1e20), decimals, "feed")
            )
        );
        address[] memory nodes = new address[](2);
        address[] memory admins = new address[](2);
        (nodes[0], nodes[1], admins[0], admins[1]) = (node, secondNode, address(this), address(this));
        deployed.changeOracles(new address[](0), nodes, admins, 1, 2, 0);
    }

    /// @dev A node answers a round alone.
    function submit(int256 answer) private {
        vm.prank(node);
        aggregator.submit(++roundId, answer);
    }

    function variance() private view returns (uint256) {
        return volatilityOracle.stateOf(ETH).variance;
    }

    function test_price_readsThroughTheProxy() public {
        pass(100);
        (uint256 price, uint256 age) = priceOracle.price(ETH);
        assertEq(price, 2000e18);
        assertEq(age, 100);
        submit(2010.5e8);
        (price, age) = priceOracle.price(ETH);
        assertEq(price, 2010.5e18);
        assertEq(age, 0);
        pass(1 hours + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IPriceOracle.PriceOracleStale.selector, address(proxy), START + 100, 1 hours)
        );
        priceOracle.price(ETH);
    }

    function test_price_revertsWithoutARoundBehindTheProxy() public {
        FluxAggregator empty = deployAggregator(8);
        proxy.proposeAggregator(address(empty));
        proxy.confirmAggregator(address(empty));
        vm.expectRevert(err(IPriceOracle.PriceOracleUnreachable.selector, address(proxy)));
        priceOracle.price(ETH);
        assertEq(volatilityOracle.poke(ETH, 10), 0);
    }

    function test_levels_readsThroughTheProxy() public view {
        (uint256 live,,,, bool fresh) = volatilityOracle.levels(ETH);
        assertEq(live, 0.7e18);
        assertTrue(fresh);
    }

    function test_poke_takesTheRoundsOfAPhaseInOrder() public {
        pass(60);
        submit(2020e8);
        submit(1990e8);
        pass(60);
        submit(2000e8);
        assertEq(volatilityOracle.poke(ETH, 10), 3);
        uint256 expected = VolatilityMath.updateVariance(0.49e18, 2000e18, 2020e18, 60, 6 hours);
        expected = VolatilityMath.updateVariance(expected, 2020e18, 1990e18, 0, 6 hours);
        expected = VolatilityMath.updateVariance(expected, 1990e18, 2000e18, 60, 6 hours);
        assertEq(variance(), expected);
        assertEq(volatilityOracle.stateOf(ETH).roundId, PHASE + 4);
    }

    /// @notice A round that times out carries the answer of the one before, at a new time.
    function test_poke_passesOverARoundThatTimedOut() public {
        pass(60);
        aggregator.updateFutureRounds(0, 2, 2, 0, TIMEOUT);
        submit(2500e8);
        pass(TIMEOUT + 1);
        submit(2100e8);
        vm.prank(secondNode);
        aggregator.submit(roundId, 2100e8);
        (bool ok,,) = priceOracle.round(ETH, PHASE + 2);
        assertFalse(ok);
        assertEq(volatilityOracle.poke(ETH, 10), 2);
        assertEq(variance(), VolatilityMath.updateVariance(0.49e18, 2000e18, 2100e18, 60 + TIMEOUT + 1, 6 hours));
    }

    function test_poke_followsTheProxyToAnotherAggregator() public {
        pass(60);
        submit(2020e8);
        aggregator = deployAggregator(8);
        roundId = 0;
        for (uint256 i; i < 5; ++i) {
            submit(2050e8);
        }
        pass(60);
        submit(2040e8);
        proxy.proposeAggregator(address(aggregator));
        proxy.confirmAggregator(address(aggregator));
        assertEq(volatilityOracle.poke(ETH, 10), 1);
        assertEq(variance(), VolatilityMath.updateVariance(0.49e18, 2000e18, 2040e18, 120, 6 hours));
        assertEq(volatilityOracle.stateOf(ETH).roundId, 2 * PHASE + 6);
        pass(60);
        submit(2041e8);
        assertEq(volatilityOracle.poke(ETH, 10), 1);
    }

    function test_price_revertsIfTheNewAggregatorHasOtherDecimals() public {
        FluxAggregator other = deployAggregator(18);
        vm.prank(node);
        other.submit(1, 20e18);
        proxy.proposeAggregator(address(other));
        proxy.confirmAggregator(address(other));
        vm.expectRevert(abi.encodeWithSelector(IPriceOracle.PriceOracleDecimalsChanged.selector, address(proxy), 8, 18));
        priceOracle.price(ETH);
        assertEq(volatilityOracle.poke(ETH, 10), 0);
    }
}
