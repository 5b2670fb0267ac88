"""What a replay's reporter publishes: the level that tails are fitted to, from the past alone, by the chain's blend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plimsoll.calibration import Report
from plimsoll.calibration.rule import Limits
from plimsoll.chain.fields import Field
from plimsoll.config import Config
from plimsoll.market import MarketData, Series, VolatilityIndex, load_market, make_series
from simulation.house import calibrated, known, starting_profile
from simulation.reporter import level_at, level_paths

DAY = 86_400
FALL = 1_517_864_400
"""The close of 5 February 2018."""
CALM = FALL - 19 * DAY
"""When no limit of the rule keeps a level from moving."""


@pytest.fixture(scope="module")
def data() -> MarketData:
    return load_market("sp500-nasdaq")


@pytest.fixture(scope="module")
def report(data: MarketData) -> Report:
    return calibrated(data, data.market.start - 1)


@pytest.fixture(scope="module")
def levels(data: MarketData, report: Report) -> dict[str, dict[int, float]]:
    return level_paths(data, report)


def test_level_paths_say_the_level_that_a_calibration_of_that_moment_finds(
    data: MarketData, report: Report, levels: dict[str, dict[int, float]]
) -> None:
    """A month later, as the market falls: nearly, of the closes alone, since the rule was chosen again meanwhile; and
    not far from it of four prints a day."""

    def closes(series: Series) -> Series:
        rows = series.ts % DAY == data.assets["SPX"].history.ts[-1] % DAY
        return make_series(series.name, series.ts[rows], series.close[rows])

    daily = replace(data, assets={name: replace(one, prints=closes(one.prints)) for name, one in data.assets.items()})
    of_closes = level_paths(daily, report)
    for close in (1_517_605_200, FALL):  # 2 and 5 February
        later = calibrated(data, close)
        for name, path in levels.items():
            found = later.evidence["assets"][name]["volatility_level"]
            assert of_closes[name][close] == pytest.approx(found, rel=0.02)
            assert path[close] == pytest.approx(found, rel=0.07)


def test_level_paths_keep_to_the_limits_on_rises_and_do_rise(levels: dict[str, dict[int, float]]) -> None:
    for path in levels.values():
        ts, level = np.array(list(path)), np.array(list(path.values()))
        for i in range(len(ts)):
            recent = (ts > ts[i] - DAY) & (ts <= ts[i])
            assert level[i] <= level[recent].min() * (1.0 + Limits().rise_1_day)
        assert level.max() > 1.5 * level[0]
        assert level.max() <= Limits().peak_to_trough * level.min()


def test_level_paths_do_not_look_ahead(data: MarketData, report: Report, levels: dict[str, dict[int, float]]) -> None:
    """Another future, of prices and of the index, changes nothing that was said before it, and what is said in it."""

    def shifted(series: Series, factor: float) -> Series:
        return make_series(series.name, series.ts, np.where(series.ts > CALM, factor * series.close, series.close))

    assert data.index is not None
    other = replace(
        data,
        assets={name: replace(one, prints=shifted(one.prints, 0.8)) for name, one in data.assets.items()},
        index=VolatilityIndex(data.index.asset, shifted(data.index.series, 3.0)),
    )
    for name, path in level_paths(other, report).items():
        assert [path[ts] for ts in path if ts <= CALM] == [level for ts, level in levels[name].items() if ts <= CALM]
        assert [path[ts] for ts in path if ts > CALM] != [level for ts, level in levels[name].items() if ts > CALM]


def test_calibrated_sees_the_index_and_none_of_its_future(data: MarketData, report: Report) -> None:
    now = data.market.start - 1
    assert data.index is not None
    changed = np.where(data.index.series.ts > now, 1.0, data.index.series.close)
    other = replace(data, index=VolatilityIndex("SPX", make_series("VIX", data.index.series.ts, changed)))
    assert calibrated(other, now).to_bytes() == report.to_bytes()
    assert calibrated(replace(data, index=None), now).hash != report.hash


def test_starting_profile_has_the_reports_numbers_and_answers_for_its_level(data: MarketData, report: Report) -> None:
    profile = starting_profile(Config.load(), data, known(data, data.market.start - 1), report)
    for name, found in report.assets.items():
        one = profile.underlying(name)
        assert float(one.parameters[Field.TAIL_INITIAL]) == found.tail_initial
        assert (
            one.parameters[Field.SURFACE_ETA]
            == Config.load().profile("sp500-nasdaq").underlying(name).parameters[Field.SURFACE_ETA]
        )  # no chains, so the report has none
        assert float(one.price.initial or 0) == data.assets[name].history.close[-1]
        assert float(one.volatility.initial or 0) == report.evidence["assets"][name]["volatility_level"]


def test_level_at_is_that_of_the_last_print() -> None:
    path = {10: 0.5, 20: 0.6, 30: 0.7}
    assert [level_at(path, ts) for ts in (10, 19, 20, 31)] == [0.5, 0.5, 0.6, 0.7]
