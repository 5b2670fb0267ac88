"""The design's invariants as arithmetic on what was read from the chain: exact integers, no floats, no I/O.

Functions named `check_…` take a `State` (the whole house at one block) or figures from it, and a `Checks`, which counts
every comparison and raises `InvariantError` at the first that fails. Amounts are wad dollars (1e18) and wad units
unless said otherwise; token amounts are in the token's own units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.chain.fields import Field, Key
from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.state import AccountState, State
from plimsoll.chain.system import CASH
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin.onchain import Margin
from simulation.recording import InvariantResult

RAY = 10**27
STRIKE_UNIT = 10**10
"""Wad per unit of strike."""

STATEMENTS: dict[str, str] = {
    "CASH": "tokens held + loss to be shared = Σ cash + Σ quotes + Σ settled payoffs + fees, to the wei of rounding",
    "ZERO-SUM": "Σ positions = 0 for every instrument, what has been paid out at expiry counted in",
    "EQUITY": "Σ equity = value of all collateral, within rounding",
    "GATE": "no action leaves its account below initial margin unless it reduced that account's risk",
    "ORDER": "0 ≤ maintenance ≤ initial, both rising with size, volatility and age of the price",
    "LIQUIDATE": "a liquidation never lowers its account's health nor takes a solvent account below zero",
    "LOSS": "bad debt = fund payouts and claims + loss shared or to be shared; nobody withdraws ahead of it",
    "BOUNDS": "every parameter within its absolute bounds, every change within its step",
    "ORACLE": "a stale, zero, negative or out-of-range feed adds no risk and releases no collateral",
    "ROUND": "no sequence of deposits, splits, trades and withdrawals earns anything",
}

ACCOUNT_ROUNDING = 10**9
"""What rounding may cost an account in a liquidation: a billionth of a dollar, as LiquidationEngine allows."""


class InvariantError(Exception):
    """An invariant does not hold: which one, and the figures that show it."""

    def __init__(self, identifier: str, message: str) -> None:
        super().__init__(f"{identifier}: {message}")
        self.identifier = identifier
        self.message = message


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's margin at a block."""

    equity: int
    initial: int
    maintenance: int

    @classmethod
    def of(cls, margin: Margin) -> Standing:
        """The three figures that decide."""
        return cls(margin.equity, margin.initial.total, margin.maintenance.total)


def standing_of(account: AccountState) -> Standing:
    """An account's standing; PlimsollError where a price it depends on fails a check: nothing can be said then."""
    if account.margin is None:
        raise PlimsollError(f"the margin of account {account.id} cannot be read: {account.fault}")
    return Standing.of(account.margin)


