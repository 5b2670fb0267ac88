"""Who trades in a replay, by role. An agent sees its own account and the market, and says what it wants; it sends
nothing. Deterministic: no agent draws random numbers.

Sizes follow the market's own margin: `use` is the part of an account's equity that its initial margin takes when it
enters, so the same cast is as daring in a calm market with a 4% margin as in a wild one with 20%. Strikes follow the
market's own volatility: so many standard deviations from the price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from plimsoll.chain.instruments import Kind
from plimsoll.market.series import YEAR_SECONDS
from simulation.scenario import Scenario

CASH = "USD"
DAY = 86_400
SMALLEST = 1e-6
"""Units: a smaller trade is not worth a transaction."""
HEDGE_FROM = 0.08
"""Delta a unit written from which a writer hedges."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument that may be traded now. expiry: unix seconds, strike: dollars; a perpetual has neither."""

    symbol: str
    underlying: str
    kind: Kind
    expiry: int = 0
    strike: float = 0.0


def perpetual(underlying: str) -> str:
    """Symbol of the perpetual on an underlying."""
    return f"{underlying}-PERP"


@dataclass(frozen=True, slots=True)
class View:
    """What an agent knows at a step. Dollars, units of the underlying, rates as parts of the notional."""

    ts: int
    prices: Mapping[str, float]
    rates: Mapping[str, float]
    """Initial margin rate of a small long position."""
    equity: float
    initial: float
    cash: float
    """Settled cash plus unrealised profit on perpetuals."""
    sizes: Mapping[str, float]
    """By instrument symbol."""
    deltas: Mapping[str, float]
    """Units of each underlying that the whole account moves like."""
    volatilities: Mapping[str, float]
    """30-day implied volatility of each underlying."""
    listed: Mapping[str, Listed]
    """What may be traded, by symbol."""
    required: Callable[[Mapping[str, float]], float]
    """Initial margin of a book: {instrument symbol: units}."""

    def option(self, kind: Kind, underlying: str, deviations: float, seconds: float) -> Listed:
        """Of the first expiry at least so many seconds away, the option whose strike is nearest to so many standard
        deviations above the price. ValueError if none is listed."""
        live = [o for o in self.listed.values() if o.underlying == underlying and o.kind is kind]
        expiry = min(o.expiry for o in live if o.expiry - self.ts >= seconds)
        spread = self.volatilities[underlying] * math.sqrt((expiry - self.ts) / YEAR_SECONDS)
        wanted = self.prices[underlying] * math.exp(deviations * spread)
        return min((o for o in live if o.expiry == expiry), key=lambda option: abs(option.strike - wanted))


@dataclass(frozen=True, slots=True)
class Trade:
    """Buy (positive) or sell units of an instrument, by its symbol, at the market maker's price."""

    instrument: str
    size: float


