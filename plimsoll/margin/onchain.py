"""Margin as the contracts compute it, read by eth_call: exact, never worked out again here.

All amounts are integers in wad (1e18) as on-chain; `ratio` and the like are floats for people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from plimsoll.chain.client import Reverted
from plimsoll.chain.instruments import Instrument
from plimsoll.config import WAD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.chain.client import BlockId
    from plimsoll.chain.system import System


NO_CAP = 2**256 - 1
"""A long option cap that caps nothing."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """contracts/types/Margin.sol [wad dollars]; the formula of the total stands there.

    worst_node: of the joint loss, price · 3 + volatility for the 27 nodes, 27 and 28 the extremes below and above.
    long_option_cap: what the account would need without its long options, plus their value; NO_CAP if not needed.
    """

    standalone: int
    joint: int
    worst_node: int
    grid: int
    expected_shortfall: int
    risk: int
    liquidity: int
    short_option_minimum: int
    leverage_floor: int
    long_option_cap: int
    total: int


@dataclass(frozen=True, slots=True)
class UnderlyingMargin:
    """One underlying's part: prices, exposures and values in dollars [wad], ages in seconds, volatility a year [wad].

    delta_one: units of perpetuals and collateral. delta, gamma, vega: of everything, as in `Greeks`.
    """

    underlying: int
    price: int
    age: int
    delta_one: int
    delta: int
    gamma: int
    vega: int
    exposure: int
    option_value: int
    volatility_mark: int
    volatility_initial: int
    volatility_maintenance: int
    range_initial: int
    range_maintenance: int
    liquidity_initial: int
    liquidity_maintenance: int


@dataclass(frozen=True, slots=True)
class Margin:
    """What an account has and must hold [wad dollars]. `fresh`: every volatility feed it depends on is up to date."""

    equity: int
    cash: int
    unrealised: int
    collateral: int
    multiplier: int
    open_interest_scale: int
    """On the initial requirement [wad]."""
    fresh: bool
    initial: Requirement
    maintenance: Requirement
    underlyings: tuple[UnderlyingMargin, ...]

    @property
    def is_liquidatable(self) -> bool:
        """equity < maintenance."""
        return self.equity < self.maintenance.total

    @property
    def is_healthy(self) -> bool:
        """equity ≥ initial."""
        return self.equity >= self.initial.total

    @property
    def status(self) -> str:
        """healthy, margin call, liquidatable or insolvent."""
        if self.is_healthy:
            return "healthy"
        if self.equity < 0:
            return "insolvent"
        return "liquidatable" if self.is_liquidatable else "margin call"

    @property
    def headroom(self) -> int:
        """Equity above initial margin [wad dollars]; negative in a margin call."""
        return self.equity - self.initial.total

    @classmethod
    def of(cls, raw: Any) -> Margin:
        """From what `marginOf` returned, a struct decoded by plimsoll.chain.abi."""
        return cls(
            equity=raw.equity,
            cash=raw.cash,
            unrealised=raw.unrealised,
            collateral=raw.collateral,
            multiplier=raw.multiplier,
            open_interest_scale=raw.openInterestScale,
            fresh=raw.fresh,
            initial=Requirement(*raw.initial),
            maintenance=Requirement(*raw.maintenance),
            underlyings=tuple(UnderlyingMargin(*part) for part in raw.underlyings),
        )


@dataclass(frozen=True, slots=True)
class Greeks:
    """One underlying's, all positions together [wad]: delta in units, gamma in units a dollar, vega in dollars for 100
    points of volatility, theta in dollars a year, value of the options at mark in dollars."""

    underlying: int
    delta: int
    gamma: int
    vega: int
    theta: int
    value: int


@dataclass(frozen=True, slots=True)
class ScenarioLosses:
    """One underlying's losses at the 29 nodes [wad dollars], extremes weighted, a gain negative, in the order of
    Requirement.worst_node."""

    underlying: int
    initial: tuple[int, ...]
    maintenance: tuple[int, ...]


class PortfolioPosition(NamedTuple):
    """instrument: id. size: units [wad], positive long. quote: dollars received and not yet settled [wad]."""

    instrument: int
    size: int
    quote: int


class PortfolioCollateral(NamedTuple):
    """An asset's id, the id of the underlying whose price it carries, and how many units of that [wad]."""

    asset: int
    underlying: int
    amount: int


