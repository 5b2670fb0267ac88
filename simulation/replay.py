"""A real crash on a live local chain, bar by bar.

At every bar: reporters push price and volatility and poke the oracles; the keeper does its round; traders, depositors
and withdrawers act; while an auction is open the clock moves on in small ticks and the keeper bids; on schedule a new
calibration of what is known by then is pushed through the steward; the attacker tries what must not work. Then the
state is read at one block and every invariant checked on it and on the events since the last step.

The same market and code give the same recording: time, keys, salts and order of actions follow from the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from plimsoll.chain.abi import Event as ChainEvent
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain, Reverted
from plimsoll.chain.fields import Field, Key
from plimsoll.chain.instruments import Instrument, Kind, expiry_after, expiry_symbol
from plimsoll.chain.state import AccountState, State, read_state
from plimsoll.chain.system import CASH as CASH_ID
from plimsoll.config import WAD
from plimsoll.governance.push import push
from plimsoll.keeper.decide import Poke, SettleVariation
from plimsoll.keeper.expiry import find_round
from plimsoll.margin.onchain import mark_of
from plimsoll.market import MarketData, load_market
from simulation.agents import (
    ATTACKER,
    CASH,
    DAY,
    SERVANTS,
    Collar,
    Deposit,
    Hedger,
    Trade,
    Treasury,
    View,
    Withdraw,
    cast,
    perpetual,
)
from simulation.audit import Audit
from simulation.faults import NO_FAULTS, Faults, crew
from simulation.house import LEAD_TIME, House, Participant, calibrated, wad
from simulation.invariants import (
    ACCOUNT_ROUNDING,
    InvariantError,
    Standing,
    check_rising,
    standing_of,
)
from simulation.observe import Portfolio, imagined
from simulation.probes import probe, void
from simulation.recording import (
    PARTS,
    AccountPoint,
    AccountSummary,
    BookPoint,
    Event,
    Liquidation,
    OptionPoint,
    Push,
    Recording,
    Settlement,
    Step,
    UnderlyingPoint,
)
from simulation.reporter import level_at, level_paths
from simulation.scenario import Scenario, scenario_for

PROBES = 3
"""How many times in a run the experiments of `simulation.probes` are made."""
TICKS = 5
"""Most times the clock moves on within a bar while an auction is open."""
TICK_PART = 0.05
"""Of an auction's duration: one tick brings the discount to where the keeper bids."""
SPREAD = 0.02
"""Part of an option's mark by which the market maker's prices lie above and below it."""
PERPETUAL_SPREAD = 0.0003
"""The same of a perpetual's index price: whoever trades moves the premium, and funding with it."""
SAMPLE = 10_000
"""Dollars of the position that the margin rate is measured on."""
REFUSED = "ClearingHouseInsufficientMargin"
REFUSALS = (
    REFUSED,
    "ClearingHouseInsufficientCollateral",
    "ClearingHouseNotAuthorised",
    "ClearingHouseWithdrawalsLocked",
)

Progress = Callable[[int, int, str], None]
"""Called with the step done, how many there are, and a few words."""
Calibrator = Callable[[int, State], Push | None]
"""Keeps the parameters. Called at every bar when everybody has acted, with the bar's time and the state last examined;
returns what it has pushed, if that is to be recorded."""


def replay(
    market: str,
    folder: Path,
    data_dir: Path | None = None,
    *,
    most_steps: int | None = None,
    first_step: int = 0,
    on_step: Progress | None = None,
) -> Recording:
    """Replay a market on a chain of its own and return what happened, violations included.

    folder: for the deployment's manifest. most_steps, first_step: replay only that part of the window. Raises
    PlimsollError where the market, its data, the contracts or anvil are missing.
    """
    data, scenario = load_market(market, data_dir), scenario_for(market)
    bars = list(islice(data.steps(), first_step, None if most_steps is None else first_step + most_steps))
    agents = cast(scenario, data.market.assets, bars[0][0], _first_prices(data, bars))
    folder.mkdir(parents=True, exist_ok=True)
    with Anvil(timestamp=bars[0][0] - LEAD_TIME) as node:
        house = House.open(Chain.connect(node.url), data, agents, folder, bars[0][0])
        run = Replay(house, scenario, bars)
        try:
            run.go(on_step)
        except InvariantError as violation:
            run.stopped_by = violation
        return run.finish()


