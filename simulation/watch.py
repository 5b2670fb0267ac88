"""What a drill watches: every state and event of a replay, kept as cases, points and balances.

A case is one auction with the moments that make up its account's delay. A point is the house at the end of a bar. A
balance holds what came in against what went out: nothing that came in may be forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plimsoll.chain.system import CASH as CASH_ID
from plimsoll.config import WAD
from simulation.agents import SERVANTS
from simulation.faults import GWEI

if TYPE_CHECKING:
    from plimsoll.chain.abi import Event
    from plimsoll.chain.state import State
    from simulation.replay import Replay

MINUTE = 60


@dataclass(slots=True)
class Case:
    """One auction: when its account was first seen liquidatable, when it was flagged, when it ended (unix seconds)."""

    account: str
    liquidatable: int
    flagged: int
    ended: int | None = None
    fee: float = 0.0
    """Flag fee promised, dollars."""
    bids: int = 0

    @property
    def to_flag(self) -> float:
        """Minutes."""
        return (self.flagged - self.liquidatable) / MINUTE

    @property
    def to_end(self) -> float:
        """Minutes; infinite while it is open."""
        return math.inf if self.ended is None else (self.ended - self.liquidatable) / MINUTE


@dataclass(frozen=True, slots=True)
class Point:
    """The house at one moment. Dollars; prices as the house reads them, None where it refuses to; base fee in gwei."""

    ts: int
    prices: dict[str, float | None]
    market: dict[str, float]
    """What was printed last, whoever knew."""
    fund: float
    claims: float
    pending: float
    reserved: float
    gas: float


@dataclass
class Watch:
    """Sees every state and event of a replay. `names`: account → name; servants' accounts are left out of shares."""

    names: Mapping[int, str]
    time_of: Callable[[int], int]
    """Unix seconds of a block."""
    points: list[Point] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    open: dict[int, Case] = field(default_factory=dict)
    locked: int = 0
    """Seconds for which withdrawals waited for a loss."""
    unknown: int = 0
    """Seconds for which a price failed its checks."""
    peak: dict[int, int] = field(default_factory=dict)
    """Account → the largest Σ|exposure| it was seen with [wad dollars]."""
    taken: int = 0
    """Σ of what bids took of exposures [wad dollars]."""
    flags: int = 0
    anew: int = 0
    """Flags of an auction that had not ended: it had lapsed, or was protective until then."""
    ends: int = 0
    fee_low: int = 0
    fee_high: int = 0
    """Least and largest flag fee promised in a liquidation [wad dollars]."""
    fees_within: int = 0
    """Flags whose fee was within its bounds."""
    fees_in: int = 0
    """To the house: of trades, interest, discounts [wad dollars]."""
    swept: int = 0
    """Of them sent to the fund, token units."""
    _exposures: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Account → (unix seconds, Σ|exposure|) as seen: events are told after later states."""
    _spans: dict[int, list[tuple[int, int | None]]] = field(default_factory=dict)
    """Account → when it was seen liquidatable: (from, until it was seen not to be)."""
    _bounds: tuple[int, int] = (0, 0)
    """Of flag fees [wad dollars]."""
    _last: tuple[int, bool, bool] | None = None
    """Time of the last state; whether withdrawals were locked, and a price unknown, then."""

    def see(self, state: State) -> None:
        """One state; later ones come later."""
        now, terms = state.timestamp, state.auction_parameters
        self._bounds = terms.minimum_fee, terms.maximum_fee
        if self._last is not None:
            since, locked, unknown = self._last
            self.locked += locked * (now - since)
            self.unknown += unknown * (now - since)
        fund = state.fund_assets * state.assets[CASH_ID].scale
        locked = state.pending_loss > 0 or state.reserved_shortfall > fund
        self._last = now, locked, any(one.price is None for one in state.oracles.values())
        for number, account in state.accounts.items():
            margin = account.margin
            if margin is None or self.names[number] in SERVANTS:
                continue
            exposure = sum(abs(part.exposure) for part in margin.underlyings)
            self._exposures.setdefault(number, []).append((now, exposure))
            self.peak[number] = max(self.peak.get(number, 0), exposure)
            spans = self._spans.setdefault(number, [])
            was = bool(spans) and spans[-1][1] is None
            if margin.is_liquidatable and not was:
                spans.append((now, None))
            elif was and not margin.is_liquidatable:
                spans[-1] = spans[-1][0], now

    def note(self, events: Sequence[Event]) -> None:
        """Events up to the last state seen, in order."""
        for event in events:
            values = event.arguments
            match event.name:
                case "AccountFlagged":
                    self._flag(values["account"], self.time_of(event.block), values["fee"])
                case "BidSettled":
                    self._bid(values["account"], self.time_of(event.block), values["bid"])
                case "AuctionEnded":
                    self.ends += 1
                    case = self.open.pop(values["account"])
                    case.ended = self.time_of(event.block)
                case "Traded":
                    self.fees_in += values["fee"]
                case "InterestAccrued":
                    self.fees_in += values["amount"]
                case "FeesSwept":
                    self.swept += values["amount"]

    def _flag(self, account: int, now: int, fee: int) -> None:
        spans = self._spans.get(account, [])
        since = next((first for first, end in reversed(spans) if first <= now and (end is None or now <= end)), now)
        self.fees_within += self._bounds[0] <= fee <= self._bounds[1]
        self.fee_low = min(self.fee_low or fee, fee)
        self.fee_high = max(self.fee_high, fee)
        self.flags += 1
        if account in self.open:
            self.anew += 1
            return
        case = Case(self.names[account], since, now, fee=fee / WAD)
        self.open[account] = case
        self.cases.append(case)

    def _bid(self, account: int, now: int, bid: Any) -> None:
        self.fees_in += bid.fundFee
        self.open[account].bids += 1
        before = next((seen for ts, seen in reversed(self._exposures.get(account, [])) if ts < now), 0)
        self.taken += before * bid.fraction // WAD

    def record(self, bar: int, state: State, market: Mapping[str, float], base_fee: int | None) -> None:
        """A point for the charts, at a bar's time."""
        unit = state.assets[CASH_ID].scale / WAD
        self.points.append(
            Point(
                bar,
                {name: None if one.price is None else one.price / WAD for name, one in state.oracles.items()},
                dict(market),
                state.fund_assets * unit,
                state.fund_owed * unit,
                state.pending_loss / WAD,
                state.reserved_shortfall / WAD,
                (base_fee or 0) / GWEI,
            )
        )


