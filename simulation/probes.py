"""Experiments on a snapshot of the running chain: break a feed, crash a price, go in circles; then put everything back.

They show invariants that an ordinary step cannot: ORACLE needs a feed that fails, LOSS a loss beyond the fund that is
owed, announced and shared, ROUND somebody who tries to earn on rounding, ORDER a market that is only more volatile or
whose price is only older.
"""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.chain.client import Reverted
from plimsoll.chain.state import State, read_state
from plimsoll.config import WAD
from plimsoll.keeper.expiry import find_round
from plimsoll.margin.onchain import mark_of
from simulation.agents import CASH, perpetual
from simulation.audit import Audit
from simulation.house import House, Participant, wad
from simulation.invariants import Checks, check_rising
from simulation.observe import Observer, imagined

ORACLE_ERRORS = (
    "PriceOracleStale",
    "PriceOracleNotPositive",
    "PriceOracleOutOfBounds",
    "PriceOracleIncompleteRound",
    "ClearingHouseStaleVolatility",
)
LOCKED = "ClearingHouseWithdrawalsLocked"
NOT_DUE = "ClearingHouseNoLossDue"
CRASHES = (0.3, 3.0)
"""Factors on prices under which somebody's loss should exceed the insurance fund."""
RESCUE = 100_000_000
"""Dollars of whoever takes over all that is insolvent."""
ANY_PRICE, ANY_NONCE = 10**36, 2**64 - 1
"""Of a bid that is to go through."""
ODD = 1_234_567
"""Token units that no fraction divides."""


def probe(house: House, observer: Observer, checks: Checks, hedger: Participant, saver: Participant) -> None:
    """All experiments. `hedger` holds a position and collateral other than cash, `saver` only cash."""
    _probe_oracles(house, observer, checks, hedger)
    _probe_order(house, observer, checks)
    _probe_losses(house, observer, checks, saver)
    _probe_round_trips(house, checks, hedger, saver)


def _later(house: House, seconds: int) -> None:
    house.chain.set_time(house.chain.block().timestamp + seconds)
    house.chain.mine()


def _repeat(house: House) -> None:
    """Every feed reports again what it reported last."""
    for feeds in (house.system.price_feeds, house.system.volatility_feeds):
        for feed in feeds.values():
            house.chain.send(feed.push(house.chain.read(feed.latestRoundData())[1]), house.reporter)


# ─── ORACLE


