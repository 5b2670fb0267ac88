"""The report: self-contained, complete, and honest about what was not checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from plimsoll.drawing import dollars, percent, ticks
from plimsoll.figure import time_ticks
from simulation.bars import MOST, choose, draw
from simulation.recording import (
    PARTS,
    AccountPoint,
    AccountSummary,
    BookPoint,
    Charges,
    Event,
    InvariantResult,
    Liquidation,
    OptionPoint,
    Push,
    Recording,
    Settlement,
    Step,
    UnderlyingPoint,
)
from simulation.report import render

START = 1_517_236_200


@pytest.fixture
def recording() -> Recording:
    result = Recording("test", "A <test> market", ("SPX", "IXIC"))
    for k in range(30):
        fall = 1 - k / 100
        point = UnderlyingPoint(2_700 * fall, 0.1 + k / 100, 0.2 + k / 100, 0.2, 0.15, 0.1, 0.05 + k / 1_000, 0.03)
        account = AccountPoint(10_000 - 400 * k, 6_000, 4_000)
        step = Step(START + 3_600 * k, {"SPX": point, "IXIC": point}, {"Long": account}, 1e6)
        if k >= 5:
            step.books["Long"] = BookPoint(3_000, {"collateral": 0, "perpetuals": 8_000, "puts": 2_000 + k, "calls": 0})
            step.options["put"] = OptionPoint("SPX-9FEB18-2600-P", 20 + k, 0.2)
        result.steps.append(step)
    result.settlements = [Settlement(START + 60_000, "SPX", START + 50_000, 2_600, START + 49_000, 4, 900, 900, 1)]
    result.accounts = [AccountSummary("Long", "10× long", 10_000, -1_600, 0, 1, 1)]
    result.events = [Event(START, "push", "", "9 numbers"), Event(START + 50_000, "liquidation", "Long", "all of Long")]
    result.pushes = [Push(START, "0x" + "ab" * 32, 9, 2, 1.0)]
    result.liquidations = [
        Liquidation(START + 50_000, "Long", "Keeper", 1, 0.1, 3_900, 0, 4_000, 3_500, 11, 22, 33, 44)
    ]
    result.invariants = [InvariantResult("CASH", "tokens held", 30), InvariantResult("GATE", "no action", 12)]
    return result


def test_render_is_one_file_without_network(recording: Recording, require_balanced: Callable[[str], None]) -> None:
    page = render(recording)
    assert not re.search(r"https?://|src=|href=|@import|url\(", page)
    assert "prefers-color-scheme:dark" in page
    assert "A &lt;test&gt; market" in page
    require_balanced(page)


def test_render_svg_is_well_formed_and_everything_is_inside(recording: Recording) -> None:
    svg = re.search(r'<svg id="figure".*?</svg>', render(recording), re.DOTALL)
    assert svg is not None
    root = ET.fromstring(svg[0])  # noqa: S314 - our own text
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    for path in root.iter("path"):
        numbers = [float(number) for number in re.findall(r"-?\d+\.\d", path.attrib["d"])]
        assert all(0 <= x <= width for x in numbers[::2])
        assert all(0 <= y <= height for y in numbers[1::2])
    titles = [text.text for text in root.iter("text") if text.attrib.get("class") == "title"]
    assert titles == ["Price", "Volatility of SPX", "Volatility of IXIC", "Margin rate",
                      "Implied volatility of SPX options", "Mark of SPX options", "Long", "Insurance fund"]  # fmt: skip


def test_render_read_out_has_every_step_of_every_line(recording: Recording) -> None:
    data = json.loads(re.search(r"const data=(\{.*?\});", render(recording))[1])  # type: ignore[index]
    assert len(data["x"]) == len(data["when"]) == 30
    assert data["x"] == sorted(data["x"])
    assert len(data["lines"]) == 2 + 4 + 4 + 4 + 2 + 1 + 3 + 1
    assert all(len(line) == 30 for line in data["lines"])


def test_result_has_the_fields_that_are_asked_for(recording: Recording) -> None:
    result = recording.result()
    assert {"market", "steps", "accounts", "pushes", "liquidations", "bad_debt", "insurance_paid", "invariants"} <= set(
        result
    )
    assert result["initial_margin_rate"] == {"underlying": "SPX", "first": 0.05, "max": 0.079}
    assert result["invariants"] == {"CASH": True, "GATE": True}
    json.dumps(result, allow_nan=False)
    assert json.dumps(result) == json.dumps(recording.result())


def test_holds_needs_every_invariant_checked_and_true(recording: Recording) -> None:
    assert recording.holds
    recording.invariants.append(InvariantResult("LOSS", "bad debt", 0))
    assert not recording.holds
    recording.invariants[-1] = InvariantResult("LOSS", "bad debt", 3, "short of one")
    assert not recording.holds
    assert "short of one" in render(recording)
    assert Recording("empty", "", ()).holds is False


def test_render_shows_what_a_book_pays_of_its_parts(recording: Recording) -> None:
    page = render(recording)
    assert recording.share("Long") == pytest.approx(3_000 / 10_017)
    assert "<b>Long</b> pays 29.9% of its parts" in page
    assert "SPX 30JAN18T0423" in page  # the expiry that was settled
    recording.steps = [Step(step.ts, step.underlyings, step.accounts, step.fund) for step in recording.steps]
    recording.settlements = []
    page = render(recording)
    assert "Nobody held options." in page
    assert "Implied volatility" not in page


def test_render_shows_claims_and_charges(recording: Recording) -> None:
    """Claims and losses to be shared get a line where there were any; what was charged is summed up."""
    assert "claims open" not in render(recording)
    recording.steps[7] = replace(recording.steps[7], claims=1_000.0)
    recording.steps[8] = replace(recording.steps[8], pending=500.0)
    recording.charges = Charges(flag_fees=20, discounts=300, premium_fees=40, interest=5, funding=700)
    recording.claims_open = 123.0
    page = render(recording)
    assert "claims open" in page
    assert "loss to be shared" in page
    assert "$345" in page
    assert "discounts $300, premium fees $40, interest $5. Flag fees $20, funding $700" in page
    assert "$123 owed" in page
    for amount in ("$11", "$22", "$33", "$44"):  # of the liquidation
        assert amount in page
    result = recording.result()
    assert result["charges"]["interest"] == 5
    assert result["claims_open"] == 123
    assert recording.series()["claims"][7] == 1_000
    assert recording.series()["pending_loss"][8] == 500


def test_draw_whole_and_parts_to_scale() -> None:
    points = [(START + 3_600 * k, BookPoint(50.0, dict.fromkeys(PARTS, 25.0))) for k in range(100)]
    assert len(choose(points)) == MOST
    assert (choose(points)[0], choose(points)[-1]) == (points[0], points[-1])
    root = ET.fromstring(draw(points, "A book"))  # noqa: S314 - our own text
    bars = [(rect.attrib["class"], float(rect.attrib["height"])) for rect in root.iter("rect")]
    assert len(bars) == MOST * (len(PARTS) + 1)
    heights = dict(bars)
    assert heights["bar-whole"] == pytest.approx(2 * heights["bar-puts"], abs=0.2)
    assert [text.text for text in root.iter("text") if text.attrib["class"] == "share"] == ["50.0%"] * MOST


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 0.47, 5) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert ticks(-3.0, 12.0, 3) == [0.0, 5.0, 10.0]


def test_time_ticks_days_or_mondays() -> None:
    assert [label for _, label in time_ticks(START, START + 3 * 86_400)] == ["Tue 30 Jan", "Wed 31 Jan", "Thu 1 Feb"]
    assert [label for _, label in time_ticks(START, START + 20 * 86_400)] == ["Mon 5 Feb", "Mon 12 Feb"]


def test_dollars_and_percent() -> None:
    assert [dollars(v) for v in (1_234_567, 45_678, -20_000, 310.4, -0.2)] == [
        "$1.23M",
        "$45.7k",
        "−$20k",
        "$310",
        "$0",
    ]
    assert percent(0.0456) == "4.6%"
