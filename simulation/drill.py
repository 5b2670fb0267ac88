"""A fault drill: a real crash on a live chain, once as it was and once for each thing that may fail with it.

    python -m simulation.drill [--market 2021-05] [--drill outage] [--out folder]

Around the worst bar of the market: price and volatility feeds fall silent for half an hour; gas costs fifty times as
much for six hours; one keeper of three dies; one lets its friends' auctions ripen to the highest discount while another
flags everything and never bids; all of it at once, with one honest keeper left and with none. Keepers count their gas.

Reported: what was lost and who bore it, how long accounts waited, every invariant, and whether anything went missing:
`balance` holds what came in against what went out, for auctions, losses, claims, fees, orders and tokens.

The same market and code give the same bytes. Nothing is drawn at random.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain
from plimsoll.chain.system import CASH as CASH_ID
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.market import DEFAULT_MARKET, MarketData, load_market
from plimsoll.market.markets import DATA_VARIABLE
from simulation.agents import CASH, KEEPER, Agent, Unwinder, cast
from simulation.drill_page import render
from simulation.faults import GWEI, CountingKeeper, Faults, Span
from simulation.house import LEAD_TIME, House, with_heartbeat
from simulation.invariants import InvariantError
from simulation.replay import Replay
from simulation.scenario import Scenario, scenario_for
from simulation.watch import MINUTE, Balance, Case, Point, Watch, balance, fund_of

OUTPUT = Path(__file__).resolve().parent.parent / ".build" / "bench" / "drill.json"
REAL_MARKETS = ("2021-05", "2020-03")
HOUR = 3_600

BEFORE, HELD, AFTER = 2, 24, 24
"""Bars that are replayed: before the late traders come in, from then to the worst one at most, and after it."""
OUTAGE = 30 * MINUTE
WATCH_EVERY = 5 * MINUTE
"""How often keepers look while feeds are silent."""
LATE = 7 * MINUTE + 30
"""Seconds after which a report that did not come with its bar makes the feed stale."""
BASE_FEE = 20 * GWEI
SPIKE_FACTOR = 50
SPIKE_BEFORE, SPIKE_AFTER = 2 * HOUR, 4 * HOUR
TICKS = 20
"""Of an auction in a bar: all of its duration."""
SETTLE_ROUNDS, SETTLE_EVERY = 144, HOUR // 6
"""How long the house has after the last bar to close what is open."""
SECOND, THIRD = "Second keeper", "Third keeper"
KEEPER_CASH = 2_000_000
WIDTH = 160
"""Columns of the table where there is no terminal."""


# ─── What is drilled


@dataclass(frozen=True, slots=True)
class Drill:
    """A name for the command line, a title for people, and what fails."""

    name: str
    title: str
    faults: Faults


@dataclass(frozen=True, slots=True)
class Plan:
    """A market's bars around its worst one, as every drill replays them, and the drills."""

    data: MarketData
    scenario: Scenario
    bars: list[tuple[int, dict[str, float]]]
    worst: int
    """When the worst bar was printed, unix seconds."""
    heartbeat: int
    """Seconds for which an answer of a feed is believed: a bar, and a little more."""
    drills: tuple[Drill, ...]


def worst_bar(bars: Sequence[tuple[int, Mapping[str, float]]], since: int) -> int:
    """Index of the bar, not before `since`, over which all prices together fell furthest: least Σ log(p/p before)."""
    last: dict[str, float] = {}
    falls: list[tuple[float, int]] = []
    for index, (ts, printed) in enumerate(bars):
        if last and ts >= since:
            falls.append((sum(math.log(price / last.get(name, price)) for name, price in printed.items()), index))
        last.update(printed)
    if not falls:
        raise PlimsollError("the market has no bar after the late traders come in")
    return min(falls)[1]


def watched(bars: Sequence[tuple[int, dict[str, float]]], outage: Span) -> list[tuple[int, dict[str, float]]]:
    """The bars with moments between them, without prints, at which keepers look while feeds may be silent; and with a
    report of what is known at the outage's end."""
    table = dict(bars)
    known: dict[str, float] = {}
    for ts, printed in bars:
        if ts <= outage.end:
            known.update(printed)
    for ts in range(outage.first, outage.end, WATCH_EVERY):
        table.setdefault(ts, {})
    table.setdefault(outage.end, known)
    return sorted(table.items())


