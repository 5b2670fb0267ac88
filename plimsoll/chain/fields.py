"""The numbers of RiskParameters by name, as contracts/types/Field.sol has them, and how each is written as an integer.

A value outside this module is a plain number in the unit a person would use: a fraction, a multiple, seconds, dollars.
On-chain it is an int32 in the field's own unit: millionths, seconds or thousands of dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import IntEnum
from typing import TYPE_CHECKING

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Iterator

INT32_MAXIMUM = 2**31 - 1
INT32_MINIMUM = -(2**31)


class Scope(IntEnum):
    """Whose number a field is: slots 0–6 one underlying's, slot 7 common to all, slot 8 and on a pair's."""

    UNDERLYING = 0
    COMMON = 1
    PAIR = 2


class Unit(IntEnum):
    """How many of the field's integers make one of the unit a person uses, as a power of ten."""

    MILLIONTH = 6
    SECOND = 0
    THOUSAND_DOLLARS = -3


class Field(IntEnum):
    """Ids are slot · 8 + lane."""

    TAIL_INITIAL = 0
    TAIL_MAINTENANCE = 1
    VOLATILITY_STRESS = 2
    VOLATILITY_STRESS_WEIGHT = 3
    VOLATILITY_FLOOR = 4
    VOLATILITY_CAP = 5
    REALISED_WEIGHT = 6
    VOLATILITY_RISE_RATE = 7
    HALF_SPREAD = 8
    IMPACT = 9
    AVERAGE_DAILY_VOLUME = 10
    REALISED_HALF_LIFE = 11
    HORIZON_INITIAL = 56
    HORIZON_MAINTENANCE = 57
    OFFSET = 58
    MULTIPLIER = 59
    CORRELATION_LOW = 64
    CORRELATION_HIGH = 65

    @property
    def key(self) -> str:
        """Its name in configuration files and calibration reports."""
        return self.name.lower()

    @property
    def scope(self) -> Scope:
        slot = self.value >> 3
        return Scope.UNDERLYING if slot < 7 else Scope.COMMON if slot == 7 else Scope.PAIR

    @property
    def unit(self) -> Unit:
        if self in _SECONDS:
            return Unit.SECOND
        return Unit.THOUSAND_DOLLARS if self is Field.AVERAGE_DAILY_VOLUME else Unit.MILLIONTH

    @property
    def rounds_up(self) -> bool:
        """Which rounding makes margin higher: more volume means less margin, and the low correlation is a lower end."""
        return self not in _ROUNDED_DOWN

    def encode(self, value: Decimal | float) -> int:
        """The on-chain integer, rounded against accounts. PlimsollError if it does not fit an int32."""
        scaled = _decimal(value).scaleb(self.unit)
        encoded = int(scaled.to_integral_value(ROUND_CEILING if self.rounds_up else ROUND_FLOOR))
        if not INT32_MINIMUM <= encoded <= INT32_MAXIMUM:
            raise PlimsollError(f"{self.key} = {value} does not fit its field; choose a smaller number")
        return encoded

    def decode(self, encoded: int) -> Decimal:
        """The number a person would write."""
        return Decimal(encoded).scaleb(-self.unit)

    @classmethod
    def of(cls, key: str) -> Field:
        """The field of that name; PlimsollError if there is none."""
        try:
            return cls[key.upper()]
        except KeyError:
            raise PlimsollError(f"unknown parameter {key!r}; known are {', '.join(f.key for f in cls)}") from None


_SECONDS = {Field.REALISED_HALF_LIFE, Field.HORIZON_INITIAL, Field.HORIZON_MAINTENANCE}
_ROUNDED_DOWN = {Field.AVERAGE_DAILY_VOLUME, Field.CORRELATION_LOW, Field.OFFSET}


def _decimal(value: Decimal | float) -> Decimal:
    # through text: a float written 0.1 means a tenth, not the binary number next to it
    return value if isinstance(value, Decimal) else Decimal(str(value))


def fields_of(scope: Scope) -> Iterator[Field]:
    """The fields of one scope, by id."""
    return (field for field in Field if field.scope is scope)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One number on-chain: `underlying` is 0 for a common field, `other` is 0 but for a pair, then the larger id."""

    field: Field
    underlying: int = 0
    other: int = 0

    @classmethod
    def pair(cls, field: Field, a: int, b: int) -> Key:
        """The pair in the order the chain wants."""
        return cls(field, min(a, b), max(a, b))


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """contracts/types/ParameterChange.sol: `value` is the on-chain integer."""

    field: Field
    underlying: int
    other: int
    value: int

    @property
    def key(self) -> Key:
        return Key(self.field, self.underlying, self.other)

    def as_tuple(self) -> tuple[int, int, int, int]:
        """As the ABI wants it."""
        return (int(self.field), self.underlying, self.other, self.value)
