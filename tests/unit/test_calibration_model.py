"""The mathematics of calibration against references, and `calibrate` as a pure function of its data."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from plimsoll.calibration import CalibrationConfig, Report, calibrate
from plimsoll.calibration.model import Sources, run
from plimsoll.calibration.tails import (
    Moves,
    block_standard_error,
    devolatilised_moves,
    expected_shortfall,
    fit_tail,
    out_of_sample,
)
from plimsoll.errors import PlimsollError
from plimsoll.market import MARKETS, YEAR_SECONDS, Series, VolatilityIndex, ewma_volatility, load_market, make_series
from plimsoll.market.depth import Depth

HOUR = 3_600
DAY = 86_400
CONFIG = CalibrationConfig()


def market(seed: int = 7, n: int = 8_000, rho: float = 0.6, nu: float = 4.0) -> dict[str, Series]:
    """Two assets with hourly Student-t returns of annual volatility 0.8 and correlation rho."""
    rng = np.random.default_rng(seed)
    normal = rng.multivariate_normal([0.0, 0.0], [[1.0, rho], [rho, 1.0]], size=n)
    returns = normal * np.sqrt((nu - 2.0) / rng.chisquare(nu, n))[:, None] * 0.8 * math.sqrt(HOUR / YEAR_SECONDS)
    prices = 100.0 * np.cumprod(1.0 + returns, axis=0)
    ts = 1_600_000_000 + HOUR * np.arange(n)
    volume = np.exp(rng.normal(8.0, 0.5, n))
    return {name: make_series(name, ts, prices[:, i], volume=volume) for i, name in enumerate(("BTC", "ETH"))}


def index_of(series: Series, after: int = 0) -> VolatilityIndex:
    """A daily index round 80%, for `after` days longer than the series."""
    ts = np.arange(int(series.ts[0]), int(series.ts[-1]) + after * DAY, DAY, dtype=np.int64)
    noise = np.random.default_rng(5).normal(0.0, 0.03, len(ts))
    return VolatilityIndex("BTC", make_series("DVOL", ts, 0.8 * np.exp(0.2 * np.sin(np.arange(len(ts)) / 9) + noise)))


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
    """The numbers of the report, computed here again from the definitions and the level."""
    assets = market()
    found = run("test", assets, CONFIG)
    report, series, level = found.report, assets["BTC"], found.levels["BTC"]
    usable = level > 0.0
    for horizon, fitted in (
        (8 * HOUR, report.assets["BTC"].tail_initial),
        (2 * HOUR, report.assets["BTC"].tail_maintenance),
    ):
        step = horizon // HOUR
        known = usable[:-step]
        z = (series.close[step:] / series.close[:-step] - 1.0)[known]
        z = np.sort(z / (level[:-step][known] * math.sqrt(horizon / YEAR_SECONDS)))
        mass = 0.01 * len(z)
        k = int(mass)
        long = (-z[:k].sum() - (mass - k) * z[k]) / mass
        short = (z[::-1][:k].sum() + (mass - k) * z[::-1][k]) / mass
        assert fitted == pytest.approx(max(long, short), rel=1e-9)
    history = level[usable]
    worst = np.sort(history)[-math.ceil(0.1 * len(history)) :]
    parameters = report.assets["BTC"]
    assert parameters.volatility_stress == pytest.approx(worst.mean(), rel=1e-9)
    assert parameters.volatility_floor == pytest.approx(np.quantile(history, 0.05), rel=1e-9)
    realised = ewma_volatility(assets["BTC"], CONFIG.half_life)[0][usable]
    assert parameters.volatility_cap == pytest.approx(2.0 * realised.max(), rel=1e-9)


def test_calibrate_keeps_the_level_within_its_limits():
    """On every path, within any year: highest over lowest, and the worst rise of a day."""
    level = run("test", market(n=10_000, nu=3.0), CONFIG).levels["BTC"]
    level = level[level > 0.0]
    assert level.max() / level.min() <= 1.7 + 1e-9  # less than a year of levels
    assert max(float(level[i : i + 25].max() / level[i]) for i in range(len(level) - 25)) <= 1.12 + 1e-9
    assert level.std() > 0.01


def test_calibrate_is_scale_free():
    """Prices in cents give the same shape as prices in dollars."""
    assets = market()
    cents = {name: make_series(name, s.ts, s.close * 100.0) for name, s in assets.items()}
    one, other = calibrate("test", assets, CONFIG), calibrate("test", cents, CONFIG)
    for name in assets:
        assert other.assets[name].tail_initial == pytest.approx(one.assets[name].tail_initial, rel=1e-6)
        assert other.assets[name].volatility_stress == pytest.approx(one.assets[name].volatility_stress, rel=1e-6)


def test_calibrate_gives_the_same_bytes_whatever_the_order():
    assets = market()
    turned = dict(reversed(assets.items()))
    assert calibrate("test", assets, CONFIG).to_bytes() == calibrate("test", turned, CONFIG).to_bytes()


def test_calibrate_gives_the_same_bytes_in_other_processes(tmp_path):
    """Another order of hashing, another number of threads, and work shared between two processes."""
    assets = market(n=7_000)
    for name, one in assets.items():
        np.savez(tmp_path / name, ts=one.ts, close=one.close)
    code = (
        "import sys; import numpy as np\n"
        "from plimsoll.calibration import calibrate; from plimsoll.market import make_series\n"
        "def read(name):\n"
        "    with np.load(sys.argv[1] + '/' + name + '.npz') as file:\n"
        "        return make_series(name, file['ts'], file['close'])\n"
        "print(calibrate('test', {name: read(name) for name in ('ETH', 'BTC')}, jobs=2).hash)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    plain = {name: make_series(name, one.ts, one.close) for name, one in assets.items()}
    assert done.stdout.strip() == calibrate("test", plain).hash


def test_calibrate_does_not_look_ahead():
    """Nothing after as_of counts: not prices, not the index, not with a year of margins to choose the rule from."""
    assets = market(n=13_000)
    as_of = int(assets["BTC"].ts[11_500])
    perturbed = {
        name: make_series(name, s.ts, np.where(s.ts > as_of, s.close * 3.0, s.close), volume=s.volume)
        for name, s in assets.items()
    }
    index = index_of(assets["BTC"])
    other = VolatilityIndex(
        "BTC", replace(index.series, close=np.where(index.series.ts > as_of, 2.0, index.series.close))
    )
    before = calibrate("test", assets, CONFIG, as_of, Sources(index))
    assert before.to_bytes() == calibrate("test", perturbed, CONFIG, as_of, Sources(other)).to_bytes()
    assert cast("dict[str, bool]", before.evidence["rule"])["solved"]
    after = calibrate("test", perturbed, CONFIG, as_of + DAY, Sources(index))
    assert after.assets != before.assets


def test_calibrate_ignores_an_index_after_the_last_price():
    """A named market's index covers the crash that its prices stop before."""
    assets = market()
    exact, longer = index_of(assets["BTC"]), index_of(assets["BTC"], after=30)
    assert len(longer.series) > len(exact.series)
    reports = [calibrate("test", assets, CONFIG, sources=Sources(one)) for one in (exact, longer)]
    assert reports[0].to_bytes() == reports[1].to_bytes()
    assert reports[0].assets["BTC"].volatility_shock_initial is None  # daily prints say nothing of 8 hours