def plan(market: str, data_dir: Path | None = None, *, held: int = HELD, after: int = AFTER) -> Plan:
    """The drills of a market. The late traders come in `held` bars before the worst one where their scenario has them
    come earlier. PlimsollError where the market or its data are missing."""
    data, scenario = load_market(market, data_dir), scenario_for(market)
    bars = list(data.steps())
    worst = worst_bar(bars, scenario.late)
    scenario = replace(scenario, late=max(scenario.late, bars[max(0, worst - held)][0]))
    entry = next(index for index, (ts, _) in enumerate(bars) if ts >= scenario.late)
    at, (first, second) = bars[worst][0], data.market.assets
    outage = Span(at, at + OUTAGE)
    friends = (f"{first} long, late", f"{second} long, bold", "Straddle, bold")
    spike = Span(at - SPIKE_BEFORE, at + SPIKE_AFTER)

    def drill(name: str, title: str, **faults: Any) -> Drill:
        return Drill(name, title, Faults(base_fee=BASE_FEE, spike_factor=SPIKE_FACTOR, **faults))

    silent, dear, dead = {"outage": outage}, {"spike": spike}, {"dead": {KEEPER: at}}
    collusion: dict[str, Any] = {"colluder": SECOND, "friends": friends}
    everything = {**silent, **dear, **dead, **collusion}
    idle = {"flagger": THIRD}
    return Plan(
        data,
        scenario,
        watched(bars[max(0, entry - BEFORE) : worst + after + 1], outage),
        at,
        data.market.step_seconds + LATE,
        (
            drill("reference", "No fault"),
            drill("outage", "Feeds silent for 30 minutes", **silent),
            drill("gas", f"Gas at {SPIKE_FACTOR} times its price", **dear),
            drill("dead keeper", "One keeper of three dies", **dead),
            drill("collusion", "One keeper colludes, one never bids", **collusion, **idle),
            drill("all at once", "All of it, one honest keeper left", **everything),
            drill("no keeper left", "All of it, no honest keeper left", **everything, **idle),
        ),
    )


