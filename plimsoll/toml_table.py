"""A TOML table that says what is wrong with it: the path of the key, what was expected, what stands there."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from eth_utils.address import is_address, to_checksum_address

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.chain.fields import Field

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""In a unit of durations."""


class Table:
    """A TOML table that knows its path, checks types, and notices keys nobody asked for."""

    def __init__(self, path: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise PlimsollError(f"{path}: expected a table")
        self.path = path
        self._value: dict[str, Any] = value
        self._left = set(value)

    def fault(self, key: str, problem: str) -> PlimsollError:
        return PlimsollError(f"{self.path}.{key}: {problem}")

    def has(self, key: str) -> bool:
        return key in self._value

    def get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        self._left.discard(key)
        if key not in self._value:
            if default is not None:
                return default
            raise self.fault(key, f"missing; expected {what}")
        value = self._value[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fault(key, f"expected {what}, not {value!r}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self.get(key, str, "text", default)
        return value

    def flag(self, key: str, default: bool) -> bool:
        self._left.discard(key)
        return bool(self.get(key, bool, "true or false")) if self.has(key) else default

    def number(self, key: str, minimum: Decimal | int | None = None, maximum: Decimal | int | None = None) -> Decimal:
        value = Decimal(self.get(key, (int, Decimal), "a number"))
        if not value.is_finite():
            raise self.fault(key, f"expected a finite number, not {value}")
        if minimum is not None and value < minimum:
            raise self.fault(key, f"{value} is below {minimum}")
        if maximum is not None and value > maximum:
            raise self.fault(key, f"{value} is above {maximum}")
        return value

    def integer(self, key: str, minimum: int, maximum: int) -> int:
        value: int = self.get(key, int, "a whole number")
        if not minimum <= value <= maximum:
            raise self.fault(key, f"{value} is outside {minimum} to {maximum}")
        return value

    def duration(self, key: str) -> int:
        """Seconds, written "90s", "15m", "2h" or "5d"."""
        value = self.get(key, str, 'a duration such as "90s", "2h" or "5d"')
        match = _DURATION.fullmatch(value.strip())
        if match is None or int(match[1]) == 0:
            raise self.fault(key, f'expected a duration such as "90s", "2h" or "5d", not {value!r}')
        return int(match[1]) * SECONDS[match[2]]

    def field(self, field: Field, key: str) -> Decimal:
        """A value of a field: seconds from a duration, otherwise a number."""
        return Decimal(self.duration(key)) if field.unit == 0 else self.number(key)

    def address(self, key: str, *words: str) -> str:
        """A checksummed address, or one of the words."""
        what = " or ".join(['an address "0x…"', *(f'"{word}"' for word in words)])
        value: str = self.get(key, str, what)
        if value in words:
            return value
        if not is_address(value):
            raise self.fault(key, f"expected {what}, not {value!r}")
        return to_checksum_address(value)

    def table(self, key: str) -> Table:
        self._left.discard(key)
        if key not in self._value:
            raise self.fault(key, "missing; expected a table")
        return Table(f"{self.path}.{key}" if self.path else key, self._value[key])

    def tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """The named tables under a key; none if the key is absent."""
        if self.has(key):
            outer = self.table(key)
            for name in outer._value:
                yield name, outer.table(name)

    def done(self) -> None:
        if self._left:
            key = min(self._left)
            raise self.fault(key, "unknown key; check its spelling")