@dataclass(slots=True)
class Checks:
    """Counts comparisons by invariant and stops at the first that fails."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATEMENTS, 0))
    violations: dict[str, str] = field(default_factory=dict)

    def require(self, identifier: str, holds: bool, message: str) -> None:
        """Count one comparison; InvariantError with `message` if it does not hold."""
        self.counts[identifier] += 1
        if not holds:
            self.violations[identifier] = message
            raise InvariantError(identifier, message)

    def results(self) -> list[InvariantResult]:
        """One line an invariant."""
        return [
            InvariantResult(identifier, statement, self.counts[identifier], self.violations.get(identifier, ""))
            for identifier, statement in STATEMENTS.items()
        ]


def usd(amount: int) -> str:
    """Wad dollars for a message."""
    return f"{amount / WAD:,.6f}"


@dataclass(slots=True)
class Payouts:
    """What events say about expired options over the run: each position became cash once, rounded down to a wei."""

    count: int = 0
    """Positions paid out."""
    sizes: dict[int, int] = field(default_factory=dict)
    """Σ of their sizes by instrument, signed [wad units]."""

    def add(self, instrument: int, size: int) -> None:
        """One more position."""
        self.count += 1
        self.sizes[instrument] = self.sizes.get(instrument, 0) + size


@dataclass(slots=True)
class Roundings:
    """What has happened so far that may have left wei behind."""

    before: int = 0
    """Wei that were left when the run began."""
    losses_shared: int = 0
    """How many times: each rounds every positive cash once, and the index."""
    accruals: int = 0
    """Of interest: each rounds every debt once, the index, and what is collected."""
    payouts: Payouts = field(default_factory=Payouts)
    """Each rounds one position."""


def payoff_of(now: State, instrument: int) -> int | None:
    """What a settled option pays a unit [wad dollars]; None for a perpetual and for an option that is not settled."""
    option = Instrument.of(instrument)
    price = now.settlements.get((option.underlying, option.expiry), 0) if option.is_option else 0
    if price == 0:
        return None
    strike = option.strike_units * STRIKE_UNIT
    return max(strike - price if option.kind is Kind.PUT else price - strike, 0)


def check_state(checks: Checks, now: State, bounds: Mapping[Field, tuple[int, int]], roundings: Roundings) -> None:
    """Everything that must be true of one block alone. `bounds`: (minimum, maximum) of each field; `roundings`: what
    has happened so far that may have rounded amounts."""
    _check_cash(checks, now, roundings)
    _check_zero_sum(checks, now, roundings.payouts)
    _check_equity(checks, now, roundings)
    for account in now.accounts.values():
        check_order(checks, standing_of(account), f"account {account.id}")
    for key, value in now.parameters.items():
        check_bounds(checks, key, value, bounds[key.field])


def _rounding(now: State, roundings: Roundings) -> int:
    """Most wei that rounding may have left here, always to the house: a shared loss rounds every positive cash, and the
    index itself; interest every debt, its index (less than a wei for debts below a billion dollars) and what it brings,
    now as well; a payout one position; funding the quote of every perpetual as it is read."""
    of_losses = roundings.losses_shared * (len(now.accounts) + now.positive_cash // now.loss_index + 2)
    of_interest = (roundings.accruals + 1) * (len(now.accounts) + 2) if now.borrow_index > RAY else 0
    held = (Instrument.of(number) for account in now.accounts.values() for number in account.positions)
    of_funding = sum(not one.is_option for one in held)
    return roundings.before + of_losses + of_interest + roundings.payouts.count + of_funding


def cash_left(now: State) -> int:
    """Cash held, with the loss to be shared, less what is owed [wei]: what rounding has left."""
    cash, accounts = now.assets[CASH], now.accounts.values()
    # payoffs still to be paid, to a fraction of a wei: sides that are paid apart would not add up to zero without them
    held = [position for account in accounts for position in account.positions.values()]
    payable = sum(position.size * (payoff_of(now, position.instrument) or 0) for position in held) // WAD
    owed = now.fees + payable + sum(a.cash for a in accounts) + sum(position.quote for position in held)
    return cash.held * cash.scale + now.pending_loss - owed


def _check_cash(checks: Checks, now: State, roundings: Roundings) -> None:
    for token in now.assets.values():
        checks.require(
            "CASH",
            token.balance == token.held,
            f"{token.name}: balance {token.balance}, ledger {token.held} token units",
        )
        if token.id != CASH:
            owed = sum(account.collateral.get(token.id, 0) for account in now.accounts.values())
            checks.require("CASH", token.held == owed, f"{token.name}: held {token.held}, owed {owed} token units")
            continue
        spare, allowed = cash_left(now), _rounding(now, roundings)
        checks.require(
            "CASH",
            0 <= spare <= allowed,
            f"{token.name}: held, and loss to be shared, less what is owed is {spare} wei, outside 0 to {allowed} "
            f"(held {usd(token.held * token.scale)} dollars)",
        )


def _check_zero_sum(checks: Checks, now: State, payouts: Payouts) -> None:
    totals = dict(payouts.sizes)
    for account in now.accounts.values():
        for position in account.positions.values():
            totals[position.instrument] = totals.get(position.instrument, 0) + position.size
    for instrument, total in totals.items():
        checks.require("ZERO-SUM", total == 0, f"instrument {instrument:#x}: sizes add up to {total} wei")


def _check_equity(checks: Checks, now: State, roundings: Roundings) -> None:
    """Needs a cash token worth a dollar or more (no cash feed in a replay). Every valuation rounds down by less than a
    wei, once a position and once a collateral line. A loss that is still to be shared is still in somebody's equity."""
    collateral = (now.pending_loss - now.fees) * WAD
    for token in now.assets.values():
        price = WAD if token.id == CASH else now.price_of(token.underlying)
        if price is None:
            raise PlimsollError(f"{token.name} cannot be valued: its price fails a check")
        collateral += token.held * token.scale * price
    equity = sum(standing_of(account).equity for account in now.accounts.values())
    lines = sum(len(account.positions) + len(account.collateral) for account in now.accounts.values())
    spare = collateral - WAD * equity
    allowed = lines + _rounding(now, roundings)
    checks.require(
        "EQUITY",
        0 <= spare <= WAD * allowed,
        f"collateral less Σ equity is {spare / WAD:.3f} wei, outside 0 to {allowed} (equity {usd(equity)} dollars)",
    )


