"""What a replay writes down: plain numbers in dollars and decimals, ready for the report and the result file.

Nothing here reads a chain. Amounts are floats because people read them; every check that decides anything is made on
the chain's own integers in `simulation.invariants` before they come here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

EventKind = Literal["push", "margin call", "liquidation", "expiry"]

PARTS = ("collateral", "perpetuals", "puts", "calls")
"""Into which a book is taken apart."""


@dataclass(frozen=True, slots=True)
class UnderlyingPoint:
    """One underlying at the end of a step. Volatilities are annualised decimals, rates are parts of the notional."""

    price: float
    reported: float
    live: float
    maintenance: float
    realised: float
    mark: float
    """That 30-day options are marked at."""
    initial_rate: float
    maintenance_rate: float


@dataclass(frozen=True, slots=True)
class AccountPoint:
    """One account at the end of a step, dollars."""

    equity: float
    initial: float
    maintenance: float


@dataclass(frozen=True, slots=True)
class BookPoint:
    """Initial margin of a book that holds options, dollars: of the whole, and of its parts (of PARTS), every line of
    the book taken alone."""

    whole: float
    parts: dict[str, float]

    @property
    def apart(self) -> float:
        """What the parts would need, each alone."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class OptionPoint:
    """An option at its mark: dollars a unit, and implied volatility a year."""

    symbol: str
    price: float
    volatility: float


@dataclass(frozen=True, slots=True)
class Step:
    """The system after one bar: chain time, the underlyings and accounts by name, the insurance fund's dollars, books
    with options by account, and the options that are followed by what they are."""

    ts: int
    underlyings: dict[str, UnderlyingPoint]
    accounts: dict[str, AccountPoint]
    fund: float
    books: dict[str, BookPoint] = field(default_factory=dict)
    options: dict[str, OptionPoint] = field(default_factory=dict)
    claims: float = 0.0
    """What the fund owes, dollars."""
    pending: float = 0.0
    """Loss still to be shared, dollars."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a mark on every panel."""

    ts: int
    kind: EventKind
    account: str
    text: str


@dataclass(frozen=True, slots=True)
class Liquidation:
    """One bid of an auction, dollars; `price` is what the bidder paid (negative: was paid) for the fraction."""

    ts: int
    account: str
    bidder: str
    fraction: float
    discount: float
    equity_before: float
    equity_after: float
    maintenance: float
    price: float
    covered: float
    """Paid by the fund at once."""
    queued: float
    """Owed by it."""
    shared: float
    """Left to positive cash."""
    fee: float
    """Flag fee."""


@dataclass(slots=True)
class Charges:
    """What was paid besides prices over the run, dollars. All but flag fees and funding go to the insurance fund."""

    flag_fees: float = 0.0
    """To keepers."""
    discounts: float = 0.0
    """The fund's part of liquidators' discounts."""
    premium_fees: float = 0.0
    """By takers, for moving a perpetual's premium."""
    interest: float = 0.0
    """On negative cash."""
    funding: float = 0.0
    """Between longs and shorts, by the positions at the end of each step."""


@dataclass(frozen=True, slots=True)
class Push:
    """One bundle of calibrated parameters that went on-chain."""

    ts: int
    report: str
    changes: int
    limited: int
    """Numbers that wanted to move further than the steward's step allowed."""
    multiplier: float


@dataclass(slots=True)
class Settlement:
    """One expiry that was settled: by which round of the feed, at what price, and what became of the positions."""

    ts: int
    """When it was settled."""
    underlying: str
    expiry: int
    price: float
    reported: int
    """When the round that settles was reported."""
    positions: int = 0
    """Paid out so far."""
    received: float = 0.0
    """By those who were long, dollars."""
    paid: float = 0.0
    """By those who were short."""
    rounding: int = 0
    """What is left over, wei; at most one a position."""


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """An account over the whole run. `flow` is what was deposited less withdrawn between first and last step."""

    name: str
    strategy: str
    equity_start: float
    equity_end: float
    flow: float
    margin_calls: int
    liquidations: int


@dataclass(frozen=True, slots=True)
class InvariantResult:
    """One invariant of the design over the whole run."""

    id: str
    statement: str
    checks: int
    violation: str = ""

    @property
    def holds(self) -> bool:
        """True when it was checked and never failed: what was not looked at is not claimed."""
        return self.checks > 0 and not self.violation


