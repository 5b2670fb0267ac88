"""The keeper game: one account below maintenance, keepers who flag it or wait, bid for it or wait.

An account below maintenance M is flagged; the flagger is promised a fee, paid at the first bid. From then on the
discount d rises linearly. A bid takes the fraction f that brings the account to its target: the bidder earns
f·d·M·(1 − fund share) less what unwinding costs it (x parts of M for the whole) less gas, the owner loses f·d·M.
Blocks are discrete and a block's transactions come in random order. Equity is a binomial walk at the volatility that
maintenance margin is made for, so an account may recover before anybody bids: then nobody earns anything, nor does the
flagger. Everything is exact on that lattice, or up to the regret reported.

- *Flag.* N keepers, each block: flag or wait. Backward induction; symmetric equilibrium, mixed where it must be.
- *Bid.* Known costs: backward induction, in each block the smallest set of keepers content to bid (the most patient
  equilibrium). Private costs, uniform: fictitious play between types and blocks, certified by its regret. The theory of
  the descending auction has them stop at x + (x̄ − x)/N (Krishna, Auction Theory, 2.3, as procurement).
- *Alone.* The monopolist's optimal stopping on the lattice, contingent on equity.
- *Cartel.* k of N bid as one, the cheapest of them for all, and share; any member may bid a block earlier.
- *A bid's settlement* in the contract's own integers, for whoever sits on several of its sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plimsoll.chain.fields import Field
from plimsoll.config import Auction, Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Row = dict[str, float]

WAD = 10**18
BLOCK = 12
"""Seconds."""
FLAG_GAS, BID_GAS = 230_000, 400_000
FLAG_PREMIUM = 1.5
"""LiquidationEngine pays this multiple of the gas of a flag at the base fee."""
BASE_FEE, TIP, NATIVE_PRICE = 20.0, 1.0, 3_000.0
"""Gwei, gwei, dollars."""


def gas_cost(gas: float, price: float) -> float:
    """Dollars for so much gas at a price in gwei."""
    return gas * price * 1e-9 * NATIVE_PRICE


# ─── The auction


class Offer(NamedTuple):
    """A bid that takes all it may, by equity: fraction, and dollars before the bidder's own costs."""

    fraction: Floats
    bidder: Floats
    owner: Floats
    """Lost by the account, of what it had."""
    fund: Floats
    """Gained by the insurance fund; negative: paid."""


