"""Instrument ids as contracts/types/Instrument.sol packs them, and symbols there and back."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from plimsoll.chain.instruments import Instrument, Kind, expiry_after, expiry_symbol
from plimsoll.errors import PlimsollError

UNDERLYINGS = {"BTC": 1, "ETH": 2, "X-Y": 3}
NAMES = {number: name for name, number in UNDERLYINGS.items()}
MARCH = int(datetime(2026, 3, 27, 8, tzinfo=UTC).timestamp())

options = some.builds(
    Instrument,
    some.sampled_from([Kind.CALL, Kind.PUT]),
    some.sampled_from(sorted(NAMES)),
    some.integers(946_684_800, 4_102_444_799),
    some.integers(1, 2**64 - 1).map(lambda units: Decimal(units).scaleb(-8)),
)
perpetuals = some.builds(Instrument.perpetual, some.sampled_from(sorted(NAMES)))


@given(options | perpetuals)
def test_symbol_and_id_read_back(instrument: Instrument) -> None:
    assert Instrument.of(instrument.id) == instrument
    assert Instrument.parse(instrument.symbol(NAMES), UNDERLYINGS) == instrument
    assert Instrument.parse(instrument.symbol(NAMES).lower(), UNDERLYINGS) == instrument


@pytest.mark.parametrize(
    ("symbol", "instrument"),
    [
        ("ETH-PERP", Instrument(Kind.PERPETUAL, 2)),
        ("X-Y-PERP", Instrument(Kind.PERPETUAL, 3)),
        ("ETH-27MAR26-3000-P", Instrument(Kind.PUT, 2, MARCH, Decimal(3_000))),
        ("X-Y-27MAR26-3000-P", Instrument(Kind.PUT, 3, MARCH, Decimal(3_000))),
        ("ETH-27MAR26T1430-3000.5-C", Instrument(Kind.CALL, 2, MARCH + 6 * 3600 + 1800, Decimal("3000.5"))),
        ("ETH-27MAR26T143005-0.5-C", Instrument(Kind.CALL, 2, MARCH + 6 * 3600 + 1805, Decimal("0.5"))),
        ("ETH-5APR26-3000-C", Instrument(Kind.CALL, 2, MARCH + 9 * 86_400, Decimal(3_000))),
    ],
)
def test_symbol_is_what_people_write(symbol: str, instrument: Instrument) -> None:
    assert instrument.symbol(NAMES) == symbol
    assert Instrument.parse(symbol, UNDERLYINGS) == instrument


@pytest.mark.parametrize("symbol", ["ETH-05APR26-3000-C", " eth-5apr26-3000.00-c ", "ETH-5APR26T0800-3000-C"])
def test_parse_takes_other_spellings(symbol: str) -> None:
    assert Instrument.parse(symbol, UNDERLYINGS).symbol(NAMES) == "ETH-5APR26-3000-C"


def test_id_has_the_layout_of_the_contracts() -> None:
    put = Instrument(Kind.PUT, 2, MARCH, Decimal(3_000))
    assert put.id == 3 << 120 | 2 << 104 | MARCH << 64 | 3_000 * 10**8
    assert Instrument.perpetual(1).id == 1 << 120 | 1 << 104


def test_symbol_of_an_unknown_underlying_is_its_number() -> None:
    assert Instrument.perpetual(77).symbol(NAMES) == "77-PERP"


@pytest.mark.parametrize(
    ("symbol", "problem"),
    [
        ("", "'' is not an instrument: expected a symbol such as ETH-PERP or ETH-27MAR26-3000-P"),
        ("ETH", "'ETH' is not an instrument"),
        ("ETH-27MAR26-3000", "'ETH-27MAR26-3000' is not an instrument"),
        ("-27MAR26-3000-P", "is not an instrument"),
        ("DOGE-PERP", "'DOGE-PERP': no underlying 'DOGE'; there are BTC, ETH, X-Y"),
        ("-PERP", "no underlying ''"),
        ("DOGE-27MAR26-3000-P", "no underlying 'DOGE'"),
        ("ETH-27MAR26-3000-X", "'X' is neither C (call) nor P (put)"),
        ("ETH-30FEB26-3000-P", "'30FEB26' is not an expiry; expected a day such as 27MAR26"),
        ("ETH-27MRZ26-3000-P", "'27MRZ26' is not an expiry"),
        ("ETH-27MAR26T2460-3000-P", "'27MAR26T2460' is not an expiry"),
        ("ETH-27MAR2026-3000-P", "'27MAR2026' is not an expiry"),
        ("ETH-27MAR26-1e3-P", "'1e3' is not a strike; expected dollars such as 3000 or 0.5"),
        ("ETH-27MAR26-\u0663-P", "is not a strike"),
        ("ETH-27MAR26-0-P", "strike 0 does not fit: expected above 0"),
        ("ETH-27MAR26-184467440738-P", "does not fit: expected above 0, below 184,467,440,737"),
        ("ETH-27MAR26-0.000000001-P", "with at most 8 decimals"),
        ("ETH-27MAR26-3000.0000000000000000000000000000000001-P", "with at most 8 decimals"),
    ],
)
def test_parse_says_what_is_wrong(symbol: str, problem: str) -> None:
    with pytest.raises(PlimsollError) as fault:
        Instrument.parse(symbol, UNDERLYINGS)
    assert problem in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    "number", [0, 5, 4 << 120, 1 << 120 | 1 << 104 | 1, 2 << 120 | 1 << 104 | 1 << 64, 2 << 120 | 7]
)
def test_of_refuses_what_is_no_instrument(number: int) -> None:
    with pytest.raises(PlimsollError):
        Instrument.of(number)


def test_expiry_after_is_eight_in_the_morning() -> None:
    assert expiry_after(MARCH - 8 * 3_600, 1) == expiry_after(MARCH + 16 * 3_600 - 1, 1) == MARCH + 86_400
    assert expiry_symbol(expiry_after(MARCH, 7)) == "3APR26"
