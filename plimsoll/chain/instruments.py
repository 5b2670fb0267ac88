"""Instruments: the 128-bit ids of contracts/types/Instrument.sol, and the symbols people know them by.

A symbol is `ETH-PERP` or `ETH-27MAR26-3000-P`: underlying, expiry, strike in dollars, C or P. An option expires at
08:00 UTC of its day unless the symbol gives a time: `ETH-27MAR26T1430-3000.5-C`. This is the one place that packs ids
and that reads and writes symbols.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Mapping

DAY = 86_400
EXPIRY_HOUR = 8
"""Options expire at this hour, UTC, unless they say otherwise."""
STRIKE_DECIMALS = 8
_LATEST = 4_102_444_800
"""1 January 2100: a symbol has two digits for the year."""
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EXPIRY = re.compile(r"(\d{1,2})([A-Z]{3})(\d{2})(?:T(\d{2})(\d{2})(\d{2})?)?")
_FORM = "expected a symbol such as ETH-PERP or ETH-27MAR26-3000-P"


class Kind(IntEnum):
    """What an instrument is."""

    PERPETUAL = 1
    CALL = 2
    PUT = 3


@dataclass(frozen=True, slots=True)
class Instrument:
    """underlying: its id. expiry: unix seconds; strike: dollars a unit. A perpetual has neither.

    PlimsollError if an option's expiry or strike does not fit its id or its symbol.
    """

    kind: Kind
    underlying: int
    expiry: int = 0
    strike: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if not 0 <= self.underlying < 2**16:
            raise PlimsollError(f"underlying {self.underlying} is not an id: expected 1 to {2**16 - 1}")
        if not self.is_option:
            if self.expiry or self.strike:
                raise PlimsollError("a perpetual has no expiry and no strike")
            return
        if not 0 < self.expiry < _LATEST:
            raise PlimsollError(f"expiry {self.expiry} is not a unix time before 2100")
        if not 0 < self.strike_units < 2**64 or Decimal(self.strike_units).scaleb(-STRIKE_DECIMALS) != self.strike:
            raise PlimsollError(
                f"strike {self.strike} does not fit: expected above 0, below {2**64 // 10**8:,}, with at most "
                f"{STRIKE_DECIMALS} decimals"
            )

    @classmethod
    def perpetual(cls, underlying: int) -> Instrument:
        """The perpetual on an underlying."""
        return cls(Kind.PERPETUAL, underlying)

    @classmethod
    def of(cls, number: int) -> Instrument:
        """The instrument of an id. PlimsollError if the id is none."""
        try:
            kind = Kind(number >> 120)
        except ValueError:
            raise PlimsollError(f"{number} is not an instrument's id") from None
        strike = Decimal(number & 2**64 - 1).scaleb(-STRIKE_DECIMALS)
        return cls(kind, number >> 104 & 0xFFFF, number >> 64 & 2**40 - 1, strike)

    @classmethod
    def parse(cls, symbol: str, underlyings: Mapping[str, int]) -> Instrument:
        """The instrument of a symbol, `underlyings` being {name: id}. PlimsollError saying what is wrong with it."""
        text = symbol.strip()
        name, dash, rest = text.rpartition("-")
        if dash and rest.upper() == "PERP":
            return cls.perpetual(_underlying(name, underlyings, symbol))
        parts = text.rsplit("-", 3)
        if len(parts) != 4 or not all(parts):
            raise PlimsollError(f"{symbol!r} is not an instrument: {_FORM}")
        name, expiry, strike, kind = parts
        if kind.upper() not in ("C", "P"):
            raise PlimsollError(f"{symbol!r}: {kind!r} is neither C (call) nor P (put); {_FORM}")
        return cls(
            Kind.PUT if kind.upper() == "P" else Kind.CALL,
            _underlying(name, underlyings, symbol),
            _expiry(expiry, symbol),
            _strike(strike, symbol),
        )

    @property
    def id(self) -> int:
        """kind (8 bits) | underlying (16) | expiry (40) | strike in hundred-millionths of a dollar (64)."""
        return self.kind << 120 | self.underlying << 104 | self.expiry << 64 | self.strike_units

    @property
    def is_option(self) -> bool:
        return self.kind is not Kind.PERPETUAL

    @property
    def strike_units(self) -> int:
        """The strike as on-chain, in hundred-millionths of a dollar."""
        return int(self.strike.scaleb(STRIKE_DECIMALS))

    def symbol(self, names: Mapping[int, str]) -> str:
        """Its symbol, `names` being {id: name}; an underlying without a name is written as its number."""
        name = names.get(self.underlying, str(self.underlying))
        if not self.is_option:
            return f"{name}-PERP"
        strike = format(self.strike.normalize(), "f")
        return f"{name}-{expiry_symbol(self.expiry)}-{strike}-{'P' if self.kind is Kind.PUT else 'C'}"


def expiry_symbol(expiry: int) -> str:
    """27MAR26 for 08:00 UTC of that day; 27MAR26T1430 or 27MAR26T143005 for another time."""
    at = datetime.fromtimestamp(expiry, UTC)
    day = f"{at.day}{_MONTHS[at.month - 1]}{at:%y}"
    if expiry % DAY == EXPIRY_HOUR * 3_600:
        return day
    return f"{day}T{at:%H%M%S}" if at.second else f"{day}T{at:%H%M}"


def expiry_after(now: int, days: int) -> int:
    """The expiry of the day that many days after the one of unix second `now`."""
    return (now // DAY + days) * DAY + EXPIRY_HOUR * 3_600


def _underlying(name: str, underlyings: Mapping[str, int], symbol: str) -> int:
    known = {key.upper(): number for key, number in underlyings.items()}
    if name.upper() not in known:
        raise PlimsollError(f"{symbol!r}: no underlying {name!r}; there are {', '.join(underlyings)}")
    return known[name.upper()]


def _expiry(text: str, symbol: str) -> int:
    fault = PlimsollError(
        f"{symbol!r}: {text!r} is not an expiry; expected a day such as 27MAR26, or with a time 27MAR26T1430 (UTC)"
    )
    match = _EXPIRY.fullmatch(text.upper())
    if match is None or match[2] not in _MONTHS:
        raise fault
    day, year, month = int(match[1]), 2000 + int(match[3]), _MONTHS.index(match[2]) + 1
    hour, minute = (EXPIRY_HOUR, 0) if match[4] is None else (int(match[4]), int(match[5]))
    try:
        return int(datetime(year, month, day, hour, minute, int(match[6] or 0), tzinfo=UTC).timestamp())
    except ValueError:
        raise fault from None


def _strike(text: str, symbol: str) -> Decimal:
    # digits and a point alone: Decimal would also take 1e3, 1_000 and infinity
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        raise PlimsollError(f"{symbol!r}: {text!r} is not a strike; expected dollars such as 3000 or 0.5")
    return Decimal(text)
