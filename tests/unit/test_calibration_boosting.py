"""The challenger: its adaptive level step by step, trees that find what is there, and no look ahead."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from plimsoll.calibration.boosting import (
    FIRST_FIT,
    LEVEL_LIMITS,
    adaptive_tail,
    boosted,
    features,
    tail_factors,
)
from plimsoll.calibration.filtered import (
    LEAST_RESIDUALS,
    OTHER_SIDE,
    RESIDUAL_DECAY,
    TAIL_REFIT,
    pareto_tail_risk,
    walk_tail,
)
from plimsoll.calibration.history import History, make_history
from plimsoll.calibration.volatility import combination_sigma
from plimsoll.market.series import Series, make_series
from plimsoll.validation.forecasts import SIDES

HOUR, DAY = 3_600, 86_400


def prices(days: int = 450, seed: int = 11) -> Series:
    rng = np.random.default_rng(seed)
    level = np.exp(0.5 * np.repeat(np.cumsum(0.3 * rng.standard_normal(days // 10 + 1)), 10)[:days])
    hourly = 0.004 * np.repeat(level, 24) * rng.standard_t(4, 24 * days)
    return make_series("BTC", 1_600_041_600 + HOUR * np.arange(24 * days), 100.0 * np.exp(np.cumsum(hourly)))


@pytest.fixture(scope="module")
def history() -> History:
    return make_history(prices(), DAY)


def test_adaptive_tail_without_adapting_is_that_of_filtered_simulation():
    losses = np.random.default_rng(1).standard_t(4, 700)
    losses[:40] = np.nan
    for one, other in zip(adaptive_tail(losses, 0.01, 0.0), walk_tail(losses, 0.01, True), strict=True):
        assert np.array_equal(one, other, equal_nan=True)
        assert np.isfinite(one[139:]).all()


def test_adaptive_tail_moves_its_level_as_gibbs_and_candes():
    losses = np.random.default_rng(2).standard_t(4, 900)
    losses[500:] *= 2.0
    risk, shortfall = adaptive_tail(losses, 0.01, 0.001)
    level, levels = 0.01, []
    for row in range(LEAST_RESIDUALS - 1, 900):
        if row >= LEAST_RESIDUALS:
            level += 0.001 * (0.01 - (losses[row] > risk[row - 1]))
            level = min(max(level, LEVEL_LIMITS[0] * 0.01), LEVEL_LIMITS[1] * 0.01)
        levels.append(level)
        if (row - LEAST_RESIDUALS + 1) % (20 * TAIL_REFIT) == 0:
            weight = RESIDUAL_DECAY ** np.arange(row, -1, -1.0)
            both = np.concatenate([losses[: row + 1], -losses[: row + 1]])
            expected = pareto_tail_risk(both, np.concatenate([weight, OTHER_SIDE * weight]), level)
            assert (risk[row], shortfall[row]) == pytest.approx(expected)
    assert min(levels) < 0.007
    assert max(levels) > 0.011


def test_adaptive_tail_follows_losses_that_keep_growing():
    """Residuals that grow by half each year leave a quantile of the past behind; an adaptive level catches up."""
    growth = np.exp(np.arange(4_000) * 0.0011)
    losses = growth * np.random.default_rng(3).standard_normal(4_000)
    missed = []
    for rate in (0.0, 0.002):
        risk, _ = adaptive_tail(losses, 0.05, rate)
        missed.append(np.mean(losses[500:] > risk[499:-1]))
    assert missed[0] > 0.058
    assert abs(missed[1] - 0.05) < 0.6 * (missed[0] - 0.05)


def test_tail_factors_see_what_widens_the_tail():
    """Moves after Saturday's row are four times as wide, and σ doesn't say so: the trees must."""
    rng = np.random.default_rng(4)
    days = 900
    wide = (np.arange(days) + 4) % 7 == 6
    daily = 0.02 * np.where(wide, 4.0, 1.0) * rng.standard_normal(days)
    ts = 1_600_041_600 + HOUR * np.arange(24 * days)
    series = make_series("BTC", ts, 100.0 * np.exp(np.cumsum(np.repeat(daily / 24.0, 24))))
    history = make_history(series, DAY)
    factors = tail_factors(history, combination_sigma(history))[:, FIRST_FIT:-1]
    weekday = (history.ts[FIRST_FIT:-1] // DAY) % 7
    means = np.array([np.mean(factors[:, weekday == day]) for day in range(7)])
    assert np.sort(means)[-1] > 1.25 * np.sort(means)[-2]
    moved = np.abs(history.change[FIRST_FIT + 1 :])
    assert np.argmax(means) == np.argmax([np.mean(moved[weekday == day]) for day in range(7)])


def test_features_are_those_of_their_row(history):
    sigma = combination_sigma(history)
    table = features(history, sigma)
    assert table.shape == (len(history), 9)
    assert table[100, 0] == np.log(sigma[100])
    assert np.all(np.isnan(table[:, 7]))  # no index
    assert table[0, 8] == (history.ts[0] // DAY + 3) % 7 == 0  # 14 September 2020 was a Monday
    with_index = History(
        history.name, DAY, history.ts, history.price, history.change, history.elapsed, history.realised_variance,
        history.steps, np.full(len(history), 0.5),
    )  # fmt: skip
    assert features(with_index, sigma)[100, 7] == pytest.approx(np.log(0.5 / np.sqrt(365.0) / sigma[100]))


def test_boosted_is_deterministic_on_any_number_of_threads(history):
    first = boosted(history)
    with threadpool_limits(2, user_api="openmp"):
        second = boosted(history)
    for side in SIDES:
        assert np.array_equal(first.value_at_risk[side], second.value_at_risk[side])
        assert np.array_equal(first.expected_shortfall[side], second.expected_shortfall[side])


@pytest.mark.parametrize("row", [200, 339, 340, 400])
def test_boosted_does_not_look_ahead(history, row):
    series = prices()
    future = series.ts > history.ts[row]
    changed = make_history(make_series("BTC", series.ts, np.where(future, series.close[::-1] * 3.0, series.close)), DAY)
    assert not np.array_equal(changed.price, history.price)
    forecasts, others = boosted(history), boosted(changed)
    assert np.array_equal(forecasts.ts, others.ts)
    known = forecasts.ts <= history.ts[row]
    assert known.any()
    for side in SIDES:
        assert np.array_equal(forecasts.value_at_risk[side][known], others.value_at_risk[side][known])
        assert np.array_equal(forecasts.expected_shortfall[side][known], others.expected_shortfall[side][known])
        assert not np.array_equal(forecasts.value_at_risk[side], others.value_at_risk[side])


def test_boosted_covers_what_it_forecasts(history):
    forecasts = boosted(history)
    assert forecasts.model == "boosted"
    for side in SIDES:
        assert np.all(forecasts.expected_shortfall[side] >= forecasts.value_at_risk[side])
        assert np.all(forecasts.value_at_risk[side] > 0.0)
        exceeded = np.sum(forecasts.losses(side) > forecasts.value_at_risk[side])
        assert exceeded <= 9  # of 269 rows 2.7 are expected; ten has a probability below 0.1%
