"""Everything there is to see about one account's margin, read at one block: for the tables, the page and the JSON.

Amounts are the chain's integers, dollars and units in wad (1e18); moves and shocks are plain numbers (0.1 is 10%).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plimsoll.chain.client import Reverted, RpcError
from plimsoll.chain.fields import Field, Key
from plimsoll.chain.instruments import Instrument
from plimsoll.chain.parameters import unpack
from plimsoll.config import WAD
from plimsoll.margin.moved import curves_of
from plimsoll.margin.onchain import greeks_of, margin_of, scenario_losses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from plimsoll.chain.client import BlockId
    from plimsoll.chain.system import System
    from plimsoll.margin.moved import Curve
    from plimsoll.margin.onchain import Greeks, Margin, ScenarioLosses

PRICE_NODES, VOLATILITY_NODES = 9, 3
NODES = PRICE_NODES * VOLATILITY_NODES
"""Nodes of the grid before the two extremes, NODES below and NODES + 1 above."""
DOWN, SAME, UP = range(VOLATILITY_NODES)
HORIZONS = ("initial", "maintenance")


@dataclass(frozen=True, slots=True)
class Holding:
    """One position, or collateral other than cash."""

    symbol: str
    size: int
    mark: int | None
    """Dollars a unit; None where it cannot be told."""
    volatility: int
    """Implied, a year; 0 for what has none."""
    value: int | None
    """What it adds to equity: size · mark + quote."""


@dataclass(frozen=True)
class AccountView:
    """One account at one block. Mappings are by underlying id or, where it says so, by name of the horizon."""

    account: int
    chain_id: int
    block: int
    timestamp: int
    names: Mapping[int, str]
    margin: Margin
    greeks: Sequence[Greeks]
    losses: Sequence[ScenarioLosses]
    holdings: Sequence[Holding]
    horizons: Mapping[str, float]
    """Seconds by horizon."""
    shocks: Mapping[str, Mapping[int, tuple[float, float]]]
    """Relative moves of 30-day implied volatility at the lower and upper nodes, by horizon and underlying."""
    extreme_weight: float
    curves: Sequence[Curve]
    """Margin as prices move: each underlying alone, then all together where there are several."""
    fault: str
    """Why there are no curves; empty where there are."""

    @cached_property
    def joint(self) -> Mapping[str, tuple[int, ...]]:
        """Loss at each node with every underlying at the same one, by horizon."""
        return {
            horizon: tuple(sum(node) for node in zip(*(getattr(one, horizon) for one in self.losses), strict=True))
            for horizon in HORIZONS
        }


def range_of(margin: Margin, underlying: int, horizon: str) -> float:
    """The expected-shortfall move over a horizon."""
    part = next(part for part in margin.underlyings if part.underlying == underlying)
    return float((part.range_initial if horizon == "initial" else part.range_maintenance) / WAD)


def node_in_words(
    margin: Margin, names: Mapping[int, str], node: int, horizon: str, underlyings: Sequence[int] | None = None
) -> str:
    """`BTC −8.4%, ETH −9.9%, volatility up`; of all the margin's underlyings unless some are named."""
    ids = [part.underlying for part in margin.underlyings] if underlyings is None else underlyings
    moves = ", ".join(f"{names[u]} {signed_percent(node_move(node, range_of(margin, u, horizon)))}" for u in ids)
    if node >= NODES:
        return f"{moves} (extreme)"
    return f"{moves}, volatility {('down', 'unchanged', 'up')[node % VOLATILITY_NODES]}"


def node_move(node: int, range_: float) -> float:
    """The price move of a node, for a range r: a quarter of r between nodes, 2r at the extremes; never below −100%."""
    quarters = (-8, 8)[node - NODES] if node >= NODES else node // VOLATILITY_NODES - PRICE_NODES // 2
    return max(quarters * range_ / 4, -1.0)


def signed_percent(value: float) -> str:
    """+8.4%, −8.4%, 0.0%."""
    text = f"{abs(value):.1%}"
    return text if text == "0.0%" else f"{'−' if value < 0 else '+'}{text}"


@dataclass(frozen=True, slots=True)
class GreekRow:
    """One underlying's Greeks as people quote them."""

    name: str
    delta: float
    """Units of the underlying."""
    delta_dollars: float
    gamma: float
    """Change of the delta dollars for a rise of 1%."""
    vega: float
    """Dollars for one point of implied volatility."""
    theta: float
    """Dollars a day."""
    value: float
    """Options at mark, dollars."""


def greek_rows(view: AccountView) -> list[GreekRow]:
    """The Greeks of each underlying."""
    prices = {part.underlying: part.price / WAD for part in view.margin.underlyings}
    return [
        GreekRow(
            name=view.names[one.underlying],
            delta=one.delta / WAD,
            delta_dollars=one.delta / WAD * prices[one.underlying],
            gamma=one.gamma / WAD * prices[one.underlying] ** 2 / 100,
            vega=one.vega / WAD / 100,
            theta=one.theta / WAD / 365,
            value=one.value / WAD,
        )
        for one in view.greeks
    ]


