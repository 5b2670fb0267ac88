"""The keeper game against what is known of it otherwise: theory, brute force, and the auction's own identities."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, stats

from simulation import incentives
from simulation.incentives import draw_costs
from simulation.incentives_page import limits, render, tables
from simulation.keeper_game import (
    BLOCK,
    WAD,
    Game,
    alone,
    cartel,
    flags,
    gain_of_flagging_later,
    known_costs,
    private_costs,
    settle,
)


@pytest.fixture(scope="module")
def game() -> Game:
    """Maintenance 10,000, equity 9,000, the crypto profile."""
    return Game.open()


# ─── The lattice


def test_survival_isThatOfTheReflectedWalk(game: Game) -> None:
    barrier = int(np.argmax(~game.alive)) - 2 * game.blocks
    for block in (1, 25, 100, 150):
        ups = np.arange(block + 1)
        ends = 2 * ups - block
        chance = stats.binom.pmf(ups, block, 0.5)
        expected = chance[ends < barrier].sum() - chance[ends > barrier].sum()
        assert game.expectations[2][block] == pytest.approx(expected, abs=1e-12)


def test_expect_isAdjointToStep(game: Game) -> None:
    rng = np.random.default_rng(1)
    mass, value = np.where(game.alive, rng.random((2, len(game.levels))), 0.0)
    assert game.step(mass) @ value == pytest.approx(mass @ game.expect(value), rel=1e-12)


def test_expect_movesEquityByTheDrift(game: Game) -> None:
    falling = replace(game, drift=-0.002)
    moved = falling.expect(falling.levels) - falling.levels
    assert moved[1 : game.blocks] == pytest.approx(-0.002 * 10_000)


# ─── Flagging


@pytest.mark.parametrize(("reward", "revert", "rent"), [(1.0, 3.0, 20.0), (5.0, 9.0, 1.0), (0.5, 2.0, 0.0)])
def test_flags_mixesSoThatTwoKeepersAreIndifferent(reward: float, revert: float, rent: float) -> None:
    lone, together = reward + rent, (reward - revert) / 2
    play = flags(2, reward, revert, np.array([rent, 0.0]), np.ones(2))
    assert play.probability[0] == pytest.approx(lone / (lone - together), abs=1e-5)


@pytest.mark.parametrize("n", range(2, 11))
def test_flags_atOnceIsDominantIfTheFeeExceedsGas(game: Game, n: int) -> None:
    _, _, alive, need = game.expectations
    play = flags(n, 1.0, 0.0, 20 * need, alive)
    assert play.margin > 0
    assert play.delay == 0
    assert np.all(play.probability == 1)


def test_flags_waitsIfTheFeeDoesNotPayForGas(game: Game) -> None:
    _, _, alive, need = game.expectations
    play = flags(5, -1.0, 0.0, 20 * need, alive)
    assert play.margin < 0
    assert play.delay > 1


def test_gainOfFlaggingLater_isNoneWithoutRivals(game: Game) -> None:
    for hourly in (-0.5, 0.0, 0.5):
        drifting = replace(game, drift=hourly * BLOCK / 3_600)
        assert gain_of_flagging_later(drifting, 0.08, 1.0) <= 1e-9
    assert gain_of_flagging_later(game, 0.08, -3.0) > 0.1  # unpaid gas is a reason to wait


# ─── Bidding


@pytest.mark.parametrize("n", [2, 5])
def test_privateCosts_areTheDescendingAuctionsOfTheory(n: int) -> None:
    types = (np.arange(100) + 0.5) / 100
    prices = np.linspace(0, 1, 151)
    found = private_costs(prices[:, None] - types, n)
    stop = found.stop / 150
    assert np.abs(stop - (types + (1 - types) / n)).max() < 0.04
    assert np.abs(stop - (types + (1 - types) / n)).mean() < 0.006
    # Revenue equivalence: the winner is paid the second-lowest cost on average.
    assert found.block / 150 == pytest.approx(2 / (n + 1), abs=0.004)
    assert found.regret < 0.02


def test_knownCosts_endOneBlockBeforeTheSecondBreaksEven() -> None:
    prices = np.arange(50.0)
    costs = np.array([[3.5, 20.5], [30.5, 10.5], [7.5, 40.5]])
    found = known_costs(prices[:, None, None] - costs)
    assert found.block.tolist() == [20, 30, 40]
    assert found.profit.tolist() == [[16.5, 0.0], [0.0, 19.5], [32.5, 0.0]]


@pytest.mark.parametrize("n", range(2, 11))
def test_knownCosts_leaveNobodyABetterBlock(game: Game, n: int) -> None:
    plans = game.plans(draw_costs(n)[:200])
    found = known_costs(plans)
    draws = np.arange(200)
    assert np.all(found.block >= 0)
    early = np.arange(len(plans))[:, None, None] < found.block[:, None]
    assert np.all(np.where(early, plans, -math.inf).max(axis=0) <= found.profit + 1e-9)
    losers = found.profit == 0
    assert np.all(plans[found.block, draws][losers] <= 0)
    second = np.argmax(game.plans(np.sort(draw_costs(n)[:200], axis=1)[:, 1]) > 0, axis=0)
    assert np.abs(found.block - second).max() <= 1


# ─── Without rivals


def test_alone_waitsForTheHighestDiscountIfNothingMoves(game: Game) -> None:
    still = replace(game, deviation=1e-9)
    stops, value = alone(still, 0.08, still.blocks + 1)
    centre = 2 * still.blocks
    assert [block for block in range(still.blocks + 1) if stops(block)[centre]] == [still.blocks]
    assert still.discount(still.blocks) == 0.5
    # f = (T − E)/(T − d·M) with T = M + ½(I − M), and f·M·(d(1 − s) − x) − gas
    target = 10_000 + 0.5 * (game.initial - 10_000)
    fraction = (target - 9_000) / (target - 5_000)
    assert value[centre] == pytest.approx(fraction * 10_000 * (0.45 - 0.08) - game.bid_cost)


def test_alone_isWorthWhatFollowingItEarnsAndNoLessThanAnyPlan(game: Game) -> None:
    stops, value = alone(game, 0.08, 2 * game.blocks)
    assert game.follow(stops, 0.08)["bidder"] == pytest.approx(value[2 * game.blocks], rel=1e-9)
    assert value[2 * game.blocks] >= game.plans(np.array([0.08])).max()


def test_cartel_ofAllIsUndoneByOneOutsider(game: Game) -> None:
    costs = draw_costs(5)[:300]
    one, four, five = (cartel(game, costs, k) for k in (1, 4, 5))
    assert one["keep"] == pytest.approx(one["compete"])
    assert five["discount"] == pytest.approx(0.5)
    assert four["discount"] < 0.25 * five["discount"]
    assert four["defect"] > four["keep"]
    assert five["defect"] > five["keep"]


# ─── Owner, flagger and bidder are one

TERMS = (WAD // 2, WAD // 10, 0)


@pytest.mark.parametrize("discount", [0, WAD // 7, WAD // 3])
@pytest.mark.parametrize("health", [99, 70, 35])
def test_settle_bringsTheAccountToItsTarget(discount: int, health: int) -> None:
    M, initial, cash, fee = 12_345 * WAD + 7, 21_000 * WAD + 1, -3_333 * WAD - 1, 20 * WAD
    equity = M * health // 100
    flows = settle(TERMS, cash, equity, M, initial, discount, fee, WAD)
    assert flows.account + flows.bidder + flows.keeper + flows.fund - flows.cover == 0
    target = M + (initial - M) // 2
    # the rest of the portfolio keeps its part of equity, and cash moves apart from it
    f = Fraction(flows.fraction, WAD)
    left = equity - f * (equity - cash) + flows.account
    assert abs(left - (1 - f) * target) < 1e5
    off = discount * M // WAD
    assert abs(equity - (left + f * off + fee)) < 1e5  # lost: the discount on the part, and the fee


# Worked out by the contract itself: AuctionMath with LiquidationEngine's _sell and _giveAway, compiled and run.
ON_CHAIN = [
    (
        (0, 443852115244299182, 0),
        (
            -179275993423974858992,
            561685892120969277431,
            719921990645976975476,
            1633286539972462056873,
            398109828881222625,
            160353974751872197627,
            1000000000000000000,
        ),
        (
            735240715115689483,
            173705485896483260551,
            -427590590865402879143,
            160353974751872197627,
            93531130217047420965,
            0,
        ),
    ),
    (
        (0, 432227405164190958, 500000000000000000000),
        (
            -14796619655049760285,
            674002854233889089,
            5559094176864561770,
            5621501690575439097,
            178678581191694566,
            134773097537227875994,
            213029039208124736,
        ),
        (213029039208124736, 3152109668643304491, -3084092008888791643, 1184248491364938634, 0, 1252266151119451482),
    ),
    (
        (500000000000000000, 161110615937291884, 0),
        (
            75952495649373078401094,
            -49810115044255629531802,
            54191770899292247873594,
            152729479716576347429738,
            0,
            5000000000000000000,
            284279121638486273,
        ),
        (
            284279121638486273,
            -21591708749454728801144,
            35751684502947669976054,
            5000000000000000000,
            0,
            14164975753492941174910,
        ),
    ),
    # a sale; a solvent and an insolvent account taken at the fund's expense, in part
]


@pytest.mark.parametrize(("terms", "case", "flows"), ON_CHAIN)
def test_settle_isTheContractsToTheWei(
    terms: tuple[int, int, int], case: tuple[int, int, int, int, int, int, int], flows: tuple[int, ...]
) -> None:
    assert settle(terms, *case) == flows


def test_settle_isWhatTheGamePays(game: Game) -> None:
    for health in (-0.3, 0.04, 0.3, 0.6, 0.95):
        for d in (0.0, 0.1, 0.35):
            part = game.offer(np.array([health * 10_000]), d)
            equity, off = round(health * 10_000) * WAD, round(d * 100) * WAD // 100
            initial = int(game.initial * 1e6) * WAD // 10**6
            flows = settle((WAD // 2, WAD // 10, 500 * WAD), 0, equity, 10_000 * WAD, initial, off, 0, WAD)
            assert flows.fraction / WAD == pytest.approx(part.fraction[0], rel=1e-6)
            assert (flows.fund - flows.cover) / WAD == pytest.approx(part.fund[0], rel=1e-6, abs=1e-6)
            gained = flows.fraction * equity // WAD + flows.bidder
            assert gained / WAD == pytest.approx(part.bidder[0], rel=1e-6, abs=1e-6)


def test_settle_inTwoBidsIsTheSameAsInOne() -> None:
    M, initial, equity, discount = 10_000 * WAD, 18_000 * WAD, 8_000 * WAD, WAD // 5
    whole = settle(TERMS, 0, equity, M, initial, discount, 0, WAD)
    first = settle(TERMS, 0, equity, M, initial, discount, 0, WAD // 10)
    rest = WAD - first.fraction
    equity -= first.fraction * (discount * M // WAD) // WAD
    second = settle(TERMS, 0, equity, M * rest // WAD, initial * rest // WAD, discount, 0, WAD)
    together = first.fraction + second.fraction * rest // WAD
    assert together == pytest.approx(whole.fraction, abs=10)


def test_sybil_gainsNothingOnASale(game: Game) -> None:
    found = incentives.sybil(game.terms)
    assert found["sells"] > 10_000
    assert found["most on a sale"] == 0.0
    assert found["least to the fund, part of f·d·M"] == pytest.approx(1.0, abs=1e-9)
    assert found["most from the fund, solvent"] > 0


def test_gapGain_isTheExpectedExcess(game: Game) -> None:
    wide = replace(game, deviation=0.05)
    scale = 10_000 * 0.05 * math.sqrt(25) / math.sqrt(2)
    expected, _ = integrate.quad(lambda x: (x - 9_000) * stats.t.pdf(x / scale, 4) / scale, 9_000, np.inf)
    gain, cost = incentives.gap_gain(wide, 300, 0.1)
    assert gain == pytest.approx(expected, rel=1e-6)
    assert cost == pytest.approx(0.1 * 0.1 * 10_000 * wide.offer(np.array([10_000.0]), 0.1).fraction[0])


# ─── Gas


def test_flagFee_staysWithinItsBounds(game: Game) -> None:
    def fee(base_fee: float) -> float:
        return incentives.flag_fee(replace(game, base_fee=base_fee))

    assert fee(0.001) == float(game.terms.minimum_fee)
    assert fee(20.0) == pytest.approx(1.5 * 230_000 * 20e-9 * 3_000)
    assert fee(1_000.0) == float(game.terms.maximum_fee)


def test_dust_isWhereTheHighestDiscountPaysForGas(game: Game) -> None:
    spike = replace(game, base_fee=1_000.0)
    fraction = spike.offer(np.array([9_000.0]), 0.5).fraction[0]
    expected = spike.bid_cost / (fraction * (0.45 - 0.08))
    assert incentives.dust(spike, 0.08) == pytest.approx(expected, rel=0.04)


def test_secondsToPay_growWithTheBaseFee(game: Game) -> None:
    times = [incentives.seconds_to_pay(replace(game, base_fee=fee), 0.08) for fee in (0.0, 20.0, 200.0, 1_000.0)]
    assert times == sorted(times)
    assert times[0] == 324  # d·(1 − s) = x at d = 0.0889, in the next block
    assert incentives.seconds_to_pay(replace(game.sized(1_000.0), base_fee=1_000.0), 0.08) == math.inf


# ─── All of it


@pytest.mark.slow
def test_run_saysWhatTheStudyClaims() -> None:
    result = incentives.run()
    paid = [row for row in result.flag if row["premium"] == 1.5]
    assert all(row["first block"] > 0.99 for row in paid)
    assert all(abs(row["discount"] - row["theory"]) < 0.004 for row in result.bid)
    assert all(row["early"] + row["same"] + row["late"] == pytest.approx(1) for row in result.bid)
    assert all(row["regret"] < 0.002 for row in result.private)
    assert all(row["apart"] < 0.005 for row in result.private)
    assert result.alone["alone"]["owner"] > 5 * result.alone["five compete"]["owner"]
    assert result.gap["gain"] < 0.01 * result.gap["cost"]
    page = render(result)
    assert not re.search(r"\bnan\b", page)
    assert all(len(row) == len(each.head) for each in tables(result) for row in each.rows)
    assert len(limits(result)) == 6
    assert json.loads(incentives.as_json(result))["gas"][-1]["seconds 1000"] is None