# ─── Nothing lost


@dataclass(frozen=True, slots=True)
class Balance:
    """What came in, what became of it, and what is left open: counts, or money in the smallest unit."""

    what: str
    came: int
    went: int
    open: int = 0
    may_stay: bool = False
    """Whether something may be left at the end: money that belongs to somebody, not a matter to be closed."""
    rounding: int = 0

    @property
    def holds(self) -> bool:
        """Everything accounted for, and nothing forgotten."""
        return abs(self.came - self.went - self.open) <= self.rounding and (self.may_stay or not self.open)


def balance(run: Replay, watch: Watch, fund_before: int) -> list[Balance]:
    """The books of a run that has been wound down. `fund_before`: token units in the insurance fund at its start."""
    state, losses, seen = run.last_state, run.audit.losses, run.audit.seen
    scale = state.assets[CASH_ID].scale
    carried = (losses.fund_paid + losses.fund_queued) * scale
    rounded_up = carried + losses.shared - losses.requested
    paid = losses.fund_paid + losses.claims_paid
    refused = sum(count for what, count in run.recording.declined.items() if "(trade of" in what)
    auctions = sum(account.auction is not None for account in state.accounts.values())
    return [
        Balance("auctions begun, ended", watch.flags - watch.anew, watch.ends, auctions),
        Balance("flags, with a fee within its bounds", watch.flags, watch.fees_within),
        Balance("bad debt carried by fund and shared", losses.requested + rounded_up, carried + losses.shared),
        Balance("claims on the fund, paid", losses.fund_queued, losses.claims_paid, state.fund_owed),
        Balance(
            "loss beyond the fund, carried by fees and shared",
            losses.announced,
            losses.absorbed + losses.shared_by_index,
            state.pending_loss,
        ),
        Balance("known losses reserved", state.reserved_shortfall, 0, state.reserved_shortfall),
        Balance(
            "fees taken, swept to the fund or absorbed",
            watch.fees_in + rounded_up,
            watch.swept * scale + losses.absorbed,
            state.fees,
            may_stay=True,
        ),
        Balance("fund: capital and fees, payouts", fund_before + watch.swept, paid, fund_of(state), may_stay=True),
        Balance("orders given, settled or refused", _orders(run), seen["Traded"] + refused),
        Balance("orders filled, two a trade", 2 * seen["Traded"], seen["OrderFilled"]),
        *(
            Balance(f"{token.name}: tokens, ledger", token.balance, 0, token.held, may_stay=True)
            for token in state.assets.values()
        ),
    ]


def _orders(run: Replay) -> int:
    return sum(tally.orders for tally in run.tallies.values())


def fund_of(state: State) -> int:
    """Token units in the fund, those that it owes among them."""
    return state.fund_assets + state.fund_owed