def curve_name(view: AccountView, curve: Curve) -> str:
    """What moves along a curve."""
    if len(curve.underlyings) == 1:
        return view.names[curve.underlyings[0]]
    return "all prices together"


def distances(view: AccountView, ends_of: Callable[[Curve], tuple[float | None, float | None]]) -> list[str]:
    """Where margins are crossed, in words, one for each curve that crosses: `BTC −17.5% or +34.0%`."""
    words = []
    for curve in view.curves:
        moves = [signed_percent(end) for end in ends_of(curve) if end is not None]
        if moves:
            words.append(f"{curve_name(view, curve)} {' or '.join(moves)}")
    return words


def read_view(system: System, account: int, block: BlockId = "latest") -> AccountView:
    """Read it. Reverted, saying which check failed, where the account's margin cannot be told."""
    chain = system.chain
    head = chain.block(block)
    margin = margin_of(system, account, head.number)
    portfolio = chain.read(system.clearing_house.portfolioOf(account), head.number)
    ids = [part.underlying for part in margin.underlyings]
    parameters = unpack(chain.read(system.risk_parameters.snapshot(ids, True), head.number), ids)

    groups = [(u,) for u in ids] + ([tuple(ids)] if len(ids) > 1 else [])
    try:
        curves, fault = curves_of(system, account, groups, head.number) if groups else [], ""
    except RpcError as refusal:
        curves, fault = [], str(refusal)

    def number(field: Field, underlying: int = 0) -> float:
        return float(field.decode(parameters[Key(field, underlying)]))

    def shocks(field: Field) -> dict[int, tuple[float, float]]:
        rises = {u: number(field, u) for u in ids}
        part = number(Field.VOLATILITY_FALL)
        return {u: (1 / (1 + part * rise) - 1, rise) for u, rise in rises.items()}

    return AccountView(
        account=account,
        chain_id=chain.chain_id,
        block=head.number,
        timestamp=head.timestamp,
        names=system.names,
        margin=margin,
        greeks=greeks_of(system, account, head.number),
        losses=scenario_losses_of(system, account, head.number),
        holdings=_holdings(system, portfolio, head.number),
        horizons={
            "initial": number(Field.HORIZON_INITIAL),
            "maintenance": number(Field.HORIZON_MAINTENANCE),
        },
        shocks={
            "initial": shocks(Field.VOLATILITY_SHOCK_INITIAL),
            "maintenance": shocks(Field.VOLATILITY_SHOCK_MAINTENANCE),
        },
        extreme_weight=number(Field.EXTREME_WEIGHT),
        curves=curves,
        fault=fault,
    )


def _holdings(system: System, portfolio: Any, block: int) -> list[Holding]:
    """Positions by underlying, expiry and strike, then collateral."""
    positions = sorted(
        ((Instrument.of(p.instrument), p) for p in portfolio.positions), key=lambda pair: _order(pair[0])
    )
    marks = system.chain.try_read_many([system.margin_lens.markOf(p.instrument) for _, p in positions], block)
    holdings = []
    for (instrument, position), answer in zip(positions, marks, strict=True):
        mark, volatility = (None, 0) if isinstance(answer, Reverted) else answer
        value = None if mark is None else position.size * mark // WAD + position.quote
        holdings.append(Holding(instrument.symbol(system.names), position.size, mark, volatility, value))
    assets = {entry.id: name for name, entry in system.manifest.assets.items()}
    prices = system.chain.try_read_many([system.price_oracle.price(c.underlying) for c in portfolio.collateral], block)
    for collateral, answer in zip(portfolio.collateral, prices, strict=True):
        price = None if isinstance(answer, Reverted) else answer[0]
        value = None if price is None else collateral.amount * price // WAD
        name = f"{assets.get(collateral.asset, collateral.asset)} (collateral)"
        holdings.append(Holding(name, collateral.amount, price, 0, value))
    return holdings


def _order(instrument: Instrument) -> tuple[int, int, Decimal, int]:
    return instrument.underlying, instrument.expiry, instrument.strike, instrument.kind


_NOT_AMOUNTS = {"account", "chain_id", "block", "timestamp", "underlying", "underlyings", "age", "worst_node"}


def as_json(view: AccountView) -> dict[str, Any]:
    """The view for programs: amounts are wad integers as text, so that no reader rounds them."""

    def written(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {str(name): written(item, str(name)) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [written(item, key) for item in value]
        is_amount = isinstance(value, int) and not isinstance(value, bool) and key not in _NOT_AMOUNTS
        return str(value) if is_amount else value

    return {"status": view.margin.status, **written(asdict(view), "")}
