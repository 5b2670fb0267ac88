"""What a replay adds to prices: when the late traders come in, how often calibration runs and options expire, which
collateral."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from plimsoll.errors import PlimsollError

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Scenario:
    """The market's name and profile are the data's; this is only about who comes and when. Times in unix seconds."""

    late: int
    """When the late traders enter: near the top, as late traders do."""
    recalibrate_every: int
    """Seconds between calibrations."""
    expiry_every: int
    """Seconds between expiries of options, whole days; two lie ahead at any time."""
    collateral: Mapping[str, str]
    """Collateral asset → underlying, for the hedger."""
    prudent: float
    """Part of its equity that the prudent long's initial margin takes when it enters."""
    backed: float
    """The same for the long that tops up."""


def _scenario(
    late: str, recalibrate_every: int, expiry_every: int, collateral: Mapping[str, str], prudent: float, backed: float
) -> Scenario:
    at = int(datetime.fromisoformat(late).replace(tzinfo=UTC).timestamp())
    return Scenario(at, recalibrate_every, expiry_every, collateral, prudent, backed)


_CRYPTO = {"WBTC": "BTC", "WETH": "ETH"}

SCENARIOS: dict[str, Scenario] = {
    "sp500-nasdaq": _scenario("2018-01-29", 7 * DAY, 14 * DAY, {"SPXF": "SPX"}, 0.25, 0.35),
    "2020-03": _scenario("2020-03-11", DAY, 3 * DAY, _CRYPTO, 0.12, 0.25),
    "2021-05": _scenario("2021-05-18", DAY, 2 * DAY, _CRYPTO, 0.15, 0.30),
    "2022-05": _scenario("2022-05-08", DAY, 3 * DAY, _CRYPTO, 0.15, 0.30),
    "2022-11": _scenario("2022-11-07", DAY, 2 * DAY, _CRYPTO, 0.15, 0.30),
}


def scenario_for(market: str) -> Scenario:
    """The scenario of a market; PlimsollError if there is none."""
    if market not in SCENARIOS:
        raise PlimsollError(f"no scenario for market {market!r}; choose one of {', '.join(SCENARIOS)}")
    return SCENARIOS[market]
