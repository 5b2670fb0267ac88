"""What a trade does to a perpetual's premium, and what its taker pays."""

from __future__ import annotations

import pytest

from plimsoll.margin.funding import traded_premium

WAD = 10**18
INDEX = 40_000 * WAD


@pytest.mark.parametrize(
    ("premium", "offset", "open_interest", "expected"),
    [
        (0, 0, 0, (0, 0)),  # at the index price
        (0, 80, 0, (80, 20)),  # two units, an eighth of 80 dollars each
        (0, 80, 6, (20, 20)),  # a quarter of the way
        (0, -80, 6, (-20, 20)),
        (80, 80, 6, (80, 0)),  # what it is already costs nothing
        (80, -80, 6, (40, 40)),
        (0, 1_000, 0, (200, 50)),  # the clamp is half a percent
        (-200, 1_000, 0, (200, 100)),
    ],
)
def test_traded_premium(premium: int, offset: int, open_interest: int, expected: tuple[int, int]) -> None:
    """Dollars and units; two are traded."""
    found = traded_premium(premium * WAD, 2 * WAD, INDEX + offset * WAD, INDEX, open_interest * WAD)
    assert found == (expected[0] * WAD, expected[1] * WAD)


def test_traded_premium_rounds_the_fee_up() -> None:
    assert traded_premium(0, 1, INDEX + 1, INDEX, 0) == (1, 1)
    assert traded_premium(0, 8 * WAD, INDEX + 1, INDEX, WAD) == (0, 1)
    assert traded_premium(0, 8 * WAD + 1, INDEX + 1, INDEX, WAD) == (0, 2)


@pytest.mark.parametrize("offset", [-150, 10, 150])
def test_traded_premium_costs_at_least_what_it_can_bring(offset: int) -> None:
    """However a trade is split: all funding that those who were in before can come to pay for it is their open interest
    · the move · an eighth."""
    size, interest = 3 * WAD, 7 * WAD
    for parts in (1, 3, 10):
        premium, paid, held = 0, 0, interest
        for _ in range(parts):
            premium, fee = traded_premium(premium, size // parts, INDEX + offset * WAD, INDEX, held)
            held += size // parts
            paid += fee
        assert paid >= interest * abs(premium) // WAD // 8
