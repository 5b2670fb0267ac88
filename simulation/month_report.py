"""What a month's run came to, as figures: for the result file, the terminal and the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from plimsoll.governance.history import Entry, Kind
from plimsoll.governance.rows import label
from simulation.faults import Span
from simulation.recording import Recording
from simulation.unattended import PUSH, Around, Flagged, Point


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the chain's own backtest counted in a run, of one underlying and horizon."""

    observations: int
    exceptions: int
    expected: float
    """Exceptions, were one in a hundred right."""
    most: float
    """The largest multiplier of the tail there was."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. Dollars, parts of one."""

    name: str
    names: dict[int, str]
    """Of underlyings."""
    dead: Span | None
    recording: Recording
    points: list[Point]
    history: list[Entry]
    refusals: dict[str, int]
    """Reason → cycles."""
    refused: list[tuple[int, str]]
    """Each of them: (bar, what and why)."""
    starts: int
    """How often a Watch was made."""
    calibrations: int
    coverage: dict[str, Coverage]
    around: list[Around]
    flagged: list[Flagged]
    fund_low: float
    violation: str

    def of_kind(self, kind: Kind) -> list[Entry]:
        """Entries of the history since the deployment, which is governance's."""
        return [entry for entry in self.history if entry.kind is kind]

    @property
    def overtaken(self) -> int:
        """Loosenings that were announced and gave way to another announcement before they were executed or vetoed."""
        kinds = [entry.kind for entry in self.history if entry.kind is not Kind.PUSH]
        return sum(one is other is Kind.SCHEDULE for one, other in pairwise(kinds))

    @property
    def fields(self) -> dict[str, int]:
        """Field → how often a push or an execution moved it, the most often first."""
        moved = Counter(
            change.key.field.key
            for entry in self.of_kind(Kind.PUSH) + self.of_kind(Kind.EXECUTE)
            for change in entry.changes
        )
        return dict(sorted(moved.items(), key=lambda item: (-item[1], item[0])))

    @property
    def hurt(self) -> int:
        """Healthy accounts that a push made liquidatable in its block."""
        return sum(len(one.hurt) for one in self.around)

    @property
    def by_push(self) -> list[Flagged]:
        """Flagged accounts that would have been healthy without the pushes of the last ramp."""
        return [one for one in self.flagged if one.by_push]

    @property
    def holds(self) -> bool:
        """Every invariant is true, and nobody healthy was made liquidatable by a push."""
        return not self.violation and not self.hurt and not any(one.violation for one in self.recording.invariants)


@dataclass(frozen=True, slots=True)
class Report:
    """A month: the run with the loop alive, and the one in which it was killed."""

    market: str
    title: str
    grace: int
    outcomes: list[Outcome]

    @property
    def holds(self) -> bool:
        """In both."""
        return all(one.holds for one in self.outcomes)

    def result(self) -> dict[str, Any]:
        """For the result file. The same market and code give the same bytes."""
        return {
            "market": self.market,
            "title": self.title,
            "age_grace": self.grace,
            "holds": self.holds,
            "rows": [[label, cells] for label, cells in rows(self)],
            "runs": {one.name: _rounded(_result(one)) for one in self.outcomes},
        }


def _result(one: Outcome) -> dict[str, Any]:
    recording, points, symbols = one.recording, one.points, one.recording.symbols
    pushes, executed = one.of_kind(Kind.PUSH), one.of_kind(Kind.EXECUTE)
    first, steps = points[0], recording.steps[: len(points)]  # a violation may stop a run between the two
    return {
        "bars": len(recording.steps),
        "dead": None if one.dead is None else asdict(one.dead),
        "watches_started": one.starts,
        "calibrations": one.calibrations,
        "pushes": len(pushes),
        "pushes_of_no_change": sum(not entry.changes for entry in pushes),
        "changes_pushed": sum(len(entry.changes) for entry in pushes),
        "fields_moved": one.fields,
        "loosenings": {
            "announced": len(one.of_kind(Kind.SCHEDULE)),
            "executed": len(executed),
            "changes_executed": sum(len(entry.changes) for entry in executed),
            "overtaken": one.overtaken,
            "vetoed": len(one.of_kind(Kind.VETO)),
        },
        "refused": one.refusals,
        "refused_log": [{"ts": ts, "what": what} for ts, what in one.refused],
        "coverage": {key: asdict(value) for key, value in one.coverage.items()},
        "age": {
            "most_days": max(point.age for point in points),
            "most_multiplier": max(point.age_multiplier for point in points),
        },
        "margin": {
            symbol: {
                of: _range([getattr(step.underlyings[symbol], of) for step in recording.steps])
                for of in ("initial_rate", "maintenance_rate")
            }
            for symbol in symbols
        },
        "bad_debt": recording.bad_debt,
        "insurance_paid": recording.insurance_paid,
        "shared_loss": recording.shared_loss,
        "fund_low": one.fund_low,
        "liquidations": len(recording.liquidations),
        "flags": len(one.flagged),
        "flags_in_a_ramp": sum(one.pushes > 0 for one in one.flagged),
        "flags_by_ramp": [asdict(each) for each in one.by_push],
        "around_pushes": {
            "blocks": len(one.around),
            "readings": sum(each.accounts for each in one.around),
            "healthy": sum(each.healthy for each in one.around),
            "made_liquidatable": one.hurt,
            "largest_initial_rise": max((each.initial_rise for each in one.around), default=0.0),
            "largest_maintenance_rise": max((each.maintenance_rise for each in one.around), default=0.0),
            "largest_equity_change": max((each.equity for each in one.around), default=0.0),
        },
        "invariants": {each.id: each.checks for each in recording.invariants},
        "violation": one.violation,
        "flag_log": [asdict(each) | {"by_push": each.by_push} for each in one.flagged],
        "liquidation_log": [
            {"ts": each.ts, "account": each.account, "fraction": each.fraction, "covered": each.covered}
            for each in recording.liquidations
        ],
        "bundles": [
            {
                "ts": entry.timestamp,
                "kind": str(entry.kind),
                "report": entry.report,
                "changes": [
                    {"number": label(each.key, one.names), "previous": each.previous, "value": each.value}
                    for each in entry.changes
                ],
            }
            for entry in one.history
        ],
        "history": {
            "ts": [point.ts for point in points],
            "price": {symbol: [step.underlyings[symbol].price for step in steps] for symbol in symbols},
            "fund": [step.fund for step in steps],
            "age_days": [point.age for point in points],
            "alive": [point.is_alive for point in points],
            "age_multiplier": [point.age_multiplier for point in points],
            "exceptions": {key: [point.exceptions[key] for point in points] for key in first.exceptions},
            "coverage": {key: [point.coverage[key] for point in points] for key in first.coverage},
            **{
                of: {symbol: rates[: len(points)] for symbol, rates in _rates(recording, of).items()}
                for of in ("initial_rate", "maintenance_rate")
            },
        },
    }