@dataclass(slots=True)
class Recording:
    """A whole run."""

    market: str
    title: str
    symbols: tuple[str, ...]
    steps: list[Step] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    accounts: list[AccountSummary] = field(default_factory=list)
    liquidations: list[Liquidation] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    invariants: list[InvariantResult] = field(default_factory=list)
    charges: Charges = field(default_factory=Charges)
    bad_debt: float = 0.0
    insurance_paid: float = 0.0
    """At once and as claims."""
    claims_open: float = 0.0
    """Owed by the fund at the end."""
    shared_loss: float = 0.0
    """Shared or still to be."""
    refused: dict[str, int] = field(default_factory=dict)
    """Attacks that the contracts turned down, by the error they got."""
    declined: dict[str, int] = field(default_factory=dict)
    """Ordinary actions that the contracts turned down, by error and account."""
    solvent: bool = False

    @property
    def holds(self) -> bool:
        """Every invariant was checked and is true."""
        return bool(self.invariants) and all(result.holds for result in self.invariants)

    def rate(self, symbol: str) -> dict[str, float]:
        """First and highest initial margin rate of a small long position in one underlying."""
        rates = [step.underlyings[symbol].initial_rate for step in self.steps]
        return {"first": _short(rates[0]), "max": _short(max(rates))} if rates else {"first": 0.0, "max": 0.0}

    def books(self) -> dict[str, list[tuple[int, BookPoint]]]:
        """Every book of two lines or more at every step at which it carried risk: {account: [(step, point)]}."""
        found: dict[str, list[tuple[int, BookPoint]]] = {}
        for number, step in enumerate(self.steps):
            for account, point in step.books.items():
                found.setdefault(account, []).append((number, point))
        return found

    def share(self, account: str) -> float:
        """What a book needed as part of what its parts would have needed alone, over all its steps."""
        points = [point for _, point in self.books()[account]]
        return sum(point.whole for point in points) / sum(point.apart for point in points)

    def result(self) -> dict[str, Any]:
        """The result file: figures, accounts, liquidations, pushes, invariants. The same run gives the same bytes."""
        return {
            "market": self.market,
            "title": self.title,
            "window": {"first": self.steps[0].ts, "last": self.steps[-1].ts} if self.steps else {},
            "steps": len(self.steps),
            "accounts": [_rounded(asdict(account)) for account in self.accounts],
            "pushes": len(self.pushes),
            "liquidations": len(self.liquidations),
            "accounts_liquidated": len({one.account for one in self.liquidations}),
            "margin_calls": sum(event.kind == "margin call" for event in self.events),
            "bad_debt": round(self.bad_debt, 6),
            "insurance_paid": round(self.insurance_paid, 6),
            "claims_open": round(self.claims_open, 6),
            "shared_loss": round(self.shared_loss, 6),
            "charges": _rounded(asdict(self.charges)),
            "initial_margin_rate": {"underlying": self.symbols[0], **self.rate(self.symbols[0])},
            "initial_margin_rates": {symbol: self.rate(symbol) for symbol in self.symbols},
            "invariants": {one.id: one.holds for one in self.invariants},
            "invariant_checks": {one.id: one.checks for one in self.invariants},
            "violations": {one.id: one.violation for one in self.invariants if one.violation},
            "attacks_refused": dict(sorted(self.refused.items())),
            "declined": dict(sorted(self.declined.items())),
            "solvent": self.solvent,
            "books": {account: {"part_of_parts": _short(self.share(account))} for account in self.books()},
            "settlements": [_rounded(asdict(one)) for one in self.settlements],
            "push_log": [_rounded(asdict(push)) for push in self.pushes],
            "liquidation_log": [_rounded(asdict(one)) for one in self.liquidations],
        }

    def series(self) -> dict[str, Any]:
        """Every step's figures, for those who want to draw their own."""
        return {
            "ts": [step.ts for step in self.steps],
            "fund": [round(step.fund, 2) for step in self.steps],
            "claims": [round(step.claims, 2) for step in self.steps],
            "pending_loss": [round(step.pending, 2) for step in self.steps],
            "underlyings": {
                symbol: {
                    key: [_short(getattr(step.underlyings[symbol], key)) for step in self.steps]
                    for key in UnderlyingPoint.__slots__
                }
                for symbol in self.symbols
            },
            "accounts": {
                account.name: {
                    key: [round(getattr(step.accounts[account.name], key), 2) for step in self.steps]
                    for key in AccountPoint.__slots__
                }
                for account in self.accounts
            },
            "books": {
                account: [
                    {"step": number, "whole": round(point.whole, 2)}
                    | {part: round(value, 2) for part, value in point.parts.items()}
                    for number, point in points
                ]
                for account, points in self.books().items()
            },
            "options": {
                name: [_rounded(asdict(step.options[name])) if name in step.options else None for step in self.steps]
                for name in sorted({name for step in self.steps for name in step.options})
            },
        }


def _short(value: float) -> float:
    """Eight significant digits."""
    return float(f"{value:.8g}")


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