@dataclass(frozen=True, slots=True)
class Deposit:
    """Bring in tokens."""

    asset: str
    amount: float


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take tokens out."""

    asset: str
    amount: float


Intent = Trade | Deposit | Withdraw


@dataclass(slots=True)
class Agent:
    """An account that wants nothing by itself: the market maker, whom the others ask."""

    name: str
    summary: str
    funding: Mapping[str, float]
    """What it deposits before the first step: tokens by asset name."""

    @property
    def strategy(self) -> str:
        """A line for the report."""
        return self.summary

    def decide(self, view: View) -> list[Intent]:  # noqa: ARG002 - the common signature
        """What it wants now."""
        return []


@dataclass(slots=True)
class Directional(Agent):
    """Goes long or short once, as large as `use` allows, and holds. On a margin call it ignores, reduces or tops up."""

    symbol: str
    side: Literal[1, -1]
    use: float
    enter_at: int
    on_call: Literal["ignore", "reduce", "top up"]
    reserve: float = 0.0
    """Dollars kept outside for topping up."""
    leverage: float = 0.0

    @property
    def strategy(self) -> str:
        """With the leverage it came to."""
        return f"{self.leverage:.1f}× {self.summary}"

    def decide(self, view: View) -> list[Intent]:
        """Enter, or answer a margin call."""
        held = perpetual(self.symbol)
        size = view.sizes.get(held, 0.0)
        if not self.leverage:
            if view.ts < self.enter_at or view.equity <= 0:
                return []
            self.leverage = self.use / view.rates[self.symbol]
            return [Trade(held, self.side * self.leverage * view.equity / view.prices[self.symbol])]
        if view.equity >= view.initial or not size or self.on_call == "ignore":
            return []
        if self.on_call == "reduce":
            kept = 0.8 * max(view.equity, 0.0) / view.initial
            return _trades({held: -size * (1 - kept)})
        amount = min(1.2 * view.initial - view.equity, self.reserve)
        self.reserve -= amount
        return [Deposit(CASH, amount)] if amount >= 1 else []


@dataclass(slots=True)
class Hedger(Agent):
    """Holds tokens of the underlyings as collateral and is short the same number of units; takes profits out daily."""

    hedges: Mapping[str, float]
    """symbol → units held as collateral."""
    hedged: bool = False
    last_withdrawal: int = 0

    def decide(self, view: View) -> list[Intent]:
        """Hedge once; then once a day withdraw half of what its cash and its margin both have to spare."""
        if not self.hedged:
            self.hedged = True
            return _trades({perpetual(symbol): -units for symbol, units in self.hedges.items()})
        spare = min(view.cash, view.equity - 1.5 * view.initial) / 2
        if view.ts - self.last_withdrawal < DAY or spare < 1_000:
            return []
        self.last_withdrawal = view.ts
        return [Withdraw(CASH, spare)]


@dataclass(slots=True)
class Spread(Agent):
    """Long one underlying against the other for the same dollars; closes part of both on a margin call."""

    long: str
    short: str
    use: float
    entered: bool = False

    def decide(self, view: View) -> list[Intent]:
        """Enter, or reduce both legs alike."""
        if not self.entered:
            self.entered = True
            # both legs count in full before the offset between them, so this stays inside the margin
            notional = self.use * view.equity / (view.rates[self.long] + view.rates[self.short])
            return _trades(
                {
                    perpetual(self.long): notional / view.prices[self.long],
                    perpetual(self.short): -notional / view.prices[self.short],
                }
            )
        return _reduce(view)


@dataclass(slots=True)
class Collar(Agent):
    """Holds a token of the underlying as collateral, buys a put below the price on all of it and sells a call above;
    again at every expiry."""

    underlying: str
    units: float
    deviations: float
    """Standard deviations from the price to either strike."""
    tenor: int
    """Least seconds to the expiry it takes."""
    expiry: int = 0

    def decide(self, view: View) -> list[Intent]:
        """Renew what has expired."""
        if view.ts < self.expiry:
            return []
        put = view.option(Kind.PUT, self.underlying, -self.deviations, self.tenor)
        call = view.option(Kind.CALL, self.underlying, self.deviations, self.tenor)
        self.expiry = put.expiry
        return [Trade(put.symbol, self.units), Trade(call.symbol, -self.units)]


@dataclass(slots=True)
class Insured(Agent):
    """Long a perpetual with a put on all of it, renewed at every expiry; sells part of both on a margin call."""

    underlying: str
    use: float
    deviations: float
    tenor: int
    units: float = 0.0
    expiry: int = 0

    def decide(self, view: View) -> list[Intent]:
        """Enter, renew the put, or answer a margin call."""
        held = perpetual(self.underlying)
        if view.ts < self.expiry:
            return _reduce(view)
        put = view.option(Kind.PUT, self.underlying, -self.deviations, self.tenor)
        trades: list[Intent] = []
        if self.expiry == 0:
            self.units = self.use * view.equity / view.required({held: 1, put.symbol: 1})
        units = view.sizes.get(held, 0.0) if self.expiry else self.units
        if units >= SMALLEST:
            trades.append(Trade(put.symbol, units))
        if self.expiry == 0:
            trades.append(Trade(held, units))
        self.expiry = put.expiry
        return trades


@dataclass(slots=True)
class Writer(Agent):
    """Sells a put below and a call above the price (a strangle; a straddle at no distance), as many as `use` allows.

    A hedged writer trades the perpetual against its delta; one that renews writes again at every expiry.
    """

    underlying: str
    use: float
    deviations: float
    tenor: int
    enter_at: int
    on_call: Literal["ignore", "reduce"]
    hedges: bool
    renews: bool
    expiry: int = 0
    written: float = 0.0
    """Units of each leg when last written."""

    def decide(self, view: View) -> list[Intent]:
        """Write, answer a margin call, or hedge."""
        if view.ts < self.enter_at or view.equity <= 0:
            return []
        if self.expiry == 0 or (self.renews and view.ts >= self.expiry):
            legs = [
                view.option(kind, self.underlying, side * self.deviations, self.tenor).symbol
                for kind, side in ((Kind.PUT, -1), (Kind.CALL, 1))
            ]
            self.expiry = view.listed[legs[0]].expiry
            self.written = self.use * view.equity / view.required(dict.fromkeys(legs, -1.0))
            return _trades(dict.fromkeys(legs, -self.written))
        if view.equity < view.initial:
            return [] if self.on_call == "ignore" else _reduce(view)
        delta = view.deltas.get(self.underlying, 0.0)
        if not self.hedges or abs(delta) < HEDGE_FROM * self.written:
            return []
        return [Trade(perpetual(self.underlying), -delta)]


@dataclass(slots=True)
class Treasury(Agent):
    """Keeps cash and no positions: pays in one day and takes a part out the next."""

    amount: float
    paid_in: bool = False
    last: int = 0

    def decide(self, view: View) -> list[Intent]:
        """Alternate, once a day."""
        if view.ts - self.last < DAY:
            return []
        self.last, self.paid_in = view.ts, not self.paid_in
        return [Deposit(CASH, self.amount) if self.paid_in else Withdraw(CASH, 0.6 * self.amount)]


@dataclass(slots=True)
class Unwinder(Agent):
    """The keeper's trading desk: sells what liquidations brought in back to the market maker, half at a time."""

    smallest: float = 1_000.0
    """Dollars below which a position is closed at once."""
    sold: dict[str, float] = field(default_factory=dict)

    def decide(self, view: View) -> list[Intent]:
        """Halve every position; expired options wait for their payoff."""
        parts = {}
        for symbol, size in view.sizes.items():
            if symbol in view.listed:
                large = abs(size) * view.prices[view.listed[symbol].underlying] > self.smallest
                parts[symbol] = -size / 2 if large else -size
        return _trades(parts)