# ─── A drill


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drill came to. Dollars, minutes, parts of one."""

    name: str
    title: str
    faults: Faults
    bad_debt: float
    fund_paid: float
    """At once."""
    fund_queued: float
    """As claims, all of them paid at the end unless `claims_open`."""
    claims_open: float
    shared: float
    """Left to positive cash, fees first."""
    pending: float
    fund_low: float
    """The least in the fund."""
    accounts: int
    """Traders that had positions."""
    liquidated: int
    """Of them, bid on."""
    notional_liquidated: float
    """Part of Σ of their largest exposures."""
    flags: int
    bids: int
    to_flag: float
    """Longest from first seen liquidatable to the flag."""
    to_flag_account: str
    to_end: float
    """Longest from first seen liquidatable to the end of the auction."""
    to_end_account: str
    locked: float
    """Withdrawals waited for a loss."""
    unknown: float
    """A price failed its checks."""
    fee_low: float
    fee_high: float
    """Least and largest flag fee."""
    profits: dict[str, float]
    """Keeper → change of its equity, less gas."""
    gas: dict[str, float]
    """Keeper → spent on gas."""
    refrained: dict[str, int]
    """Keeper → actions it left because they did not pay."""
    wound_down: float
    """From the last bar to when nothing was open any more, at most."""
    invariants: dict[str, int]
    """Checks by id."""
    violation: str
    balance: list[Balance]
    cases: list[Case]
    points: list[Point]

    @property
    def holds(self) -> bool:
        """Every invariant was checked and is true."""
        return not self.violation and all(self.invariants.values())

    @property
    def nothing_lost(self) -> bool:
        """Everything that came in is accounted for, and nothing is left open."""
        return all(line.holds for line in self.balance)

    @property
    def liquidated_share(self) -> float:
        """Part of the accounts."""
        return self.liquidated / self.accounts if self.accounts else 0.0


def people(plan_: Plan) -> list[Agent]:
    """The cast of a replay, with three keepers."""
    prices: dict[str, float] = {}
    for _, printed in plan_.bars:
        prices = {**printed, **prices}
    summary = "bids for liquidated portfolios and trades out of them"
    others: list[Agent] = [Unwinder(name, summary, {CASH: KEEPER_CASH}) for name in (SECOND, THIRD)]
    return cast(plan_.scenario, plan_.data.market.assets, plan_.bars[0][0], prices) + others


def run_drill(
    plan_: Plan, drill: Drill, folder: Path, on_step: Callable[[int, int, str], None] | None = None
) -> Outcome:
    """Replay the plan's bars on a chain of its own with a drill's faults, then close what is open.

    folder: for the deployment's manifest. Raises PlimsollError where the contracts or anvil are missing.
    """
    start = plan_.bars[0][0]
    with Anvil(timestamp=start - LEAD_TIME) as node:
        chain = Chain.connect(node.url)
        chain.base_fee = drill.faults.base_fee_at(start - LEAD_TIME)
        house = House.open(
            chain, plan_.data, people(plan_), folder, start, lambda profile: with_heartbeat(profile, plan_.heartbeat)
        )
        watch = Watch({one.account: one.name for one in house.participants}, lambda block: chain.block(block).timestamp)
        run = Replay(
            house,
            plan_.scenario,
            plan_.bars,
            drill.faults,
            ticks=TICKS,
            probes=0,
            on_state=watch.see,
            on_events=watch.note,
        )
        fund_before = fund_of(run.last_state)

        def stepped(done: int, most: int, words: str) -> None:
            watch.record(plan_.bars[done - 1][0], run.state, run.printed, chain.base_fee)
            if on_step is not None:
                on_step(done, most, words)

        wound_down = 0
        try:
            run.go(stepped)
            ended = run.last_state.timestamp
            run.wind_down(SETTLE_ROUNDS, SETTLE_EVERY)
            wound_down = run.last_state.timestamp - ended
        except InvariantError as violation:
            run.stopped_by = violation
        return _outcome(drill, run, watch, balance(run, watch, fund_before), wound_down)


def _outcome(drill: Drill, run: Replay, watch: Watch, books: list[Balance], wound_down: int) -> Outcome:
    recording, state, losses = run.finish(), run.last_state, run.audit.losses
    unit = state.assets[CASH_ID].scale / WAD
    traders = {number for number, most in watch.peak.items() if most and not _is_keeper(run, watch.names[number])}
    bid_on = {case.account for case in watch.cases if case.bids}
    slow_flag = max(watch.cases, key=lambda case: case.to_flag, default=None)
    slow_end = max(watch.cases, key=lambda case: case.to_end, default=None)
    accounts = {one.name: one for one in recording.accounts}
    keepers: Mapping[str, CountingKeeper] = run.keepers
    return Outcome(
        name=drill.name,
        title=drill.title,
        faults=drill.faults,
        bad_debt=losses.requested / WAD,
        fund_paid=losses.fund_paid * unit,
        fund_queued=losses.fund_queued * unit,
        claims_open=state.fund_owed * unit,
        shared=losses.shared / WAD,
        pending=state.pending_loss / WAD,
        fund_low=min((point.fund for point in watch.points), default=0.0),
        accounts=len(traders),
        liquidated=len(bid_on & {watch.names[number] for number in traders}),
        notional_liquidated=watch.taken / max(1, sum(watch.peak[number] for number in traders)),
        flags=watch.flags,
        bids=len(recording.liquidations),
        to_flag=slow_flag.to_flag if slow_flag else 0.0,
        to_flag_account=slow_flag.account if slow_flag else "",
        to_end=slow_end.to_end if slow_end else 0.0,
        to_end_account=slow_end.account if slow_end else "",
        locked=watch.locked / MINUTE,
        unknown=watch.unknown / MINUTE,
        fee_low=watch.fee_low / WAD,
        fee_high=watch.fee_high / WAD,
        profits={
            name: accounts[name].equity_end - accounts[name].equity_start - accounts[name].flow - keeper.spent / WAD
            for name, keeper in keepers.items()
        },
        gas={name: keeper.spent / WAD for name, keeper in keepers.items()},
        refrained={name: keeper.refrained for name, keeper in keepers.items()},
        wound_down=wound_down / MINUTE,
        invariants={one.id: one.checks for one in recording.invariants},
        violation="" if run.stopped_by is None else str(run.stopped_by),
        balance=books,
        cases=watch.cases,
        points=watch.points,
    )


def _is_keeper(run: Replay, name: str) -> bool:
    return name in run.keepers


# ─── Results


@dataclass(frozen=True, slots=True)
class Report:
    """All drills of one market."""

    market: str
    title: str
    worst: int
    heartbeat: int
    outcomes: list[Outcome]

    @property
    def holds(self) -> bool:
        """In every drill every invariant held and nothing was lost."""
        return all(outcome.holds and outcome.nothing_lost for outcome in self.outcomes)

    def later(self, outcome: Outcome) -> float | None:
        """How much later than in the reference an account was first flagged, at most, minutes; None without both."""
        reference = _first_flags(self.outcomes[0])
        found = [at - reference[name] for name, at in _first_flags(outcome).items() if name in reference]
        return max(found) / MINUTE if found and self.outcomes[0].name == "reference" else None

    def result(self) -> dict[str, Any]:
        """For the result file. The same market and code give the same bytes."""
        return {
            "market": self.market,
            "title": self.title,
            "worst_bar": self.worst,
            "heartbeat": self.heartbeat,
            "holds": self.holds,
            "drills": {
                one.name: _rounded(asdict(one))
                | {
                    "points": len(one.points),
                    "liquidated_share": round(one.liquidated_share, 6),
                    "later_than_reference": self.later(one),
                    "invariants_hold": one.holds,
                    "nothing_lost": one.nothing_lost,
                }
                for one in self.outcomes
            },
        }


def _first_flags(outcome: Outcome) -> dict[str, int]:
    found: dict[str, int] = {}
    for case in outcome.cases:
        found[case.account] = min(found.get(case.account, case.flagged), case.flagged)
    return found


def _rounded(value: Any) -> Any:
    """Six digits after the point, and no infinity: JSON has none."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def drill_market(plan_: Plan, chosen: Sequence[Drill], console: Console) -> Report:
    """Every chosen drill in turn, with a bar each."""
    outcomes = []
    with (
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(), console=console,
        ) as progress,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        for drill in chosen:
            bar = progress.add_task(f"{plan_.data.market.name} {drill.name}", total=None, words="deploying")

            def stepped(done: int, most: int, words: str, bar: Any = bar) -> None:
                progress.update(bar, completed=done, total=most, words=words)

            outcomes.append(run_drill(plan_, drill, Path(folder), stepped))
            progress.stop_task(bar)
    market = plan_.data.market
    return Report(market.name, market.title, plan_.worst, plan_.heartbeat, outcomes)


