"""The page of an account's margin and what it and the tables say: drawn from the figures, legible, self-contained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.commands.margin import _distances
from plimsoll.commands.whatif import _orders
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin.moved import _TESTS, FALLS, RISES, Curve, Point, _first
from plimsoll.margin.onchain import NO_CAP, Greeks, Margin, Requirement, ScenarioLosses, UnderlyingMargin
from plimsoll.margin.page import _steps, render
from plimsoll.margin.view import (
    AccountView,
    Holding,
    as_json,
    distances,
    greek_rows,
    node_in_words,
    node_move,
    signed_percent,
)
from plimsoll.margin.whatif import Trade, WhatIf

BTC, ETH = 1, 2
NAMES = {BTC: "BTC<", ETH: "ETH"}
"""One of them to be escaped."""


def wad(amount: float) -> int:
    return round(amount * WAD)


def part(underlying: int, price: float, range_: float) -> UnderlyingMargin:
    return UnderlyingMargin(
        underlying=underlying, price=wad(price), age=3, delta_one=wad(1), delta=wad(2), gamma=wad(0.001), vega=wad(500),
        exposure=wad(2 * price), option_value=wad(700), volatility_mark=wad(0.6), volatility_initial=wad(0.7),
        volatility_maintenance=wad(0.6), range_initial=wad(range_), range_maintenance=wad(range_ / 2),
        liquidity_initial=wad(9), liquidity_maintenance=wad(8),
    )  # fmt: skip


def losses(underlying: int, most: float) -> ScenarioLosses:
    """Worst where the price is lowest and volatility up, node 2; gains where it is highest."""
    grid = [wad(-most * (price - 4) / 4 + 10 * (volatility - 1)) for price in range(9) for volatility in range(3)]
    nodes = (*grid, wad(0.7 * most), wad(-0.7 * most))
    return ScenarioLosses(underlying, nodes, tuple(loss // 2 for loss in nodes))


def requirement(**changed: float) -> Requirement:
    """risk 1,000, liquidity 50, short option minimum 25: 1,175 at a multiplier of 1.1."""
    amounts = {
        "standalone": 1_200, "joint": 800, "grid": 1_000, "expected_shortfall": 900, "risk": 1_000, "liquidity": 50,
        "short_option_minimum": 25, "leverage_floor": 0, "total": 1_175,
    } | changed  # fmt: skip
    return Requirement(**{"worst_node": 2, "long_option_cap": NO_CAP} | {name: wad(a) for name, a in amounts.items()})


def margin(equity: float, initial: Requirement, maintenance: Requirement, *, fresh: bool = True) -> Margin:
    return Margin(
        equity=wad(equity), cash=wad(equity - 700), unrealised=wad(700), collateral=0, multiplier=wad(1.1),
        open_interest_scale=WAD, fresh=fresh, initial=initial, maintenance=maintenance,
        underlyings=(part(BTC, 40_000, 0.08), part(ETH, 2_500, 0.7)),
    )  # fmt: skip


def curve(*underlyings: int) -> Curve:
    points = tuple(Point(m / 10, wad(1_500 + 100 * m), wad(1_175), wad(600)) for m in range(-9, 11))
    return Curve(underlyings, points, call=(-0.325, None), liquidation=(None, None))


@pytest.fixture
def view() -> AccountView:
    return AccountView(
        account=7,
        chain_id=31_337,
        block=12,
        timestamp=1_774_600_000,
        names=NAMES,
        margin=margin(1_500, requirement(), requirement(total=600)),
        greeks=[Greeks(u, wad(2), wad(0.001), wad(500), wad(-365), wad(700)) for u in (BTC, ETH)],
        losses=[losses(BTC, 800), losses(ETH, 400)],
        holdings=[
            Holding("ETH-27MAR26-3000-P", wad(-2), wad(145.2), wad(0.83), wad(-290.4)),
            Holding("BTC<-PERP", wad(1), None, 0, None),
        ],
        horizons={"initial": 28_800.0, "maintenance": 7_200.0},
        shocks={
            "initial": {BTC: (-0.1, 0.3), ETH: (-0.1, 0.4)},
            "maintenance": {BTC: (-0.1, 0.2), ETH: (-0.1, 0.3)},
        },
        extreme_weight=0.35,
        curves=[curve(BTC), curve(ETH), curve(BTC, ETH)],
        fault="",
    )


# ─── The page


def test_render_is_one_file_without_network(view: AccountView, require_balanced: Callable[[str], None]) -> None:
    page = render(view)
    assert not re.search(r"https?://|src=|href=|@import|url\(|<script", page)
    assert "prefers-color-scheme:dark" in page
    assert "BTC&lt;" in page
    assert "BTC<" not in page
    require_balanced(page)


def test_render_everyFigureIsDrawnInside(view: AccountView) -> None:
    """Well formed, no number that is none, and every rectangle within its figure."""
    figures = [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", render(view), re.DOTALL)]  # noqa: S314
    assert len(figures) == 2 + 2 * 4 + 3
    for figure in figures:
        _, _, width, height = map(float, figure.attrib["viewBox"].split())
        for rectangle in figure.iter("rect"):
            x, y, w, h = (float(rectangle.attrib[key]) for key in ("x", "y", "width", "height"))
            assert x >= 0
            assert x + w <= width + 0.1
            assert y >= 0
            assert y + h <= height + 0.1
    assert "nan" not in render(view).lower().replace("maintenance", "")


def test_render_outlinesTheWorstNodeOfEachGrid(view: AccountView) -> None:
    cells = re.findall(r"<title>([^<]*)</title><rect class=\"(loss|gain)( worst)?\"", render(view))
    assert len(cells) == 3 * 2 * 29
    worst = [title for title, _, outlined in cells if outlined]
    assert worst == [
        "BTC&lt; −8.0%, volatility up: loses $810",
        "BTC&lt; −4.0%, volatility up: loses $405",
        "ETH −70.0%, volatility up: loses $410",
        "ETH −35.0%, volatility up: loses $205",
        "BTC&lt; −8.0%, ETH −70.0%, volatility up: loses $1,220",
        "BTC&lt; −4.0%, ETH −35.0%, volatility up: loses $610",
    ]
    assert sum(kind == "loss" for _, kind, _ in cells[:29]) == 14  # half of the nodes and an extreme


def test_render_outlinesNothingWhereNoNodeLoses(view: AccountView) -> None:
    gains = [replace(one, initial=(-WAD,) * 29, maintenance=(-WAD,) * 29) for one in view.losses]
    assert 'class="gain worst"' not in render(replace(view, losses=gains))
    assert 'class="loss' not in render(replace(view, losses=gains))


def test_render_accountWithNothingIn(view: AccountView) -> None:
    nothing = replace(
        view,
        margin=replace(
            margin(0, requirement(**dict.fromkeys(("risk", "total", "grid", "liquidity"), 0)), requirement(total=0)),
            underlyings=(),
        ),
        greeks=[],
        losses=[],
        holdings=[],
        curves=[],
    )
    assert "no equity" in render(nothing)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["risk: the larger", "× 1.10", "liquidity", "short option minimum"]),
        ({"liquidity": 0, "short_option_minimum": 0, "total": 1_100}, ["risk: the larger", "× 1.10"]),
        (
            {"leverage_floor": 2_000, "total": 2_000},
            ["risk: the larger", "× 1.10", "liquidity", "short option minimum", "leverage floor"],
        ),
        (
            {"total": 300},
            ["risk: the larger", "× 1.10", "liquidity", "short option minimum", "can't lose more"],
        ),
    ],
)
def test_steps_leadFromRiskToTotal(view: AccountView, changed: dict[str, float], expected: list[str]) -> None:
    """Each bar begins where the last one ended, so that what is drawn adds up to the requirement."""
    one = requirement(**changed)
    bars = [bar for bar in _steps(view, one, 1.0) if bar[3] in {"step", "relief"}]
    assert [label for label, *_ in bars] == expected
    at = 0.0
    for _, start, end, look in bars:
        begin, at = (end, start) if look == "relief" else (start, end) if start else (at, end)
        assert begin == pytest.approx(start if look == "step" else end)
    assert at == pytest.approx(one.total / WAD)


# ─── Words and numbers


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (0, "BTC< −8.0%, ETH −70.0%, volatility down"),
        (13, "BTC< 0.0%, ETH 0.0%, volatility unchanged"),
        (23, "BTC< +6.0%, ETH +52.5%, volatility up"),
        (27, "BTC< −16.0%, ETH −100.0% (extreme)"),
        (28, "BTC< +16.0%, ETH +140.0% (extreme)"),
    ],
)
def test_node_inWords(view: AccountView, node: int, words: str) -> None:
    assert node_in_words(view.margin, NAMES, node, "initial") == words


def test_nodeMove_isMonotoneInTheNode() -> None:
    moves = [node_move(node, 0.1) for node in (27, *range(0, 27, 3), 28)]
    assert moves == sorted(moves)
    assert moves == pytest.approx([-0.2, -0.1, -0.075, -0.05, -0.025, 0, 0.025, 0.05, 0.075, 0.1, 0.2])


def test_signedPercent_hasNoNegativeZero() -> None:
    assert [signed_percent(value) for value in (-0.0001, 0.0, 0.084, -0.084)] == ["0.0%", "0.0%", "+8.4%", "−8.4%"]


def test_greekRows_areInTheUnitsPeopleQuote(view: AccountView) -> None:
    row = greek_rows(view)[1]
    assert row.delta_dollars == pytest.approx(2 * 2_500)
    assert row.gamma == pytest.approx(0.001 * 2_500 * 25)  # Γ·S · 1% of S: the change in delta, times S
    assert (row.vega, row.theta) == (pytest.approx(5), pytest.approx(-1))


def test_asJson_keepsAmountsExact(view: AccountView) -> None:
    data: dict[str, Any] = json.loads(json.dumps(as_json(view)))
    assert data["margin"]["initial"]["total"] == str(view.margin.initial.total)
    assert data["margin"]["initial"]["long_option_cap"] == str(NO_CAP)
    assert data["margin"]["initial"]["worst_node"] == 2
    assert data["curves"][2]["underlyings"] == [BTC, ETH]
    assert data["curves"][0]["points"][0]["equity"] == str(view.curves[0].points[0].equity)
    assert data["holdings"][1]["mark"] is None
    assert (data["account"], data["status"], data["shocks"]["initial"]["2"]) == (7, "healthy", [-0.1, 0.4])


def test_distances_sayWhereOrWhyNot(view: AccountView) -> None:
    assert distances(view, lambda one: one.call) == ["BTC< −32.5%", "ETH −32.5%", "all prices together −32.5%"]
    text = _distances(view)
    assert "margin call at BTC< −32.5%" in text
    assert "liquidation at no move of prices from −90.0% to +100.0%" in text
    assert "equity above initial margin: 325.00 dollars" in text
    called = replace(view, margin=replace(view.margin, equity=wad(1_000)), curves=[])
    assert "equity above initial margin: −175.00 dollars" in _distances(called)
    assert "margin call at" not in _distances(called)
    assert "is not known: no overrides" in _distances(replace(view, curves=[], fault="no overrides"))


def test_first_isTheNearestCrossing() -> None:
    """Outwards from the middle; nothing beyond a price that the contract refuses, nor where it is crossed already."""
    middle = len(FALLS)
    grid: list[Point | None] = [Point(0.0, 10, 5, 3)] * (len(FALLS) + 1 + len(RISES))
    below = Point(0.0, 4, 5, 3)
    call, liquidation = _TESTS
    grid[middle + 4] = grid[middle + 6] = grid[middle - 3] = below
    assert [_first(grid, direction, call) for direction in (-1, 1)] == [middle - 3, middle + 4]
    assert _first(grid, 1, liquidation) is None
    grid[middle + 2] = None
    assert _first(grid, 1, call) is None
    grid[middle] = below
    assert _first(grid, -1, call) is None


# ─── Trades that nobody has made


def test_cost_roundsAgainstTheAccount() -> None:
    option = Instrument(Kind.PUT, ETH, 1_774_598_400, Decimal(3_000))
    bought, sold = (Trade(option, size, 10**18 // 3, 0, 0) for size in (1, -1))
    assert (bought.cost, sold.cost) == (1, 0)


def case(
    before: tuple[float, float, float], after: tuple[float, float, float], *, fresh: bool = True, paused: bool = False
) -> WhatIf:
    """From (equity, initial, maintenance) to another."""
    margins = [margin(e, requirement(total=i), requirement(total=m), fresh=fresh) for e, i, m in (before, after)]
    return WhatIf((), *margins, paused=paused)


@pytest.mark.parametrize(
    ("what", "accepts", "reason"),
    [
        (case((100, 50, 30), (100, 100, 60)), True, "above initial"),
        (case((100, 50, 30), (100, 100.01, 60)), False, "0.01 dollars below initial"),
        (case((40, 50, 30), (40, 45, 30)), True, "neither requirement rises"),
        (case((40, 50, 30), (40, 45, 31)), False, "below initial"),
        (case((40, 50, 30), (39, 45, 30)), False, "below initial"),  # less risk at a price that hurts its health
        (case((40, 50, 40), (30, 45, 30)), True, "health"),
        (case((-10, 50, 40), (-10, 0, 0)), True, "health"),
        (case((-10, 50, 40), (-11, 0, 0)), False, "11.00 dollars below initial"),
        (case((10, 50, 40), (-1, 0, 0)), False, "1.00 dollars below initial"),
        (case((100, 50, 30), (100, 60, 30), fresh=False), False, "out of date"),
        (case((100, 50, 30), (100, 50, 30), fresh=False), True, "neither requirement rises"),
        (case((100, 50, 30), (100, 60, 30), paused=True), False, "the house is paused"),
        (case((100, 50, 30), (100, 50, 30), paused=True), True, "neither requirement rises"),
    ],
)
def test_gate_isTheClearingHouses(what: WhatIf, accepts: bool, reason: str) -> None:
    assert what.gate.accepts is accepts
    assert reason in what.gate.reason


def test_orders_readSizesAsPeopleWriteThem() -> None:
    assert _orders(("+2", "A", "-1.5", "B", "−3", "C", "1,000", "D"), ()) == [
        (2 * WAD, "A", None),
        (-3 * WAD // 2, "B", None),
        (-3 * WAD, "C", None),
        (1_000 * WAD, "D", None),
    ]
    assert _orders(("2", "A"), ("145.20",)) == [(2 * WAD, "A", 1_452 * WAD // 10)]


@pytest.mark.parametrize(
    ("words", "prices", "message"),
    [
        ((), (), "expected pairs"),
        (("+2",), (), "expected pairs"),
        (("0", "A"), (), "size 0 changes nothing"),
        (("two", "A"), (), "'two' is not a size"),
        (("nan", "A"), (), "'nan' is not a size"),
        (("inf", "A"), (), "'inf' is not a size"),
        (("1e-19", "A"), (), "is not a size"),
        (("100000000000", "A"), (), "10,000,000,000 units at most"),
        (("1" * 31, "A"), (), "is not a size"),
        (("1", "A"), ("-1",), "expected 0 to"),
        (("1", "A"), ("x",), "'x' is not a price"),
        (("1", "A"), ("1", "2"), "2 --price for 1 trades"),
    ],
)
def test_orders_sayWhatIsWrong(words: tuple[str, ...], prices: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlimsollError, match=re.escape(message)):
        _orders(words, prices)