def _first_prices(data: MarketData, bars: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Each asset's first print."""
    prices: dict[str, float] = {}
    for _, printed in bars:
        prices = {**printed, **prices}
        if len(prices) == len(data.market.assets):
            break
    return prices


@dataclass(slots=True)
class Tally:
    """What has happened to one account."""

    orders: int = 0
    """That it gave."""
    equity_start: float = 0.0
    flow: float = 0.0
    margin_calls: int = 0
    liquidations: int = 0
    in_call: bool = False


@dataclass(slots=True)
class OnSchedule:
    """The calibrator of a replay: fits to what is known, and moves the parameters as far as the steward allows."""

    house: House
    every: int
    """Seconds between calibrations."""
    due: int
    """When the next one is, unix seconds."""

    def __call__(self, ts: int, state: State) -> Push | None:
        """Calibrate and push if it is time."""
        if ts < self.due:
            return None
        self.due += self.every
        report = calibrated(self.house.data, ts)
        result = push(self.house.system, report, self.house.reporter)
        if not result.receipts:
            return None
        limited = sum(row.target != row.new for row in result.plan.rows)
        multiplier = state.parameters[Key(Field.MULTIPLIER)] / 1_000_000
        return Push(ts, report.hash, len(result.plan.tightening), limited, multiplier)


@dataclass
class Replay:
    """One run. `go` replays, `finish` gives the recording.

    faults: what fails when. ticks: most times the clock moves on within a bar while an auction is open. probes: how
    often experiments are made before the last bar; with 0 not there either. on_state is shown every state that is read,
    on_events what happened since the last look. calibrator: who keeps the parameters; by default the scenario's
    schedule does.
    """

    house: House
    scenario: Scenario
    bars: list[tuple[int, dict[str, float]]]
    faults: Faults = NO_FAULTS
    ticks: int = TICKS
    probes: int = PROBES
    on_state: Callable[[State], None] = void
    on_events: Callable[[list[ChainEvent]], None] = void
    calibrator: Calibrator | None = None
    stopped_by: InvariantError | None = None

    def __post_init__(self) -> None:
        market = self.house.data.market
        self.recording = Recording(market.name, market.title, market.assets)
        self.audit = Audit(self.house.system, name=self._name, on_bid=self._record_bid)
        self.keepers = crew(self.house, self.faults)
        self.rounds = 0
        """Of the keepers, so far."""
        self.tallies = {one.name: Tally() for one in self.house.participants}
        self.printed: dict[str, float] = {}
        self.volatilities: dict[str, float] = {}
        self.last_state = read_state(self.house.system)
        for one in self.house.participants:
            self.tallies[one.name].equity_start = self._equity(self.last_state, one) / WAD
        self.saver = next(one for one in self.house.participants if isinstance(one.agent, Treasury))
        self.hedger = next(one for one in self.house.participants if isinstance(one.agent, Hedger))
        self.collar = next(one for one in self.house.participants if isinstance(one.agent, Collar))
        self.expiries: set[int] = set()
        """That have been listed."""
        self.settlements: dict[tuple[int, int], Settlement] = {}

    def go(self, on_step: Progress | None = None) -> None:
        """Every bar in turn. InvariantError at the first violation."""
        levels = level_paths(self.house.data, self.house.calibration)
        period = self.scenario.recalibrate_every
        self.calibrator = self.calibrator or OnSchedule(self.house, period, self.bars[0][0] + period)
        every = max(1, len(self.bars) // max(self.probes, 1))
        self.last_state, _ = self.audit.examine()
        for number, (ts, printed) in enumerate(self.bars, 1):
            known = {symbol: level_at(levels[symbol], ts) for symbol in printed}
            self._report(ts, printed, known)
            if self._is_known():
                self._react(ts, self.bars[number][0] if number < len(self.bars) else ts + 2 * TICKS * 3_600)
            else:
                self._keep()
            if self.probes and self._is_known() and (number % every == every // 2 or number == len(self.bars)):
                self._probe()
            if on_step is not None:
                on_step(number, len(self.bars), self._words())

    def _words(self) -> str:
        return f"{len(self.recording.liquidations)} liquidations, {len(self.recording.pushes)} pushes"

    # ─── A bar

    def _report(self, ts: int, printed: dict[str, float], volatilities: dict[str, float]) -> None:
        """Push the bar, unless the feeds are silent."""
        house = self.house
        self._set_time(ts)
        self.printed |= printed
        if self.faults.reports(ts):
            house.report(printed, volatilities)
        else:
            house.chain.mine()
        self.volatilities |= volatilities
        self._look()

    def _set_time(self, ts: int) -> None:
        """The next block's time, and what gas costs from then on."""
        self.house.chain.set_time(ts)
        self.house.chain.base_fee = self.faults.base_fee_at(ts)

    def _look(self) -> None:
        self.state = read_state(self.house.system)
        self.on_state(self.state)

    def _is_known(self) -> bool:
        """Whether every price passes its checks: without one nothing can be said of an account, and nobody can act but
        keepers, who leave alone what they don't know."""
        return all(oracle.price is not None for oracle in self.state.oracles.values())

    def _write_down(self, ts: int) -> None:
        """How everybody stands before anybody reacts."""
        self.audit.check_state(self.state)
        self.recording.charges.funding += _funding(self.last_state, self.state)
        self.rates = self._rates()
        self._record(self.state, ts)

    def _react(self, ts: int, next_bar: int) -> None:
        """Everybody acts; then the checks, unless a price has become stale meanwhile."""
        self._write_down(ts)
        self._act()
        self._auction(next_bar)
        if not self._is_known():
            return
        if self.calibrator is not None and (pushed := self.calibrator(ts, self.last_state)) is not None:
            self._record_push(pushed)
        self._examine()
        self._attack()

    def _rates(self) -> dict[str, Standing]:
        """Margin of a small long position in each underlying; and ORDER, against one three times as large."""
        prices = {symbol: self._price(symbol) for symbol in self.house.symbols}
        sizes = {symbol: SAMPLE * WAD * WAD // price for symbol, price in prices.items()}
        perpetuals = {symbol: self.house.system.perpetual(symbol) for symbol in sizes}
        small = [imagined(0, {perpetuals[symbol]: size}) for symbol, size in sizes.items()]
        large = [imagined(0, {perpetuals[symbol]: 3 * size}) for symbol, size in sizes.items()]
        found = self.audit.observer.margins(small + large)
        for symbol, one, three in zip(sizes, found, found[len(sizes) :], strict=False):
            check_rising(self.audit.checks, one, three, f"{symbol} at three times the size")
        return dict(zip(sizes, found, strict=False))

    def _record(self, state: State, ts: int) -> None:
        accounts = {}
        for one in self.house.participants:
            standing, tally = standing_of(state.accounts[one.account]), self.tallies[one.name]
            accounts[one.name] = AccountPoint(standing.equity / WAD, standing.initial / WAD, standing.maintenance / WAD)
            in_call = standing.equity < standing.initial
            if in_call and not tally.in_call:
                tally.margin_calls += 1
                text = f"{one.name}: equity {standing.equity / WAD:,.0f}, initial margin {standing.initial / WAD:,.0f}"
                self.recording.events.append(Event(ts, "margin call", one.name, text))
            tally.in_call = in_call
        underlyings = {}
        for symbol, rate in self.rates.items():
            oracle = state.oracles[symbol]
            underlyings[symbol] = UnderlyingPoint(
                price=self._price(symbol) / WAD,
                reported=self.volatilities[symbol],
                live=(oracle.live or 0) / WAD,
                maintenance=(oracle.maintenance or 0) / WAD,
                realised=oracle.realised / WAD,
                mark=(oracle.mark or 0) / WAD,
                initial_rate=rate.initial / (SAMPLE * WAD),
                maintenance_rate=rate.maintenance / (SAMPLE * WAD),
            )
        unit = state.assets[CASH_ID].scale / WAD
        self.recording.steps.append(
            Step(
                ts,
                underlyings,
                accounts,
                state.fund_assets * unit,
                self._books(),
                self._followed(),
                claims=state.fund_owed * unit,
                pending=state.pending_loss / WAD,
            )
        )

    def _books(self) -> dict[str, BookPoint]:
        """What every book with options in it needs, beside what its lines would need one by one: the contract's own
        figures. Of those who trade for themselves."""
        lines: list[tuple[str, str, Portfolio]] = []
        for one in self.house.participants:
            account = self.state.accounts[one.account]
            held = [(Instrument.of(p.instrument).kind, p) for p in account.positions.values()]
            if one.name in SERVANTS or not any(kind is not Kind.PERPETUAL for kind, _ in held):
                continue
            for kind, position in held:
                part = {Kind.PERPETUAL: "perpetuals", Kind.PUT: "puts", Kind.CALL: "calls"}[kind]
                lines.append((one.name, part, imagined(0, {position.instrument: position.size})))
            for asset, units in account.collateral.items():
                token = self.state.assets[asset]
                lines.append((one.name, "collateral", (0, (), ((asset, token.underlying, units * token.scale),))))
        alone = self.audit.observer.margins([portfolio for _, _, portfolio in lines])
        parts: dict[str, dict[str, float]] = {}
        for (name, part, _), standing in zip(lines, alone, strict=True):
            book = parts.setdefault(name, dict.fromkeys(PARTS, 0.0))
            book[part] += standing.initial / WAD
        return {
            name: BookPoint(standing_of(self.state.accounts[self.house.by_name[name].account]).initial / WAD, book)
            for name, book in parts.items()
            if sum(name == other for other, _, _ in lines) > 1 and any(book.values())
        }

    def _followed(self) -> dict[str, OptionPoint]:
        """The options of the collar at their marks, while they live."""
        found = {}
        for number in self.state.accounts[self.collar.account].positions:
            option = Instrument.of(number)
            if option.is_option and option.expiry > self.state.timestamp:
                price, volatility = mark_of(self.house.system, number)
                name = option.kind.name.lower()
                found[name] = OptionPoint(self.house.system.symbol(number), price / WAD, volatility / WAD)
        return found

    def _list(self) -> None:
        """Governance lists the next expiries whenever fewer than two lie ahead, at strikes around today's price."""
        now, start = self.state.timestamp, self.bars[0][0]
        days = self.scenario.expiry_every // DAY
        ahead = [e for k in range(1, 1_000) if (e := expiry_after(start, k * days)) > now][:2]
        if self.expiries.issuperset(ahead):
            return
        for expiry in ahead:
            for symbol in self.house.symbols:
                oracle = self.state.oracles[symbol]
                self.house.list_options(symbol, expiry, self._price(symbol) / WAD, (oracle.mark or 0) / WAD)
        self.expiries.update(ahead)

    def _act(self) -> None:
        """Keepers first, then everybody else in the order of their accounts."""
        self._list()
        self._settle_wrongly()
        self._keep()
        for one in self.house.participants:
            if self.faults.acts(one.name, self.state.timestamp):
                for intent in one.agent.decide(self._view(one)):
                    self._carry_out(one, intent)

    def _keep(self) -> None:
        """Every keeper does its round on what the ones before it left; each comes first in turn."""
        now, first = self.state.timestamp, self.rounds % len(self.keepers)
        names = [name for name in self.keepers if self.faults.acts(name, now)]
        self.rounds += 1
        for name in names[first:] + names[:first]:
            outcomes = self.keepers[name].step(self.state)
            quiet = all(isinstance(one.action, Poke | SettleVariation) for one in outcomes)
            if not quiet or (outcomes and len(names) > 1):
                self._look()

    def _view(self, one: Participant) -> View:
        account = self.state.accounts[one.account]
        standing = standing_of(account)
        system, now = self.house.system, self.state.timestamp
        held = {system.symbol(number): position for number, position in account.positions.items()}
        perpetuals = {symbol: held[perpetual(symbol)] for symbol in self.house.symbols if perpetual(symbol) in held}
        unrealised = sum(p.size * self._price(symbol) // WAD + p.quote for symbol, p in perpetuals.items())
        return View(
            ts=now,
            prices={symbol: self._price(symbol) / WAD for symbol in self.house.symbols},
            rates={symbol: rate.initial / (SAMPLE * WAD) for symbol, rate in self.rates.items()},
            equity=standing.equity / WAD,
            initial=standing.initial / WAD,
            cash=(account.cash + unrealised) / WAD,
            sizes={symbol: position.size / WAD for symbol, position in held.items()},
            deltas={
                system.names[part.underlying]: part.delta / WAD
                for part in (account.margin.underlyings if account.margin else ())
            },
            volatilities={symbol: (oracle.mark or 0) / WAD for symbol, oracle in self.state.oracles.items()},
            listed={name: one for name, one in self.house.listed.items() if not one.expiry or one.expiry > now},
            required=self._required,
        )

    def _required(self, book: Mapping[str, float]) -> float:
        sizes = {self.house.system.instrument(symbol).id: wad(units) for symbol, units in book.items()}
        return self.audit.observer.margins([imagined(0, sizes)])[0].initial / WAD

    def _carry_out(self, one: Participant, intent: Trade | Deposit | Withdraw) -> None:
        """What the clearing house refuses is written down and left at that."""
        tally = self.tallies[one.name]
        try:
            match intent:
                case Trade(symbol, size):
                    tally.orders += 1
                    instrument = self.house.system.instrument(symbol)
                    exact = self._exact(one, instrument, wad(size))
                    self.house.trade(one, symbol, exact, self._quote(instrument, exact))
                case Deposit(asset, amount):
                    self.house.deposit(one, asset, amount)
                    tally.flow += amount
                case Withdraw(asset, amount):
                    self.house.withdraw(one, asset, amount)
                    tally.flow -= amount
        except Reverted as refused:
            name = f"{refused.error} ({type(intent).__name__.lower()} of {one.name})"
            self.recording.declined[name] = self.recording.declined.get(name, 0) + 1

    def _quote(self, instrument: Instrument, size: int) -> int:
        """The market maker's price for who buys (negative: sells) `size`: around the mark."""
        price, _ = mark_of(self.house.system, instrument.id)
        spread = SPREAD if instrument.is_option else PERPETUAL_SPREAD
        return price + (1 if size > 0 else -1) * int(price * spread)

    def _exact(self, one: Participant, instrument: Instrument, size: int) -> int:
        """A trade that would leave less than a billionth of a unit closes the position to the wei."""
        position = self.state.accounts[one.account].positions.get(instrument.id)
        held = position.size if position else 0
        return -held if held and abs(held + size) < ACCOUNT_ROUNDING else size

    def _auction(self, next_bar: int) -> None:
        """While an auction is open, let its discount rise and the keepers bid."""
        tick = int(self.house.profile.auction.duration * TICK_PART)
        for _ in range(self.ticks):  # no trade since can have made an account liquidatable: GATE
            due = any(a.auction or (a.margin and a.margin.is_liquidatable) for a in self.state.accounts.values())
            if not due or not self._is_known() or self.state.timestamp + tick + 300 >= next_bar:
                break
            self._set_time(max(self.state.timestamp + tick, self.house.chain.block().timestamp + 1))
            self.house.chain.mine()
            self._look()
            self._keep()

    def _record_push(self, pushed: Push) -> None:
        self.recording.pushes.append(pushed)
        text = f"{pushed.changes} numbers pushed, {pushed.limited} held back"
        self.recording.events.append(Event(pushed.ts, "push", "", text))

    def wind_down(self, rounds: int, seconds: int) -> None:
        """After the last bar: feeds repeat what they said and keepers go on until no auction, loss or claim is open, so
        many rounds at most and so many seconds apart; then fees go to the fund, and the experiments are made.
        InvariantError as in `go`."""
        for done in range(rounds + 1):
            self._report(self.house.chain.block().timestamp + seconds, self.printed, self.volatilities)
            if done == rounds or not is_open(self.state):
                break
            self._keep()
            self._examine()
        self.house.chain.send(self.house.system.clearing_house.sweepFees(), self.house.reporter)
        self._examine()
        self._probe()

    def _probe(self) -> None:
        probe(self.house, self.audit.observer, self.audit.checks, self.hedger, self.saver)

    # ─── Checks

    def _examine(self) -> None:
        """The audit, and what it saw of expiries and charges."""
        self.last_state, events = self.audit.examine()
        self.on_state(self.last_state)
        self.on_events(events)
        for event in events:
            values = event.arguments
            match event.name:
                case "Traded":
                    self.recording.charges.premium_fees += values["fee"] / WAD
                case "InterestAccrued":
                    self.recording.charges.interest += values["amount"] / WAD
                case "ExpirySettled":
                    self._record_settlement(event)
                case "ExpiredSettled":
                    option = Instrument.of(values["instrument"])
                    one = self.settlements[option.underlying, option.expiry]
                    one.positions += 1
                    one.rounding -= values["amount"]
                    if values["size"] > 0:
                        one.received += values["amount"] / WAD
                    else:
                        one.paid -= values["amount"] / WAD

    def _record_settlement(self, event: ChainEvent) -> None:
        values, system = event.arguments, self.house.system
        underlying, expiry = values["underlying"], values["expiry"]
        _, price, reported = system.chain.read(system.price_oracle.round(underlying, values["roundId"]))
        ts, name = system.chain.block(event.block).timestamp, system.names[underlying]
        self.audit.checks.require("ORACLE", price == values["price"], f"{name} settled at {values['price']}")
        one = Settlement(ts, name, expiry, price / WAD, reported)
        self.settlements[underlying, expiry] = one
        self.recording.settlements.append(one)
        text = f"{name} options of {expiry_symbol(expiry)} at {one.price:,.2f}"
        self.recording.events.append(Event(ts, "expiry", "", text))

    def _settle_wrongly(self) -> None:
        """ORACLE: only the right round settles an expiry: not the latest, where that is another, nor an earlier one."""
        system = self.house.system
        for (underlying, expiry), price in self.state.settlements.items():
            if price or self.state.timestamp <= expiry:
                continue
            latest = system.chain.read(system.price_oracle.latestRound(underlying))
            right = find_round(system, underlying, expiry)
            for wrong in {latest, latest - 5} - {right}:
                call = system.registry.settle(underlying, expiry, wrong)
                error = self.audit.observer.refusal(call, self.house.settler.address)
                self.audit.checks.require("ORACLE", error == "RegistryWrongRound", f"round {wrong} got {error}")

    def _attack(self) -> None:
        """A trade and a withdrawal beyond the attacker's margin, and a withdrawal from somebody else's account."""
        attacker = self.house.by_name[ATTACKER]
        state = self.last_state
        account = state.accounts[attacker.account]
        standing, address = standing_of(account), attacker.person.sender.address
        symbol = self.house.symbols[0]
        price, rate = self._price(symbol), self.rates[symbol].initial
        carried = max(standing.equity, SAMPLE * WAD) * SAMPLE * WAD // rate  # dollars of position, in wad
        option = self._view(attacker).option(Kind.CALL, symbol, 0.0, 0).symbol
        premium, _ = mark_of(self.house.system, self.house.system.instrument(option).id)
        attacks = {
            "a trade beyond margin": (
                self.house.trade_call(attacker, perpetual(symbol), 2 * carried * WAD // price, price),
                (REFUSED,),
            ),
            "a sale of options beyond margin": (
                self.house.trade_call(attacker, option, -20 * carried * WAD // price, max(premium // 2, 1)),
                (REFUSED,),
            ),
            "a withdrawal of another's collateral": (
                self.house.withdrawal_call(self.hedger, CASH, 1.0, by=attacker),
                ("ClearingHouseNotAuthorised",),
            ),
            "a withdrawal beyond margin": (
                self.house.withdrawal_call(attacker, CASH, self._too_much(account, standing) / WAD),
                REFUSALS,
            ),
        }
        errors = self.audit.observer.refusals([call for call, _ in attacks.values()], address)
        for error, (what, (_, expected)) in zip(errors, attacks.items(), strict=True):
            self.audit.checks.require("GATE", error in expected, f"{what} got {error or 'through'}")
            key = f"{what}: {error}"
            self.recording.refused[key] = self.recording.refused.get(key, 0) + 1
        if state.pending_loss or state.reserved_shortfall > state.fund_assets * state.assets[CASH_ID].scale:
            call = self.house.withdrawal_call(self.saver, CASH, 1.0)
            error = self.audit.observer.refusal(call, self.saver.person.sender.address)
            self.audit.checks.require("LOSS", error == REFUSALS[-1], f"a withdrawal ahead of a known loss got {error}")

    @staticmethod
    def _too_much(account: AccountState, standing: Standing) -> int:
        """Dollars [wad] whose withdrawal would leave half the initial margin, or more than there is."""
        if account.positions:
            return max(standing.equity - standing.initial // 2, WAD)
        return max(account.cash, 0) + WAD

    def _record_bid(self, event: ChainEvent, before: Standing, after: Standing) -> None:
        values, bid = event.arguments, event.arguments["bid"]
        account, bidder = values["account"], values["bidder"]
        self.tallies[self._name(account)].liquidations += 1
        ts = self.house.chain.block(event.block).timestamp
        self.recording.charges.flag_fees += bid.fee / WAD
        self.recording.charges.discounts += bid.fundFee / WAD
        queued = min(values["queued"] * self.last_state.assets[CASH_ID].scale, bid.cover - values["shared"])
        self.recording.liquidations.append(
            Liquidation(
                ts=ts,
                account=self._name(account),
                bidder=self._name(bidder),
                fraction=bid.fraction / WAD,
                discount=bid.discount / WAD,
                equity_before=before.equity / WAD,
                equity_after=after.equity / WAD,
                maintenance=before.maintenance / WAD,
                price=bid.price / WAD,
                covered=(bid.cover - values["shared"] - queued) / WAD,
                queued=queued / WAD,
                shared=values["shared"] / WAD,
                fee=bid.fee / WAD,
            )
        )
        text = f"{bid.fraction / WAD:.0%} of {self._name(account)} to {self._name(bidder)}"
        self.recording.events.append(Event(ts, "liquidation", self._name(account), text))

    # ─── The end

    def finish(self) -> Recording:
        """Sum up. A run that a violation stopped has one."""
        recording, state = self.recording, self.last_state
        for one in self.house.participants:
            tally = self.tallies[one.name]
            recording.accounts.append(
                AccountSummary(
                    one.name,
                    one.agent.strategy,
                    tally.equity_start,
                    self._equity(state, one) / WAD,
                    tally.flow,
                    tally.margin_calls,
                    tally.liquidations,
                )
            )
        recording.invariants = self.audit.checks.results()
        losses, unit = self.audit.losses, state.assets[CASH_ID].scale / WAD
        recording.bad_debt = losses.requested / WAD
        recording.insurance_paid = (losses.fund_paid + losses.claims_paid) * unit
        recording.claims_open = state.fund_owed * unit
        recording.shared_loss = losses.shared / WAD
        recording.solvent = (
            self.stopped_by is None
            and state.reserved_shortfall == state.pending_loss == 0
            and all(standing_of(account).equity >= -ACCOUNT_ROUNDING for account in state.accounts.values())
        )
        return recording

    def _price(self, symbol: str) -> int:
        price = self.state.oracles[symbol].price
        if price is None:
            raise RuntimeError(f"{symbol}: {self.state.oracles[symbol].fault}")
        return price

    def _name(self, account: int) -> str:
        return self.house.by_account[account].name

    @staticmethod
    def _equity(state: State, one: Participant) -> int:
        return standing_of(state.accounts[one.account]).equity


def is_open(state: State) -> bool:
    """Whether somebody is still to be liquidated, or some loss still to be paid or shared."""
    accounts = state.accounts.values()
    due = any(one.auction or (one.margin is not None and one.margin.is_liquidatable) for one in accounts)
    return due or bool(state.pending_loss or state.fund_owed)


def _funding(before: State, now: State) -> float:
    """What the paying side of every perpetual owes the other for the time between two states, dollars, as if nobody had
    traded meanwhile."""
    moved = {one.id: one.funding_index - before.oracles[name].funding_index for name, one in now.oracles.items()}
    return (
        sum(
            max(position.size * moved[Instrument.of(position.instrument).underlying], 0) // WAD
            for account in before.accounts.values()
            for position in account.positions.values()
            if not Instrument.of(position.instrument).is_option
        )
        / WAD
    )
