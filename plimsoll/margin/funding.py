"""What a trade in a perpetual would do to its premium, and cost its taker, as FundingMath.tradeUp in the contracts.

Exact integers; amounts in wad.
"""

from __future__ import annotations

from plimsoll.config import WAD

PART_OF_PERIOD = 8
"""The premium's time constant, an hour, into the funding period of eight."""
MOST_PREMIUM = 200
"""A premium is at most one part in so many of the index price."""


def traded_premium(premium: int, size: int, price: int, index: int, open_interest: int) -> tuple[int, int]:
    """(premium after the trade, fee of its taker): the mean premium moves towards price − index by size / (size + open
    interest) of the gap, and the fee is size · gap · an eighth, rounded up.

    premium, price, index: dollars a unit. size: units, above 0. open_interest: units before the trade. fee: dollars.
    """
    limit = index // MOST_PREMIUM
    distance = min(max(price - index, -limit), limit) - premium
    moved = abs(distance) * size // (size + open_interest)
    fee = -(-size * abs(distance) // (PART_OF_PERIOD * WAD))
    return premium + (moved if distance > 0 else -moved), fee
