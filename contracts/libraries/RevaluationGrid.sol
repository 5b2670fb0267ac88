// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title RevaluationGrid
/// @notice What a position loses at each of 29 nodes: nine prices within the range, each at three volatilities, and two
/// extreme prices at twice the range (as SPAN's scenarios 15 and 16).
///
///     price i:      S · max(1 + step_i · range / 4, 1e-9)     step = −4 … 4, then −8 and 8 for the extremes
///     volatility:   s / f', s, s · f                          f = 1 + rise, f' = 1 + fall; the extremes at s alone
///     loss number:  3 · i + volatility                        of 33, four of them never used
///
/// The kernel is Black-76 with the first four terms of NormalTable's polynomials, at most 3.5e-9 from the normal
/// distribution, so a price is at most 3.5e-9 · (forward + strike) off. ERROR bounds the difference of two prices.
///
/// Nothing here reverts: sizes are below 2^100, prices below 2^104 and logarithms below 2^7, so every product fits.
library RevaluationGrid {
    uint256 internal constant PRICES = 11;
    uint256 internal constant LOSSES = 33;
    /// @dev The middle volatility at the extreme prices.
    uint256 internal constant EXTREME_DOWN = 28;
    uint256 internal constant EXTREME_UP = 31;
    /// @dev Most that a loss can be understated by, relative to forward plus strike [wad].
    uint256 internal constant ERROR = 1e10;

    uint256 private constant WAD = 1e18;
    /// @dev Least deviation, so that an option at its expiry is a payoff and not a division by zero [wad].
    uint256 private constant LEAST_DEVIATION = 1e9;
    uint256 private constant Q57 = 2 ** 57;
    /// @dev The table begins at −8.
    int256 private constant TABLE_START = 8 * 2 ** 57;

    /// @notice One strike, ready to be revalued. The kernel reads the fields by their place.
    /// @param table Where the normal distribution lies in memory.
    /// @param nodes Where the price nodes lie: eleven pairs of ln(factor) [Q57] and forward · factor [wad].
    /// @param losses Where the 33 losses lie [wad²]: size · price at the node is taken off.
    /// @param strike [wad]. @param size Units, calls and puts netted [wad].
    /// @param logMoneyness ln(forward / strike) [Q57].
    struct Kernel {
        uint256 table;
        uint256 nodes;
        uint256 losses;
        uint256 strike;
        int256 size;
        int256 logMoneyness;
    }

    /// @notice Moves of the price relative to the range, in quarters.
    function stepOf(uint256 i) internal pure returns (int256) {
        unchecked {
            return i < 9 ? int256(i) - 4 : i == 9 ? -8 : int256(8);
        }
    }

    /// @notice The price nodes of a range, forwards left open. @param range [wad]
    function nodesOf(uint256 range) internal pure returns (uint256[2 * PRICES] memory nodes) {
        unchecked {
            for (uint256 i; i < PRICES; ++i) {
                int256 factor = FixedPoint.max(int256(WAD) + stepOf(i) * int256(range) / 4, 1e9);
                nodes[2 * i] = uint256(toQ57(FixedPoint.lnWad(factor)));
            }
        }
    }

    /// @notice Set the forwards of the nodes. @param forward [wad] @param range [wad]
    function setForward(uint256[2 * PRICES] memory nodes, uint256 forward, uint256 range) internal pure {
        unchecked {
            for (uint256 i; i < PRICES; ++i) {
                int256 factor = FixedPoint.max(int256(WAD) + stepOf(i) * int256(range) / 4, 1e9);
                nodes[2 * i + 1] = forward * uint256(factor) / WAD;
            }
        }
    }

    function toQ57(int256 x) internal pure returns (int256) {
        unchecked {
            return x * int256(Q57) / int256(WAD);
        }
    }

    /// @notice Take size · price at each of the 29 nodes off the losses.
    /// @param deviation σ√τ [wad]. @param risen f [wad]. @param fallen f' [wad].
    function subtract(Kernel memory kernel, uint256 deviation, uint256 risen, uint256 fallen) internal pure {
        unchecked {
            _subtractRow(kernel, 0, 9, deviation * WAD / fallen);
            _subtractRow(kernel, 1, 11, deviation);
            _subtractRow(kernel, 2, 9, deviation * risen / WAD);
        }
    }

    /// @dev One volatility: `count` prices from the first on.
    function _subtractRow(Kernel memory kernel, uint256 volatility, uint256 count, uint256 deviation) private pure {
        unchecked {
            deviation = FixedPoint.max(deviation, LEAST_DEVIATION);
            uint256 s = deviation * Q57 / WAD;
            int256 inverse = int256(Q57 * WAD / deviation);
            // d1 + 8 before the price moves
            int256 start = ((kernel.logMoneyness * inverse) >> 57) + int256(s >> 1) + TABLE_START;
            uint256 lowest;
            uint256 highest;
            assembly ("memory-safe") {
                let nodes := mload(add(kernel, 0x20))
                // the lowest and the highest price of the row
                lowest := mload(add(nodes, mul(gt(count, 9), 0x240)))
                highest := mload(add(nodes, add(0x200, mul(gt(count, 9), 0x80))))
                lowest := sub(add(start, sar(57, mul(lowest, inverse))), s)
                highest := add(start, sar(57, mul(highest, inverse)))
            }
            // A number outside the table, on either side, has a bit from the 61st up.
            if ((lowest | highest) >> 61 == 0) _inside(kernel, volatility, count, s, inverse, start);
            else _anywhere(kernel, volatility, count, s, inverse, start);
        }
    }

    /// @dev F · N(d1) − K · N(d2) where both lie within the table at every price.
    function _inside(Kernel memory kernel, uint256 volatility, uint256 count, uint256 s, int256 inverse, int256 start)
        private
        pure
    {
        assembly ("memory-safe") {
            // Two arguments become what the loop walks along: the nodes and the losses.
            count := shl(6, count)
            volatility := add(mload(add(kernel, 0x40)), shl(5, volatility))
            let node := mload(add(kernel, 0x20))
            count := add(node, count)
            let strike := mload(add(kernel, 0x60))
            let size := mload(add(kernel, 0x80))
            kernel := mload(kernel)
            for { } 1 { } {
                // Cell by the upper bits, place in it by the lower 52; Horner's rule with 51 more fraction bits a step.
                let d := add(start, sar(57, mul(mload(node), inverse)))
                let t := sub(and(d, 0xfffffffffffff), 0x8000000000000)
                let v := mload(add(kernel, shl(5, shr(52, d))))
                v := mul(
                    sar(
                        153,
                        add(
                            mul(
                                add(mul(add(mul(signextend(3, v), t), sar(151, shl(100, v))), t), shr(103, shl(49, v))),
                                t
                            ),
                            shr(54, v)
                        )
                    ),
                    mload(add(node, 0x20))
                )
                d := sub(d, s)
                t := sub(and(d, 0xfffffffffffff), 0x8000000000000)
                d := mload(add(kernel, shl(5, shr(52, d))))
                mstore(
                    volatility,
                    sub(
                        mload(volatility),
                        mul(
                            sar(
                                48,
                                sub(
                                    v,
                                    mul(
                                        sar(
                                            153,
                                            add(
                                                mul(
                                                    add(
                                                        mul(add(mul(signextend(3, d), t), sar(151, shl(100, d))), t),
                                                        shr(103, shl(49, d))
                                                    ),
                                                    t
                                                ),
                                                shr(54, d)
                                            )
                                        ),
                                        strike
                                    )
                                )
                            ),
                            size
                        )
                    )
                )
                node := add(node, 0x40)
                if eq(node, count) { break }
                volatility := add(volatility, 0x60)
            }
        }
    }

    /// @dev The same, for numbers that may lie outside.
    function _anywhere(Kernel memory kernel, uint256 volatility, uint256 count, uint256 s, int256 inverse, int256 start)
        private
        pure
    {
        unchecked {
            for (uint256 i; i < count; ++i) {
                uint256 nodes = kernel.nodes;
                uint256 loss = kernel.losses + 32 * (3 * i + volatility);
                int256 d;
                int256 forward;
                assembly ("memory-safe") {
                    nodes := add(nodes, shl(6, i))
                    d := add(start, sar(57, mul(mload(nodes), inverse)))
                    forward := mload(add(nodes, 0x20))
                }
                int256 value = forward * _cdf(kernel.table, d);
                value = (value - int256(kernel.strike) * _cdf(kernel.table, d - int256(s))) >> 48;
                value *= kernel.size;
                assembly ("memory-safe") {
                    mstore(loss, sub(mload(loss), value))
                }
            }
        }
    }

    /// @dev N(d − 8) for d [Q57], 48 fraction bits.
    function _cdf(uint256 table, int256 d) private pure returns (int256 v) {
        assembly ("memory-safe") {
            switch shr(61, d)
            case 0 {
                let w := mload(add(table, shl(5, shr(52, d))))
                let t := sub(and(d, 0xfffffffffffff), 0x8000000000000)
                v := add(mul(signextend(3, w), t), sar(151, shl(100, w)))
                v := add(mul(v, t), shr(103, shl(49, w)))
                v := add(mul(v, t), shr(54, w))
                v := sar(153, v)
            }
            default { v := mul(sgt(d, 0), 0x1000000000000) }
        }
    }
}