def test_calibrate_refuses_a_source_that_is_all_later():
    assets = market()
    index = index_of(assets["BTC"])
    late = VolatilityIndex("BTC", replace(index.series, ts=index.series.ts + YEAR_SECONDS))
    with pytest.raises(PlimsollError, match="nothing of DVOL was known at 2021-08-"):
        calibrate("test", assets, CONFIG, sources=Sources(late))


def test_calibrate_cuts_a_book_at_as_of():
    assets = {"BTC": market()["BTC"]}
    ts = np.arange(int(assets["BTC"].ts[0]), int(assets["BTC"].ts[-1]), 600, dtype=np.int64)
    noise = np.random.default_rng(2).uniform(0.9, 1.1, len(ts))
    bid = np.interp(ts, assets["BTC"].ts, assets["BTC"].close)
    book = Depth("BTC", ts, bid, bid * (1.0 + 0.001 * noise), 100.0 * noise, 100.0 * noise)
    as_of = int(ts[-5_000])
    cut = Depth(**{name: value if name == "name" else value[ts <= as_of] for name, value in columns(book).items()})
    reports = [calibrate("test", assets, CONFIG, as_of, Sources(books={"BTC": one})) for one in (book, cut)]
    assert reports[0].to_bytes() == reports[1].to_bytes()
    assert reports[0].assets["BTC"].half_spread == pytest.approx(0.0005, rel=0.05)


