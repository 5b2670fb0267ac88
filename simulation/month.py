"""A month with nobody at the controls: `plimsoll watch` keeps a house's parameters while a market crashes.

    python -m simulation.month [--market 2021-05] [--out folder/month.json]

Each month is run twice on a chain of its own: with the loop alive all the time, and with it killed for a week and then
started anew, remembering nothing. Prices are real, hourly; reporters, keepers and traders act as in a replay, and the
loop does a cycle a bar: it calibrates every eight hours, rehearses each push on a fork, pushes, announces, executes,
and keeps the coverage monitor going.

Reported: what was pushed and what refused, and why; loosenings; exceptions and multipliers; margin of sample positions
side by side; losses. Checked: the audit's invariants at every bar, and that no healthy account is made liquidatable by
a push: all accounts are read immediately before and after it, at the time of its block.

The same market and code give the same bytes. Nothing is drawn at random.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from plimsoll.calibration import Report as Calibration
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain
from plimsoll.chain.system import System
from plimsoll.config import Profile
from plimsoll.errors import PlimsollError
from plimsoll.governance.history import read_history
from plimsoll.governance.pending import SPAN
from plimsoll.governance.status import HORIZONS
from plimsoll.market import MarketData, get_market, load_market
from plimsoll.market.markets import Market
from simulation.agents import Insured, Spread, Writer, cast
from simulation.faults import Span
from simulation.house import LEAD_TIME, House, calibrated
from simulation.invariants import InvariantError
from simulation.month_page import render
from simulation.month_report import Coverage, Outcome, Report, show
from simulation.replay import Replay
from simulation.scenario import Scenario, scenario_for
from simulation.unattended import Point, Unattended, Witness, reason_of

OUTPUT = Path(__file__).resolve().parent.parent / ".build" / "bench" / "month.json"
HOUR, DAY = 3_600, 86_400
EVERY = 8 * HOUR
"""Seconds between calibrations, as `plimsoll watch` has it by default."""
AGE_GRACE = 2 * DAY
"""From this age of the last bundle on margin rises. The house as configured waits for 14 days, and in a week without a
calibrator nothing would be seen."""
KILLED = {"2021-05": "2021-05-13", "2022-05": "2022-05-08"}
"""Market → when the loop is killed for a week: the week holds the worst of the fall."""
WEEK = 7 * DAY
LEFT_OUT = (Writer, Insured, Spread)
"""Of a replay's cast, so that a month takes minutes: longs, shorts, hedger, collar and keeper stay, and the bold who
ignore margin calls."""
WIDTH = 140
"""Columns of the table where there is no terminal."""
ALIVE, DEAD = "alive", "killed for a week"


# ─── What is run


@dataclass(frozen=True, slots=True)
class Plan:
    """A market's bars, who comes when, and when the loop is dead in the second run."""

    data: MarketData
    scenario: Scenario
    bars: list[tuple[int, dict[str, float]]]
    dead: Span
    grace: int = AGE_GRACE
    probes: int = 1


def month_of(name: str) -> Market:
    """The calendar month, in hourly bars, that a market called "2021-05" is a part of. PlimsollError if there is no
    such market or its name is no month."""
    crash = get_market(name)
    try:
        first = datetime.fromisoformat(f"{name}-01").replace(tzinfo=UTC)
    except ValueError:
        raise PlimsollError(f"market {name!r} is not named by a month; choose one of {', '.join(KILLED)}") from None
    if crash.files is None:
        raise PlimsollError(f"market {name!r} has no hourly prices")
    return replace(
        crash,
        title=f"{' and '.join(crash.assets)}, {first:%B %Y}",
        start=int(first.timestamp()),
        end=int((first + timedelta(days=32)).replace(day=1).timestamp()),
        step_seconds=HOUR,
        files=replace(crash.files, prints=crash.files.history),
    )


def plan(name: str, data_dir: Path | None = None, *, most_steps: int | None = None) -> Plan:
    """A month of real prices. PlimsollError where the market or its data are missing."""
    if name not in KILLED:
        raise PlimsollError(f"no month {name!r}; choose one of {', '.join(KILLED)}")
    data = load_market(month_of(name), data_dir)
    killed = int(datetime.fromisoformat(KILLED[name]).replace(tzinfo=UTC).timestamp())
    bars = list(islice(data.steps(), most_steps))
    return Plan(data, scenario_for(name), bars, Span(killed, killed + WEEK))


# ─── A run


def run(
    plan_: Plan,
    folder: Path,
    calibrate: Callable[[int], Calibration],
    *,
    killed: bool,
    on_step: Callable[[int, int, str], None] | None = None,
) -> Outcome:
    """Run the plan's bars on a chain of its own, the loop alive or `killed` for the plan's span.

    folder: for the deployment's manifest. calibrate: what the loop fits with, as of a unix second. Raises PlimsollError
    where the contracts or anvil are missing.
    """
    with Anvil(timestamp=plan_.bars[0][0] - LEAD_TIME) as node:
        return run_on(Chain.connect(node.url), plan_, folder, calibrate, killed=killed, on_step=on_step)


