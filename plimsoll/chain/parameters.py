"""RiskParameters' packed words: eight int32 lanes to a word, a field's id being slot · 8 + lane."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from plimsoll.chain.fields import Field, Key, Scope, fields_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def lane(word: int, field: Field) -> int:
    """A field's signed value in the word that holds it."""
    value = word >> (32 * (field & 7)) & 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def unpack(snapshot: Any, underlyings: Sequence[int]) -> dict[Key, int]:
    """Every number in what `RiskParameters.snapshot(underlyings, True)` returned; `underlyings` strictly rising."""
    common, words, pairs = snapshot
    values = {Key(field): lane(common, field) for field in fields_of(Scope.COMMON)}
    slots = len(words) // len(underlyings) if underlyings else 0
    for i, underlying in enumerate(underlyings):
        for field in fields_of(Scope.UNDERLYING):
            values[Key(field, underlying)] = lane(words[i * slots + (field >> 3)], field)
    for (a, b), word in zip(combinations(underlyings, 2), pairs, strict=True):
        for field in fields_of(Scope.PAIR):
            values[Key(field, a, b)] = lane(word, field)
    return values
