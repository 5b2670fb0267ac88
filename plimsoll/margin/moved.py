"""Margin at other prices, from the contracts themselves: how far is a margin call?

Nothing is approximated. The account is margined again by `marginOf` while, for that one eth_call, each price feed is
replaced by code that answers with a moved price (a state override). Everything else stays as it is: the age of the
price, volatility, the surface, parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.chain.abi import Contract
from plimsoll.chain.client import Reverted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from plimsoll.chain.system import System

FALLS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Sizes of move looked at, both ways; denser near zero, where the answer matters most."""
RISES = (*FALLS, 1.0)
ROUNDS, PARTS = 3, 5
"""A crossing between two of them is cornered by cutting the gap in five, three times: to a 125th of it."""


@dataclass(frozen=True, slots=True)
class Point:
    """One move (0.1: 10% up) and what comes of it [wad dollars]."""

    move: float
    equity: int
    initial: int
    maintenance: int


@dataclass(frozen=True, slots=True)
class Curve:
    """An account's margin along moves of some prices, rising through 0; what the contract refuses, as a price outside
    the feed's bounds, is left out."""

    underlyings: tuple[int, ...]
    """The ids that move, all by the same part."""
    points: tuple[Point, ...]
    call: tuple[float | None, float | None]
    """Nearest fall and nearest rise at which equity is below initial margin. None where no move looked at is enough;
    both are None where it is below already."""
    liquidation: tuple[float | None, float | None]
    """The same for maintenance margin."""


def feed_code(words: Sequence[int], decimals: int) -> bytes:
    """Runtime code of a price feed that answers `decimals()` with `decimals` and whatever else with the five `words` of
    latestRoundData(): round, answer, start, update, answered in round."""
    code = bytes.fromhex("60003560e01c63313ce56714")  # selector of the call = selector of decimals()?
    body = b"".join(
        b"\x7f" + (word % 2**256).to_bytes(32, "big") + bytes((0x60, 32 * place, 0x52))  # store at its place
        for place, word in enumerate(words)
    ) + bytes.fromhex("60a06000f3")  # return 5 words
    target = len(code) + 4 + len(body)
    jump = b"\x61" + target.to_bytes(2, "big") + b"\x57"
    return code + jump + body + b"\x5b\x60" + bytes((decimals,)) + bytes.fromhex("60005260206000f3")


def curves_of(system: System, account: int, groups: Iterable[tuple[int, ...]], block: int) -> list[Curve]:
    """Margin of an account along moves of each group of underlyings, at one block. RpcError if the node does not answer
    calls with overrides."""
    groups = list(groups)
    feeds = _feeds(system, sorted({u for group in groups for u in group}), block)
    call = system.margin_engine.marginOf(account)

    def answer(moves: Sequence[tuple[tuple[int, ...], float]]) -> list[Point | None]:
        codes = [
            {address: code for u in group for address, code in feeds[u](1 + move).items()} for group, move in moves
        ]
        results = system.chain.try_read_many([call] * len(moves), block, codes=codes)
        return [
            None
            if isinstance(result, Reverted)
            else Point(move, result.equity, result.initial.total, result.maintenance.total)
            for (_, move), result in zip(moves, results, strict=True)
        ]

    steps = (*(-fall for fall in reversed(FALLS)), 0.0, *RISES)
    answers = iter(answer([(group, move) for group in groups for move in steps]))
    grids = [[next(answers) for _ in steps] for _ in groups]

    searches: dict[tuple[int, int, int], tuple[float, float]] = {}
    for g, grid in enumerate(grids):
        for t, test in enumerate(_TESTS):
            for d, direction in enumerate((-1, 1)):
                found = _first(grid, direction, test)
                if found is not None:
                    searches[g, t, d] = (steps[found - direction], steps[found])
    for _ in range(ROUNDS):
        cuts = {
            key: [near + (far - near) * k / PARTS for k in range(1, PARTS)] for key, (near, far) in searches.items()
        }
        answers = iter(answer([(groups[key[0]], move) for key, moves in cuts.items() for move in moves]))
        for key, moves in cuts.items():
            near, far = searches[key]
            for move in moves:
                point = next(answers)
                if point is not None and _TESTS[key[1]](point):
                    far = min(far, move, key=abs)
                elif abs(move) < abs(far):
                    near = max(near, move, key=abs)
            searches[key] = (near, far)

    def ends(g: int, t: int) -> tuple[float | None, float | None]:
        fall, rise = searches.get((g, t, 0)), searches.get((g, t, 1))
        return fall[1] if fall else None, rise[1] if rise else None

    return [
        Curve(group, tuple(point for point in grid if point), call=ends(g, 0), liquidation=ends(g, 1))
        for g, (group, grid) in enumerate(zip(groups, grids, strict=True))
    ]


_TESTS: tuple[Callable[[Point], bool], ...] = (
    lambda point: point.equity < point.initial,
    lambda point: point.equity < point.maintenance,
)


def _first(grid: Sequence[Point | None], direction: int, test: Callable[[Point], bool]) -> int | None:
    """Place of the first point from the middle outwards that passes the test; None if none does, if a price is refused
    before it, or if the middle passes already."""
    place = len(FALLS)
    middle = grid[place]
    if middle is None or test(middle):
        return None
    while 0 <= (place := place + direction) < len(grid):
        point = grid[place]
        if point is None:
            return None
        if test(point):
            return place
    return None


def _feeds(
    system: System, underlyings: Sequence[int], block: int
) -> Mapping[int, Callable[[float], Mapping[str, bytes]]]:
    """For each underlying, a function from a factor to the code of its feeds (both, where it has a second)."""
    chain = system.chain
    settings = chain.read_many([system.price_oracle.feedOf(u) for u in underlyings], block)
    wanted = [
        (u, Contract.at("PushedFeed", address), decimals)
        for u, feed in zip(underlyings, settings, strict=True)
        for address, decimals in ((feed.feed, feed.decimals), (feed.secondary, feed.secondaryDecimals))
        if int(address, 16)
    ]
    rounds = chain.read_many([feed.latestRoundData() for _, feed, _ in wanted], block)
    answers = [
        (u, feed.address, tuple(round_), decimals) for (u, feed, decimals), round_ in zip(wanted, rounds, strict=True)
    ]

    def codes(underlying: int) -> Callable[[float], Mapping[str, bytes]]:
        mine = [(address, words, decimals) for u, address, words, decimals in answers if u == underlying]
        return lambda factor: {
            address: feed_code((words[0], max(round(words[1] * factor), 1), *words[2:]), decimals)
            for address, words, decimals in mine
        }

    return {u: codes(u) for u in underlyings}
