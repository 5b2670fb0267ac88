"""The margin rule: its limits hold on every path, its online state is its path, and it is what its text says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.calibration.rule import DAY, Limits, MarginRule, RuleState, margins, project, targets
from plimsoll.errors import PlimsollError
from plimsoll.validation.procyclicality import procyclicality

T0 = 1_600_000_000
YEAR = 365 * 86_400


def wild(seed: int, n: int = 900, gaps: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Times and forecasts whose volatility jumps tenfold and back."""
    rng = np.random.default_rng(seed)
    step = rng.choice([DAY // 3, DAY, DAY, DAY, 3 * DAY, 9 * DAY], n) if gaps else np.full(n, DAY)
    jumps = np.where(rng.random(n) < 0.03, rng.normal(0, 1.5, n), 0.0)
    x = np.zeros(n)
    for i in range(1, n):
        x[i] = 0.95 * x[i - 1] + jumps[i] + 0.1 * rng.normal()
    return T0 + np.cumsum(step), 0.04 * np.exp(x)


def by_definition(ts: np.ndarray, target: np.ndarray, limits: Limits) -> np.ndarray:
    """Step 3 of the rule's text, margin by margin, with no queue: a margin is in force until the next one."""
    out: list[float] = []
    for i, now in enumerate(ts):
        low, high = 0.0, math.inf
        for number, (seconds, factor) in enumerate(limits.bounds):
            past = [out[j] for j in range(i) if ts[j + 1] > now - seconds]
            if past:
                high = min(high, min(past) * factor)
                low = max(low, max(past) / factor) if number == 0 else low
        out.append(min(max(target[i], low), high))
    return np.array(out)


@pytest.mark.parametrize("gaps", [False, True])
def test_project_isItsDefinition(gaps):
    limits = Limits()
    ts, target = wild(1, gaps=gaps)
    margin = project(ts, target, limits)
    np.testing.assert_allclose(margin, by_definition(ts, target, limits), rtol=1e-6)
    assert np.max(np.abs(np.log(margin / target))) > 0.5, "the limits must bind somewhere for this to test anything"


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("limits", [Limits(), Limits(1.2, 0.02, 0.05), Limits(4.0, 0.5, 0.6)])
def test_margins_keepLimits_asValidationMeasuresThem(gaps, limits):
    """The measure is another module's, and the forecasts would break every limit by far."""
    for seed in range(5):
        ts, forecast = wild(seed, gaps=gaps)
        rule = MarginRule(multiplier=4.0, fast=3.0, slow=2.0, below=0.3, limits=limits)
        path = procyclicality(ts, margins(rule, ts, forecast))
        assert path.peak_to_trough <= limits.peak_to_trough
        assert path.worst_1_day_rise <= limits.rise_1_day
        assert path.worst_5_day_rise <= limits.rise_5_days
        free = procyclicality(ts, forecast)
        assert free.peak_to_trough > limits.peak_to_trough
        assert free.worst_1_day_rise > limits.rise_1_day


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40 * DAY), st.floats(1e-3, 1e3)), min_size=2, max_size=60),
    st.floats(1.01, 5.0),
    st.floats(0.01, 2.0),
    st.floats(0.01, 2.0),
)
def test_project_intervalIsNeverEmpty(steps, depth, day, five):
    """The proof in the rule's text: highest/D ≤ lowest ≤ every bound above."""
    limits = Limits(depth, day, five)
    ts = T0 + np.cumsum([step for step, _ in steps])
    margin = project(ts, np.array([target for _, target in steps]), limits)
    for i in range(1, len(ts)):
        for number, (seconds, factor) in enumerate(limits.bounds):
            past = [margin[j] for j in range(i) if ts[j + 1] > ts[i] - seconds]
            assert margin[i] <= min(past) * factor
            assert number > 0 or margin[i] >= max(past) / factor


def test_project_leavesAQuietTargetAlone():
    ts = T0 + DAY * np.arange(800)
    target = 0.1 * np.exp(0.2 * np.sin(np.arange(800) / 60.0))
    np.testing.assert_array_equal(project(ts, target, Limits()), target)