def show(report: Report, console: Console) -> None:
    """The figures of every drill, one column each, and what was lost if anything was."""
    table = Table(title=f"{report.title}: drills", title_justify="left", box=None)
    table.add_column("")
    for one in report.outcomes:
        table.add_column(one.name, justify="right")
    for label, cells in rows(report):
        table.add_row(label, *cells)
    console.print(table)
    for one in report.outcomes:
        if one.violation:
            console.print(f"[bold red]{one.name}: {one.violation}[/]")
        for line in one.balance:
            if not line.holds:
                figures = f"{line.came} in, {line.went} out, {line.open} open"
                console.print(f"[bold red]{one.name}: {line.what}: {figures}[/]")


def rows(report: Report) -> list[tuple[str, list[str]]]:
    """What is shown of every drill, on the terminal and on the page."""

    def row(label: str, form: Callable[[Outcome], str]) -> tuple[str, list[str]]:
        return label, [form(one) for one in report.outcomes]

    def later(one: Outcome) -> str:
        found = report.later(one)
        return "–" if found is None else f"{found:.1f}"

    keepers = list(report.outcomes[0].profits) if report.outcomes else []
    return [
        row("bad debt, $", lambda one: f"{one.bad_debt:,.0f}"),
        row("paid by the fund at once, $", lambda one: f"{one.fund_paid:,.0f}"),
        row("queued as claims, $", lambda one: f"{one.fund_queued:,.0f}"),
        row("claims open at the end, $", lambda one: f"{one.claims_open:,.0f}"),
        row("shared, $", lambda one: f"{one.shared:,.0f}"),
        row("to be shared at the end, $", lambda one: f"{one.pending:,.0f}"),
        row("least in the fund, $", lambda one: f"{one.fund_low:,.0f}"),
        row("accounts liquidated", lambda one: f"{one.liquidated} of {one.accounts}"),
        row("notional liquidated", lambda one: f"{one.notional_liquidated:.1%}"),
        row("flags, bids", lambda one: f"{one.flags}, {one.bids}"),
        row("longest to the flag, min", lambda one: f"{one.to_flag:.1f}"),
        row("longest to the end, min", lambda one: f"{one.to_end:.1f}"),
        row("flagged later than without, min", later),
        row("withdrawals locked, min", lambda one: f"{one.locked:.1f}"),
        row("price unknown, min", lambda one: f"{one.unknown:.1f}"),
        row("flag fees, $", lambda one: f"{one.fee_low:.0f} to {one.fee_high:.0f}"),
        *((f"{name}: profit, $", [f"{one.profits[name]:,.0f}" for one in report.outcomes]) for name in keepers),
        *((f"{name}: gas, $", [f"{one.gas[name]:,.0f}" for one in report.outcomes]) for name in keepers),
        row("actions that did not pay", lambda one: str(sum(one.refrained.values()))),
        row("all closed after the last bar, min", lambda one: f"{one.wound_down:.0f}"),
        row("invariants", lambda one: f"{sum(map(bool, one.invariants.values()))} true" if one.holds else "VIOLATED"),
        row("checks", lambda one: f"{sum(one.invariants.values()):,}"),
        row("nothing lost", lambda one: "yes" if one.nothing_lost else "NO"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, write the result and a page a market beside it; 1 if an invariant failed or something was lost."""
    parser = argparse.ArgumentParser(prog="python -m simulation.drill", description=__doc__.split("\n")[0])
    real = ", ".join(REAL_MARKETS)
    parser.add_argument(
        "--market", nargs="+", help=f"which crashes; {DEFAULT_MARKET}, or {real} where {DATA_VARIABLE} is"
    )
    parser.add_argument("--drill", nargs="+", help="only these; by default all of them")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the result file; pages go beside it")
    options = parser.parse_args(arguments)
    markets = options.market or (REAL_MARKETS if os.environ.get(DATA_VARIABLE) else (DEFAULT_MARKET,))
    console, started = Console(), time.monotonic()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    try:
        reports = []
        for market in markets:
            plan_ = plan(market)
            chosen = choose(plan_, options.drill)
            reports.append(drill_market(plan_, chosen, console))
            show(reports[-1], console)
    except PlimsollError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = {report.market: report.result() for report in reports}
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for report in reports:
        page = options.out.with_name(f"{options.out.stem}-{report.market}.html")
        page.write_text(render(report, rows(report)), encoding="utf-8")
        console.print(page, highlight=False)
    console.print(f"{options.out}, {time.monotonic() - started:.0f} s", highlight=False)
    return 0 if all(report.holds for report in reports) else 1


def choose(plan_: Plan, names: Sequence[str] | None) -> list[Drill]:
    """Drills by name, in the plan's order; all without names. PlimsollError for a name there is none of."""
    known = [drill.name for drill in plan_.drills]
    for name in names or ():
        if name not in known:
            raise PlimsollError(f"no drill {name!r}; choose of {', '.join(known)}")
    return [drill for drill in plan_.drills if not names or drill.name in names]


if __name__ == "__main__":
    sys.exit(main())