def _rates(recording: Recording, of: str) -> dict[str, list[float]]:
    return {symbol: [getattr(step.underlyings[symbol], of) for step in recording.steps] for symbol in recording.symbols}


def _range(values: Sequence[float]) -> dict[str, float]:
    return {"first": values[0], "least": min(values), "most": max(values), "last": values[-1]}


def _rounded(value: Any) -> Any:
    """Nine digits after the point, and no infinity: JSON has none."""
    if isinstance(value, float):
        return round(value, 9) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def rows(report: Report) -> list[tuple[str, list[str]]]:
    """What is shown of both runs, on the terminal and on the page."""

    def row(label: str, form: Callable[[Outcome], str]) -> tuple[str, list[str]]:
        return label, [form(one) for one in report.outcomes]

    def pushes(one: Outcome) -> str:
        entries = one.of_kind(Kind.PUSH)
        return f"{len(entries)}, of {sum(len(entry.changes) for entry in entries)} numbers"

    def loosened(one: Outcome) -> str:
        announced, executed, vetoed = (len(one.of_kind(kind)) for kind in (Kind.SCHEDULE, Kind.EXECUTE, Kind.VETO))
        return f"{announced}, {executed}, {one.overtaken}, {vetoed}"

    def rate(symbol: str, of: str) -> Callable[[Outcome], str]:
        def show_range(one: Outcome) -> str:
            rates = _rates(one.recording, of)[symbol]
            return f"{min(rates):.1%} to {max(rates):.1%}"

        return show_range

    keys = list(report.outcomes[0].coverage)
    symbols = report.outcomes[0].recording.symbols
    reasons = sorted({reason for one in report.outcomes for reason in one.refusals})
    return [
        row("calibrations", lambda one: str(one.calibrations)),
        row("pushes", pushes),
        row("of them of no number, to say that it is alive", lambda one: str(_empty(one))),
        row("loosenings announced, executed, overtaken, vetoed", loosened),
        row("refused", lambda one: str(len(one.refused))),
        *(row(f"refused: {reason}", lambda one, r=reason: str(one.refusals.get(r, 0))) for reason in reasons),  # type: ignore[misc]
        *(row(f"exceptions, {key}", lambda one, k=key: _exceptions(one.coverage[k])) for key in keys),  # type: ignore[misc]
        row("largest multiplier of coverage", lambda one: f"{max(c.most for c in one.coverage.values()):.3f}"),
        row("oldest bundle, days", lambda one: f"{max(point.age for point in one.points):.1f}"),
        row("largest multiplier of age", lambda one: f"{max(point.age_multiplier for point in one.points):.3f}"),
        *(row(f"initial margin, {symbol}", rate(symbol, "initial_rate")) for symbol in symbols),
        *(row(f"maintenance margin, {symbol}", rate(symbol, "maintenance_rate")) for symbol in symbols),
        row("bad debt, $", lambda one: f"{one.recording.bad_debt:,.0f}"),
        row("least in the fund, $", lambda one: f"{one.fund_low:,.0f}"),
        row("accounts flagged, bids", lambda one: f"{len(one.flagged)}, {len(one.recording.liquidations)}"),
        row("flagged within a ramp", lambda one: str(sum(each.pushes > 0 for each in one.flagged))),
        row("flagged that would not be but for that ramp", lambda one: str(len(one.by_push))),
        row("accounts read around pushes", lambda one: f"{sum(each.accounts for each in one.around):,}"),
        row("healthy, made liquidatable by a push", lambda one: str(one.hurt)),
        row("invariants", lambda one: "true" if one.holds else "VIOLATED"),
        row("checks", lambda one: f"{sum(each.checks for each in one.recording.invariants):,}"),
    ]


def _empty(one: Outcome) -> int:
    return sum(not entry.changes for entry in one.of_kind(Kind.PUSH))


def _exceptions(one: Coverage) -> str:
    return f"{one.exceptions} of {one.observations} (expected {one.expected:.1f})"


def show(report: Report, console: Console) -> None:
    """The figures of both runs, a column each, and what was violated."""
    table = Table(title=f"{report.title}: nobody at the controls", title_justify="left", box=None)
    table.add_column("")
    for one in report.outcomes:
        table.add_column(one.name, justify="right")
    for name, cells in rows(report):
        table.add_row(name, *cells)
    console.print(table)
    for one in report.outcomes:
        if one.violation:
            console.print(f"[bold red]{one.name}: {one.violation}[/]")
        if one.hurt:
            console.print(f"[bold red]{one.name}: {PUSH}: {one.hurt} healthy accounts were made liquidatable[/]")
