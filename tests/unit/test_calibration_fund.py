"""The insurance fund: sums by hand, quantiles in closed form, and correlation that survives the drawing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from plimsoll.calibration.fund import (
    cover,
    default_book,
    quantile_with_error,
    simulate_moves,
    simulated_day,
    uncovered_losses,
)
from plimsoll.errors import PlimsollError

POSITIONS = np.array([[1_000.0, 0.0], [-1_000.0, 500.0], [0.0, 2_000.0]])
MARGINS = np.array([100.0, 150.0, 200.0])
MOVES = np.array([[-0.3, -0.05], [0.4, 0.1], [-0.2, -0.3]])


def test_uncovered_losses_by_hand():
    # losses: fall of 30%: 300, −300 + 25, 100; rise of 40%: −400, 400 − 50, −200; fall of both: 200, −200 + 150, 600
    expected = [[200.0, 0.0, 0.0], [0.0, 200.0, 0.0], [100.0, 0.0, 400.0]]
    assert uncovered_losses(POSITIONS, MARGINS, MOVES) == pytest.approx(np.array(expected))


def test_cover_is_the_worst_pair_in_the_worst_scenario():
    assert cover(POSITIONS, MARGINS, MOVES).amount == pytest.approx(500.0)
    assert cover(POSITIONS, MARGINS, MOVES).scenario == 2
    assert cover(POSITIONS, MARGINS, MOVES).participants == (2, 0)
    assert cover(POSITIONS, MARGINS, MOVES, members=1).amount == pytest.approx(400.0)
    assert cover(POSITIONS, MARGINS, MOVES[:1]).participants == (0,)
    rng = np.random.default_rng(4)
    positions, margins, moves = rng.normal(0, 100, (9, 3)), rng.uniform(0, 20, 9), rng.normal(0, 0.2, (30, 3))
    best = max(
        sum(max(-float(positions[one] @ move) - margins[one], 0.0) for one in pair)
        for move in moves
        for pair in combinations(range(9), 2)
    )
    assert cover(positions, margins, moves).amount == pytest.approx(best)


def test_cover_adds_the_accounts_of_one_participant_without_netting():
    together = cover(POSITIONS, MARGINS, MOVES, members=1, participant=np.array([5, 1, 5]))
    assert (together.amount, together.participants) == (pytest.approx(500.0), (5,))


def test_quantile_with_error_has_the_spread_of_many_samples():
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((400, 20_000))
    estimates = np.array([quantile_with_error(sample, 0.99) for sample in samples])
    assert np.mean(estimates[:, 0]) == pytest.approx(stats.norm.ppf(0.99), abs=0.01)
    assert np.mean(estimates[:, 1]) == pytest.approx(np.std(estimates[:, 0]), rel=0.15)
    assert quantile_with_error(np.arange(1.0, 1_001.0), 0.999)[0] == 999.0


def test_simulated_day_of_one_normal_asset_is_closed_form():
    rng = np.random.default_rng(2)
    residuals = rng.standard_normal((200_000, 1))
    day = simulated_day(
        np.array([[1_000.0]]), np.array([50.0]), residuals, np.array([0.04]), seed=3, paths=400_000, replicates=0
    )
    assert day.amount == pytest.approx(1_000.0 * 0.04 * stats.norm.ppf(0.999) - 50.0, abs=5 * day.simulation_error)
    assert 0.0 < day.simulation_error < 1.5
    assert day.sampling_error is None
    d = 50.0 / 40.0
    assert day.mean == pytest.approx(40.0 * (stats.norm.pdf(d) - d * stats.norm.sf(d)), rel=0.02)


def test_simulate_moves_keeps_dates_together():
    rng = np.random.default_rng(5)
    common = rng.standard_t(4, 3_000)
    residuals = np.column_stack([common, 0.8 * common + 0.6 * rng.standard_t(4, 3_000)])
    moves = simulate_moves(residuals, np.array([0.03, 0.05]), 50_000, seed=6)
    assert np.corrcoef(moves.T)[0, 1] == pytest.approx(np.corrcoef(residuals.T)[0, 1], abs=0.01)
    drawn = {tuple(row) for row in np.round(residuals, 9)}
    assert all(tuple(row) in drawn for row in np.round(moves[:100] / np.array([0.03, 0.05]), 9) if row[0] > -20)


def test_simulate_moves_follow_variance_along_the_path():
    """Two steps with residuals of ±1: by hand, v₂ = λσ² + (1 − λ)σ² = σ² whichever was drawn; ±2 widens it."""
    ones = simulate_moves(np.array([[1.0], [-1.0]]), np.array([0.1]), 500, seed=1, steps=2)
    assert set(np.round(ones[:, 0], 9)) == {0.21, -0.01, -0.19}
    pair = simulate_moves(np.array([[2.0], [1.0]]), np.array([0.1]), 500, seed=1, steps=2, block=2, decay=0.5)
    after_two, after_one = np.sqrt(0.5 * 0.01 + 0.5 * 0.04), 0.1
    expected = {round(1.2 * (1 + after_two) - 1, 9), round(1.1 * (1 + 2 * after_one) - 1, 9)}
    assert set(np.round(pair[:, 0], 9)) == expected


def test_simulated_day_is_deterministic_and_its_seed_counts():
    rng = np.random.default_rng(8)
    residuals = rng.standard_t(4, (500, 2))
    arguments = (POSITIONS, MARGINS, residuals, np.array([0.05, 0.07]))
    first = simulated_day(*arguments, seed=1, paths=20_000, replicates=5)
    assert first == simulated_day(*arguments, seed=1, paths=20_000, replicates=5)
    assert first != simulated_day(*arguments, seed=2, paths=20_000, replicates=5)
    assert first.amount > 0.0


def test_simulated_day_sampling_error_is_that_of_new_histories():
    rng = np.random.default_rng(9)
    position, margin, sigma = np.array([[1_000.0]]), np.array([0.0]), np.array([0.04])

    def day(replicates: int, seed: int):
        residuals = rng.standard_normal((2_000, 1))
        return simulated_day(
            position, margin, residuals, sigma, seed=seed, paths=20_000, replicates=replicates, confidence=0.9
        )

    actual = float(np.std([day(0, seed).amount for seed in range(60)]))
    claimed = float(np.mean([day(20, seed).sampling_error for seed in range(4)]))
    assert claimed == pytest.approx(actual, rel=0.4)


def test_default_book_holds_the_open_interest_on_both_sides():
    interest, rates = np.array([8e6, 3e6]), np.array([0.1, 0.2])
    book = default_book(interest, rates, accounts=10)
    assert np.sum(np.maximum(book.positions, 0.0), axis=0) == pytest.approx(interest)
    assert np.sum(np.minimum(book.positions, 0.0), axis=0) == pytest.approx(-interest)
    required = np.abs(book.positions) @ rates
    multiples = book.margins[required > 0.0] / required[required > 0.0]
    assert set(np.round(multiples, 9)) == {1.0, 2.0, 4.0, 8.0}
    at_limit = np.isclose(book.margins, required)
    assert np.sum(np.abs(book.positions[at_limit])) == pytest.approx(0.4 * 2 * np.sum(interest))


def test_default_book_within_margin_needs_no_fund():
    book = default_book(np.array([8e6, 3e6]), np.array([0.1, 0.2]))
    assert cover(book.positions, book.margins, np.array([[-0.0999, -0.1999]])).amount == 0.0
    assert cover(book.positions, book.margins, np.array([[-0.2, -0.3]])).amount > 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uncovered_losses(POSITIONS, MARGINS[:2], MOVES), "margins one an account"),
        (lambda: uncovered_losses(POSITIONS, MARGINS, MOVES[:, :1]), "moves of 1 assets and positions in 2"),
        (lambda: uncovered_losses(POSITIONS, -MARGINS, MOVES), "a margin is negative"),
        (lambda: uncovered_losses(POSITIONS * np.nan, MARGINS, MOVES), "not a finite number"),
        (lambda: cover(POSITIONS, MARGINS, MOVES, participant=np.array([0, 1])), "number of its participant"),
        (lambda: simulate_moves(np.ones((3, 2)), np.array([0.1]), 5, 1), "one finite number for every date and asset"),
        (lambda: simulate_moves(np.ones((3, 1)), np.array([0.0]), 5, 1), "sigma above zero"),
        (lambda: simulate_moves(np.ones((3, 1)), np.array([0.1]), 5, 1, steps=5, block=2), "blocks must fill"),
        (lambda: default_book(np.array([1.0]), np.array([0.0])), "margin rates must be above zero"),
        (lambda: default_book(np.array([1.0]), np.array([0.1, 0.1])), "open interest needs a finite amount"),
    ],
)
def test_fund_says_what_is_wrong(call, message):
    with pytest.raises(PlimsollError, match=message):
        call()
