"""The demo on a real chain: a part of the default market that holds the fall of 5 February 2018."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain
from plimsoll.commands.demo import command
from plimsoll.errors import PlimsollError
from plimsoll.market import load_market
from simulation.agents import cast
from simulation.house import LEAD_TIME, House, known
from simulation.invariants import STATEMENTS, InvariantError
from simulation.recording import Recording
from simulation.replay import Replay, replay
from simulation.report import render
from simulation.scenario import scenario_for

MARKET = "sp500-nasdaq"
FALL = {"first_step": 72, "most_steps": 44}
"""29 January to 12 February: the late traders come in, the market falls, parameters are pushed a week later."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return replay(MARKET, tmp_path_factory.mktemp("demo"), **FALL)


@pytest.mark.slow
def test_replay_every_invariant_is_checked_and_true(recording: Recording) -> None:
    assert {one.id: (one.checks > 0, one.violation) for one in recording.invariants} == dict.fromkeys(
        STATEMENTS, (True, "")
    )
    assert recording.holds
    assert recording.solvent


@pytest.mark.slow
def test_replay_result_has_the_figures_of_a_crash(recording: Recording) -> None:
    result = json.loads(json.dumps(recording.result()))
    assert result["market"] == MARKET
    assert result["steps"] == FALL["most_steps"]
    assert result["pushes"] >= 1
    assert result["liquidations"] >= 1
    assert result["initial_margin_rate"]["max"] > 1.5 * result["initial_margin_rate"]["first"]
    assert sum(account["equity_end"] > 0 for account in result["accounts"]) > len(result["accounts"]) / 2
    carried = result["insurance_paid"] + result["claims_open"] + result["shared_loss"]
    assert result["bad_debt"] == pytest.approx(carried, abs=1e-5)
    charges = result["charges"]
    assert charges["flag_fees"] == pytest.approx(sum(one["fee"] for one in result["liquidation_log"]), abs=1e-4)
    assert all(charges[kind] > 0 for kind in ("flag_fees", "discounts", "premium_fees", "interest", "funding"))
    assert set(result["attacks_refused"]) == {
        "a sale of options beyond margin: ClearingHouseInsufficientMargin",
        "a trade beyond margin: ClearingHouseInsufficientMargin",
        "a withdrawal beyond margin: ClearingHouseInsufficientMargin",
        "a withdrawal of another's collateral: ClearingHouseNotAuthorised",
    }
    assert set(recording.series()["accounts"]) == {account["name"] for account in result["accounts"]}


@pytest.mark.slow
def test_replay_hedged_books_pay_less_than_their_parts(recording: Recording) -> None:
    """Visibly so, at every step, and the report shows it."""
    books = recording.books()
    assert set(books) == {"Collar", "Insured long", "Strangle writer", "Straddle, bold"}
    for points in books.values():
        assert all(point.whole <= point.apart for _, point in points)
    assert recording.share("Collar") < 1 / 3
    assert recording.share("Strangle writer") < 2 / 3
    page = render(recording)
    assert f"<b>Collar</b> pays {100 * recording.share('Collar'):.1f}% of its parts" in page
    assert len(recording.steps) - 2 <= len(books["Collar"]) < len(recording.steps)


@pytest.mark.slow
def test_replay_settles_an_expiry_zero_sum(recording: Recording) -> None:
    """Options of 29 January expire on 12 February at the close of the 9th: what the long received the short paid, to
    the wei a position may be rounded by."""
    close = 1_518_210_000
    assert {(one.underlying, one.expiry) for one in recording.settlements} == {
        (u, 1_518_422_400) for u in ("SPX", "IXIC")
    }
    for one in recording.settlements:
        assert one.price == [step for step in recording.steps if step.ts <= close][-1].underlyings[one.underlying].price
        assert close <= one.reported < close + 60 < one.expiry < one.ts
        assert one.positions >= 4
        assert one.received > 0
        assert one.received == pytest.approx(one.paid, abs=1e-6)
        assert 0 <= one.rounding <= one.positions
    options = [step.options for step in recording.steps]
    assert {point.symbol.split("-")[1] for step in options for point in step.values()} == {"12FEB18", "26FEB18"}
    assert all(0.05 < point.volatility < 3 for step in options for point in step.values())


@pytest.mark.slow
def test_replay_liquidates_a_book_of_options(recording: Recording) -> None:
    assert "Straddle, bold" in {one.account for one in recording.liquidations}


@pytest.mark.slow
def test_replay_maintenance_follows_initial_at_a_limited_rate(recording: Recording) -> None:
    points = [step.underlyings["SPX"] for step in recording.steps]
    assert all(point.maintenance <= point.live + 1e-12 for point in points)
    assert any(point.maintenance < 0.99 * point.live for point in points)  # the jump of 5 February
    assert "liquidation" in render(recording)


@pytest.mark.slow
def test_replay_same_market_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (replay(MARKET, tmp_path / name, most_steps=4) for name in ("first", "second"))
    assert json.dumps(first.result()) == json.dumps(second.result())
    assert json.dumps(first.series()) == json.dumps(second.series())
    assert render(first) == render(second)


@pytest.mark.slow
def test_replay_violation_stops_the_run_and_is_reported(tmp_path: Path) -> None:
    """A token that appears in the clearing house without being deposited is a ledger that does not agree."""
    data, scenario = load_market(MARKET), scenario_for(MARKET)
    bars = list(islice(data.steps(), 3))
    with Anvil(timestamp=bars[0][0] - LEAD_TIME) as node:
        agents = cast(scenario, data.market.assets, bars[0][0], bars[0][1])
        house = House.open(Chain.connect(node.url), data, agents, tmp_path, bars[0][0])
        run = Replay(house, scenario, bars)
        house.chain.send(house.system.cash.mint(house.system.clearing_house.address, 1), house.reporter)
        with pytest.raises(InvariantError, match="CASH: USD: balance"):
            run.go()
        recording = run.finish()
    assert not recording.holds
    assert "balance" in recording.result()["violations"]["CASH"]


def test_known_ends_at_the_moment_and_stays_on_the_grid() -> None:
    data = load_market(MARKET)
    for now in (data.market.start, data.market.start + 10 * 86_400 + 1, data.market.end):
        for name, series in known(data, now).items():
            assert series.ts[-1] <= now
            assert set(series.ts % 86_400) == {data.assets[name].history.ts[-1] % 86_400}
    before = known(data, data.market.start)["SPX"]
    assert list(before.ts) == list(data.assets["SPX"].history.ts)


@pytest.mark.parametrize("market", ["tulips", "2020-03"])
def test_demo_says_what_is_missing(market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLIMSOLL_DATA", raising=False)
    outcome = CliRunner().invoke(command, ["--market", market, "--out", str(tmp_path)])
    assert isinstance(outcome.exception, PlimsollError)
    assert ("unknown market" if market == "tulips" else "PLIMSOLL_DATA") in str(outcome.exception)
