"""Adequacy of the margin formula on random option books: the limits it must keep, and that the judge is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from plimsoll.margin import black76
from simulation import adequacy
from simulation.adequacy import GREEKS, GRID, GRID_27, PLIMSOLL, SPAN, WITH_MINIMUM, Truth, expected_shortfall
from simulation.books import NOTIONAL, Books, Exchange, families, random_books

COVERAGE_REQUIRED, AVERAGE_ALLOWED = 0.975, 1.40
SEED = 7


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    """The crypto profile's."""
    return Exchange.open(adequacy.tail_multiple())


@pytest.fixture(scope="module")
def truth(exchange: Exchange) -> Truth:
    """16,384 scenarios."""
    return Truth.draw(exchange, SEED, log_scenarios=14)


@pytest.fixture(scope="module")
def parts(exchange: Exchange, truth: Truth) -> dict[str, dict[str, adequacy.Figures]]:
    """Of 400 random books."""
    return adequacy.judge_parts(exchange, truth, random_books(exchange, 400, SEED))


@pytest.fixture(scope="module")
def shapes(exchange: Exchange, truth: Truth) -> dict[str, dict[str, adequacy.Figures]]:
    """Of 100 books of each special shape."""
    return {each.name: adequacy.judge(exchange, truth, each) for each in families(exchange, 100, SEED)}


def series(exchange: Exchange, tenor: float, moneyness: float) -> int:
    """The call on the first underlying."""
    return next(
        s.call for s in exchange.series if (s.underlying, s.tenor) == (0, tenor) and abs(s.moneyness - moneyness) < 1e-9
    )


@pytest.mark.parametrize("formula", [GRID, PLIMSOLL, WITH_MINIMUM])
def test_requirement_coversTrueShortfallOfNearlyAllRandomBooks(parts: dict, formula: str) -> None:
    figures = parts["all"][formula]
    assert figures.books >= 380
    assert figures.coverage >= COVERAGE_REQUIRED


def test_requirement_isNotFarAboveTrueShortfallOnAverage(parts: dict) -> None:
    assert parts["all"][GRID].average <= AVERAGE_ALLOWED
    # Greeks ES on top costs a little and covers what lies between nodes: books pinned at a strike.
    assert parts["all"][PLIMSOLL].average <= AVERAGE_ALLOWED + 0.10


def test_requirement_coversMoreThanItsPeers(parts: dict) -> None:
    figures = parts["all"]
    assert figures[PLIMSOLL].coverage > max(figures[peer].coverage for peer in (GRID_27, SPAN, GREEKS))
    # Why Greeks never stand alone.
    assert figures[GREEKS].coverage < 0.7


@pytest.mark.parametrize("shape", ["pinned short", "pinned long", "butterfly", "calendar", "collar"])
def test_requirement_coversSpecialShapes(shapes: dict, shape: str) -> None:
    assert shapes[shape][PLIMSOLL].coverage >= 0.95
    assert shapes[shape][WITH_MINIMUM].coverage >= COVERAGE_REQUIRED


def test_requirement_ofABoxIsNothing(exchange: Exchange, truth: Truth) -> None:
    boxes = next(each for each in families(exchange, 50, SEED) if each.name == "box")
    np.testing.assert_allclose(truth.expected_shortfalls(boxes) / boxes.gross, 0, atol=1e-12)
    for formula, requirement in adequacy.requirements(exchange, boxes).items():
        assert np.all(requirement <= 1e-12 * boxes.gross), formula


def test_requirement_ofACollarIsSmallerThanOfItsParts(exchange: Exchange) -> None:
    put, call = series(exchange, 30, 0.9) + 1, series(exchange, 30, 1.1)
    legs = [(exchange.spot(0), 1.0), (put, 1.0), (call, -1.0)]
    together = Books.of("collar", exchange, [(legs, False)])
    apart = Books.of("parts", exchange, [([leg], False) for leg in legs])
    whole = adequacy.requirements(exchange, together)[PLIMSOLL][0]
    assert whole < 0.9 * adequacy.requirements(exchange, apart)[PLIMSOLL].sum()


def test_truth_ofAForwardHasTheCalibratedTail(exchange: Exchange, truth: Truth) -> None:
    """A perpetual loses exactly the range in expected shortfall, long and short, on both underlyings."""
    legs = [[(exchange.perpetual(u), sign)] for u in (0, 1) for sign in (1.0, -1.0)]
    books = Books.of("perpetuals", exchange, [(leg, False) for leg in legs])
    expected = NOTIONAL * exchange.market.ranges[0][0]
    np.testing.assert_allclose(truth.expected_shortfalls(books), expected, rtol=0.015)


def test_truth_isTheDistributionItClaims(truth: Truth) -> None:
    scale = np.sqrt(2) / (0.6 * np.sqrt(truth.exchange.horizon))
    for returns in truth.returns:
        assert stats.kstest(returns * scale, stats.t(4).cdf).statistic < 0.01
    assert np.corrcoef(truth.returns)[0, 1] == pytest.approx(0.8, abs=0.03)
    for y, x in zip(truth.volatility, truth.returns, strict=True):
        assert expected_shortfall(-y) == pytest.approx(1)
        assert expected_shortfall(y) == pytest.approx(0.72, abs=0.04)
        assert np.corrcoef(x, y)[0, 1] == pytest.approx(-0.2, abs=0.03)
        assert y[x <= np.quantile(x, 0.01)].mean() == pytest.approx(0.52, abs=0.06)


