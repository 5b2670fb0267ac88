"""Does it pay keepers to act at once, and not to wait or collude? The keeper game solved, with figures.

    python -m simulation.incentives

1. When is an account flagged, by number of keepers, fee and state of the account? 2. When, and at what discount, is it
bid for, beside theory? 3. What does a keeper without rivals gain, and what bounds it? 4. A cartel of k of five, and one
outsider. 5. Owner, flagger and bidder are one. 6. What still pays when the base fee multiplies and the flag fee's cap
binds. The game and how it is solved: `simulation/keeper_game.py`. Only the keepers' costs are sampled.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from plimsoll.config import Auction, wad
from simulation.incentives_page import limits, render, tables
from simulation.keeper_game import (
    BASE_FEE,
    BLOCK,
    FLAG_GAS,
    FLAG_PREMIUM,
    TIP,
    WAD,
    Game,
    alone,
    cartel,
    flags,
    gain_of_flagging_later,
    gas_cost,
    known_costs,
    mean_discount,
    private_costs,
    settle,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.keeper_game import Floats, Row

OUTPUT = Path(__file__).resolve().parent.parent / ".build" / "bench" / "incentives.json"
SEED, DRAWS, TYPES = 7, 1_000, 150
REVERT_GAS = 30_000
CHEAPEST, DEAREST = 0.01, 0.15
"""Unwinding the whole portfolio, parts of M: 4 to 60 bp of notional where maintenance is 4%."""

# ─── Owner, flagger and bidder are one


def sybil(terms: Auction) -> Row:
    """The owner flags through one account and bids through another, at every node of a grid. What the three gain
    together is what the fund pays less what it gets. Dollars, of an account with maintenance 10,000."""
    M = 10_000 * WAD
    duration, highest, target = terms.duration, wad(terms.maximum_discount), wad(terms.target)
    least = wad(terms.minimum_remainder)
    row = {"cases": 0.0, "sells": 0.0, "most on a sale": -math.inf, "least to the fund, part of f·d·M": math.inf}
    row["most from the fund, solvent"] = row["most from the fund, insolvent"] = 0.0
    grid = product(range(-50, 100, 3), range(0, duration + 1, duration // 12), (0, 10**17, WAD // 2), (0, 20, 3_000),
                   (-30_000, 0, 7_001), (WAD, WAD // 3 + 1), (13 * M // 10, 18 * M // 10))  # fmt: skip
    for health, elapsed, share, fee, cash, most, initial in grid:
        equity = health * M // 100
        discount = highest * elapsed // duration
        flows = settle((target, share, least), cash * WAD, equity, M, initial, discount, fee * WAD, most)
        gain = (flows.account + flows.bidder + flows.keeper) / WAD
        row["cases"] += 1
        if flows.cover == 0:
            row["sells"] += 1
            row["most on a sale"] = max(row["most on a sale"], gain)
            given = discount * M // WAD * flows.fraction // WAD
            if given and share:
                part = flows.fund / given * WAD / share
                row["least to the fund, part of f·d·M"] = min(row["least to the fund, part of f·d·M"], part)
        else:
            key = "most from the fund, solvent" if equity >= 0 else "most from the fund, insolvent"
            row[key] = max(row[key], gain)
    return row


def gap_gain(game: Game, seconds: float, discount: float) -> tuple[float, float]:
    """What a coalition gains by gaps, and what it certainly pays: dollars an attempt.

    It holds both sides of a trade and waits for one to be flagged at equity M. Until a rival bids, `seconds` later at
    `discount`, it may jump: the loss beyond (1 − d)·M is the fund's, E[(J − (1 − d)M)⁺] of a Student-t(4) move. Else it
    pays the fund's share itself.
    """
    freedom, M = 4, game.maintenance
    scale = M * game.deviation * math.sqrt(seconds / BLOCK) / math.sqrt(freedom / (freedom - 2))
    a = (1 - discount) * M / scale
    excess = (freedom + a * a) / (freedom - 1) * stats.t.pdf(a, freedom) - a * stats.t.sf(a, freedom)
    return float(scale * excess), float(game.offer(np.array([M]), discount).fund[0])


# ─── Gas


def flag_fee(game: Game, premium: float = FLAG_PREMIUM) -> float:
    """F: measured gas at the base fee and the native price, within the terms' bounds. Dollars.

    :param premium: what is paid for gas at the base fee, as a multiple of it; the contract's is FLAG_PREMIUM
    """
    fee = premium * gas_cost(FLAG_GAS, game.base_fee)
    return min(max(fee, float(game.terms.minimum_fee)), float(game.terms.maximum_fee))


def dust(game: Game, cost: float) -> float:
    """Maintenance margin [dollars, to 3%] from which a bid pays at some discount, for a keeper without rivals and every
    larger account of the same shape."""

    def pays(maintenance: float) -> bool:
        small = game.sized(maintenance)
        offers = [(d, small.offer(np.array([small.equity]), d)) for d in map(small.discount, range(0, 151, 5))]
        return any(part.bidder[0] >= part.fraction[0] * cost * maintenance + game.bid_cost for _, part in offers)

    return _from(pays)


def flag_size(game: Game, fee: float, n: int) -> float:
    """Maintenance margin [dollars, to 3%] from which the cheapest of n keepers, who knows that it will win the auction,
    gains by flagging: n = 1, the keeper without rivals. The fee comes out of the proceeds of the first bid."""
    gas = gas_cost(FLAG_GAS, game.base_fee + TIP)

    def pays(maintenance: float) -> bool:
        small = game.sized(maintenance)
        auctions = known_costs(small.plans(draw_costs(n)[:100]))
        when = auctions.block[auctions.block >= 0]
        _, fraction, alive, _ = small.expectations
        off = maintenance * np.array([small.discount(block) for block in range(small.blocks + 1)])
        paid = np.minimum(fee * alive, fraction * (small.equity - off))[when].sum() / len(auctions.block)
        return float(paid + auctions.profit.sum(axis=1).mean()) >= gas

    return _from(pays)


def _from(pays: Callable[[float], bool]) -> float:
    """The size from which it pays. Halved from above until it doesn't, because a small remainder is closed whole: an
    account just under that limit may pay where a larger one does not."""
    high = 2.0**17
    while pays(high / 2) and high > 1:
        high /= 2
    low = high / 2
    while high / low > 1.03:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if pays(middle) else (middle, high)
    return high


def seconds_to_pay(game: Game, cost: float) -> float:
    """From the flag until a bid pays for its gas and unwinding, equity as it is; infinite if never."""
    for block in range(game.blocks + 1):
        part = game.offer(np.array([game.equity]), game.discount(block))
        if part.bidder[0] >= part.fraction[0] * cost * game.maintenance + game.bid_cost:
            return float(block * BLOCK)
    return math.inf


# ─── All of it


@dataclass(frozen=True)
class Result:
    """Tables, row by row. Dollars, seconds, parts."""

    flag: list[Row]
    """By number of keepers, premium of the flag fee and cost of a transaction that comes second."""
    drift: list[Row]
    """The same for an account that is expected to fall."""
    health: list[Row]
    """The same by how far below maintenance it is."""
    bid: list[Row]
    private: list[Row]
    curves: dict[str, list[float]]
    """Discount at which each type bids, by number of keepers, and the theory's."""
    alone: dict[str, Row]
    cartels: list[Row]
    sybil: Row
    gap: Row
    gas: list[Row]