def test_targets_areTheFormula():
    """s by its sum, a by its sum, power by power."""
    ts, forecast = wild(3, 60, gaps=True)
    rule = MarginRule(multiplier=3.5, memory_days=7.0, fast=1.4, slow=0.6, below=0.4)
    x = np.log(forecast)
    for i in (0, 1, 17, 59):
        weight = np.exp((ts[: i + 1] - ts[i]) / (7.0 * DAY))
        recent, mean = np.average(x[: i + 1], weights=weight), np.mean(x[: i + 1])
        answer = np.clip(1.4 * (x[i] - recent) + 0.6 * (recent - mean), -0.4 * math.log(1.7), 0.6 * math.log(1.7))
        assert targets(rule, ts, forecast)[i] == pytest.approx(3.5 * math.exp(mean + answer), rel=1e-12)


def test_targets_ofAPlainRuleInsideTheBand_areTheForecast():
    ts = T0 + DAY * np.arange(50)
    forecast = 0.05 * np.exp(0.1 * np.cos(np.arange(50)))
    np.testing.assert_allclose(targets(MarginRule(multiplier=2.0), ts, forecast), 2.0 * forecast, rtol=1e-12)


@pytest.mark.parametrize("gaps", [False, True])
def test_state_isThePath_throughSavingAndLoading(gaps):
    """Saved as strict JSON text and loaded again every hundred updates."""
    rule = MarginRule(multiplier=4.0, fast=1.5, slow=0.75, below=0.4)
    ts, forecast = wild(5, gaps=gaps)
    state, online = RuleState(rule), []
    for i in range(len(ts)):
        if i % 100 == 50:
            state = RuleState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))
        online.append(state.update(int(ts[i]), float(forecast[i])))
    np.testing.assert_allclose(online, margins(rule, ts, forecast), rtol=1e-13)


def test_state_forgetsWhatIsOlderThanAYear():
    ts, forecast = wild(6, 3000)
    state = RuleState(MarginRule())
    for now, one in zip(ts, forecast, strict=True):
        state.update(int(now), float(one))
        assert all(len(queue) <= 366 for queue in (state.highest, *state.lowest))
    oldest = min(queue[0][0] for queue in (state.highest, *state.lowest))
    assert oldest > ts[-1] - YEAR


def test_state_keepsLimitsAcrossAPushOfParameters():
    ts, forecast = wild(7)
    state, path = RuleState(MarginRule(multiplier=3.0)), []
    for i, (now, one) in enumerate(zip(ts, forecast, strict=True)):
        if i == 450:
            state.rule = replace(state.rule, multiplier=9.0, fast=3.0)
        path.append(state.update(int(now), float(one)))
    measured = procyclicality(ts, path)
    assert measured.peak_to_trough <= 1.7
    assert measured.worst_1_day_rise <= 0.12


def test_update_doesNotLookAhead():
    ts, forecast = wild(8)
    later = forecast.copy()
    later[500:] *= 7.0
    rule = MarginRule()
    np.testing.assert_array_equal(margins(rule, ts, forecast)[:500], margins(rule, ts, later)[:500])
    assert np.any(margins(rule, ts, forecast)[500:] != margins(rule, ts, later)[500:])


@pytest.mark.parametrize(("ts", "forecast"), [(T0, 0.1), (T0 - 1, 0.1), (T0 + 1, 0.0), (T0 + 1, math.nan)])
def test_update_revertsIfOutOfOrderOrNoForecast_andKeepsItsState(ts, forecast):
    state = RuleState(MarginRule())
    state.update(T0, 0.05)
    before = state.to_json()
    with pytest.raises(PlimsollError):
        state.update(ts, forecast)
    assert state.to_json() == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(1.0),
        lambda: Limits(1.7, 0.0),
        lambda: Limits(1.7, 0.12, math.nan),
        lambda: Limits(confidence=1.0),
        lambda: MarginRule(multiplier=0.0),
        lambda: MarginRule(fast=math.inf),
        lambda: MarginRule(below=1.5),
        lambda: RuleState.from_json({"rule": {}}),
        lambda: margins(MarginRule(), np.array([2, 1]), np.array([0.1, 0.1])),
        lambda: margins(MarginRule(), np.array([1, 2]), np.array([0.1, math.nan])),
    ],
)
def test_rule_revertsIfSenseless(make):
    with pytest.raises(PlimsollError):
        make()
