"""The contracts' option mathematics against independent references: scipy, QuantLib, and the formulas in floats.

Everything runs in the contracts' own bytecode, on a local chain, thousands of values a call.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from QuantLib import BlackCalculator, Option, PlainVanillaPayoff, blackFormula
from scipy.integrate import quad
from scipy.stats import norm

from plimsoll.chain.fields import Field

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WAD = 10**18
MILLION = 10**6
YEAR = 365 * 86_400
ALPHA = 0.01
Z = float(norm.ppf(ALPHA))
C = float(norm.pdf(Z)) / ALPHA
"""Expected shortfall of a standard normal, 99%."""
SKEW_DOMAIN = (-1.7998, 0.3808)
"""Where the modified expected shortfall falls with skewness, as the contract clamps it."""


def wad(values: Floats) -> list[int]:
    """Integers of 1e-18, to the last bit of each float."""
    return [int(value * WAD) for value in values.tolist()]


def real(values: Any) -> Floats:
    """The floats nearest to integers of 1e-18."""
    return np.array([value / WAD for value in values])


# ─── Normal distribution


def test_cdf_is_within_1e12(ask: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    edges = np.arange(-256, 257) / 32  # where two polynomials of the table meet
    points = np.concatenate([rng.uniform(-8.5, 8.5, 10_000), edges, edges - 1e-15, rng.normal(0, 1, 10_000)])
    x = wad(points)
    found = real(ask("cdf", x))
    assert np.abs(found - norm.cdf(real(x))).max() < 1e-13


def test_pdf_is_within_1e12(ask: Callable[..., Any]) -> None:
    x = wad(np.random.default_rng(2).uniform(-10, 10, 20_000))
    assert np.abs(real(ask("pdf", x)) - norm.pdf(real(x))).max() < 1e-15


# ─── Black-76


def random_options(count: int, seed: int) -> tuple[list[int], list[int], list[int], Floats, Floats]:
    """Forwards, strikes and deviations as integers, with the volatility [a year] and tenor [years] of each.

    Tenors from an hour to two years, volatilities from 5% to 300%, both log-uniform; half of the strikes within six
    deviations of the forward, half anywhere from a twentieth to twenty times it.
    """
    rng = np.random.default_rng(seed)
    forward = np.exp(rng.uniform(np.log(1e-2), np.log(1e6), count))
    tenor = np.exp(rng.uniform(np.log(1 / 8760), np.log(2), count))
    sigma = np.exp(rng.uniform(np.log(0.05), np.log(3), count))
    deviation = sigma * np.sqrt(tenor)
    near = np.clip(rng.uniform(-6, 6, count) * deviation, -3, 3)
    log_strike = np.where(rng.random(count) < 0.5, near, rng.uniform(-np.log(20), np.log(20), count))
    return wad(forward), wad(forward * np.exp(log_strike)), wad(deviation), sigma, tenor


def test_price_is_within_1e9_of_quantlib(ask: Callable[..., Any]) -> None:
    count, batch = 100_000, 10_000
    forwards, strikes, deviations, _, _ = random_options(count, 3)
    worst = 0.0
    for start in range(0, count, batch):
        part = slice(start, start + batch)
        F, K, s = real(forwards[part]), real(strikes[part]), real(deviations[part])
        calls = real(ask("black76", forwards[part], strikes[part], deviations[part])[0])
        options = zip(K.tolist(), F.tolist(), s.tolist(), strict=True)
        reference = np.array([blackFormula(Option.Call, *option) for option in options])
        worst = max(worst, (np.abs(calls - reference) / F).max())
    assert worst < 1e-11  # margin needs 1e-9


def test_put_by_parity_is_within_1e9_of_quantlib(ask: Callable[..., Any]) -> None:
    forwards, strikes, deviations, _, _ = random_options(10_000, 9)
    calls = ask("black76", forwards, strikes, deviations)[0]
    puts = real([call - F + K for call, F, K in zip(calls, forwards, strikes, strict=True)])
    F, K, s = real(forwards), real(strikes), real(deviations)
    options = zip(K.tolist(), F.tolist(), s.tolist(), strict=True)
    reference = np.array([blackFormula(Option.Put, *option) for option in options])
    assert (np.abs(puts - reference) / F).max() < 1e-11


def test_greeks_are_within_1e6_of_quantlib(ask: Callable[..., Any]) -> None:
    forwards, strikes, deviations, _, tenor = random_options(10_000, 4)
    F, K, s = real(forwards), real(strikes), real(deviations)
    sigma = s / np.sqrt(tenor)
    _, deltas, densities = ask("black76", forwards, strikes, deviations)
    delta, density = real(deltas), real(densities)
    black = [
        BlackCalculator(PlainVanillaPayoff(Option.Call, k), f, d, 1.0)
        for k, f, d in zip(K.tolist(), F.tolist(), s.tolist(), strict=True)
    ]
    reference = {
        "delta": np.array([b.delta(f) for b, f in zip(black, F.tolist(), strict=True)]),
        "gamma": np.array([b.gamma(f) * f for b, f in zip(black, F.tolist(), strict=True)]),
        "vega": np.array([b.vega(t) for b, t in zip(black, tenor.tolist(), strict=True)]) / F,
        "theta": np.array([b.theta(f, t) for b, f, t in zip(black, F.tolist(), tenor.tolist(), strict=True)]) / F,
    }
    found = {
        "delta": delta,
        "gamma": density / (F * s),
        "vega": density * np.sqrt(tenor) / F,
        "theta": -density * sigma / (2 * np.sqrt(tenor)) / F,
    }
    assert {name: np.abs(found[name] - reference[name]).max() < 1e-9 for name in found} == dict.fromkeys(found, True)


# ─── Volatility surface


def surface_word(**values: float) -> int:
    """Slot 3 of RiskParameters from fractions."""
    return sum((round(value * MILLION) & 0xFFFFFFFF) << 32 * (Field[name] & 7) for name, value in values.items())


def ssvi_deviation(
    level: float, time: float, k: float, *, rho: float, eta: float, gamma: float, ratio: float, speed: float
) -> float:
    """√w(k) in floats; time in years."""

    def mean(t: float) -> float:
        x = speed * t
        return ratio + (1 - ratio) * (-math.expm1(-x) / x if x else 1.0)

    theta = level**2 * time * mean(time) / mean(30 / 365)
    phi = eta / (theta**gamma * (1 + theta) ** (1 - gamma))
    return math.sqrt(theta / 2 * (1 + rho * phi * k + math.sqrt((phi * k + rho) ** 2 + 1 - rho**2)))


def test_deviation_is_within_1e9_of_ssvi(ask: Callable[..., Any]) -> None:
    rng = np.random.default_rng(5)
    count = 5_000
    rows: list[tuple[int, int, int, int]] = []
    reference = []
    for _ in range(count):
        level = wad(np.array([math.exp(rng.uniform(math.log(0.001), math.log(20)))]))[0]
        time = int(math.exp(rng.uniform(0, math.log(10 * YEAR))))
        # Strikes by deviations, and far from any.
        k = int(rng.choice([rng.normal() * level * math.sqrt(time / YEAR), rng.uniform(-100 * WAD, 100 * WAD)]))
        rho, eta = round(rng.uniform(-0.95, 0.95), 6), round(math.exp(rng.uniform(math.log(0.01), math.log(5))), 6)
        gamma, ratio = round(rng.uniform(0.05, 0.5), 6), round(rng.uniform(0.2, 3), 6)
        speed = round(float(rng.choice([0, 1e-6, rng.uniform(0.01, 1), rng.uniform(1, 100)])), 6)
        word = surface_word(SURFACE_RHO=rho, SURFACE_ETA=eta, SURFACE_GAMMA=gamma, TERM_RATIO=ratio, TERM_SPEED=speed)
        rows.append((level, time, word, k))
        reference.append(
            ssvi_deviation(level / WAD, time / YEAR, k / WAD, rho=rho, eta=eta, gamma=gamma, ratio=ratio, speed=speed)
        )
    found = real(ask("deviation", *map(list, zip(*rows, strict=True))))
    assert (np.abs(found / np.array(reference) - 1)).max() < 1e-9


def test_deviation_a_second_from_expiry_keeps_its_digits(ask: Callable[..., Any]) -> None:
    numbers = {"rho": -0.7, "eta": 1.3, "gamma": 0.5, "ratio": 0.9, "speed": 0.001}
    word = surface_word(SURFACE_RHO=-0.7, SURFACE_ETA=1.3, SURFACE_GAMMA=0.5, TERM_RATIO=0.9, TERM_SPEED=0.001)
    levels = [WAD // 1000, WAD // 4, 20 * WAD]
    found = real(ask("deviation", levels, [1] * 3, [word] * 3, [0, WAD // 10_000, -WAD]))
    reference = [
        ssvi_deviation(level / WAD, 1 / YEAR, k, **numbers) for level, k in zip(levels, (0, 1e-4, -1), strict=True)
    ]
    assert found == pytest.approx(reference, rel=1e-9)


def test_shock_rounds_up_the_power_law(ask: Callable[..., Any]) -> None:
    rng = np.random.default_rng(6)
    v = wad(rng.uniform(0, 2, 2_000))
    exponents = rng.integers(0, 500_001, 2_000).tolist()
    times = np.exp(rng.uniform(0, np.log(10 * YEAR), 2_000)).astype(int).tolist()
    reference = [
        rise / WAD * (30 * 86_400 / max(time, 86_400)) ** (p / MILLION)
        for rise, p, time in zip(v, exponents, times, strict=True)
    ]
    found = ask("shock", v, exponents, times)
    assert real(found) == pytest.approx(reference, rel=1e-13)
    # The square root can be checked to the last digit.
    roots = ask("shock", v, [MILLION // 2] * 2_000, times)
    assert all(
        root**2 * max(time, 86_400) >= rise**2 * 30 * 86_400 for root, rise, time in zip(roots, v, times, strict=True)
    )


# ─── Modified expected shortfall


def edgeworth_multiplier(skew: float) -> float:
    """−E[x | x ≤ g] under the second-order Edgeworth density, g the Cornish-Fisher quantile, by integration."""
    g = Z + (Z**2 - 1) * skew / 6 - (2 * Z**3 - 5 * Z) * skew**2 / 36

    def integrand(x: float) -> float:
        he3, he6 = x**3 - 3 * x, x**6 - 15 * x**4 + 45 * x**2 - 15
        return x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) * (1 + skew * he3 / 6 + skew**2 * he6 / 72)

    integral = quad(integrand, -40, g, epsabs=1e-14, epsrel=1e-12, limit=500, points=[g - 1, g - 5, g - 15])[0]
    return -float(integral) / ALPHA


def reference_shortfall(a: Floats, q: Floats, vega: Floats, rho: Floats) -> float:
    """The same figure by diagonalising the quadratic form: x = Lε, profit = b·ε + ½Σλε², plus vega apart.

    Moves of standard deviation 1/c in units of each tail move; shapes (n,), (n,), (n,), (n, n); dollars.
    """
    root = np.linalg.cholesky(rho) / C
    eigenvalues, vectors = np.linalg.eigh(root.T @ np.diag(2 * q) @ root)
    b = vectors.T @ root.T @ a
    mean = eigenvalues.sum() / 2
    variance = (b**2).sum() + (eigenvalues**2).sum() / 2 + vega @ rho @ vega / C**2
    cumulant = 3 * (eigenvalues * b**2).sum() + (eigenvalues**3).sum()
    skew = min(max(cumulant / variance**1.5, SKEW_DOMAIN[0]), SKEW_DOMAIN[1])
    return float(max(0.0, -min(mean, 0.0) + math.sqrt(variance) * edgeworth_multiplier(skew)))


def test_shortfall_multiplier_is_the_integral_and_falls(ask: Callable[..., Any]) -> None:
    skews = np.linspace(*SKEW_DOMAIN, 401)
    found = real(ask("shortfallMultiplier", wad(skews)))
    assert found * C == pytest.approx([edgeworth_multiplier(skew) for skew in skews.tolist()], rel=1e-10)
    assert np.all(np.diff(found) < 0)
    assert ask("shortfallMultiplier", [0]) == (WAD,)
    # Constant beyond, where the formula itself turns round.
    outside = ask("shortfallMultiplier", wad(np.array([-50.0, -1.8, 0.381, 50.0])))
    assert outside == ask("shortfallMultiplier", wad(np.array([-1.7998, -1.7998, 0.3808, 0.3808])))
    assert edgeworth_multiplier(-1.81) < edgeworth_multiplier(-1.7998)
    assert edgeworth_multiplier(0.39) > edgeworth_multiplier(0.3808)


def test_shortfall_multiplier_is_at_least_the_modified_value_at_risk(ask: Callable[..., Any]) -> None:
    skews = np.linspace(*SKEW_DOMAIN, 401)
    at_risk = -(Z + (Z**2 - 1) * skews / 6 - (2 * Z**3 - 5 * Z) * skews**2 / 36)
    assert np.all(real(ask("shortfallMultiplier", wad(skews))) * C > at_risk)


def test_shortfall_is_the_reference_on_random_books(ask: Callable[..., Any]) -> None:
    rng = np.random.default_rng(7)
    books, triangles, reference = [], [], []
    for _ in range(400):
        count = int(rng.integers(1, 7))
        factor = rng.normal(size=(count, count + 2))
        covariance = factor @ factor.T
        scale = np.sqrt(np.diag(covariance))
        upper = np.triu_indices(count, 1)
        triangle = np.round((covariance / np.outer(scale, scale))[upper], 6)
        rho = np.eye(count)
        rho[upper] = triangle
        rho.T[upper] = triangle
        size = 10 ** rng.uniform(0, 9)
        a, q, vega = (size * rng.normal(size=count) * 10 ** rng.uniform(-2, 1) for _ in range(3))
        books.append([tuple(row) for row in zip(wad(a), wad(q), wad(vega), strict=True)])
        triangles.append([round(value * MILLION) for value in triangle.tolist()])
        reference.append(reference_shortfall(a, q, vega, rho))
    found = real(ask("modifiedShortfall", books, triangles, triangles))
    assert found == pytest.approx(reference, rel=1e-7)


def test_shortfall_takes_the_correlation_by_the_sign_of_the_deltas(ask: Callable[..., Any]) -> None:
    rng = np.random.default_rng(8)
    books, lows, highs, reference = [], [], [], []
    for _ in range(200):
        low, high = np.sort(rng.integers(-990_000, 990_001, 2)).tolist()
        a, q, vega = (1000 * rng.normal(size=2) for _ in range(3))
        entry = (low if a[0] * a[1] < 0 else high) / MILLION
        books.append([tuple(row) for row in zip(wad(a), wad(q), wad(vega), strict=True)])
        lows.append([low])
        highs.append([high])
        reference.append(reference_shortfall(a, q, vega, np.array([[1, entry], [entry, 1]])))
    assert real(ask("modifiedShortfall", books, lows, highs)) == pytest.approx(reference, rel=1e-7)
