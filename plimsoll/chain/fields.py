"""The numbers of RiskParameters by name, as contracts/types/Field.sol has them, and how each is written as an integer.

A value outside this module is a plain number in the unit a person would use: a fraction, a multiple, seconds, dollars.
On-chain it is an int32 in the field's own unit: millionths, seconds or thousands of dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
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
    OPEN_INTEREST_LOWER = 12
    OPEN_INTEREST_UPPER = 13
    OPEN_INTEREST_SCALE = 14
    CARRY = 15
    TIER_RATE_1 = 16
    TIER_RATE_2 = 17
    TIER_RATE_3 = 18
    TIER_RATE_4 = 19
    TIER_NOTIONAL_1 = 20
    TIER_NOTIONAL_2 = 21
    TIER_NOTIONAL_3 = 22
    OPTION_HALF_SPREAD = 23
    SURFACE_RHO = 24
    SURFACE_ETA = 25
    SURFACE_GAMMA = 26
    TERM_RATIO = 27
    TERM_SPEED = 28
    VOLATILITY_SHOCK_INITIAL = 29
    VOLATILITY_SHOCK_MAINTENANCE = 30
    VOLATILITY_SHOCK_EXPONENT = 31
    HORIZON_INITIAL = 56
    HORIZON_MAINTENANCE = 57
    OFFSET = 58
    MULTIPLIER = 59
    EXTREME_WEIGHT = 60
    SHORT_OPTION_MINIMUM = 61
    VOLATILITY_FALL = 62
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
        return Unit.THOUSAND_DOLLARS if self in _THOUSAND_DOLLARS else Unit.MILLIONTH

    @property
    def direction(self) -> int:
        """1 where margin rises with it; −1 where it falls: with volume, with the notional a bracket ends at, with the
        low correlation; 0 where it helps some accounts and costs others, or is no more than a time."""
        return 0 if self in _NEUTRAL else -1 if self in _LOOSER_UP else 1

    @property
    def rounding(self) -> str:
        """The rounding that makes margin higher; to the nearest where neither way is against everybody."""
        return (ROUND_HALF_EVEN, ROUND_CEILING, ROUND_FLOOR)[self.direction]

    def encode(self, value: Decimal | float) -> int:
        """The on-chain integer, rounded as `rounding` says. PlimsollError if it does not fit an int32."""
        encoded = int(_decimal(value).scaleb(self.unit).to_integral_value(self.rounding))
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
_THOUSAND_DOLLARS = {
    Field.AVERAGE_DAILY_VOLUME,
    Field.OPEN_INTEREST_LOWER,
    Field.OPEN_INTEREST_UPPER,
    Field.TIER_NOTIONAL_1,
    Field.TIER_NOTIONAL_2,
    Field.TIER_NOTIONAL_3,
}
_LOOSER_UP = _THOUSAND_DOLLARS | {Field.CORRELATION_LOW, Field.OFFSET}
_NEUTRAL = {
    Field.REALISED_HALF_LIFE,
    Field.CARRY,
    # the shape of the surface moves the price of an option, which one account holds long and another short
    Field.SURFACE_RHO,
    Field.SURFACE_ETA,
    Field.SURFACE_GAMMA,
    Field.TERM_RATIO,
    Field.TERM_SPEED,
    Field.VOLATILITY_SHOCK_EXPONENT,
}


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