def check_bounds(checks: Checks, key: Key, value: int, bounds: tuple[int, int]) -> None:
    """A number within its absolute bounds."""
    checks.require("BOUNDS", bounds[0] <= value <= bounds[1], f"{key} is {value}, outside {bounds[0]} to {bounds[1]}")


def check_order(checks: Checks, standing: Standing, what: str) -> None:
    """0 ≤ maintenance ≤ initial."""
    checks.require(
        "ORDER",
        0 <= standing.maintenance <= standing.initial,
        f"{what}: maintenance {usd(standing.maintenance)}, initial {usd(standing.initial)}",
    )


def check_rising(checks: Checks, smaller: Standing, larger: Standing, what: str) -> None:
    """Both requirements are at least as high where size, volatility or age is larger."""
    checks.require(
        "ORDER",
        larger.initial >= smaller.initial and larger.maintenance >= smaller.maintenance,
        f"{what}: initial {usd(smaller.initial)} → {usd(larger.initial)}, "
        f"maintenance {usd(smaller.maintenance)} → {usd(larger.maintenance)}",
    )


def as_healthy(before: Standing, after: Standing, rounding: int = 0) -> bool:
    """Whether equity over maintenance has not fallen. An insolvent account may lose no more; `rounding` in wei."""
    if before.equity < 0:
        return after.equity >= before.equity - rounding
    if after.equity < -rounding:
        return False
    maintenance = max(after.maintenance - rounding, 0)
    return (after.equity + rounding) * before.maintenance >= before.equity * maintenance


def check_gate(checks: Checks, before: Standing, after: Standing, what: str) -> None:
    """GATE for an action that succeeded: both standings valued at the block of the action."""
    reduced = after.initial <= before.initial and after.maintenance <= before.maintenance and as_healthy(before, after)
    checks.require(
        "GATE",
        after.equity >= after.initial or reduced,
        f"{what}: equity {usd(after.equity)} below initial {usd(after.initial)}, "
        f"and risk was {usd(before.initial)} on equity {usd(before.equity)} before",
    )


def check_liquidation(
    checks: Checks, bid: Mapping[str, int], before: Standing, after: Standing, what: str, *, protective: bool = False
) -> None:
    """LIQUIDATE for one bid: both standings valued at the block of the bid, with liquidation engine's own rounding. A
    solvent account is out of pocket by d · maintenance on the fraction and by the fee, no more. A protective auction is
    of an account above maintenance."""
    figures = (
        f"{what}: equity {usd(before.equity)} → {usd(after.equity)}, "
        f"maintenance {usd(before.maintenance)} → {usd(after.maintenance)}"
    )
    fault = "was liquidatable" if protective else "was not liquidatable"
    checks.require("LIQUIDATE", (before.equity < before.maintenance) != protective, f"{figures}: it {fault}")
    checks.require("LIQUIDATE", as_healthy(before, after, ACCOUNT_ROUNDING), f"{figures}: health was lowered")
    if bid["cover"] == 0:
        cost = bid["discount"] * before.maintenance * bid["fraction"] // WAD // WAD + bid["fee"]
        lost = before.equity - after.equity
        checks.require("LIQUIDATE", lost <= cost + ACCOUNT_ROUNDING, f"{figures}: {usd(cost)} were due")


