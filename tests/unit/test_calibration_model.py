"""The mathematics of calibration against references, and `calibrate` as a pure function of its data."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.covariance import LedoitWolf

from plimsoll.calibration import CalibrationConfig, calibrate
from plimsoll.calibration.correlation import EIGENVALUE_FLOOR, ledoit_wolf, running_correlation, toward
from plimsoll.calibration.tails import (
    Moves,
    block_standard_error,
    devolatilised_moves,
    expected_shortfall,
    fit_tail,
    out_of_sample,
)
from plimsoll.errors import PlimsollError
from plimsoll.market import MARKETS, YEAR_SECONDS, Series, ewma_volatility, load_market, make_series

HOUR = 3_600
DAY = 86_400
CONFIG = CalibrationConfig()


def market(seed: int = 7, n: int = 6_000, rho: float = 0.6, nu: float = 4.0) -> dict[str, Series]:
    """Two assets with hourly Student-t returns of annual volatility 0.8 and correlation rho."""
    rng = np.random.default_rng(seed)
    normal = rng.multivariate_normal([0.0, 0.0], [[1.0, rho], [rho, 1.0]], size=n)
    returns = normal * np.sqrt((nu - 2.0) / rng.chisquare(nu, n))[:, None] * 0.8 * math.sqrt(HOUR / YEAR_SECONDS)
    prices = 100.0 * np.cumprod(1.0 + returns, axis=0)
    ts = 1_600_000_000 + HOUR * np.arange(n)
    return {name: make_series(name, ts, prices[:, i], volume=np.ones(n)) for i, name in enumerate(("BTC", "ETH"))}


# Expected shortfall


@given(
    losses=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300),
    confidence=st.sampled_from([0.5, 0.9, 0.95, 0.975, 0.99]),
)
def test_expected_shortfall_minimises_rockafellar_uryasev(losses, confidence):
    """ES = min over c of c + E[(X − c)⁺]/(1 − α), whose minimum over a sample is at one of its points."""
    x = np.array(losses)
    candidates = [c + np.mean(np.maximum(x - c, 0.0)) / (1.0 - confidence) for c in x]
    _, shortfall = expected_shortfall(x, confidence)
    assert shortfall == pytest.approx(min(candidates), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("nu", [3.0, 5.0, math.inf])
def test_expected_shortfall_of_student_t(nu):
    law = stats.norm() if math.isinf(nu) else stats.t(nu)
    n = 400_000
    sample = law.ppf((np.arange(n) + 0.5) / n)  # the law's own quantiles: no sampling noise
    quantile = float(law.ppf(0.99))
    if math.isinf(nu):
        exact = float(law.pdf(quantile)) / 0.01
    else:
        exact = float(law.pdf(quantile)) / 0.01 * (nu + quantile**2) / (nu - 1.0)
    var, shortfall = expected_shortfall(np.random.default_rng(1).permutation(sample), 0.99)
    assert var == pytest.approx(quantile, rel=1e-3)
    assert shortfall == pytest.approx(exact, rel=2e-3)


@given(
    a=st.lists(st.floats(-100, 100), min_size=20, max_size=20),
    b=st.lists(st.floats(-100, 100), min_size=20, max_size=20),
)
def test_expected_shortfall_is_subadditive(a, b):
    x, y = np.array(a), np.array(b)
    assert expected_shortfall(x + y, 0.93)[1] <= expected_shortfall(x, 0.93)[1] + expected_shortfall(y, 0.93)[1] + 1e-9


def test_block_standard_error_sees_serial_dependence():
    rng = np.random.default_rng(3)
    white = rng.normal(size=200_000)
    independent = block_standard_error(white, 50)
    assert independent == pytest.approx(1.0 / math.sqrt(200_000), rel=0.1)
    averaged = np.convolve(
        white, np.ones(8), mode="valid"
    )  # overlap of 8: the variance of the mean is 64 times white's
    assert block_standard_error(averaged, 100) == pytest.approx(8.0 * independent, rel=0.15)


def test_fit_tail_standard_error_matches_repeated_samples():
    def moves(seed: int) -> Moves:
        ts = np.arange(5_000) * HOUR
        return Moves(HOUR, ts, ts + HOUR, np.random.default_rng(seed).standard_t(5, 5_000))

    fits = [fit_tail(moves(seed), 0.99, "long") for seed in range(200)]
    spread = np.std([fit.expected_shortfall for fit in fits])
    assert np.mean([fit.standard_error for fit in fits]) == pytest.approx(spread, rel=0.2)


def test_fit_tail_counts_overlapping_returns_as_one_episode():
    ts = np.arange(1_000) * HOUR
    standardised = np.zeros(1_000)
    standardised[[100, 101, 102, 103, 500, 501, 502, 503, 504, 505]] = -5.0
    tail = fit_tail(Moves(8 * HOUR, ts, ts + 8 * HOUR, standardised), 0.99, "long")
    assert (tail.tail_count, tail.episodes) == (10, 2)
    assert tail.expected_shortfall == pytest.approx(5.0)


# Devolatilised moves


def test_devolatilised_moves_equal_their_definition_across_gaps():
    rng = np.random.default_rng(5)
    ts = HOUR * np.flatnonzero(rng.uniform(size=800) > 0.1)  # a tenth of the bars missing
    series = make_series("X", ts, np.exp(np.cumsum(rng.normal(0.0, 0.01, len(ts)))))
    volatility = rng.uniform(0.5, 1.0, len(ts))
    usable = np.arange(len(ts)) >= 20
    moves = devolatilised_moves(series, volatility, usable, 8 * HOUR)
    expected = []
    for i in range(20, len(ts)):
        later = [j for j in range(i, len(ts)) if ts[j] >= ts[i] + 8 * HOUR]
        if later:
            years = (ts[later[0]] - ts[i]) / YEAR_SECONDS
            expected.append((series.close[later[0]] / series.close[i] - 1.0) / (volatility[i] * math.sqrt(years)))
    assert np.allclose(moves.standardised, expected, rtol=1e-12)
    assert (moves.end - moves.start >= 8 * HOUR).all()


def test_out_of_sample_counts_on_the_last_part_only():
    ts = np.arange(2_000) * HOUR
    standardised = np.tile([1.0, -1.0], 1_000)
    standardised[1_600:1_610] = 1.5
    standardised[:5] = 0.0
    moves = Moves(4 * HOUR, ts, ts + 4 * HOUR, standardised)
    exceedances, returns = out_of_sample(moves, 0.99, 0.7)
    assert exceedances == 10
    assert returns == 600 - 3  # three returns start before the fitted part's last one ends


# Correlation


@given(n=st.integers(5, 60), p=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_ledoit_wolf_equals_its_definition(n, p, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(4, (n, p)) @ rng.normal(size=(p, p))
    centred = x - x.mean(axis=0)
    sample = sum(np.outer(row, row) for row in centred) / n
    mu = np.trace(sample) / p
    distance = np.linalg.norm(sample - mu * np.eye(p)) ** 2 / p
    spread = sum(np.linalg.norm(np.outer(row, row) - sample) ** 2 for row in centred) / n**2 / p
    intensity = min(spread, distance) / distance if p > 1 else 0.0
    covariance, delta = ledoit_wolf(x)
    if p > 1:
        assert delta == pytest.approx(intensity, rel=1e-6)
        assert np.allclose(covariance, (1 - intensity) * sample + intensity * mu * np.eye(p), rtol=1e-6, atol=1e-9)
    else:
        assert np.allclose(covariance, sample)


def test_ledoit_wolf_equals_scikit_learn():
    rng = np.random.default_rng(11)
    x = rng.standard_t(5, (300, 5)) @ rng.normal(size=(5, 5))
    reference = LedoitWolf().fit(x)
    ours, intensity = ledoit_wolf(x)
    assert intensity == pytest.approx(reference.shrinkage_, rel=1e-9)
    assert np.allclose(ours, reference.covariance_, rtol=1e-9)


@given(p=st.integers(2, 7), seed=st.integers(0, 2**32 - 1))
def test_toward_is_positive_definite_and_between(p, seed):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(p, p + 2))
    covariance = factor @ factor.T + 0.1 * np.eye(p)
    scale = np.sqrt(np.diag(covariance))
    central = covariance / np.outer(scale, scale)
    if np.linalg.eigvalsh(central)[0] < EIGENVALUE_FLOOR:
        return
    upper = np.triu(rng.uniform(0.0, 1.0, (p, p)), 1)
    for target in (central + (0.99 - central) * (upper + upper.T), central - (0.99 + central) * (upper + upper.T)):
        np.fill_diagonal(target, 1.0)
        repaired = toward(central, target)
        assert np.linalg.eigvalsh(repaired)[0] >= EIGENVALUE_FLOOR * (1 - 1e-6)
        assert np.allclose(np.diag(repaired), 1.0)
        assert (np.minimum(central, target) - 1e-12 <= repaired).all()
        assert (repaired <= np.maximum(central, target) + 1e-12).all()
        if np.linalg.eigvalsh(target)[0] >= EIGENVALUE_FLOOR:
            assert (repaired == target).all()


def test_running_correlation_equals_its_recursion():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 300))
    weights = 2.0 ** (-np.arange(300)[::-1] / 20)
    expected = np.sum(weights * x * y) / math.sqrt(np.sum(weights * x * x) * np.sum(weights * y * y))
    running = running_correlation(DAY * np.arange(1, 301), x, y, 20 * DAY, 0.74)
    assert running[-1] == pytest.approx(expected, rel=1e-12)
    assert len(running) == 300 - 38  # the weight is 0.74 after 38.9 days


# The whole calibration


def test_calibrate_recovers_known_parameters():
    report = calibrate("test", market(n=40_000, nu=1e6, rho=0.6), CONFIG)
    normal = float(stats.norm.pdf(stats.norm.ppf(0.99))) / 0.01  # ES of a standard normal: 2.665
    for asset in report.assets.values():
        assert asset.tail_initial == pytest.approx(normal, rel=0.1)
        assert asset.tail_maintenance == pytest.approx(normal, rel=0.1)
        assert 0.7 < asset.volatility_floor < asset.volatility_stress < 0.9
    (pair,) = report.correlation
    assert pair.pair == ("BTC", "ETH")
    assert pair.low < 0.6 < pair.high
    assert report.coverage > 0.98


def test_calibrate_is_the_fit_of_its_parts():
    """The numbers of the report, computed here again from the definitions."""
    assets = market()
    report = calibrate("test", assets, CONFIG)
    series = assets["BTC"]
    volatility, weight = ewma_volatility(series, CONFIG.half_life)
    usable = weight >= 0.75
    for horizon, fitted in (
        (8 * HOUR, report.assets["BTC"].tail_initial),
        (2 * HOUR, report.assets["BTC"].tail_maintenance),
    ):
        step = horizon // HOUR
        z = (series.close[step:] / series.close[:-step] - 1.0) / (
            volatility[:-step] * math.sqrt(horizon / YEAR_SECONDS)
        )
        z = np.sort(z[usable[:-step]])
        mass = 0.01 * len(z)
        k = int(mass)
        long = (-z[:k].sum() - (mass - k) * z[k]) / mass
        short = (z[::-1][:k].sum() + (mass - k) * z[::-1][k]) / mass
        assert fitted == pytest.approx(max(long, short), rel=1e-9)
    history = volatility[usable]
    worst = np.sort(history)[-math.ceil(0.1 * len(history)) :]
    assert report.assets["BTC"].volatility_stress == pytest.approx(worst.mean(), rel=1e-9)
    assert report.assets["BTC"].volatility_floor == pytest.approx(np.quantile(history, 0.05), rel=1e-9)
    assert report.assets["BTC"].volatility_cap == pytest.approx(2.0 * history.max(), rel=1e-9)
    assert report.assets["BTC"].average_daily_volume == pytest.approx(24 * series.close[-720:].mean(), rel=1e-9)


def test_calibrate_is_scale_free():
    """Prices in cents give the same shape as prices in dollars."""
    assets = market()
    cents = {name: make_series(name, s.ts, s.close * 100.0) for name, s in assets.items()}
    one, other = calibrate("test", assets, CONFIG), calibrate("test", cents, CONFIG)
    for name in assets:
        assert other.assets[name].tail_initial == pytest.approx(one.assets[name].tail_initial, rel=1e-9)
        assert other.assets[name].volatility_stress == pytest.approx(one.assets[name].volatility_stress, rel=1e-9)


def test_calibrate_gives_the_same_bytes_whatever_the_order():
    assets = market()
    turned = dict(reversed(assets.items()))
    assert calibrate("test", assets, CONFIG).to_bytes() == calibrate("test", turned, CONFIG).to_bytes()


def test_calibrate_gives_the_same_bytes_in_other_processes():
    code = (
        "from plimsoll.market import load_market; from plimsoll.calibration import *\n"
        "data = load_market('sp500-nasdaq')\n"
        "print(calibrate('sp500-nasdaq', data.histories(), CalibrationConfig.for_market(data.market)).hash)"
    )
    hashes = set()
    for seed, threads in (("0", "1"), ("12345", "2")):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        hashes.add(run.stdout.strip())
    data = load_market("sp500-nasdaq")
    hashes.add(calibrate("sp500-nasdaq", data.histories(), CalibrationConfig.for_market(data.market)).hash)
    assert len(hashes) == 1


def test_calibrate_does_not_look_ahead():
    assets = market()
    as_of = int(assets["BTC"].ts[4_000])
    perturbed = {
        name: make_series(name, s.ts, np.where(s.ts > as_of, s.close * 3.0, s.close), volume=s.volume)
        for name, s in assets.items()
    }
    before, after = (calibrate("test", a, CONFIG, as_of=as_of).to_bytes() for a in (assets, perturbed))
    assert before == after
    assert calibrate("test", assets, CONFIG).to_bytes() != calibrate("test", perturbed, CONFIG).to_bytes()


def test_calibrate_every_configured_number_matters_and_is_recorded():
    assets = market()
    base = calibrate("test", assets, CONFIG)
    for change in (
        {"initial_horizon": 6 * HOUR},
        {"maintenance_horizon": HOUR},
        {"half_life": 5 * DAY},
        {"confidence": 0.98},
        {"stress_share": 0.2},
        {"floor_quantile": 0.1},
        {"cap_multiple": 3.0},
        {"correlation_step": 2 * DAY},
        {"correlation_half_life": 20 * DAY},
        {"correlation_quantile": 0.4},
        {"fit_fraction": 0.4},
        {"volume_days": 10},
    ):
        other = calibrate("test", assets, replace(CONFIG, **change))
        assert other.configuration != base.configuration
        assert (other.assets, other.correlation, other.evidence) != (base.assets, base.correlation, base.evidence), (
            change
        )


def test_calibrate_one_asset_has_no_correlation():
    assets = market()
    assert calibrate("test", {"BTC": assets["BTC"]}, CONFIG).correlation == ()


def flat(n: int) -> Series:
    return make_series("BTC", HOUR * np.arange(n), np.full(n, 5.0))


@pytest.mark.parametrize(
    ("make", "config", "message"),
    [
        (dict, {}, "no series; give at least one"),
        (lambda: {"BTC": market(n=100)["BTC"]}, {}, "BTC: the history is shorter than two half-lives of 864000 s"),
        (lambda: {"BTC": market(n=1_000)["BTC"]}, {}, "BTC: [0-9] separate moves lie beyond the 99% quantile"),
        (lambda: {"BTC": flat(5_000)}, {}, "BTC: the price stands still"),
        (lambda: {"BTC": market()["BTC"]}, {"maintenance_horizon": 1_800}, "cannot be measured on bars of 3600 s"),
        (
            lambda: {"BTC": market()["BTC"], "ETH": replace(market()["ETH"], ts=market()["ETH"].ts + 1)},
            {},
            "BTC and ETH share 0 steps of 86400 s",
        ),
    ],
)
def test_calibrate_refuses(make, config, message):
    with pytest.raises(PlimsollError, match=message) as caught:
        calibrate("test", make(), replace(CONFIG, **config))
    assert "\n" not in str(caught.value)


def test_toward_refuses_assets_that_move_as_one():
    with pytest.raises(PlimsollError, match="two assets move as one"):
        toward(np.ones((2, 2)), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 1.0}, "confidence is 1.0; it must be below 1"),
        ({"half_life": 0}, "half_life is 0; it must be above zero"),
        ({"stress_share": math.nan}, "stress_share is nan"),
        ({"maintenance_horizon": 9 * HOUR}, "maintenance horizon of 32400 s is longer"),
        ({"cap_multiple": 0.5}, "cap_multiple is 0.5; it must be at least 1"),
    ],
)
def test_configuration_refuses(change, message):
    with pytest.raises(PlimsollError, match=message):
        replace(CONFIG, **change)


def check_market(name: str) -> None:
    data = load_market(name)
    report = calibrate(name, data.histories(), CalibrationConfig.for_market(data.market))
    for asset in report.assets.values():
        assert 2.665 < asset.tail_initial < 6  # fatter than normal
        assert 2.665 < asset.tail_maintenance < 6
        assert 0.04 < asset.volatility_floor < asset.volatility_stress < asset.volatility_cap < 6
    assert report.coverage > 0.985
    assert 0.1 < report.correlation[0].low < report.correlation[0].high < 1.0
    horizons = [data.market.maintenance_horizon, data.market.initial_horizon]
    for asset in report.assets.values():  # ORDER
        ranges = [z * math.sqrt(h) for z, h in zip((asset.tail_maintenance, asset.tail_initial), horizons, strict=True)]
        assert all(a < b for a, b in pairwise(ranges))


def test_calibrate_sp500_nasdaq():
    check_market("sp500-nasdaq")


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name, one in MARKETS.items() if one.files is not None])
def test_calibrate_crypto(name):
    check_market(name)
