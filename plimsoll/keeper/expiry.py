"""Which round of the price feed settles an expiry: what contracts/InstrumentRegistry.sol wants to have proved.

Found by bisection over the rounds of a phase, and then tried: the contract alone says whether it is the one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.chain.client import Reverted

if TYPE_CHECKING:
    from plimsoll.chain.system import System

PHASE_SHIFT = 64
"""A round id is Chainlink's: phase, then the round of the phase's aggregator in the lower 64 bits."""
MOST_REFUSED = 32
"""Rounds in a row that the price oracle refuses before a phase counts as over, as in the registry."""


def find_round(system: System, underlying: int, expiry: int) -> int | None:
    """Id of the round that settles an expiry (unix seconds) of an underlying (id) now; None while there is none.

    A feed that had fallen silent settles at its next round, so there may be none yet. RpcError if the node fails.
    """
    latest = system.chain.read(system.price_oracle.latestRound(underlying))
    candidates: list[int] = []
    for phase in range(latest >> PHASE_SHIFT, -1, -1):
        inside = rounds_around(system, underlying, expiry, phase << PHASE_SHIFT, latest)
        # what came after the expiry in an earlier phase goes before what came in a later one
        candidates = inside + candidates
        if inside and _reported(system, underlying, inside[0]) <= expiry:
            break
    calls = [system.registry.settle(underlying, expiry, candidate) for candidate in candidates]
    tried = system.chain.try_read_many(calls)
    good = (one for one, result in zip(candidates, tried, strict=True) if not isinstance(result, Reverted))
    return next(good, None)


def rounds_around(system: System, underlying: int, expiry: int, phase: int, latest: int) -> list[int]:
    """Of one phase, the last usable round at or before the expiry and the first one after it, where there are such."""
    # the phase's last round is known only of the feed's own present phase; elsewhere doubling finds where rounds end
    end = latest + 1 if latest >> PHASE_SHIFT == phase >> PHASE_SHIFT else phase + 1
    while end <= phase + 2**40 and end <= latest and _usable(system, underlying, end, end + MOST_REFUSED) is not None:
        end = phase + 2 * (end - phase)
    low, high = phase + 1, end  # every usable round below `low` is at or before the expiry, from `high` on after it
    while low < high:
        middle = (low + high) // 2
        found = _usable(system, underlying, middle, min(middle + MOST_REFUSED, end))
        if found is None:
            high = middle
        elif found[1] <= expiry:
            low = found[0] + 1
        else:
            high = middle
    rounds = []
    before = next(
        (one for one in range(low - 1, max(phase, low - 1 - MOST_REFUSED), -1) if _reported(system, underlying, one)),
        None,
    )
    if before is not None:
        rounds.append(before)
    after = _usable(system, underlying, low, low + MOST_REFUSED)
    if after is not None:
        rounds.append(after[0])
    return rounds


def _usable(system: System, underlying: int, first: int, end: int) -> tuple[int, int] | None:
    """(id, unix seconds) of the first round the price oracle takes, from `first` and before `end`."""
    for one in range(first, end):
        reported = _reported(system, underlying, one)
        if reported:
            return one, reported
    return None


def _reported(system: System, underlying: int, round_id: int) -> int:
    """When a round was reported; 0 where the price oracle refuses it."""
    ok, _, reported = system.chain.read(system.price_oracle.round(underlying, round_id))
    return int(reported) if ok else 0
