"""The whole house at one block, read in few requests: what the keeper decides on and what invariants are checked on.

Amounts are the chain's own integers: dollars and units of underlyings in wad (1e18), collateral and balances in token
units, times in unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.chain.client import Reverted
from plimsoll.chain.instruments import Instrument
from plimsoll.chain.parameters import unpack
from plimsoll.margin.onchain import Margin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.chain.abi import Call
    from plimsoll.chain.client import BlockId
    from plimsoll.chain.fields import Key
    from plimsoll.chain.system import System


@dataclass(frozen=True, slots=True)
class Position:
    """size: units [wad], positive long. quote: dollars received (negative: paid) and not yet settled, after funding
    [wad]."""

    instrument: int
    size: int
    quote: int


@dataclass(frozen=True, slots=True)
class AuctionState:
    """An auction under way. fee and shortfall in dollars [wad]; discount is d now [wad]; protective: at the owner's
    wish, while there is still equity above maintenance; lapsed: has run out and takes no bids until flagged anew."""

    started_at: int
    keeper: int
    fee: int
    shortfall: int
    discount: int
    protective: bool = False
    lapsed: bool = False


@dataclass(frozen=True, slots=True)
class Protection:
    """An owner's wish to be reduced before it is liquidated: from which equity / maintenance on, and at most at which d
    [both wad]."""

    trigger: int
    maximum_discount: int


@dataclass(frozen=True, slots=True)
class AuctionParameters:
    """LiquidationEngine's, in its order: duration and window in seconds, money in dollars, fractions and money in wad;
    native_underlying is an id, 0 for none."""

    duration: int
    maximum_discount: int
    target: int
    fund_share: int
    native_underlying: int
    minimum_remainder: int
    minimum_fee: int
    throughput: int
    maximum_fee: int
    minimum_throughput: int
    throughput_window: int


@dataclass(frozen=True, slots=True)
class AccountState:
    """One account. `margin` is None where a price it depends on fails a check; `fault` then says which."""

    id: int
    owner: str
    nonce: int
    epoch: int
    cash: int
    """Settled cash after shared losses, or debt with interest [wad]."""
    positions: Mapping[int, Position]
    """By instrument id."""
    collateral: Mapping[int, int]
    """{asset id: token units}, cash not among them, only what is held."""
    margin: Margin | None
    fault: str
    auction: AuctionState | None
    protection: Protection | None = None


@dataclass(frozen=True, slots=True)
class AssetState:
    """A token. `held` is what the ledger says, `balance` what the token says the clearing house has [token units]."""

    id: int
    name: str
    token: str
    decimals: int
    underlying: int
    cap: int
    held: int
    balance: int

    @property
    def scale(self) -> int:
        """Wad per token unit."""
        return int(10 ** (18 - self.decimals))


@dataclass(frozen=True, slots=True)
class OracleState:
    """One underlying's oracles; prices in dollars [wad], volatilities a year [wad], ages in seconds.

    `price` is None where it fails a check, `live`, `maintenance` and `mark` where the levels cannot be read; `fault`
    says why.
    """

    id: int
    price: int | None
    price_age: int
    latest_round: int
    live: int | None
    maintenance: int | None
    volatility_age: int
    fresh: bool
    realised: int
    variance: int
    poked_at: int
    poked_maintenance: int
    """Maintenance level when last poked."""
    poked_round: int
    fault: str
    mark: int | None
    """30-day volatility that options are marked at."""
    open_interest: int
    """Σ of long sizes over perpetuals and options [wad units]."""
    funding_index: int
    """What a unit held long has paid so far [wad dollars]; negative where longs were paid."""
    premium: int
    """Mean of trade price less index price, of perpetuals [wad dollars a unit]."""
    throughput_room: int
    """What may still be liquidated now [wad dollars]."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything, at one block."""

    block: int
    timestamp: int
    accounts: Mapping[int, AccountState]
    """By account number, from 1."""
    assets: Mapping[int, AssetState]
    """By id, cash first."""
    oracles: Mapping[str, OracleState]
    """By underlying name."""
    parameters: Mapping[Key, int]
    bundles: int
    """Bundles of parameters applied so far."""
    fees: int
    """Fees and interest collected, not yet swept [wad]."""
    positive_cash: int
    """Σ of positive cash as the clearing house keeps it [wad]."""
    loss_index: int
    """1e27 until a loss is shared."""
    debts: int
    """Σ of negative cash with interest as the clearing house keeps it [wad]."""
    borrow_index: int
    """1e27 until interest accrues."""
    pending_loss: int
    """Loss beyond the fund, still to be shared [wad]."""
    loss_due_at: int
    """When it may be shared, unix seconds."""
    paused_until: int
    """New risk is barred before this time, unix seconds."""
    reserved_shortfall: int
    """Known losses of flagged accounts [wad]."""
    auction_parameters: AuctionParameters
    fund_assets: int
    """Cash tokens in the insurance fund, less what it owes [token units]."""
    fund_shares: int
    fund_owed: int
    """Open claims on the fund [token units]."""
    fund_allowance: int
    """What the fund may pay now [token units]."""
    marks: Mapping[int, int | None]
    """Mark price of every option somebody holds, by instrument id [wad dollars]; None where it cannot be had."""
    settlements: Mapping[tuple[int, int], int]
    """Settlement prices by (underlying, expiry) of the options somebody holds [wad]; 0 while not settled."""

    def price_of(self, underlying: int) -> int | None:
        """Price by underlying id [wad]; None where it fails a check."""
        return next(oracle.price for oracle in self.oracles.values() if oracle.id == underlying)

    @property
    def prices(self) -> dict[int, int | None]:
        """{underlying id: price}."""
        return {oracle.id: oracle.price for oracle in self.oracles.values()}