def test_truth_valuesPutAndCallAlike(exchange: Exchange, truth: Truth) -> None:
    """A call less a put is a forward, in every scenario; a bought option loses no more than it costs."""
    call = series(exchange, 7, 1.0)
    rows = adequacy.rows_of_instruments(exchange)
    gains = rows[[call, call + 1]] @ truth.gains
    market = exchange.market
    carried = np.exp(market.shape.carry[0] * (7 / 365 - exchange.horizon))
    forward = market.price[0] * ((1 + truth.returns[0]) * carried - np.exp(market.shape.carry[0] * 7 / 365))
    np.testing.assert_allclose(gains[0] - gains[1], forward, atol=1e-6)
    marks = market.marks[0][[call, call + 1]]
    assert np.all(gains >= -marks[:, None] - 1e-9)


def test_truth_ofPricesAloneLeavesOutVega(exchange: Exchange, truth: Truth) -> None:
    straddle = series(exchange, 90, 1.0)
    books = Books.of("straddle", exchange, [([(straddle, 1.0), (straddle + 1, 1.0)], True)])
    assert truth.of_prices_alone().expected_shortfalls(books)[0] < 0.5 * truth.expected_shortfalls(books)[0]


def test_expectedShortfall_isTheMeanOfTheWorst() -> None:
    gains = np.random.default_rng(1).permutation(1_000).astype(float)
    assert expected_shortfall(gains) == pytest.approx(-np.arange(10).mean())
    # 2.5 scenarios: two whole ones and half of the third.
    assert expected_shortfall(np.arange(250.0)) == pytest.approx(-(0 + 1 + 0.5 * 2) / 2.5)


def test_span_ofAPerpetualIsItsRange(exchange: Exchange) -> None:
    books = Books.of("perpetual", exchange, [([(exchange.perpetual(0), 1.0)], False)])
    assert adequacy.span(exchange.market, books)[0] == pytest.approx(NOTIONAL * exchange.market.ranges[0][0])


def test_span_ofAFarShortCallIsItsExtreme(exchange: Exchange) -> None:
    """A call struck beyond the range loses most at twice the range, counted at 35%, where volatility stands still."""
    still = Exchange.open(adequacy.tail_multiple(), volatility_shock_initial=0.0)
    call = series(still, 3, 1.12)
    market, lines = still.market, still.market.lines
    at = market.lines.of_instrument[call]
    older = lines.deviation[at] * np.sqrt(1 - still.horizon / lines.tau[at])
    worth = black76.call(lines.forward[at] * (1 + 2 * market.ranges[0][0]), lines.strike[at], older)
    books = Books.of("far call", still, [([(call, -1.0)], False)])
    expected = 0.35 * (worth - lines.value[at]) * NOTIONAL / market.price[0]
    assert adequacy.span(market, books)[0] == pytest.approx(expected)


def test_figures_leaveOutBooksWithoutRisk() -> None:
    shortfall, gross = np.array([1.0, 2.0, 1e-9]), np.array([10.0, 10.0, 10.0])
    figures = adequacy.Figures.of(np.array([1.5, 1.0, 5.0]), shortfall, gross)
    assert (figures.books, figures.left_out) == (2, 1)
    assert figures.coverage == 0.5
    assert figures.average == pytest.approx(1.0)
    assert figures.together == pytest.approx(2.5 / 3)


def test_randomBooks_hedgeThreeQuarters(exchange: Exchange) -> None:
    books = random_books(exchange, 200, SEED)
    assert books.hedged.mean() == 0.75
    delta = books.sizes * exchange.delta
    owner = exchange.market.instruments.underlying
    for u in (0, 1):
        left = delta[:, owner == u].sum(axis=1)
        np.testing.assert_allclose(left[books.hedged], 0, atol=1e-9)
    assert np.abs(left[~books.hedged]).max() > 0.1
    again = random_books(exchange, 200, SEED)
    assert (again.sizes != books.sizes).nnz == 0


def test_exchange_deltaIsTheSlopeOfTheMark(exchange: Exchange) -> None:
    """Against a central difference of the market's own marks, volatility at each strike held."""
    up, down = (replace(exchange.market, price=exchange.market.price * (1 + move)) for move in (1e-4, -1e-4))
    lines = exchange.market.lines
    slopes = []
    for market in (up, down):
        forward = market.price[lines.underlying] * np.exp(market.shape.carry[lines.underlying] * lines.tau)
        slopes.append(black76.call(forward, lines.strike, lines.deviation))
    slope = (slopes[0] - slopes[1]) / (2e-4 * exchange.market.price[lines.underlying])
    calls = np.array([s.call for s in exchange.series])
    np.testing.assert_allclose(exchange.delta[calls], slope[lines.of_instrument[calls]], atol=2e-3)