@dataclass(frozen=True, slots=True)
class Portfolio:
    """contracts/types/Portfolio.sol: all that margin depends on, held or imagined. cash in dollars [wad]."""

    cash: int = 0
    positions: tuple[PortfolioPosition, ...] = ()
    collateral: tuple[PortfolioCollateral, ...] = ()

    @classmethod
    def of(cls, raw: Any) -> Portfolio:
        """From what `portfolioOf` returned, a struct decoded by plimsoll.chain.abi."""
        return cls(
            raw.cash,
            tuple(PortfolioPosition(*position) for position in raw.positions),
            tuple(PortfolioCollateral(*collateral) for collateral in raw.collateral),
        )

    def as_tuple(self) -> tuple[Any, ...]:
        """As the ABI wants it."""
        return self.cash, tuple(map(tuple, self.positions)), tuple(map(tuple, self.collateral))

    def with_trade(self, instrument: int, size: int, price: int, fee: int = 0) -> Portfolio:
        """The portfolio after buying (size > 0) or selling `size` units [wad] at `price` dollars a unit [wad], with the
        taker's fee for moving a perpetual's premium [wad dollars].

        The premium of an option moves in cash, what a perpetual costs in its quote; both rounded against the account. A
        position that is closed leaves its quote in cash, as in the clearing house.
        """
        paid = fee - (-size * price // WAD)
        positions = {position.instrument: position for position in self.positions}
        _, held, quote = positions.get(instrument, PortfolioPosition(instrument, 0, 0))
        is_option = Instrument.of(instrument).is_option
        cash, quote = (self.cash - paid, quote) if is_option else (self.cash, quote - paid)
        if held + size:
            positions[instrument] = PortfolioPosition(instrument, held + size, quote)
        else:
            cash += quote
            positions.pop(instrument, None)
        return replace(self, cash=cash, positions=tuple(positions.values()))


def margin_of(system: System, account: int, block: BlockId = "latest") -> Margin:
    """Margin of one account. Reverted, saying which check failed, where a price is not good."""
    return Margin.of(system.chain.read(system.margin_engine.marginOf(account), block))


def margins_of(system: System, accounts: Iterable[int], block: BlockId = "latest") -> dict[int, Margin | Reverted]:
    """Margins of many accounts at one block; a `Reverted` in the place of each that cannot be computed."""
    ids = list(accounts)
    if block == "latest":
        block = system.chain.block().number
    results = system.chain.try_read_many([system.margin_engine.marginOf(account) for account in ids], block)
    return {
        account: result if isinstance(result, Reverted) else Margin.of(result)
        for account, result in zip(ids, results, strict=True)
    }


def portfolio_of(system: System, account: int, block: BlockId = "latest") -> Portfolio:
    """What an account holds."""
    return Portfolio.of(system.chain.read(system.clearing_house.portfolioOf(account), block))


def margin_of_portfolio(system: System, portfolio: Portfolio, block: BlockId = "latest") -> Margin:
    """Margin of any portfolio, held or imagined. Reverted where a price is not good."""
    return Margin.of(system.chain.read(system.margin_engine.marginOfPortfolio(portfolio.as_tuple()), block))


def greeks_of(system: System, account: int, block: BlockId = "latest") -> tuple[Greeks, ...]:
    """Greeks of an account by underlying, ids rising."""
    return tuple(Greeks(*one) for one in system.chain.read(system.margin_lens.greeksOf(account), block))


def scenario_losses_of(system: System, account: int, block: BlockId = "latest") -> tuple[ScenarioLosses, ...]:
    """Losses of an account by underlying at every node of the grid, ids rising."""
    losses = system.chain.read(system.margin_lens.scenarioLosses(account), block)
    return tuple(ScenarioLosses(*one) for one in losses)


def mark_of(system: System, instrument: int, block: BlockId = "latest") -> tuple[int, int]:
    """(price in dollars a unit, implied volatility a year) of an instrument [wad]; volatility 0 where there is none."""
    price, volatility = system.chain.read(system.margin_lens.markOf(instrument), block)
    return price, volatility
