// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { NormalTable } from "contracts/NormalTable.sol";
import { NormalDistribution } from "contracts/libraries/NormalDistribution.sol";
import { Test } from "forge-std/Test.sol";

/// @notice Reference numbers are N to 18 decimals, worked out with 40 digits. tests/unit/test_option_math.py compares
/// thousands more.
contract NormalDistributionTest is Test {
    using NormalDistribution for NormalDistribution.Table;

    uint256 private constant WAD = 1e18;

    address private data;

    function setUp() public {
        data = address(new NormalTable());
    }

    /// @dev The table lives in the memory of each test.
    function _load() private view returns (NormalDistribution.Table) {
        return NormalDistribution.load(data);
    }

    // ─── The table

    function test_load_revertsIfTheCodeIsNotATable() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                NormalDistribution.NotANormalTable.selector, address(this), address(this).code.length
            )
        );
        this.loadFrom(address(this));
        vm.expectRevert(abi.encodeWithSelector(NormalDistribution.NotANormalTable.selector, address(0xdead), 0));
        this.loadFrom(address(0xdead));
    }

    function loadFrom(address where) external view {
        NormalDistribution.load(where);
    }

    function test_load_leavesMemoryAfterTheTableFree() public view {
        NormalDistribution.Table first = _load();
        uint256[] memory after_ = new uint256[](600);
        for (uint256 i; i < 600; ++i) {
            after_[i] = type(uint256).max;
        }
        assertApproxEqAbs(first.cdf(0), 0.5e18, 1e5);
        assertEq(_load().cdf(1e18), first.cdf(1e18));
    }

    /// @notice A transaction must hold it: a local chain gives one 15 million gas, EIP-7825 16.8 million.
    function test_deployment_fitsATransaction() public {
        bytes memory code = vm.getCode("NormalTable.sol:NormalTable");
        uint256 gas = gasleft();
        address deployed;
        assembly {
            deployed := create(0, add(code, 32), mload(code))
        }
        assertEq(deployed.codehash, data.codehash);
        assertLt(gas - gasleft(), 6_000_000);
    }

    function test_table_doesNothingWhenCalled() public {
        (bool done, bytes memory answer) = data.call{ gas: 30_000 }(hex"12345678");
        assertTrue(done);
        assertEq(answer.length, 0);
    }

    // ─── N

    function test_cdf_matchesReference() public view {
        NormalDistribution.Table t = _load();
        assertApproxEqAbs(t.cdf(0), 500_000_000_000_000_000, 1e5);
        assertApproxEqAbs(t.cdf(1e18), 841_344_746_068_542_949, 1e5);
        assertApproxEqAbs(t.cdf(-1e18), 158_655_253_931_457_051, 1e5);
        assertApproxEqAbs(t.cdf(-2_326_347_874_040_841_100), 10_000_000_000_000_000, 1e5);
        assertApproxEqAbs(t.cdf(5e18), 999_999_713_348_428_121, 1e5);
        assertApproxEqAbs(t.cdf(-7.999e18), 627, 1e3);
    }

    function test_cdf_isExactOutsideTheTable() public view {
        NormalDistribution.Table t = _load();
        assertEq(t.cdf(8e18), WAD);
        assertEq(t.cdf(type(int256).max), WAD);
        assertEq(t.cdf(-8e18 - 1), 0);
        assertEq(t.cdf(type(int256).min), 0);
    }

    function testFuzz_cdf_isAProbability(int256 x) public view {
        assertLe(_load().cdf(x), WAD);
    }

    function testFuzz_cdf_risesUpToItsError(int256 x, uint256 step) public view {
        NormalDistribution.Table t = _load();
        x = bound(x, -9e18, 9e18);
        assertGe(t.cdf(x + int256(bound(step, 0, 1e18))) + 2e5, t.cdf(x));
    }

    function testFuzz_cdf_isSymmetric(int256 x) public view {
        NormalDistribution.Table t = _load();
        x = bound(x, -9e18, 9e18);
        assertApproxEqAbs(t.cdf(x) + t.cdf(-x), WAD, 2e5);
    }

    // ─── φ

    function test_pdf_matchesReference() public pure {
        assertApproxEqAbs(NormalDistribution.pdf(0), 398_942_280_401_432_678, 2);
        assertApproxEqAbs(NormalDistribution.pdf(1e18), 241_970_724_519_143_349, 2);
        assertApproxEqAbs(NormalDistribution.pdf(-2e18), 53_990_966_513_188_052, 2);
        assertEq(NormalDistribution.pdf(9e18), 0);
        assertEq(NormalDistribution.pdf(type(int256).min), 0);
        assertEq(NormalDistribution.pdf(type(int256).max), 0);
    }

    function testFuzz_pdf_isEvenAndFallsAwayFromZero(int256 x, uint256 step) public pure {
        x = bound(x, 0, 10e18);
        assertEq(NormalDistribution.pdf(x), NormalDistribution.pdf(-x));
        assertLe(NormalDistribution.pdf(x + int256(bound(step, 0, 1e18))), NormalDistribution.pdf(x));
    }
}