def draw_costs(n: int) -> Floats:
    """(draws, n) unwinding costs; the same keepers whatever n."""
    return np.random.default_rng(SEED).uniform(CHEAPEST, DEAREST, (DRAWS, 10))[:, :n]


def prospects(game: Game, n: int) -> tuple[float, float]:
    """Of an auction among n whose costs are drawn: the part of flags that end in a bid, before the account recovers,
    and each keeper's expected profit [dollars]."""
    auctions = known_costs(game.plans(draw_costs(n)))
    paid = np.where(auctions.block >= 0, game.expectations[2][auctions.block], 0.0)
    return float(np.mean(paid)), float(auctions.profit.mean())


def flagging(game: Game, n: int, premium: float, revert: float, outlook: tuple[float, float]) -> Row:
    """The flagging game before the auction that `outlook` (of `prospects`) describes."""
    paid, rent = outlook
    _, _, alive, need = game.expectations
    reward = paid * flag_fee(game, premium) - gas_cost(FLAG_GAS, game.base_fee + TIP)
    play = flags(n, reward, revert, rent * need / need[0], alive)
    first = 1 - (1 - float(play.probability[0])) ** n
    row = {"keepers": n, "premium": premium, "revert": revert, "reward": reward, "rent": rent, "paid": paid}
    return row | {"margin": play.margin, "first block": first, "delay": play.delay * BLOCK}


def bidding(game: Game, n: int) -> Row:
    """The auction among n whose costs are known, and the block in which the second cheapest would break even."""
    costs = draw_costs(n)
    auctions = known_costs(game.plans(costs))
    second = np.argmax(game.plans(np.sort(costs, axis=1)[:, 1]) > 0, axis=0)
    off = auctions.block - second
    expected = CHEAPEST + (DEAREST - CHEAPEST) * 2 / (n + 1)
    share = 1 - float(game.terms.fund_share)
    need = float(game.expectations[3][0])
    return {
        "keepers": n,
        "discount": mean_discount(game, auctions.block),
        "theory": (expected + game.bid_cost / (need * game.maintenance)) / share,
        "early": float(np.mean(off == -1)),
        "same": float(np.mean(off == 0)),
        "late": float(np.mean(off == 1)),
        "farthest": float(np.abs(off).max()),
        "seconds": float(auctions.block.mean() * BLOCK),
        "rent": float(auctions.profit.sum(axis=1).mean()),
    }


