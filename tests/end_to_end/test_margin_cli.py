"""`plimsoll margin` and `plimsoll whatif` on a live chain: what they print is what the contracts say and do."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from plimsoll.chain.client import Chain, Reverted, Sender
from plimsoll.chain.instruments import Instrument, Kind, expiry_after
from plimsoll.chain.orders import make_order, settle_trade, worst_price
from plimsoll.chain.state import read_state
from plimsoll.config import WAD
from plimsoll.margin.moved import curves_of
from plimsoll.margin.onchain import margin_of, mark_of, portfolio_of
from plimsoll.margin.view import node_in_words, read_view
from plimsoll.margin.whatif import Trade, what_if

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]
    ErrorOf = Callable[[CompletedProcess[str]], str]

DEPLOYER, KEEPER, TRADER, MAKER = (Sender.dev(index) for index in range(4))
TRADED = (("BTC-30D-44000-C", -2.0), ("BTC-30D-36000-P", -1.0), ("ETH-30D-2500-P", 8.0), ("ETH-PERP", -3.0))
"""The trader's book, 30D standing for the expiry thirty days after the deployment."""


@pytest.fixture(scope="module")
def symbol_of(house: Any) -> Callable[[str], str]:
    """A symbol with 7D or 30D in the place of the expiry."""

    def find(text: str) -> str:
        parts = text.split("-")
        if len(parts) == 2:
            return text
        expiry = expiry_after(house.system.manifest.begun, int(parts[1].removesuffix("D")))
        strike = house.system.instrument(f"{parts[0]}-1JAN30-{parts[2]}-{parts[3]}").strike
        kind = Kind.CALL if parts[3] == "C" else Kind.PUT
        return Instrument(kind, house.system.underlyings[parts[0]], expiry, strike).symbol(house.system.names)

    return find


@pytest.fixture(scope="module")
def trade(house: Any) -> Callable[..., None]:
    """Taker buys (size > 0) or sells from maker, at the mark unless another price is given."""

    def make(taker: int, maker: int, symbol: str, size: float, price: int | None = None) -> None:
        system, units = house.system, int(size * WAD)
        price = price or mark_of(system, system.instrument(symbol).id)[0]
        worst = price if system.instrument(symbol).is_option else worst_price(price, units)
        made, taken = (
            make_order(system, who, account, symbol, amount, limit, expiry=2**40)
            for who, account, amount, limit in ((MAKER, maker, -units, price), (TRADER, taker, units, worst))
        )
        system.chain.send(settle_trade(system, made, taken, abs(units)), DEPLOYER)

    return make


@pytest.fixture(scope="module")
def maker(house: Any) -> int:
    account: int = house.open_account(MAKER, 5_000_000)
    return account


@pytest.fixture(scope="module")
def account(house: Any, maker: int, trade: Callable[..., None], symbol_of: Callable[[str], str]) -> int:
    """A hedged book of four instruments on 25,000 dollars."""
    number: int = house.open_account(TRADER, 25_000)
    for symbol, size in TRADED:
        trade(number, maker, symbol_of(symbol), size)
    return number


# ─── margin


def test_margin_showsEveryPart(house: Any, account: int, run_plimsoll: Run, symbol_of: Callable[[str], str]) -> None:
    run = run_plimsoll("margin", account, "--manifest", house.manifest)
    assert run.returncode == 0, run.stderr
    view = read_view(house.system, account)
    margin = view.margin
    for amount in (margin.equity, margin.initial.total, margin.initial.grid, margin.maintenance.expected_shortfall):
        assert f"{amount / WAD:,.2f}" in run.stdout
    for symbol, _ in TRADED:
        assert symbol_of(symbol) in run.stdout
    for text in ("healthy", "short option minimum", "long option cap", "theta, a day", "margin call at BTC"):
        assert text in run.stdout
    for horizon in ("initial", "maintenance"):
        worst = getattr(margin, horizon).worst_node
        assert view.joint[horizon][worst] == max(view.joint[horizon])
        assert node_in_words(margin, view.names, worst, horizon) in " ".join(run.stdout.split())