class _Batch:
    """Calls collected under a key, read together."""

    def __init__(self) -> None:
        self._calls: dict[Any, Call] = {}
        self._results: dict[Any, Any] = {}

    def ask(self, key: Any, call: Call) -> None:
        self._calls[key] = call

    def run(self, system: System, block: int) -> None:
        results = system.chain.try_read_many(list(self._calls.values()), block)
        self._results = dict(zip(self._calls, results, strict=True))

    def get(self, *key: Any) -> Any:
        """The result; raises the contract's refusal."""
        result = self._results[key]
        if isinstance(result, Reverted):
            raise result
        return result

    def attempt(self, *key: Any) -> tuple[Any, str]:
        """(result, "") or (None, why not)."""
        result = self._results[key]
        return (None, result.reason) if isinstance(result, Reverted) else (result, "")


def read_state(system: System, block: BlockId = "latest") -> State:
    """Read the house at a block. RpcError if the node does not answer; contract refusals become `fault`s."""
    chain, house, auctions = system.chain, system.clearing_house, system.liquidation_engine
    head = chain.block(block)
    count = chain.read(house.accountCount(), head.number)
    underlyings = sorted(system.underlyings.values())
    tokens = {name: entry.id for name, entry in system.manifest.assets.items()}

    batch = _Batch()
    for name in ("fees", "positiveCash", "lossIndex", "debts", "pendingLoss", "lossDueAt", "pausedUntil"):
        batch.ask((name,), house.call(name))
    batch.ask(("reserved",), auctions.reservedShortfall())
    batch.ask(("auctions",), auctions.auctionParameters())
    for name in ("totalAssets", "totalSupply", "owed", "allowanceNow"):
        batch.ask((name,), system.insurance_fund.call(name))
    batch.ask(("snapshot",), system.risk_parameters.snapshot(underlyings, True))
    batch.ask(("latest",), system.risk_parameters.latest())
    for name, asset in tokens.items():
        token = system.assets.get(name, system.cash)
        batch.ask(("asset", asset), house.assetOf(asset))
        batch.ask(("held", asset), house.heldOf(asset))
        batch.ask(("balance", asset), token.balanceOf(house.address))
    for underlying in underlyings:
        batch.ask(("price", underlying), system.price_oracle.price(underlying))
        batch.ask(("round", underlying), system.price_oracle.latestRound(underlying))
        batch.ask(("levels", underlying), system.volatility_oracle.levels(underlying))
        batch.ask(("realised", underlying), system.volatility_oracle.realised(underlying))
        batch.ask(("volatility", underlying), system.volatility_oracle.stateOf(underlying))
        batch.ask(("open interest", underlying), house.openInterestOf(underlying))
        batch.ask(("funding", underlying), house.fundingOf(underlying))
        batch.ask(("throughput", underlying), auctions.throughputOf(underlying))
    for account in range(1, count + 1):
        batch.ask(("owner", account), house.ownerOf(account))
        batch.ask(("nonce", account), house.nonceOf(account))
        batch.ask(("epoch", account), system.order_gateway.epochOf(account))
        batch.ask(("portfolio", account), house.portfolioOf(account))
        batch.ask(("margin", account), system.margin_engine.marginOf(account))
        batch.ask(("auction", account), auctions.auctionOf(account))
        batch.ask(("protection", account), auctions.protectionOf(account))
        batch.ask(("discount", account), auctions.discountOf(account))
        for asset in tokens.values():
            if asset != 0:
                batch.ask(("collateral", account, asset), house.collateralOf(account, asset))
    batch.run(system, head.number)
    accounts = {account: _account(batch, account, tokens) for account in range(1, count + 1)}

    held = {instrument for account in accounts.values() for instrument in account.positions}
    options = sorted(instrument for instrument in held if Instrument.of(instrument).is_option)
    expiries = sorted({(option.underlying, option.expiry) for option in map(Instrument.of, options)})
    of_options = _Batch()
    for option in options:
        of_options.ask(("mark", option), system.margin_lens.markOf(option))
    for underlying, expiry in expiries:
        of_options.ask(("settlement", underlying, expiry), system.registry.settlementPriceOf(underlying, expiry))
    of_options.run(system, head.number)

    debts, borrow_index = batch.get("debts")
    return State(
        block=head.number,
        timestamp=head.timestamp,
        accounts=accounts,
        assets={asset: _asset(batch, name, asset) for name, asset in tokens.items()},
        oracles={name: _oracle(batch, underlying) for name, underlying in system.underlyings.items()},
        parameters=unpack(batch.get("snapshot"), underlyings),
        bundles=batch.get("latest").count,
        fees=batch.get("fees"),
        positive_cash=batch.get("positiveCash"),
        loss_index=batch.get("lossIndex"),
        debts=debts,
        borrow_index=borrow_index,
        pending_loss=batch.get("pendingLoss"),
        loss_due_at=batch.get("lossDueAt"),
        paused_until=batch.get("pausedUntil"),
        reserved_shortfall=batch.get("reserved"),
        auction_parameters=AuctionParameters(*batch.get("auctions")),
        fund_assets=batch.get("totalAssets"),
        fund_shares=batch.get("totalSupply"),
        fund_owed=batch.get("owed"),
        fund_allowance=batch.get("allowanceNow"),
        marks={option: _first(of_options.attempt("mark", option)) for option in options},
        settlements={key: of_options.get("settlement", *key) for key in expiries},
    )