def columns(book: Depth) -> dict[str, Any]:
    return {one.name: getattr(book, one.name) for one in fields(book)}


def test_calibrate_every_configured_number_matters_and_is_recorded():
    assets = market(n=7_000, nu=3.0)
    config = replace(CONFIG, minimum_episodes=3)
    base = calibrate("test", assets, config)
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
        {"correlation_errors": 0.5},
        {"fit_fraction": 0.4},
        {"grid": DAY // 2},
        {"peak_to_trough": 1.2},
        {"rise_1_day": 0.01},
        {"rise_5_days": 0.02},
        {"fund_rows": 100},
    ):
        other = calibrate("test", assets, replace(config, **change))
        assert other.configuration != base.configuration
        assert (other.assets, other.correlation, other.evidence) != (base.assets, base.correlation, base.evidence), (
            change
        )


def test_calibrate_one_asset_has_no_correlation():
    assets = market()
    assert calibrate("test", {"BTC": assets["BTC"]}, CONFIG).correlation == ()


def test_calibrate_a_new_listing_beside_an_old_asset():
    """Its forecasts can't be judged yet; those of the old asset still are."""
    assets = market(n=8_000)
    young = {"BTC": assets["BTC"], "ETH": assets["ETH"].between(int(assets["ETH"].ts[4_500]))}
    report = calibrate("test", young, replace(CONFIG, minimum_episodes=3))
    validation = cast("dict[str, list[dict[str, object]]]", report.evidence["validation"])
    assert [row["asset"] for row in validation["rows"]] == ["BTC"]
    assert sorted(report.assets) == ["BTC", "ETH"]


def test_calibrate_says_why_there_is_no_liquidity():
    report = calibrate("test", {"BTC": market(n=5_500)["BTC"]}, replace(CONFIG, minimum_episodes=3))
    facts = cast("dict[str, dict[str, str]]", report.evidence["assets"])["BTC"]
    assert "days are too few for stress depth" in facts["liquidity_missing"]
    assert report.assets["BTC"].impact is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of overflow, which must not get further
@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    column=st.sampled_from(["close", "volume"]),
    value=st.sampled_from([math.nan, math.inf, -1.0, 0.0, 1e-300, 1e300, "repeat"]),
    row=st.integers(0, 4_999),
    length=st.sampled_from([1, 30, 3_000]),
)
def test_calibrate_lets_no_fault_of_the_data_reach_a_parameter(column, value, row, length):
    """A stretch of nonsense is refused in one line, or leaves every number of the report finite."""
    base = market(n=5_000)["BTC"]
    data = {name: values.copy() for name, values in base.columns().items()}
    rows = slice(row, row + length)
    data[column][rows] = data[column][max(row - 1, 0)] if value == "repeat" else value
    try:
        series = make_series("BTC", base.ts, data["close"], volume=data["volume"])
        report = calibrate("test", {"BTC": series}, replace(CONFIG, minimum_episodes=1))
    except PlimsollError as fault:
        assert "\n" not in str(fault)  # noqa: PT017 (a refusal is one of two good outcomes)
        return
    assert Report.from_bytes(report.to_bytes()) == report  # which refuses what is not a finite number


def flat(n: int) -> Series:
    return make_series("BTC", HOUR * np.arange(n), np.full(n, 5.0))


@pytest.mark.parametrize(
    ("make", "config", "message"),
    [
        (dict, {}, "no series; give at least one"),
        (lambda: {"BTC": market(n=1_000)["BTC"]}, {}, "BTC: 4[0-9] steps of 86400 s, and 60 are needed"),
        (lambda: {"BTC": market(n=3_000)["BTC"]}, {}, "BTC: [0-9] separate moves lie beyond the 99% quantile"),
        (lambda: {"BTC": flat(5_000)}, {}, "BTC: .*(hardly moved|no forecast|never move)"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 1.0}, "confidence is 1.0; it must be below 1"),
        ({"half_life": 0}, "half_life is 0; it must be above zero"),
        ({"stress_share": math.nan}, "stress_share is nan"),
        ({"maintenance_horizon": 9 * HOUR}, "maintenance horizon of 32400 s is longer"),
        ({"cap_multiple": 0.5}, "cap_multiple is 0.5; it must be at least 1"),
        ({"fund_paths": 10**9}, "fund_paths is 1000000000; it must be at most 1000000"),
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