def test_margin_viewAddsUp(house: Any, account: int) -> None:
    """What is shown apart is what the requirement was made of: holdings give equity, nodes give the grid."""
    view = read_view(house.system, account)
    held = sum(one.value or 0 for one in view.holdings)
    assert view.margin.cash + held == pytest.approx(view.margin.equity, abs=10)
    for horizon in ("initial", "maintenance"):
        requirement = getattr(view.margin, horizon)
        standalone = sum(max(0, *getattr(one, horizon)) for one in view.losses)
        assert standalone == pytest.approx(requirement.standalone, rel=1e-9)
        assert max(0, *view.joint[horizon]) == pytest.approx(requirement.joint, rel=1e-9)
    assert [g.delta for g in view.greeks] == [part.delta for part in view.margin.underlyings]


@pytest.mark.parametrize("end", [0, 1], ids=["fall", "rise"])
def test_distance_isWhereTheContractCalls(house: Any, account: int, undo: None, end: int) -> None:
    """Push the price a little short of the crossing, and a little beyond it."""
    system = house.system
    (curve,) = curves_of(system, account, [(system.underlyings["BTC"],)], system.chain.block().number)
    crossing = curve.call[end]
    assert crossing is not None
    assert curve.liquidation[end] is None or abs(curve.liquidation[end]) > abs(crossing)
    at = next(point for point in curve.points if point.move == 0)
    assert at.initial == pytest.approx(margin_of(system, account).initial.total, rel=1e-6)
    for nudge, status in ((0.997, "healthy"), (1.003, "margin call")):
        house.set_price(40_000 * (1 + nudge * crossing))
        assert margin_of(system, account).status == status


def test_margin_ofAnEmptyAccount(house: Any, run_plimsoll: Run, undo: None, tmp_path: Path) -> None:
    empty = house.open_account(TRADER, 0)
    page = tmp_path / "empty.html"
    run = run_plimsoll("margin", empty, "--manifest", house.manifest, "--html", page)
    assert run.returncode == 0, run.stderr
    assert "no equity" in page.read_text()


def test_margin_drawsAPage(house: Any, account: int, run_plimsoll: Run, tmp_path: Path) -> None:
    page = tmp_path / "margin.html"
    run = run_plimsoll("margin", account, "--manifest", house.manifest, "--html", page)
    assert run.returncode == 0, run.stderr
    text = page.read_text()
    assert text.count("<svg") == 2 + 2 * 4 + 3
    assert "http" not in text


def test_margin_pageThatCannotBeWritten(
    house: Any, account: int, run_plimsoll: Run, error_of: ErrorOf, tmp_path: Path
) -> None:
    page = tmp_path / "nowhere" / "margin.html"
    assert "cannot be written" in error_of(
        run_plimsoll("margin", account, "--manifest", house.manifest, "--html", page)
    )


def test_margin_asJson(house: Any, account: int, run_plimsoll: Run) -> None:
    block = house.system.chain.block().number
    run = run_plimsoll("margin", account, "--manifest", house.manifest, "--json", "--block", block)
    data = json.loads(run.stdout)
    margin = margin_of(house.system, account, block)
    assert data["margin"]["initial"]["total"] == str(margin.initial.total)
    assert len(data["losses"][0]["initial"]) == 29


# ─── whatif