def _first(attempt: tuple[Any, str]) -> Any:
    """The first of what was read, or None."""
    result, _ = attempt
    return None if result is None else result[0]


def _account(batch: _Batch, account: int, tokens: Mapping[str, int]) -> AccountState:
    portfolio = batch.get("portfolio", account)
    margin, fault = batch.attempt("margin", account)
    held = {asset: batch.get("collateral", account, asset) for asset in tokens.values() if asset != 0}
    return AccountState(
        id=account,
        owner=batch.get("owner", account),
        nonce=batch.get("nonce", account),
        epoch=batch.get("epoch", account),
        cash=portfolio.cash,
        positions={p.instrument: Position(p.instrument, p.size, p.quote) for p in portfolio.positions},
        collateral={asset: amount for asset, amount in held.items() if amount},
        margin=None if margin is None else Margin.of(margin),
        fault=fault,
        auction=_auction(batch, account),
        protection=_protection(batch, account),
    )


def _auction(batch: _Batch, account: int) -> AuctionState | None:
    auction = batch.get("auction", account)
    if auction.startedAt == 0:
        return None
    discount, _ = batch.attempt("discount", account)  # refused of an auction that has lapsed, and for nothing else
    return AuctionState(
        started_at=auction.startedAt,
        keeper=auction.keeper,
        fee=auction.fee,
        shortfall=auction.shortfall,
        discount=discount or 0,
        protective=auction.protective,
        lapsed=discount is None,
    )


def _protection(batch: _Batch, account: int) -> Protection | None:
    wish = batch.get("protection", account)
    return Protection(wish.trigger, wish.maximumDiscount) if wish.trigger else None


def _asset(batch: _Batch, name: str, asset: int) -> AssetState:
    token, decimals, underlying, cap = batch.get("asset", asset)
    held, balance = batch.get("held", asset), batch.get("balance", asset)
    return AssetState(asset, name, token, decimals, underlying, cap, held, balance)


def _oracle(batch: _Batch, underlying: int) -> OracleState:
    price, price_fault = batch.attempt("price", underlying)
    levels, levels_fault = batch.attempt("levels", underlying)
    latest, _ = batch.attempt("round", underlying)
    realised, _ = batch.attempt("realised", underlying)
    kept = batch.get("volatility", underlying)
    funding = batch.get("funding", underlying)
    return OracleState(
        id=underlying,
        price=None if price is None else price[0],
        price_age=0 if price is None else price[1],
        latest_round=latest or 0,
        live=None if levels is None else levels.live,
        maintenance=None if levels is None else levels.maintenance,
        volatility_age=0 if levels is None else levels.age,
        fresh=levels is not None and levels.fresh,
        realised=realised or 0,
        variance=kept.variance,
        poked_at=kept.pokedAt,
        poked_maintenance=kept.maintenance,
        poked_round=kept.roundId,
        fault=price_fault or levels_fault,
        mark=None if levels is None else levels.mark,
        open_interest=batch.get("open interest", underlying),
        funding_index=funding.index,
        premium=funding.premium,
        throughput_room=batch.get("throughput", underlying).room,
    )