def run() -> Result:
    """Everything, with the crypto profile's parameters and an account of maintenance 10,000 at nine tenths of it."""
    game = Game.open()
    tie = gas_cost(REVERT_GAS, BASE_FEE + TIP)
    outlooks = {n: prospects(game, n) for n in (2, 5, 10)}
    falling = {hourly: replace(game, drift=-hourly * BLOCK / 3_600) for hourly in (0.1, 0.5, 1.0)}
    weak = {health: Game.open(health=health) for health in (0.99, 0.97, 0.95, 0.9, 0.8)}
    types = CHEAPEST + (DEAREST - CHEAPEST) * (np.arange(TYPES) + 0.5) / TYPES
    share = 1 - float(game.terms.fund_share)
    gas = game.bid_cost / (game.expectations[3][0] * game.maintenance)
    private, curves = [], {"cost": types.tolist()}
    for n in outlooks:
        found = private_costs(game.plans(types), n)
        theory = (types + (DEAREST - types) / n + gas) / share
        stop = found.stop * game.discount(1)
        curves |= {f"{n}": stop.tolist(), f"theory {n}": theory.tolist()}
        private.append(
            {"keepers": n, "regret": found.regret, "discount": found.block * game.discount(1)}
            | {"apart": float(np.abs(stop - theory).max()), "wait a minute": float(found.waiting[5])}
            | {"wait five": float(found.waiting[25])}
        )
    return Result(
        flag=[
            flagging(game, n, premium, revert, outlook)
            for n, outlook in outlooks.items()
            for premium in (1.0, 1.1, 1.25, 1.5)
            for revert in (0.0, tie)
        ],
        drift=[{"hourly": h} | flagging(each, 5, 1.25, 0.0, prospects(each, 5)) for h, each in falling.items()],
        health=[{"health": h} | flagging(each, 5, 1.25, 0.0, prospects(each, 5)) for h, each in weak.items()],
        bid=[bidding(game, n) for n in range(2, 11)],
        private=private,
        curves=curves,
        alone=monopolies(game),
        cartels=[cartel(game, draw_costs(5), k) for k in range(1, 6)],
        sybil=sybil(game.terms),
        gap=dict(zip(("gain", "cost"), gap_gain(game, 300, 0.1), strict=True)),
        gas=[gas_row(replace(game, base_fee=BASE_FEE * multiple)) for multiple in (1, 5, 10, 20, 50)],
    )


def monopolies(game: Game) -> dict[str, Row]:
    """A keeper of middling cost without rivals, on other terms and markets, beside five who compete."""
    cost = (CHEAPEST + DEAREST) / 2
    cheapest = CHEAPEST + (DEAREST - CHEAPEST) / 6
    block = round(bidding(game, 5)["seconds"] / BLOCK)
    games = {
        "alone": game,
        "alone, highest discount 25%": replace(game, terms=replace(game.terms, maximum_discount=Decimal("0.25"))),
        "alone, highest discount 10%": replace(game, terms=replace(game.terms, maximum_discount=Decimal("0.1"))),
        "alone, half for the fund": replace(game, terms=replace(game.terms, fund_share=Decimal("0.5"))),
        "alone, falling M/2 an hour": replace(game, drift=-0.5 * BLOCK / 3_600),
    }
    rows = {"five compete": game.follow(lambda now: np.full(len(game.levels), now >= block), cheapest)}
    for name, each in games.items():
        rows[name] = each.follow(alone(each, cost, 2 * each.blocks)[0], cost)
        rows[name]["flag later"] = gain_of_flagging_later(each, cost, 0.0)
    return rows


def gas_row(game: Game) -> Row:
    """What pays at a base fee."""
    cost = (CHEAPEST + DEAREST) / 2
    fee = flag_fee(game)
    row = {"base fee": game.base_fee, "flag gas": gas_cost(FLAG_GAS, game.base_fee + TIP), "flag fee": fee}
    row |= {"bid gas": game.bid_cost, "bid from": dust(game, cost)}
    row |= {"flag from, alone": flag_size(game, fee, 1), "flag from, five": flag_size(game, fee, 5)}
    return row | {f"seconds {size}": seconds_to_pay(game.sized(size), cost) for size in (1_000, 10_000, 100_000)}


def show(result: Result, console: Console) -> None:
    """The tables, and where the mechanism falls short."""
    for title, head, rows, caption in tables(result):
        shown = Table(title=title, caption=caption, box=None, title_justify="left", caption_justify="left")
        for k, name in enumerate(head):
            shown.add_column(name, justify="right" if k else "left")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
        console.print()
    console.print("Where it does not hold")
    for each in limits(result):
        console.print(f"- {each}", highlight=False)


def as_json(result: Result) -> str:
    """The figures; what never happens is null, since JSON has no infinity."""
    return json.dumps(asdict(result), indent=1).replace("Infinity", "null") + "\n"


def main() -> None:
    """Run, print, write .build/bench/incentives.json and a page beside it."""
    started = time.perf_counter()
    result = run()
    console = Console()
    show(result, console)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(as_json(result))
    OUTPUT.with_suffix(".html").write_text(render(result))
    console.print(
        f"{time.perf_counter() - started:.0f} s; written to {OUTPUT.relative_to(OUTPUT.parents[2])} and .html"
    )


if __name__ == "__main__":
    main()