@pytest.mark.parametrize(
    ("symbol", "size"),
    [
        ("ETH-30D-2500-P", 2.0),
        ("ETH-30D-2500-P", -8.0),
        ("BTC-7D-40000-C", 0.5),
        ("BTC-30D-44000-C", 2.0),
        ("BTC-PERP", -0.1),
        ("ETH-PERP", 3.0),
        ("ETH-PERP", 7.0),
    ],
)
def test_whatif_isWhatThenHappens(
    house: Any,
    account: int,
    maker: int,
    trade: Callable[..., None],
    symbol_of: Callable[[str], str],
    undo: None,
    symbol: str,
    size: float,
) -> None:
    """The books to the wei; margin up to the seconds that pass between the two."""
    system = house.system
    instrument = system.instrument(symbol_of(symbol))
    mark, volatility = mark_of(system, instrument.id)
    price = mark * 101 // 100
    before = portfolio_of(system, account)
    made = Trade(instrument, int(size * WAD), price, mark, volatility)
    result = what_if(system, account, [made])
    trade(account, maker, symbol_of(symbol), size, price)
    after, margin = portfolio_of(system, account), margin_of(system, account)
    (fee,) = result.fees
    if instrument.is_option:
        assert fee == 0
    else:  # the clamped premium of half a percent, for an hour of eight
        assert fee == pytest.approx(abs(made.size) * mark // WAD // 200 // 8, rel=1e-12)
    expected = before.with_trade(instrument.id, made.size, price, fee)
    assert expected.cash == after.cash
    assert sorted(expected.positions) == sorted(after.positions)
    paid = made.cost + fee - made.size * mark // WAD
    assert result.before.equity == pytest.approx(result.after.equity + paid, rel=1e-9)
    for ours, theirs in (
        (result.after.equity, margin.equity),
        (result.after.initial.total, margin.initial.total),
        (result.after.maintenance.total, margin.maintenance.total),
    ):
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_whatif_knowsTheFeeOnThePremium(
    house: Any, chain: Chain, account: int, maker: int, trade: Callable[..., None], undo: None
) -> None:
    """From a premium above nought, and for two trades of which the second finds what the first has left."""
    system = house.system
    perpetual = system.instrument("ETH-PERP")
    mark, _ = mark_of(system, perpetual.id)
    high, low = mark * 1_002 // 1_000, mark * 999 // 1_000
    trade(account, maker, "ETH-PERP", 0.5, high)
    head = chain.block().number
    made = [Trade(perpetual, WAD // 4, high, mark, 0), Trade(perpetual, -WAD // 2, low, mark, 0)]
    foretold = what_if(system, account, made).fees
    assert foretold[0] < foretold[1]  # with the premium, and against it
    trade(account, maker, "ETH-PERP", 0.25, high)
    trade(account, maker, "ETH-PERP", -0.5, low)
    query = {"address": system.clearing_house.address, "fromBlock": hex(head + 1), "toBlock": "latest"}
    events = map(system.clearing_house.read_event, chain.rpc("eth_getLogs", query))
    fees = [event.arguments["fee"] for event in events if event and event.name == "Traded"]
    assert len(fees) == 2
    for ours, theirs in zip(foretold, fees, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-2)  # premiums fade by the second, open interest is the first's
    funding = chain.read(system.clearing_house.fundingOf(perpetual.underlying))
    assert read_state(system).oracles["ETH"].premium == funding.premium != 0


@pytest.mark.parametrize(("size", "accepted"), [(-0.2, True), (-400.0, False), (0.2, True), (40.0, True)])
def test_whatif_knowsWhatTheGateDoes(
    house: Any,
    account: int,
    maker: int,
    trade: Callable[..., None],
    symbol_of: Callable[[str], str],
    run_plimsoll: Run,
    undo: None,
    size: float,
    accepted: bool,
) -> None:
    """Four hundred short calls are too many, forty long ones cost no more than their premium."""
    symbol = symbol_of("ETH-30D-3000-C")
    run = run_plimsoll("whatif", account, f"{size:+}", symbol, "--manifest", house.manifest)
    assert run.returncode == 0, run.stderr
    assert ("accepted: " if accepted else "refused: ") in run.stdout
    assert "short option minimum" in run.stdout
    if accepted:
        trade(account, maker, symbol, size)
    else:
        with pytest.raises(Reverted, match="ClearingHouseInsufficientMargin"):
            trade(account, maker, symbol, size)


def test_whatif_showsATradeAtAPrice(
    house: Any, account: int, run_plimsoll: Run, symbol_of: Callable[[str], str]
) -> None:
    put, call = symbol_of("ETH-30D-2500-P"), symbol_of("BTC-30D-44000-C")
    run = run_plimsoll(
        "whatif", account, "+2", put, "-1", call, "--price", "145.20", "--price", "900", "--manifest", house.manifest
    )
    assert run.returncode == 0, run.stderr
    for text in (put, call, "290.40 premium", "−900.00 premium", "initial margin", "worst after: BTC"):
        assert text in run.stdout
    result = what_if(
        house.system,
        account,
        [
            Trade(house.system.instrument(put), 2 * WAD, 1_452 * WAD // 10, 0, 0),
            Trade(house.system.instrument(call), -WAD, 900 * WAD, 0, 0),
        ],
    )
    for amount in (result.before.initial.total, result.after.initial.total, result.after.equity, result.after.headroom):
        assert f"{amount / WAD:,.2f}" in run.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("+2", "ETH-30D-2501-P"), "is not listed; listed are ETH-"),
        (("+2", "DOGE-PERP"), "no underlying 'DOGE'; there are BTC, ETH; listed are "),
        (("+2", "ETH-2500-P"), "'ETH-2500-P' is not an instrument"),
        (("0", "ETH-PERP"), "a trade of size 0 changes nothing"),
        (("-0", "ETH-PERP"), "a trade of size 0 changes nothing"),
        (("two", "ETH-PERP"), "'two' is not a size"),
        (("+2",), "expected pairs of a size and a symbol"),
        ((), "expected pairs of a size and a symbol"),
        (("+1", "ETH-PERP", "--price", "-3"), "price -3: expected 0 to 1,000,000,000 dollars"),
    ],
)
def test_whatif_saysWhatIsWrong(
    house: Any,
    account: int,
    run_plimsoll: Run,
    error_of: ErrorOf,
    symbol_of: Callable[[str], str],
    words: tuple[str, ...],
    message: str,
) -> None:
    words = tuple(symbol_of(word) if "-30D-" in word else word for word in words)
    assert message in error_of(run_plimsoll("whatif", account, *words, "--manifest", house.manifest))


def test_whatif_anAccountThatIsNotThere(house: Any, run_plimsoll: Run, error_of: ErrorOf) -> None:
    run = run_plimsoll("whatif", 999, "+1", "ETH-PERP", "--manifest", house.manifest)
    assert "there is no account 999" in error_of(run)


def test_whatif_anExpiredOption(
    house: Any,
    chain: Chain,
    account: int,
    run_plimsoll: Run,
    error_of: ErrorOf,
    symbol_of: Callable[[str], str],
    undo: None,
) -> None:
    symbol = symbol_of("ETH-7D-2500-P")
    chain.set_time(house.system.instrument(symbol).expiry)
    chain.mine()
    error = error_of(run_plimsoll("whatif", account, "+1", symbol, "--manifest", house.manifest))
    assert f"{symbol} expired on" in error


def test_whatif_moreInstrumentsThanAnAccountMayHold(
    house: Any, chain: Chain, account: int, run_plimsoll: Run, error_of: ErrorOf, undo: None
) -> None:
    system = house.system
    expiry, underlying = expiry_after(system.manifest.begun, 60), system.underlyings["ETH"]
    strikes = [Instrument(Kind.CALL, underlying, expiry, Decimal(strike)) for strike in range(1_500, 1_561)]
    chain.send(system.registry.listOptions(underlying, expiry, [one.strike_units for one in strikes]), DEPLOYER)
    words = [word for one in strikes for word in ("+0.01", one.symbol(system.names))]
    error = error_of(run_plimsoll("whatif", account, *words, "--manifest", house.manifest))
    assert f"account {account} would hold 65 instruments; 64 at most" in error
    assert run_plimsoll("whatif", account, *words[2:], "--manifest", house.manifest).returncode == 0