def _trades(sizes: Mapping[str, float]) -> list[Intent]:
    return [Trade(instrument, size) for instrument, size in sizes.items() if abs(size) >= SMALLEST]


def _reduce(view: View) -> list[Intent]:
    """On a margin call, the same part of every position, so that margin takes four fifths of equity again."""
    if view.equity >= view.initial or not view.sizes:
        return []
    kept = 0.8 * max(view.equity, 0.0) / view.initial
    return _trades({symbol: -size * (1 - kept) for symbol, size in view.sizes.items() if symbol in view.listed})


MARKET_MAKER, KEEPER, ATTACKER = "Market maker", "Keeper", "Attacker"
SERVANTS = (MARKET_MAKER, KEEPER)
"""Who trades because others do."""


def cast(scenario: Scenario, symbols: tuple[str, ...], start: int, prices: Mapping[str, float]) -> list[Agent]:
    """Everybody in a replay, in the order in which accounts are opened.

    `symbols`: the market's two underlyings. `prices`: at the start, to give collateral its units.
    """
    first, second = symbols
    units = {
        symbol: round(400_000 / len(scenario.collateral) / prices[symbol], 3) for symbol in scenario.collateral.values()
    }
    held = {asset: units[symbol] for asset, symbol in scenario.collateral.items()}
    token, below = next(iter(scenario.collateral.items()))
    collared = round(400_000 / prices[below], 3)
    tenor = scenario.expiry_every // 2
    return [
        Agent(
            MARKET_MAKER, "takes the other side: perpetuals at the index price, options around their mark",
            {CASH: 10_000_000},
        ),
        Unwinder(KEEPER, "bids for liquidated portfolios and trades out of them", {CASH: 2_000_000}),
        Directional(
            f"{first} long, prudent", f"long {first} from the start, reduces on a margin call", {CASH: 500_000},
            first, 1, scenario.prudent, start, "reduce",
        ),
        Directional(
            f"{second} long, backed", f"long {second} from the start, tops up on margin calls", {CASH: 400_000},
            second, 1, scenario.backed, start, "top up", reserve=1_000_000,
        ),
        Directional(
            f"{first} long, late", f"long {first} shortly before the fall, ignores margin calls", {CASH: 250_000},
            first, 1, 0.92, scenario.late, "ignore",
        ),
        Directional(
            f"{second} long, late", f"long {second} shortly before the fall, reduces on a margin call", {CASH: 250_000},
            second, 1, 0.75, scenario.late, "reduce",
        ),
        Directional(
            f"{second} long, bold", f"long {second} shortly before the fall, ignores margin calls", {CASH: 150_000},
            second, 1, 0.60, scenario.late, "ignore",
        ),
        Directional(
            f"{first} short", f"short {first} from the start, reduces on a margin call", {CASH: 300_000},
            first, -1, 0.15, start, "reduce",
        ),
        Hedger(
            "Hedger", f"{' and '.join(held)} as collateral against the same units short, withdraws profits",
            {CASH: 20_000, **held}, units,
        ),
        Spread("Spread", f"long {second}, short {first}, same dollars", {CASH: 200_000}, second, first, 0.6),
        Collar(
            "Collar", f"{token} as collateral, puts bought below and calls sold above on all of it, renewed",
            {CASH: 20_000, token: collared}, below, collared, 0.5, tenor,
        ),
        Insured(
            "Insured long", f"long {second} with a put on all of it, renewed; reduces on a margin call",
            {CASH: 250_000}, second, 0.5, 1.0, tenor,
        ),
        Writer(
            "Strangle writer", f"short {first} puts and calls, delta hedged, renewed; reduces on a margin call",
            {CASH: 400_000}, first, 0.35, 1.0, tenor, start, "reduce", hedges=True, renews=True,
        ),
        Writer(
            "Straddle, bold", f"short {second} straddles shortly before the fall, ignores margin calls",
            {CASH: 150_000}, second, 0.75, 0.0, tenor, scenario.late, "ignore", hedges=False, renews=False,
        ),
        Treasury("Treasury", "cash only, pays in and takes out in turn", {CASH: 100_000}, 50_000),
        Directional(
            ATTACKER, f"long {first}, tries at every step to trade and to withdraw beyond its margin", {CASH: 20_000},
            first, 1, 0.2, start, "reduce",
        ),
    ]  # fmt: skip
