"""What the replay's house decides by itself."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simulation.house import tick_of, wad


@pytest.mark.parametrize(
    ("price", "tick"),
    [(2_700.0, "20"), (7_000.0, "50"), (40_000.0, "200"), (229.0, "2"), (100.0, "1"), (99.9, "0.5"), (0.37, "0.002")],
)
def test_tick_of_is_round_and_at_most_a_hundredth_of_the_price(price: float, tick: str) -> None:
    assert tick_of(price) == Decimal(tick)
    assert price / 300 < tick_of(price) <= Decimal(price) / 100


def test_wad_is_the_same_on_every_machine() -> None:
    assert wad(0.1) == 10**17
    assert wad(-1234.5678) == -1234567800000000000000
