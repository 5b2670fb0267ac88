"""The hidden Markov model against statsmodels and against sums over every path; labels by hand; nothing looks ahead."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from scipy import stats
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from plimsoll.calibration.history import History, make_history
from plimsoll.calibration.regime import (
    CALM,
    FIRST_FIT,
    STRESSED,
    TENSE,
    HiddenMarkov,
    fit_hidden_markov,
    hamilton_filter,
    hmm,
    hysteresis,
    regime_multiplier,
    tail_scales,
    walk_forward_regimes,
)
from plimsoll.calibration.tails import expected_shortfall
from plimsoll.calibration.volatility import combination_sigma
from plimsoll.errors import PlimsollError
from plimsoll.market.series import Series, make_series
from plimsoll.validation.forecasts import SIDES

HOUR, DAY = 3_600, 86_400
MODEL = HiddenMarkov(
    mean=np.array([-4.0, -3.2, -2.5]),
    deviation=np.array([0.3, 0.25, 0.4]),
    transition=np.array([[0.95, 0.04, 0.01], [0.05, 0.9, 0.05], [0.02, 0.08, 0.9]]),
    initial=np.array([0.5, 0.3, 0.2]),
)


def stationary(transition: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eig(transition.T)
    vector = np.real(vectors[:, np.argmax(np.real(values))])
    return vector / np.sum(vector)


def draw(model: HiddenMarkov, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    states = [rng.choice(3, p=model.initial)]
    for _ in range(n - 1):
        states.append(rng.choice(3, p=model.transition[states[-1]]))
    path = np.array(states)
    return model.mean[path] + model.deviation[path] * rng.standard_normal(n), path


def prices(seed: int = 3, days: int = 420) -> Series:
    """Hourly prices whose daily volatility is 1.5%, 3% or 7%, in spells."""
    rng = np.random.default_rng(seed)
    _, path = draw(MODEL, days, seed)
    hourly = np.repeat(np.array([0.015, 0.03, 0.07])[path], 24) / np.sqrt(24.0) * rng.standard_t(5, 24 * days) / 1.3
    return make_series("BTC", 1_600_041_600 + HOUR * np.arange(24 * days), 100.0 * np.exp(np.cumsum(hourly)))


def other_future(series: Series, ts: int) -> Series:
    return make_series("BTC", series.ts, np.where(series.ts <= ts, series.close, series.close[::-1] * 3.0))


@pytest.fixture(scope="module")
def history() -> History:
    return make_history(prices(), DAY)


def test_hamilton_filter_is_the_sum_over_every_path():
    x, _ = draw(MODEL, 7, seed=1)
    filtered, likelihood = hamilton_filter(x, MODEL)
    density = stats.norm.pdf(x[:, None], MODEL.mean, MODEL.deviation)
    for t in range(len(x)):
        by_state = np.zeros(3)
        for path in product(range(3), repeat=t + 1):
            weight = MODEL.initial[path[0]] * density[0, path[0]]
            for s in range(1, t + 1):
                weight *= MODEL.transition[path[s - 1], path[s]] * density[s, path[s]]
            by_state[path[-1]] += weight
        assert filtered[t] == pytest.approx(by_state / np.sum(by_state), rel=1e-12)
    assert likelihood == pytest.approx(np.log(np.sum(by_state)), rel=1e-12)


def test_hamilton_filter_equals_statsmodels():
    model = HiddenMarkov(MODEL.mean, MODEL.deviation, MODEL.transition, stationary(MODEL.transition))
    x, _ = draw(model, 800, seed=2)
    reference = MarkovRegression(x, k_regimes=3, switching_variance=True)
    probabilities = [model.transition[i, j] for j in range(2) for i in range(3)]
    results = reference.filter(np.concatenate([probabilities, model.mean, model.deviation**2]))
    filtered, likelihood = hamilton_filter(x, model)
    assert likelihood == pytest.approx(results.llf, rel=1e-10)
    assert filtered == pytest.approx(np.asarray(results.filtered_marginal_probabilities), abs=1e-9)


def test_fit_hidden_markov_finds_the_maximum_that_statsmodels_finds():
    x, _ = draw(MODEL, 1_500, seed=4)
    fitted = fit_hidden_markov(x)
    reference = MarkovRegression(x, k_regimes=3, switching_variance=True)
    start = np.concatenate([[0.9, 0.05, 0.05, 0.05, 0.9, 0.05], [-4.2, -3.4, -2.4], [0.1, 0.1, 0.1]])
    best = reference.fit(start_params=start, disp=False)
    means = np.array([best.params[list(best.model.param_names).index(f"const[{k}]")] for k in range(3)])
    # the likelihood here is higher by what a free first state is worth, a point or two
    assert -0.01 < hamilton_filter(x, fitted)[1] - best.llf < 3.0
    assert fitted.mean == pytest.approx(np.sort(means), abs=0.01)
    assert fitted.transition == pytest.approx(MODEL.transition, abs=0.03)
    assert np.sum(fitted.transition, axis=1) == pytest.approx(np.ones(3))
    assert np.all(np.diff(fitted.mean) > 0.0)


def test_fit_hidden_markov_is_deterministic_and_does_not_fear_repeated_values():
    x, _ = draw(MODEL, 300, seed=5)
    first, second = fit_hidden_markov(x), fit_hidden_markov(x.copy())
    assert np.array_equal(first.transition, second.transition)
    flat = np.concatenate([np.full(100, -4.0), x])
    assert np.all(np.isfinite(hamilton_filter(flat, fit_hidden_markov(flat))[0]))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(29), "29 rows, and 30 are needed for 3 states"),
        (np.append(np.arange(40.0), np.nan), "not a finite number"),
        (np.ones(40), "volatility never changes"),
    ],
)
def test_fit_hidden_markov_says_what_is_wrong(x, message):
    with pytest.raises(PlimsollError, match=message):
        fit_hidden_markov(x)


def test_hysteresis_by_hand():
    calm, wavers, tense, stressed = [0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]
    rows = np.array([calm, wavers, tense, wavers, calm, calm, calm, stressed, calm, calm, calm, calm, calm, calm])
    labels = hysteresis(rows, 0.8, 0.3, 3, CALM, 0)
    # wavering moves nothing; three rows after a change at the earliest, and down one step at a time
    expected = [CALM, CALM, TENSE, TENSE, TENSE, CALM, CALM, STRESSED, STRESSED, STRESSED, TENSE, TENSE, TENSE, CALM]
    assert labels.tolist() == expected
    # 0.45 each: surely not calm, not surely stressed
    assert hysteresis(np.array([[0.1, 0.45, 0.45]]), 0.8, 0.3, 3, CALM, 0).tolist() == [TENSE]
    assert hysteresis(rows[4:6], 0.8, 0.3, 3, TENSE, 2).tolist() == [CALM, CALM]
    assert hysteresis(rows[4:6], 0.8, 0.3, 3, TENSE, 0).tolist() == [TENSE, TENSE]


def test_tail_scales_are_shortfall_ratios_shrunk():
    rng = np.random.default_rng(6)
    z = rng.standard_normal(3_000) * np.repeat([0.5, 1.0, 2.0], 1_000)
    label = np.repeat([0, 1, 2], 1_000)
    overall = expected_shortfall(np.abs(z), 0.975)[1]
    own = [expected_shortfall(np.abs(z[label == k]), 0.975)[1] for k in range(3)]
    assert tail_scales(z, label) == pytest.approx([(1_000 * e / overall + 250) / 1_250 for e in own])
    assert tail_scales(z[:2_010], label[:2_010])[2] == 1.0  # ten rows say nothing about a tail
    assert tail_scales(z[:5], label[:5]).tolist() == [1.0, 1.0, 1.0]


def test_walk_forward_regimes_find_the_spells(history):
    regimes = walk_forward_regimes(history)
    _, path = draw(MODEL, 420, 3)
    truth = path[(history.ts[regimes.first :] - prices().ts[0]) // DAY]
    assert np.sum(regimes.probability, axis=1) == pytest.approx(np.ones(len(regimes.label)))
    assert {CALM, STRESSED} <= set(regimes.label.tolist())
    means = [np.mean(regimes.label[truth == k]) for k in (CALM, STRESSED)]
    assert means[0] + 0.7 < means[1]


def test_walk_forward_regimes_carry_the_label_over_refits(history):
    """The stay that a label needs is counted through refits: no label leaves sooner than ten rows after it came,
    unless upwards."""
    label = walk_forward_regimes(history, refit=7).label
    changes = np.flatnonzero(np.diff(label)) + 1
    assert len(changes) > 4
    for before, after in pairwise(changes):
        assert label[after] > label[after - 1] or after - before >= 10


def test_walk_forward_regimes_need_a_history(history):
    short = make_history(prices(days=100), DAY)
    with pytest.raises(PlimsollError, match=f"the regime model needs more than {FIRST_FIT}"):
        walk_forward_regimes(short)


@pytest.mark.parametrize("row", [150, 233, 300])
def test_regimes_and_hmm_do_not_look_ahead(history, row):
    series = prices()
    changed = make_history(other_future(series, int(history.ts[row])), DAY)
    assert np.array_equal(changed.ts, history.ts)
    assert not np.array_equal(changed.price, history.price)
    one, other = walk_forward_regimes(history), walk_forward_regimes(changed)
    known = row + 1 - one.first
    assert np.array_equal(one.probability[:known], other.probability[:known])
    assert np.array_equal(one.label[:known], other.label[:known])
    scales = [regime_multiplier(h, combination_sigma(h), r) for h, r in ((history, one), (changed, other))]
    assert np.array_equal(scales[0][:known], scales[1][:known])
    assert np.all(scales[0] >= 1.0)
    forecasts, others = hmm(history), hmm(changed)
    rows = forecasts.ts <= history.ts[row]
    assert rows.any() == (row > 150)
    assert np.array_equal(forecasts.ts, others.ts)
    for side in SIDES:
        assert np.array_equal(forecasts.value_at_risk[side][rows], others.value_at_risk[side][rows])
        assert np.array_equal(forecasts.expected_shortfall[side][rows], others.expected_shortfall[side][rows])
        assert not np.array_equal(forecasts.expected_shortfall[side], others.expected_shortfall[side])


def test_hmm_forecasts_are_ordered_and_finite(history):
    forecasts = hmm(history)
    assert forecasts.model == "hmm"
    for side in SIDES:
        assert np.all(forecasts.expected_shortfall[side] >= forecasts.value_at_risk[side])
        assert np.all(forecasts.value_at_risk[side] > 0.0)