def check_protection(
    checks: Checks, bid: Mapping[str, int], before: Standing, maximum_discount: int, what: str
) -> None:
    """LIQUIDATE for a bid in a protective auction: within what the owner gives, and nobody else is paid."""
    checks.require(
        "LIQUIDATE",
        bid["discount"] <= maximum_discount and bid["fee"] == bid["fundFee"] == bid["cover"] == 0,
        f"{what}: the owner of equity {usd(before.equity)} gives {usd(maximum_discount)}, not {dict(bid)}",
    )


@dataclass(slots=True)
class Losses:
    """What events say about losses over the run: wad dollars, the fund's in token units."""

    pending_before: int = 0
    """To be shared already when the run began."""
    owed_before: int = 0
    """Claims open then, token units."""
    requested: int = 0
    """Σ cover asked for by bids: the bad debt."""
    queued: int = 0
    """Σ owed to bidders, by the bids' own word, token units."""
    shared: int = 0
    """Σ left to positive cash, by the bids' own word."""
    announced: int = 0
    """Σ of LossPending."""
    absorbed: int = 0
    """Σ of it that fees carried."""
    shared_by_index: int = 0
    """Σ of LossShared."""
    fund_paid: int = 0
    """Σ paid at once by the fund's LossCovered, token units."""
    fund_queued: int = 0
    """Σ of its claims, token units."""
    fund_payments: int = 0
    """How many of them."""
    claims_paid: int = 0
    """Σ of ClaimPaid, token units."""


def check_losses(checks: Checks, losses: Losses, now: State) -> None:
    """LOSS over all events so far. The fund pays whole token units, rounded up, so it may give a bid more than was
    asked for by less than one unit; the excess is a fee."""
    scale = now.assets[CASH].scale
    carried = (losses.fund_paid + losses.fund_queued) * scale
    checks.require(
        "LOSS",
        0 <= carried + losses.shared - losses.requested <= losses.fund_payments * scale,
        f"bad debt {usd(losses.requested)}, fund {usd(carried)}, shared {usd(losses.shared)}",
    )
    checks.require(
        "LOSS",
        losses.queued == losses.fund_queued,
        f"bids are owed {losses.queued} token units by their own word, {losses.fund_queued} by the fund's",
    )
    checks.require(
        "LOSS",
        losses.owed_before + losses.fund_queued == losses.claims_paid + now.fund_owed,
        f"claims of {losses.owed_before + losses.fund_queued} token units, {losses.claims_paid} paid, "
        f"{now.fund_owed} open",
    )
    checks.require(
        "LOSS",
        losses.shared == losses.announced,
        f"bids left {usd(losses.shared)} to be shared, {usd(losses.announced)} was announced",
    )
    checks.require(
        "LOSS",
        losses.pending_before + losses.announced == losses.absorbed + losses.shared_by_index + now.pending_loss,
        f"of {usd(losses.pending_before + losses.announced)} to be shared fees carried {usd(losses.absorbed)}, the "
        f"index {usd(losses.shared_by_index)}, {usd(now.pending_loss)} are left",
    )


def check_leaving(checks: Checks, pending_loss: int, reserved: int, fund: int, what: str) -> None:
    """LOSS: a withdrawal that succeeded left no loss behind that the fund (0 where it is the fund that was left) could
    not carry. All in wad dollars."""
    checks.require(
        "LOSS",
        pending_loss == 0 and reserved <= fund,
        f"{what} ahead of losses of {usd(pending_loss)} to be shared and {usd(reserved)} known, fund {usd(fund)}",
    )


def check_step(checks: Checks, previous: int, value: int, limits: Sequence[int | bool], what: str) -> None:
    """BOUNDS for one change by the steward: `limits` = (step up, step down, minimum interval, absolute), steps in
    millionths of the previous value (at least one unit) or, where absolute, in the field's unit."""
    up, down, _, absolute = limits
    allowed = int(up if value > previous else down)
    step = allowed if absolute else max(abs(previous) * allowed // 1_000_000, 1)
    checks.require("BOUNDS", abs(value - previous) <= step, f"{what}: {previous} → {value}, step {step}")
