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

    /// @dev Every loss there is, as a set: bit n for loss number n.
    uint256 internal constant ALL = 0x97ffffff;
    /// @dev Their rows, see `rowsOf`: nine prices at the outer volatilities, eleven at the middle one.
    uint256 private constant ALL_ROWS = 9 << 80 | 1 << 72 | 11 << 48 | 1 << 40 | 9 << 16 | 1 << 8;

    /// @notice One strike, ready to be revalued. The kernel reads the fields by their place.
    /// @param table Where the normal distribution lies in memory.
    /// @param nodes Where the price nodes lie, see `nodesOf`.
    /// @param losses Where the 33 losses lie [wad²]: size · price at the node is taken off.
    /// @param strike [wad]. @param size Units, calls and puts netted [wad].
    /// @param logMoneyness ln(forward / strike) [Q57].
    /// @param rows Which prices to look at, see `rowsOf`.
    struct Kernel {
        uint256 table;
        uint256 nodes;
        uint256 losses;
        uint256 strike;
        int256 size;
        int256 logMoneyness;
        uint256 rows;
    }

    /// @notice Moves of the price relative to the range, in quarters.
    function stepOf(uint256 i) internal pure returns (int256) {
        unchecked {
            return i < 9 ? int256(i) - 4 : i == 9 ? -8 : int256(8);
        }
    }

    /// @notice The price nodes of a range: of each ln(factor) [Q57], the forward times it, left open, and the factor [wad].
    /// @param range [wad] @param losses The set of losses wanted: logarithms of other prices within the range are left out.
    function nodesOf(uint256 range, uint256 losses) internal pure returns (uint256[3 * PRICES] memory nodes) {
        unchecked {
            for (uint256 i; i < PRICES; ++i) {
                int256 step = stepOf(i);
                int256 factor = FixedPoint.max(int256(WAD) + step * int256(range) / 4, 1e9);
                int256 logarithm;
                // The ends tell whether all lie within the table.
                if (losses >> 3 * i & 7 != 0 || step & 3 == 0) logarithm = toQ57(FixedPoint.lnWad(factor));
                assembly ("memory-safe") {
                    let at := add(nodes, mul(i, 0x60))
                    mstore(at, logarithm)
                    mstore(add(at, 0x40), factor)
                }
            }
        }
    }

    /// @notice Set the forwards of the nodes. @param forward [wad]
    function setForward(uint256[3 * PRICES] memory nodes, uint256 forward) internal pure {
        assembly ("memory-safe") {
            for { let end := add(nodes, 0x420) } lt(nodes, end) { nodes := add(nodes, 0x60) } {
                mstore(add(nodes, 0x20), div(mul(forward, mload(add(nodes, 0x40))), WAD))
            }
        }
    }

    /// @notice For each volatility, the prices at which losses are wanted as a sequence, 32 bits each: first | step << 8 |
    /// count << 16. Where they are no sequence, the shortest that holds them. @param losses A set, as ALL.
    function rowsOf(uint256 losses) internal pure returns (uint256 rows) {
        if (losses == ALL) return ALL_ROWS;
        unchecked {
            for (uint256 volatility; volatility < 3; ++volatility) {
                (uint256 first, uint256 step, uint256 last) = (PRICES, 0, 0);
                for (uint256 price; price < PRICES; ++price) {
                    if (losses >> (3 * price + volatility) & 1 == 0) continue;
                    if (first == PRICES) first = price;
                    else step = FixedPoint.gcd(step, price - last);
                    last = price;
                }
                if (first == PRICES) continue;
                step = FixedPoint.max(step, 1);
                rows |= (first | step << 8 | ((last - first) / step + 1) << 16) << 32 * volatility;
            }
        }
    }

    /// @notice Point the kernel at the nodes to price at and the losses to take from.
    function aim(Kernel memory kernel, uint256[3 * PRICES] memory nodes, int256[LOSSES] memory losses) internal pure {
        assembly ("memory-safe") {
            mstore(add(kernel, 0x20), nodes)
            mstore(add(kernel, 0x40), losses)
        }
    }

    function toQ57(int256 x) internal pure returns (int256) {
        unchecked {
            return x * int256(Q57) / int256(WAD);
        }
    }

    /// @notice Take size · price at the nodes off the losses.
    /// @param deviation σ√τ [wad]. @param risen f [wad]. @param fallen f' [wad].
    function subtract(Kernel memory kernel, uint256 deviation, uint256 risen, uint256 fallen) internal pure {
        unchecked {
            uint256 rows = kernel.rows;
            _subtractRow(kernel, 0, rows & 0xffffffff, deviation * WAD / fallen);
            _subtractRow(kernel, 1, rows >> 32 & 0xffffffff, deviation);
            _subtractRow(kernel, 2, rows >> 64, deviation * risen / WAD);
        }
    }

    /// @dev One volatility. @param row Its prices.
    function _subtractRow(Kernel memory kernel, uint256 volatility, uint256 row, uint256 deviation) private pure {
        unchecked {
            if (row == 0) return;
            deviation = FixedPoint.max(deviation, LEAST_DEVIATION);
            uint256 s = deviation * Q57 / WAD;
            int256 inverse = int256(Q57 * WAD / deviation);
            // d1 + 8 before the price moves
            int256 start = ((kernel.logMoneyness * inverse) >> 57) + int256(s >> 1) + TABLE_START;
            uint256 outside;
            assembly ("memory-safe") {
                let nodes := mload(add(kernel, 0x20))
                // the lowest and the highest price of the row: the extremes are of the middle volatility
                let middle := eq(volatility, 1)
                outside := sub(add(start, sar(57, mul(mload(add(nodes, mul(middle, 0x360))), inverse))), s)
                outside := or(
                    outside,
                    add(start, sar(57, mul(mload(add(nodes, add(0x300, mul(middle, 0xc0)))), inverse)))
                )
            }
            // A number outside the table, on either side, has a bit from the 61st up.
            if (outside >> 61 == 0) _inside(kernel, volatility, row, s, inverse, start);
            else _anywhere(kernel, volatility, row, s, inverse, start);
        }
    }

    /// @dev F · N(d1) − K · N(d2) where both lie within the table at every price.
    function _inside(Kernel memory kernel, uint256 volatility, uint256 row, uint256 s, int256 inverse, int256 start)
        private
        pure
    {
        (uint256 node, uint256 step, uint256 strike) = (0, 0, 0);
        assembly ("memory-safe") {
            // Arguments become what the loop works with: `start` carries the table's place above the bits of a cell's inside,
            // `volatility` is how far the losses lie from the nodes.
            start := add(start, shl(47, mload(kernel)))
            node := mload(add(kernel, 0x20))
            volatility := add(sub(mload(add(kernel, 0x40)), node), shl(5, volatility))
            node := add(node, mul(0x60, and(row, 0xff)))
            step := mul(0x60, and(shr(8, row), 0xff))
            row := add(node, mul(step, shr(16, row)))
            strike := mload(add(kernel, 0x60))
            kernel := mload(add(kernel, 0x80)) // the size
        }
        // A loop of the assembly language would jump twice a turn.
        do {
            assembly ("memory-safe") {
                // Cell by the upper bits, place in it by the lower 52; Horner's rule with 51 more fraction bits a step.
                let d1 := add(start, sar(57, mul(mload(node), inverse)))
                let t1 := sub(and(d1, 0xfffffffffffff), 0x8000000000000)
                let v1 := mload(and(shr(47, d1), 0xffffffe0))
                let d2 := sub(d1, s)
                let t2 := sub(and(d2, 0xfffffffffffff), 0x8000000000000)
                let v2 := mload(and(shr(47, d2), 0xffffffe0))
                let loss := add(node, volatility)
                mstore(
                    loss,
                    sub(
                        mload(loss),
                        mul(
                            sar(
                                48,
                                sub(
                                    mul(
                                        sar(
                                            153,
                                            add(
                                                mul(
                                                    add(
                                                        mul(
                                                            add(mul(signextend(3, v1), t1), sar(151, shl(100, v1))),
                                                            t1
                                                        ),
                                                        shr(103, shl(49, v1))
                                                    ),
                                                    t1
                                                ),
                                                shr(54, v1)
                                            )
                                        ),
                                        mload(add(node, 0x20))
                                    ),
                                    mul(
                                        sar(
                                            153,
                                            add(
                                                mul(
                                                    add(
                                                        mul(
                                                            add(mul(signextend(3, v2), t2), sar(151, shl(100, v2))),
                                                            t2
                                                        ),
                                                        shr(103, shl(49, v2))
                                                    ),
                                                    t2
                                                ),
                                                shr(54, v2)
                                            )
                                        ),
                                        strike
                                    )
                                )
                            ),
                            kernel
                        )
                    )
                )
                node := add(node, step)
            }
        } while (node != row);
    }

    /// @dev The same, for numbers that may lie outside.
    function _anywhere(Kernel memory kernel, uint256 volatility, uint256 row, uint256 s, int256 inverse, int256 start)
        private
        pure
    {
        unchecked {
            uint256 i = row & 0xff;
            for (uint256 left = row >> 16; left != 0; --left) {
                uint256 nodes = kernel.nodes;
                uint256 loss = kernel.losses + 32 * (3 * i + volatility);
                int256 d;
                int256 forward;
                assembly ("memory-safe") {
                    nodes := add(nodes, mul(0x60, i))
                    d := add(start, sar(57, mul(mload(nodes), inverse)))
                    forward := mload(add(nodes, 0x20))
                }
                int256 value = forward * _cdf(kernel.table, d);
                value = (value - int256(kernel.strike) * _cdf(kernel.table, d - int256(s))) >> 48;
                value *= kernel.size;
                assembly ("memory-safe") {
                    mstore(loss, sub(mload(loss), value))
                }
                i += row >> 8 & 0xff;
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