def _probe_oracles(house: House, observer: Observer, checks: Checks, hedger: Participant) -> None:
    """Under each fault the hedger may neither add to its position nor take any collateral out."""
    symbol = next(iter(house.system.asset(asset).underlying for asset in hedger.agent.funding if asset != CASH))
    underlying = house.profile.underlying(symbol)
    system, reporter = house.system, house.reporter
    prices, volatilities = system.price_feeds[symbol], system.volatility_feeds[symbol]

    def push(feed: str, answer: int) -> Callable[[], None]:
        contract = prices if feed == "price" else volatilities
        return lambda: void(house.chain.send(contract.push(answer), reporter))

    def stale_volatility() -> None:
        before = read_state(system)
        _later(house, underlying.volatility.heartbeat + 60)
        for name, feed in system.price_feeds.items():  # prices are fresh, volatility alone is not
            price = before.oracles[name].price or 0
            house.chain.send(
                feed.push(price * 10 ** (house.profile.underlying(name).price.decimals or 0) // WAD), reporter
            )

    faults: dict[str, Callable[[], None]] = {
        "a stale price": lambda: _later(house, underlying.price.heartbeat + 60),
        "a zero price": push("price", 0),
        "a negative price": push("price", -1),
        "a price above its bounds": push("price", underlying.price.answer(2 * underlying.price.maximum)),
        "a price below its bounds": push("price", underlying.price.answer(underlying.price.minimum / 2)),
        "a stale volatility": stale_volatility,
        "a zero volatility": push("volatility", 0),
        "a volatility above its bounds": push(
            "volatility", underlying.volatility.answer(2 * underlying.volatility.maximum)
        ),
    }
    price = read_state(system).oracles[symbol].price
    if price is None:
        raise RuntimeError(f"the price of {symbol} fails a check before any fault is made")
    with house.chain.snapshot():
        house.deposit(hedger, CASH, 1_000_000)  # something to take out, whatever became of its own
        short_more = -wad(3 * 400_000 * WAD / price)
        attempts = {"new risk": (house.trade_call(hedger, perpetual(symbol), short_more, price), house.settler)}
        for asset in hedger.agent.funding:
            attempts[f"withdrawal of {asset}"] = (house.withdrawal_call(hedger, asset, 0.001), hedger.person.sender)
        for what, inject in faults.items():
            with house.chain.snapshot():
                inject()
                for attempt, (call, sender) in attempts.items():
                    error = observer.refusal(call, sender.address)
                    checks.require("ORACLE", error in ORACLE_ERRORS, f"{attempt} under {what} got {error or 'through'}")


# ─── ORDER


def _probe_order(house: House, observer: Observer, checks: Checks) -> None:
    """Margin of the same position an hour later, where a price is good for longer, and with half as much volatility
    again."""
    system = house.system
    now = read_state(system)
    for symbol in house.symbols:
        price = now.oracles[symbol].price or 0
        one = imagined(0, {system.perpetual(symbol): 10_000 * WAD * WAD // price})
        answer = system.chain.read(system.volatility_feeds[symbol].latestRoundData())[1]
        # a volatility below its floor would be no change at all, and one above the feed's bounds a fault
        limit = house.profile.underlying(symbol).volatility
        higher = min(answer * 3 // 2, limit.answer(limit.maximum))
        (before,) = observer.margins([one])
        with house.chain.snapshot():
            _later(house, min(3_600, house.profile.underlying(symbol).price.heartbeat // 2))
            (older,) = observer.margins([one])
        check_rising(checks, before, older, f"{symbol} with its price older")
        with house.chain.snapshot():
            house.chain.send(system.volatility_feeds[symbol].push(higher), house.reporter)
            (wilder,) = observer.margins([one])
        check_rising(checks, before, wilder, f"{symbol} with volatility half as high again")


# ─── LOSS


def _probe_losses(house: House, observer: Observer, checks: Checks, saver: Participant) -> None:
    """Move every price until known losses exceed the fund: nobody may withdraw ahead of them, nor from the fund, even
    with a redemption asked for in good time. Then liquidate: what the fund lacks is announced and, when due, shared."""
    system, chain = house.system, house.chain
    withdrawal = house.withdrawal_call(saver, CASH, 1.0)
    with chain.snapshot():
        _ask_for_redemption(house)
        for factor in CRASHES:
            with chain.snapshot():
                audit = Audit(system, observer, checks=checks)
                before = read_state(system)
                for symbol, oracle in before.oracles.items():
                    feed = house.profile.underlying(symbol).price
                    answer = feed.answer(factor * (oracle.price or 0) / WAD)
                    chain.send(system.price_feeds[symbol].push(answer), house.reporter)
                _flag_everybody(house, read_state(system), saver)
                after = read_state(system)
                fund = after.fund_assets * after.assets[0].scale
                error = observer.refusal(withdrawal, saver.person.sender.address)
                if after.reserved_shortfall > 0:
                    free = chain.read(system.insurance_fund.maxWithdraw(house.underwriter.address))
                    checks.require("LOSS", free == 0, f"{free} units may leave the fund ahead of a known loss")
                if after.reserved_shortfall > fund:
                    checks.require("LOSS", error == LOCKED, f"a withdrawal ahead of a loss beyond the fund got {error}")
                    _take_over(house, saver)
                    audit.examine()
                    _share(house, observer, checks, saver)
                    audit.examine()


def _ask_for_redemption(house: House) -> None:
    """Until it may be redeemed."""
    fund, sender = house.system.insurance_fund, house.underwriter
    house.chain.send(fund.requestRedemption(house.chain.read(fund.balanceOf(sender.address))), sender)
    _later(house, house.chain.read(fund.COOLDOWN()))
    _repeat(house)


def _take_over(house: House, saver: Participant) -> None:
    """Somebody with means bids for every insolvent account."""
    system, engine = house.system, house.system.liquidation_engine
    house.deposit(saver, CASH, RESCUE)
    _later(house, house.profile.auction.duration // 10)
    for account in read_state(system).accounts.values():
        if account.auction and account.margin and account.margin.equity < 0:
            bid = engine.bid(account.id, saver.account, WAD, ANY_PRICE, ANY_NONCE)
            house.chain.send(bid, saver.person.sender)


def _share(house: House, observer: Observer, checks: Checks, saver: Participant) -> None:
    """Not before it is due; by then every profit has become cash, and after it whoever may withdraws again."""
    system, chain, sender = house.system, house.chain, saver.person.sender
    withdrawal, share = house.withdrawal_call(saver, CASH, 1.0), system.clearing_house.shareLoss()
    before = read_state(system)
    if not before.pending_loss:
        return
    for what, call, expected in (("a withdrawal", withdrawal, LOCKED), ("a sharing", share, NOT_DUE)):
        error = observer.refusal(call, sender.address)
        checks.require("LOSS", error == expected, f"{what} before a loss was shared got {error}")
    _later(house, max(before.loss_due_at - chain.block().timestamp, 0))
    _repeat(house)
    for account in before.accounts:
        chain.send(system.clearing_house.settleVariation(account), sender)
    chain.send(share, sender)
    after = read_state(system)
    if after.fund_owed:
        chain.send(system.insurance_fund.payClaims(len(after.accounts)), sender)
    checks.require("LOSS", after.loss_index < before.loss_index, f"the index stayed at {after.loss_index}")
    if not after.pending_loss and not after.reserved_shortfall:
        error = observer.refusal(withdrawal, sender.address)
        checks.require("LOSS", error is None, f"a withdrawal after a loss was shared got {error}")


def _flag_everybody(house: House, state: State, keeper: Participant) -> None:
    for account in state.accounts.values():
        liquidatable = account.margin is not None and account.margin.is_liquidatable
        if liquidatable and (account.auction is None or account.auction.lapsed) and account.id != keeper.account:
            house.chain.send(house.system.liquidation_engine.flag(account.id, keeper.account), keeper.person.sender)


# ─── ROUND


def _probe_round_trips(house: House, checks: Checks, hedger: Participant, saver: Participant) -> None:
    """In, split, back and out again leaves nobody with a unit more than before."""
    with house.chain.snapshot():
        _circle_of_cash(house, checks, saver)
    with house.chain.snapshot():
        _circle_of_options(house, checks, saver)
    with house.chain.snapshot():
        _circle_of_collateral(house, checks, hedger)
    with house.chain.snapshot():
        _circle_of_shares(house, checks)


def _circle_of_cash(house: House, checks: Checks, saver: Participant) -> None:
    """Two new accounts of one owner: deposits, odd transfers, trades to and fro, variation, and everything out."""
    system, chain, sender = house.system, house.chain, saver.person.sender
    clearing = system.clearing_house
    pair, start = _open_pair(house, saver)
    for units in (1, ODD, 7 * ODD + 1):
        chain.send(clearing.transfer(pair[0].account, pair[1].account, 0, units), sender)
        chain.send(clearing.transfer(pair[1].account, pair[0].account, 0, units), sender)
    symbol = house.symbols[0]
    price = read_state(system).oracles[symbol].price or 0
    for size in (WAD // 3, 1, -WAD // 7, 1 - WAD // 3 + WAD // 7):
        house.trade(pair[0], perpetual(symbol), size, price + 1, maker=pair[1])
        for one in pair:
            chain.send(clearing.settleVariation(one.account), sender)
    left, _ = chain.read(clearing.positionOf(pair[0].account, system.perpetual(symbol)))
    if left:
        house.trade(pair[0], perpetual(symbol), -left, price, maker=pair[1])
    gained = _empty(house, saver, pair) - start
    checks.require("ROUND", gained <= 0, f"cash, transfers and trades in a circle earned {gained} token units")


def _circle_of_options(house: House, checks: Checks, saver: Participant) -> None:
    """The same two trade an option in odd pieces, hold what is left to its expiry, and are paid out one by one."""
    system, chain = house.system, house.chain
    now = chain.block().timestamp
    live = [one for one in house.listed.values() if one.expiry > now]
    if not live:
        return
    option = min(live, key=lambda one: (one.expiry, one.symbol))
    instrument = system.instrument(option.symbol)
    pair, start = _open_pair(house, saver)
    price, _ = mark_of(system, instrument.id)
    for size in (WAD // 3, 1, -WAD // 7):
        house.trade(pair[0], option.symbol, size, price + 1, maker=pair[1])
    chain.set_time(option.expiry + 1)
    _repeat(house)
    number = find_round(system, instrument.underlying, option.expiry)
    chain.send(system.registry.settle(instrument.underlying, option.expiry, number), saver.person.sender)
    for one in pair:
        chain.send(system.clearing_house.settleExpired(one.account), saver.person.sender)
    gained = _empty(house, saver, pair) - start
    checks.require("ROUND", gained <= 0, f"an option held to expiry on both sides earned {gained} token units")


def _open_pair(house: House, saver: Participant) -> tuple[list[Participant], int]:
    """Two new accounts of the saver's with cash in them; and what its pocket held before that went in, token units."""
    clearing, token, sender, chain = house.system.clearing_house, house.system.cash, saver.person.sender, house.chain
    first = chain.read(clearing.accountCount()) + 1
    pair = [Participant(saver.agent, saver.person, first + k) for k in range(2)]
    chain.send(token.mint(sender.address, 100_000 * ODD), sender)
    chain.send(token.approve(clearing.address, 100_000 * ODD), sender)
    start = chain.read(token.balanceOf(sender.address))
    for one in pair:
        chain.send(clearing.createAccount(), sender)
        chain.send(clearing.deposit(one.account, 0, 40_000 * ODD), sender)
    return pair, start


def _empty(house: House, saver: Participant, pair: list[Participant]) -> int:
    """Take everything out; what the saver's pocket holds then, token units."""
    clearing, sender = house.system.clearing_house, saver.person.sender
    for one in pair:
        units = max(0, house.chain.read(clearing.cashOf(one.account))) // 10**12
        if units:
            house.chain.send(clearing.withdraw(one.account, 0, units, sender.address), sender)
    return int(house.chain.read(house.system.cash.balanceOf(sender.address)))


def _circle_of_collateral(house: House, checks: Checks, hedger: Participant) -> None:
    system, chain, sender = house.system, house.chain, hedger.person.sender
    for name, token in system.assets.items():
        asset = system.asset(name).id
        chain.send(token.mint(sender.address, ODD), sender)
        chain.send(token.approve(system.clearing_house.address, ODD), sender)
        start = chain.read(token.balanceOf(sender.address))
        for units in (1, ODD // 3, ODD - ODD // 3 - 1):
            chain.send(system.clearing_house.deposit(hedger.account, asset, units), sender)
        for units in (ODD // 7, 1, ODD - ODD // 7 - 1):
            try:
                chain.send(system.clearing_house.withdraw(hedger.account, asset, units, sender.address), sender)
            except Reverted:  # in a margin call what came in stays in
                break
        gained = chain.read(token.balanceOf(sender.address)) - start
        checks.require("ROUND", gained <= 0, f"{name} in a circle earned {gained} token units")


def _circle_of_shares(house: House, checks: Checks) -> None:
    """Deposits into the insurance fund and, in time, redemptions, split differently."""
    chain, fund, token, sender = house.chain, house.system.insurance_fund, house.system.cash, house.underwriter
    held = chain.read(fund.balanceOf(sender.address))
    chain.send(token.mint(sender.address, 3 * ODD), sender)
    chain.send(token.approve(fund.address, 3 * ODD), sender)
    start = chain.read(token.balanceOf(sender.address))
    for units in (1, ODD, 2 * ODD - 1):
        chain.send(fund.deposit(units, sender.address), sender)
    shares = chain.read(fund.balanceOf(sender.address)) - held
    chain.send(fund.requestRedemption(shares // 3), sender)
    chain.send(fund.requestRedemption(shares - shares // 3), sender)
    _later(house, chain.read(fund.COOLDOWN()))
    if chain.read(fund.maxRedeem(sender.address)) != shares:  # a loss is known: nobody may leave
        return
    for part in (shares // 3, shares - shares // 3):
        chain.send(fund.redeem(part, sender.address, sender.address), sender)
    gained = chain.read(token.balanceOf(sender.address)) - start
    checks.require("ROUND", gained <= 0, f"the insurance fund in a circle earned {gained} token units")


def void(_: object) -> None:
    """Drop a result, where a function without one is wanted."""