def run_on(
    chain: Chain,
    plan_: Plan,
    folder: Path,
    calibrate: Callable[[int], Calibration],
    *,
    killed: bool,
    on_step: Callable[[int, int, str], None] | None = None,
) -> Outcome:
    """The same on a fresh local chain whose clock stands before the first bar."""
    start, data, dead = plan_.bars[0][0], plan_.data, plan_.dead if killed else None

    def amend(profile: Profile) -> Profile:
        return replace(profile, governance=replace(profile.governance, age_grace=plan_.grace))

    everybody = cast(plan_.scenario, data.market.assets, start, _first_prices(plan_.bars))
    agents = [one for one in everybody if not isinstance(one, LEFT_OUT)]
    house = House.open(chain, data, agents, folder, start, amend)
    system, begin = house.system, chain.block().number
    loop = Unattended(system, house.reporter, calibrate, EVERY, dead)
    replay = Replay(house, plan_.scenario, plan_.bars, calibrator=loop, probes=plan_.probes)
    witness = Witness(system, replay.audit.observer, {one.account: one.name for one in house.participants})
    replay.on_events = witness.note

    def stepped(done: int, most: int, _: str) -> None:
        if on_step is not None:
            moves = sum(one.event == "BundleApplied" for one in witness.around)
            liquidations = len(replay.recording.liquidations)
            on_step(done, most, f"{moves} bundles, {len(loop.refused)} refused, {liquidations} liquidations")

    try:
        replay.go(stepped)
    except InvariantError as violation:
        replay.stopped_by = violation
    recording = replay.finish()
    return Outcome(
        name=DEAD if killed else ALIVE,
        names=dict(system.names),
        dead=dead,
        recording=recording,
        points=loop.points,
        history=[entry for entry in read_history(system) if entry.block > begin],
        refusals=dict(Counter(reason_of(why) for _, why in loop.refused).most_common()),
        refused=loop.refused,
        starts=len(loop.started),
        calibrations=sum(one.startswith("calibrated") for _, one in loop.done),
        coverage=_coverage(system, begin, loop.points),
        around=witness.around,
        flagged=witness.flagged,
        fund_low=min(step.fund for step in recording.steps),
        violation="" if replay.stopped_by is None else str(replay.stopped_by),
    )


def _first_prices(bars: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for _, printed in bars:
        prices = {**printed, **prices}
    return prices


def _coverage(system: System, begin: int, points: Sequence[Point]) -> dict[str, Coverage]:
    """From the monitor's events since a block."""
    counts: dict[str, list[bool]] = {f"{name} {one}": [] for name in system.underlyings for one in HORIZONS}
    for event in _closed(system, begin):
        key = f"{system.names[event['underlying']]} {HORIZONS[event['horizon']]}"
        counts[key].append(event["isException"])
    return {
        key: Coverage(
            observations=len(outcomes),
            exceptions=sum(outcomes),
            expected=0.01 * len(outcomes),
            most=max((point.coverage[key] for point in points), default=1.0),
        )
        for key, outcomes in counts.items()
    }


def _closed(system: System, begin: int) -> Iterator[Mapping[str, Any]]:
    monitor, head = system.coverage_monitor, system.chain.block().number
    for first in range(begin, head + 1, SPAN):
        query = {"address": monitor.address, "fromBlock": hex(first), "toBlock": hex(min(head, first + SPAN - 1))}
        for log in system.chain.rpc("eth_getLogs", query):
            event = monitor.read_event(log)
            if event is not None and event.name == "ObservationClosed":
                yield event.arguments


# ─── The command


def run_month(plan_: Plan, console: Console) -> Iterator[Report]:
    """The report after the first run, and after both. A calibration of the same data as of the same bar is made once
    for both: it follows from them."""
    fit = cache(lambda now: calibrated(plan_.data, now))

    def calibrate(now: int) -> Calibration:
        # blocks are seconds apart, bars an hour: nothing has become known since the bar
        return fit(max(ts for ts, _ in plan_.bars if ts <= now))

    market, outcomes = plan_.data.market, []
    with (
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(), console=console,
        ) as progress,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        for killed in (False, True):
            words = f"{market.name} {DEAD if killed else ALIVE}"
            bar = progress.add_task(words, total=None, words="deploying")

            def stepped(done: int, most: int, said: str, bar: Any = bar) -> None:
                progress.update(bar, completed=done, total=most, words=said)

            outcomes.append(run(plan_, Path(folder), calibrate, killed=killed, on_step=stepped))
            progress.stop_task(bar)
            yield Report(market.name, market.title, plan_.grace, list(outcomes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, write the result and a page a month beside it; 1 if an invariant failed or a push hurt somebody."""
    parser = argparse.ArgumentParser(prog="python -m simulation.month", description=__doc__.split("\n")[0])
    parser.add_argument("--market", nargs="+", default=list(KILLED), help="which months; all of them by default")
    parser.add_argument("--steps", type=int, help="only so many bars from the start")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the result file; pages go beside it")
    options = parser.parse_args(arguments)
    console, started = Console(), time.monotonic()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {}
    try:
        for market in options.market:
            for report in run_month(plan(market, most_steps=options.steps), console):
                document[market] = report.result()
                _write(options.out, document, market)
            show(report, console)
    except PlimsollError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    console.print(f"{options.out}, {time.monotonic() - started:.0f} s", highlight=False)
    return 0 if all(month["holds"] for month in document.values()) else 1


def _write(out: Path, document: dict[str, Any], market: str) -> None:
    out.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    out.with_name(f"{out.stem}-{market}.html").write_text(render(document[market]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