@dataclass(frozen=True)
class Game:
    """One account in liquidation and the terms it is auctioned on. Money in dollars, rates by block."""

    terms: Auction
    maintenance: float
    initial: float
    equity: float
    deviation: float
    """Standard deviation of equity over a block, parts of M."""
    drift: float = 0.0
    """Of equity over a block, parts of M."""
    base_fee: float = BASE_FEE

    @classmethod
    def open(cls, maintenance: float = 10_000.0, health: float = 0.9, profile: str = "crypto") -> Game:
        """A directional account of equity health · M under a profile's starting parameters."""
        house = Config.load().profiles[profile]
        per = {**house.common, **house.underlyings[0].parameters}
        tail = [float(per[each]) for each in (Field.TAIL_INITIAL, Field.TAIL_MAINTENANCE)]
        horizon = [float(per[each]) for each in (Field.HORIZON_INITIAL, Field.HORIZON_MAINTENANCE)]
        ratio = tail[0] / tail[1] * math.sqrt(horizon[0] / horizon[1])
        deviation = math.sqrt(BLOCK / horizon[1]) / tail[1]
        return cls(house.auction, maintenance, ratio * maintenance, health * maintenance, deviation)

    def sized(self, maintenance: float) -> Game:
        """An account of the same shape and another size."""
        scale = maintenance / self.maintenance
        return replace(self, maintenance=maintenance, initial=self.initial * scale, equity=self.equity * scale)

    @property
    def blocks(self) -> int:
        """Blocks until the discount is at its highest."""
        return math.ceil(self.terms.duration / BLOCK)

    @property
    def bid_cost(self) -> float:
        """Gas of a bid, dollars."""
        return gas_cost(BID_GAS, self.base_fee + TIP)

    def discount(self, block: int) -> float:
        """d so many blocks after the flag."""
        return float(self.terms.maximum_discount) * min(block * BLOCK / self.terms.duration, 1.0)

    def offer(self, equity: Floats, discount: float) -> Offer:
        """LiquidationEngine's bid without the flag fee, for every equity."""
        M, share = self.maintenance, float(self.terms.fund_share)
        target = M + float(self.terms.target) * (self.initial - M)
        off = discount * M
        fraction = np.clip((target - equity) / (target - off), 0.0, 1.0)
        fraction = np.where(M * (1 - fraction) < float(self.terms.minimum_remainder), 1.0, fraction)
        sells = equity >= off
        fraction = np.where(sells, fraction, 1.0)
        return Offer(
            fraction,
            np.where(sells, fraction * off * (1 - share), off),
            np.where(sells, fraction * off, np.maximum(equity, 0.0)),
            np.where(sells, fraction * off * share, equity - off),
        )

    @cached_property
    def levels(self) -> Floats:
        """Equity on the lattice; twice the auction's blocks fit on either side of the start."""
        reach = 2 * self.blocks
        return self.equity + self.maintenance * self.deviation * np.arange(-reach, reach + 1)

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Levels at which the account may still be liquidated."""
        return self.levels < self.maintenance * (1 - 1e-12)

    @cached_property
    def up(self) -> float:
        """Probability that equity goes up a level."""
        return 0.5 + 0.5 * self.drift / self.deviation

    def expect(self, after: Floats) -> Floats:
        """(levels,) expected value one block later, nothing once the account has recovered; the lowest level holds."""
        down = np.concatenate([after[:1], after[:-1]])
        higher = np.concatenate([after[1:], [0.0]])
        return np.where(self.alive, self.up * higher + (1 - self.up) * down, 0.0)

    def step(self, mass: Floats) -> Floats:
        """(levels,) probability one block later, what recovered left out: the transpose of `expect`."""
        after = np.zeros_like(mass)
        after[1:] += self.up * mass[:-1]
        after[:-1] += (1 - self.up) * mass[1:]
        after[0] += (1 - self.up) * mass[0]
        return np.where(self.alive, after, 0.0)

    def follow(self, stops: Callable[[int], NDArray[np.bool_]], cost: float) -> Row:
        """Exact expectations when a bid comes at the first (block, level) where `stops(block)` holds."""
        mass = np.where(np.arange(len(self.levels)) == 2 * self.blocks, 1.0, 0.0)
        sums = dict.fromkeys(("bid", "seconds", "discount", "fraction", "bidder", "owner", "fund"), 0.0)
        for block in range(2 * self.blocks):
            here = np.where(stops(block) & self.alive, mass, 0.0)
            d = self.discount(block)
            part = self.offer(self.levels, d)
            net = part.bidder - part.fraction * cost * self.maintenance - self.bid_cost
            for name, value in (("bid", 1.0), ("seconds", block * BLOCK), ("discount", d), ("fraction", part.fraction),
                                ("bidder", net), ("owner", part.owner), ("fund", part.fund)):  # fmt: skip
                sums[name] += float(np.sum(here * value))
            mass = self.step(mass - here)
        for name in ("seconds", "discount", "fraction"):
            sums[name] /= max(sums["bid"], 1e-300)
        return sums

    @cached_property
    def expectations(self) -> tuple[Floats, Floats, Floats, Floats]:
        """(blocks + 1,) each, 0 if the account has recovered. Of a bid planned for a block: the bidder's dollars before
        its costs, fraction, probability; and the fraction of a bid at no discount, which rents are in proportion to."""
        mass = np.where(np.arange(len(self.levels)) == 2 * self.blocks, 1.0, 0.0)
        needed = self.offer(self.levels, 0.0).fraction
        rows = []
        for block in range(self.blocks + 1):
            part = self.offer(self.levels, self.discount(block))
            rows.append([mass @ part.bidder, mass @ part.fraction, mass.sum(), mass @ needed])
            mass = self.step(mass)
        bidder, fraction, alive, need = np.array(rows).T
        return bidder, fraction, alive, need

    def plans(self, costs: Floats) -> Floats:
        """(blocks + 1, *costs.shape): profit of a bid planned for each block by keepers of these unwinding costs."""
        bidder, fraction, alive, _ = self.expectations
        fixed = bidder - alive * self.bid_cost
        return np.asarray(fixed[(...,) + (None,) * costs.ndim] - np.multiply.outer(fraction, costs * self.maintenance))


# ─── Flag


class Flags(NamedTuple):
    """Symmetric equilibrium of the flagging game."""

    probability: Floats
    """(blocks,) that a keeper flags in a block that finds the account not yet flagged."""
    margin: float
    """Least gain of flagging over waiting in the first block, dollars, over all numbers of rivals who flag: above 0,
    flagging at once is dominant."""
    delay: float
    """Expected blocks until the flag."""


def flags(n: int, reward: float, revert: float, rent: Floats, alive: Floats) -> Flags:
    """Backward induction of the game in which each of n keepers flags or waits in each block.

    :param reward: the flagger's expected fee less its gas, dollars :param revert: what being second in the block costs
    :param rent: (blocks + 1,) what a keeper expects of the auction if flagged so many blocks from now, 0 if recovered
    :param alive: (blocks + 1,) probability that the account can still be flagged then
    """
    rivals = np.arange(n)
    ways = np.array([math.comb(n - 1, m) for m in rivals])
    probability = np.zeros(len(rent) - 1)
    later, gains = 0.0, np.zeros(n)
    for block in reversed(range(len(probability))):
        gains = alive[block] * (reward - rivals * revert) / (rivals + 1)
        gains[0] += rent[block] - later
        # the more rivals flag, the less is left for one more: the gain falls through zero at most once
        low, high = (1.0, 1.0) if gains[-1] >= 0 else (0.0, 1.0)
        while high - low > 1e-6:
            p = (low + high) / 2
            rises = gains @ (ways * p**rivals * (1 - p) ** (n - 1 - rivals)) > 0
            low, high = (p, high) if rises else (low, p)
        probability[block] = low
        nobody = (1 - low) ** n
        failures = n * low - (1 - nobody)
        earned = (1 - nobody) * (rent[block] + alive[block] * reward / n) - alive[block] * revert * failures / n
        later = earned + nobody * later
    return Flags(probability, float(gains.min()), float(np.sum(np.cumprod((1 - probability) ** n))))


# ─── Bid


class Auctions(NamedTuple):
    """What became of each draw of costs."""

    block: NDArray[np.int64]
    """(draws,) when bid; −1 never."""
    profit: Floats
    """(draws, keepers)."""


def known_costs(plans: Floats) -> Auctions:
    """Backward induction when all know all costs. plans: (blocks, draws, keepers), of `Game.plans`.

    In each block keepers join the smallest set that is an equilibrium: who would be alone bids if that beats what
    waiting is worth to it, who would be one of several if it earns anything.
    """
    blocks, draws, keepers = plans.shape
    value, when = np.zeros((draws, keepers)), np.full(draws, -1)
    for block in reversed(range(blocks)):
        profit = plans[block]
        bids = np.zeros((draws, keepers), dtype=np.bool_)
        for _ in range(keepers):
            others = bids.sum(axis=1, keepdims=True) - bids > 0
            before, bids = bids, (profit > 0) & (others | (profit > value))
            if np.array_equal(bids, before):
                break
        count = bids.sum(axis=1, keepdims=True)
        value = np.where(count > 0, np.where(bids, profit, 0.0) / np.maximum(count, 1), value)
        when = np.where(count[:, 0] > 0, block, when)
    return Auctions(when, value)


class Equilibrium(NamedTuple):
    """Of the auction with private costs, on a grid of types."""

    stop: Floats
    """(types,) mean block at which a type bids."""
    regret: float
    """Most that any type gains by another block, parts of the largest profit of any."""
    block: float
    """Mean block of the winning bid; the discount is linear in it."""
    waiting: Floats
    """(blocks,) profit of a keeper who always bids so many blocks after its best, part of its best; mean over types."""


def private_costs(plans: Floats, n: int, rounds: int = 1_000) -> Equilibrium:
    """Fictitious play of n keepers whose types are equally likely. plans: (blocks, types), falling in type.

    Every type answers the average of what all have done; the average is the strategy, and its regret certifies it.
    A tie within a block is drawn by lot: P(win at k) = (S₋ᴺ − Sᴺ)/(N(S₋ − S)), S the part of types that bid later.
    """
    blocks, types = plans.shape
    strategy = np.zeros((types, blocks))
    strategy[np.arange(types), np.argmax(plans > 0, axis=0)] = 1.0
    powers = np.arange(n)
    every = np.arange(types)
    payoff = plans.T
    for turn in range(rounds + 1):
        left = np.concatenate([[1.0], np.maximum(1 - np.cumsum(strategy.mean(axis=0)), 0.0)])
        before, after = left[:-1, None], left[1:, None]
        wins = np.mean(before**powers * after ** (n - 1 - powers), axis=1)
        payoff = plans.T * wins
        if turn < rounds:
            answer = np.zeros_like(strategy)
            answer[every, np.argmax(payoff, axis=1)] = 1.0
            strategy += (answer - strategy) * 2 / (turn + 3)
    regret = np.max(payoff.max(axis=1) - np.sum(strategy * payoff, axis=1)) / payoff.max()
    wins_at = left[:-1] ** n - left[1:] ** n
    numbers = np.arange(blocks)
    later = np.minimum(np.argmax(payoff, axis=1)[:, None] + numbers, blocks - 1)
    waiting = np.take_along_axis(payoff, later, axis=1).mean(axis=0)
    return Equilibrium(
        strategy @ numbers, float(regret), float(wins_at @ numbers / wins_at.sum()), waiting / waiting[0]
    )


# ─── Alone, and as a cartel


def alone(game: Game, cost: float, deadline: int) -> tuple[Callable[[int], NDArray[np.bool_]], Floats]:
    """Optimal stopping of a keeper without rivals who must bid within so many blocks of the flag: (block → levels at
    which it bids), and (levels,) what that is worth at the flag."""
    value = np.zeros(len(game.levels))
    stops = []
    for block in reversed(range(deadline)):
        part = game.offer(game.levels, game.discount(block))
        now = part.bidder - part.fraction * cost * game.maintenance - game.bid_cost
        later = game.expect(value)
        stops.append(game.alive & (now > np.maximum(later, 0.0)))
        value = np.where(game.alive, np.maximum(np.maximum(now, 0.0), later), 0.0)
    stops.reverse()
    return stops.__getitem__, value


def gain_of_flagging_later(game: Game, cost: float, reward: float) -> float:
    """Most that a keeper without rivals gains by flagging a block later, the deadline standing, at any level inside the
    lattice. :param reward: fee less gas"""
    values = [np.where(game.alive, alone(game, cost, 2 * game.blocks - wait)[1] + reward, 0.0) for wait in (0, 1)]
    gain = (game.expect(values[1]) - values[0])[1:-1]
    return float(np.max(gain[game.alive[1:-1]]))


def cartel(game: Game, costs: Floats, k: int) -> Row:
    """The first k keepers bid as one, the cheapest for all, and share equally; the rest compete. Costs known.

    Dollars a member, averaged over draws: `keep`, `compete` (no cartel), `defect` (once, in its best block before the
    cartel's). `patience`: the least weight of the next auction at which grim reversion keeps members loyal.
    """
    joint = known_costs(game.plans(np.column_stack([costs[:, :k].min(axis=1), costs[:, k:]])))
    keep, compete = joint.profit[:, 0] / k, known_costs(game.plans(costs)).profit[:, :k].mean()
    own = game.plans(costs[:, :k])
    earlier = np.arange(len(own))[:, None, None] < joint.block[:, None]
    best = np.max(np.where(earlier, own, 0.0), axis=0).T
    defect = np.maximum(best, keep).mean()
    row = {
        "k": k,
        "keep": keep.mean(),
        "compete": compete,
        "defect": defect,
        "discount": mean_discount(game, joint.block),
    }
    row["patience"] = (defect - row["keep"]) / (defect - compete) if row["keep"] > compete else math.inf
    return {name: float(value) for name, value in row.items()}


def mean_discount(game: Game, blocks: NDArray[np.int64]) -> float:
    """Over the auctions that ended in a bid."""
    return float(np.mean([game.discount(block) for block in blocks if block >= 0]))


# ─── To the wei


class Settlement(NamedTuple):
    """Cash flows of a bid [wad dollars], and the fraction [wad]."""

    fraction: int
    account: int
    bidder: int
    keeper: int
    fund: int
    cover: int


def settle(
    terms: tuple[int, int, int],
    cash: int,
    equity: int,
    maintenance: int,
    initial: int,
    discount: int,
    fee: int,
    most: int,
) -> Settlement:
    """LiquidationEngine's bid to the wei. terms: target, fund share, least remainder [wad]."""
    target_part, fund_share, least = terms
    off = discount * maintenance // WAD
    if equity < off:
        fraction = min(WAD, most)
        payout = (off - equity) * fraction // WAD
        paid = min(fee, (maintenance + max(0, -equity)) * fraction // WAD)
        moved = cash * fraction // WAD
        return Settlement(fraction, -moved, moved + payout, paid, 0, payout + paid)
    target = maintenance + target_part * (initial - maintenance) // WAD
    missing, gained = target - equity + fee, target - off
    fraction = WAD if missing >= gained else missing * WAD // gained
    if maintenance * (WAD - fraction) // WAD < least:
        fraction = WAD
    fraction = min(fraction, most)
    proceeds = -(-(equity - off) * fraction // WAD)
    paid = min(fee, proceeds)
    fund = off * fraction // WAD * fund_share // WAD
    moved = cash * fraction // WAD
    return Settlement(fraction, proceeds - paid - moved, moved - proceeds - fund, paid, fund, 0)
