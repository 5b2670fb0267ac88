"""Is the margin formula enough, and not too much? Requirement against true expected shortfall, book by book.

    python -m simulation.adequacy [--books 3000] [--seed 7]

*Truth.* Over the horizon h of initial margin each price moves by a Student-t(4) return scaled to 60% a year (never
below −100%), the two underlyings' by a bivariate one of correlation 0.8. Implied volatility moves with them: at 30 days
it is multiplied by 1 + v·y where y ≥ 0 and divided by 1 + v·|y| where not; at tenor τ by (30 d / max(τ, 1 d))^p of v.

    y ∝ −0.2·x + 0.5·(|x| − E|x|) + √(1 − …)·e,     x standardised return, e Student-t(4) with the mixing variable of x

y is scaled so that v is the 99% expected shortfall of the rise: 15% over 8 h, growing with √h; p = ½. That is how
Deribit's DVOL moved against Bitcoin from 2021 to 2024 in steps of 8 h: 99% ES of the rise 14.9%, of the fall 0.72 of
that as a ratio (here 0.72), correlation −0.15 with the return (here −0.2) and 0.28 with its size (0.37), and a rise of
0.52 of its ES in the 1% worst falls of price (0.52). The surface is sticky by strike. Every option is revalued in full,
h older; what expires within h pays off at the price at its end. 2^16 scenarios from a scrambled Sobol sequence, whose
first coordinate stratifies the price. Expected shortfall is the mean of the worst 1%.

*Formulas*, all with r = the exact 99% ES of the price shock for range (so the tail is what calibration would fit), the
same surface, volatility shock and offset between underlyings:

- 27-node grid: 9 prices in ±r by 3 volatilities, no time passing, no extremes, as Deribit's;
- SPAN-16: prices at thirds of ±r, volatility up and down, h older; two extremes at ±2r counted at 35%;
- Greeks ES: Plimsoll's, alone;
- Plimsoll grid; Plimsoll (the larger of the two, no more than long options can lose); with the short option minimum.

Books whose true ES is under 5 bp of their options' notional are left out of ratios, and counted.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse, stats
from scipy.special import gammaincinv, ndtri

from plimsoll.margin import black76, mirror
from plimsoll.margin.mirror import PUT
from plimsoll.margin.surface import Surface, shock
from plimsoll.market.series import YEAR_SECONDS
from simulation.books import DAY, VOLATILITY, Books, Exchange, families, random_books

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

OUTPUT = Path(__file__).resolve().parent.parent / ".build" / "bench" / "adequacy.json"
BOOKS, SEED = 3_000, 7
LOG_SCENARIOS = 16

FREEDOM = 4
CORRELATION = 0.8
"""Between the underlyings' returns, and between their implied volatilities."""
RISE_8H, RISE_TENOR_EXPONENT = 0.15, 0.5
LEVERAGE, TURBULENCE = -0.2, 0.5
TAIL = 0.01
LEAST_SHORTFALL = 5e-4
"""Part of notional below which a book's ES is too small to divide by."""
_CHUNK = 250

GRID_27, SPAN, GREEKS, GRID, PLIMSOLL, WITH_MINIMUM = (
    "27-node grid",
    "SPAN-16",
    "Greeks ES",
    "Plimsoll grid",
    "Plimsoll",
    "with short minimum",
)


def tail_multiple() -> float:
    """99% ES of a Student-t(4) variable over its standard deviation: φ(q)/1% · (ν + q²)/(ν − 1), over √(ν/(ν − 2))."""
    q = stats.t.ppf(1 - TAIL, FREEDOM)
    shortfall = stats.t.pdf(q, FREEDOM) / TAIL * (FREEDOM + q * q) / (FREEDOM - 1)
    return float(shortfall / np.sqrt(FREEDOM / (FREEDOM - 2)))


@dataclass(frozen=True)
class Truth:
    """Scenarios of the joint move of prices and implied volatilities, (underlyings, scenarios) each."""

    exchange: Exchange
    returns: Floats
    volatility: Floats
    """y: 1 is the 99% ES of the rise."""
    rise: float
    """v."""
    tenor_exponent: float
    """p."""

    @classmethod
    def draw(
        cls,
        exchange: Exchange,
        seed: int,
        *,
        leverage: float = LEVERAGE,
        turbulence: float = TURBULENCE,
        correlation: float = CORRELATION,
        tenor_exponent: float = RISE_TENOR_EXPONENT,
        log_scenarios: int = LOG_SCENARIOS,
    ) -> Truth:
        """The joint moves of the module's docstring; the same seed draws the same numbers."""
        u = stats.qmc.Sobol(5, seed=seed).random_base2(log_scenarios)
        u = np.clip(u, 2.0**-40, 1 - 2.0**-40)
        first = stats.t.ppf(u[:, 0], FREEDOM)
        # The mixing variable of a multivariate t given its first coordinate: precision ~ Gamma((ν + 1)/2, (ν + x²)/2).
        precision = gammaincinv((FREEDOM + 1) / 2, u[:, 1]) * 2 / (FREEDOM + first * first)
        normal = ndtri(u[:, 2:]) / np.sqrt(precision)[:, None]
        away = np.sqrt(1 - correlation**2)
        unit = np.sqrt(FREEDOM / (FREEDOM - 2))
        standard = np.stack([first, correlation * first + away * normal[:, 0]]) / unit
        own = np.stack([normal[:, 1], correlation * normal[:, 1] + away * normal[:, 2]]) / unit
        size = np.abs(standard)
        size -= size.mean(axis=1, keepdims=True)
        rest = 1 - leverage**2 - turbulence**2 * size.var(axis=1, keepdims=True)
        y = leverage * standard + turbulence * size + np.sqrt(rest) * own
        y /= np.array([expected_shortfall(-each) for each in y])[:, None]
        returns = np.maximum(standard * VOLATILITY * np.sqrt(exchange.horizon), -1 + 1e-9)
        rise = RISE_8H * np.sqrt(exchange.horizon * 365 * 3)
        return cls(exchange, returns, y, float(rise), tenor_exponent)

    def of_prices_alone(self) -> Truth:
        """The same with implied volatility standing still."""
        return replace(self, volatility=np.zeros_like(self.volatility))

    @cached_property
    def gains(self) -> Floats:
        """(rows, scenarios) [dollars]: gain of one of each line's call, each expiry's forward, each underlying."""
        market, h = self.exchange.market, self.exchange.horizon
        lines, shape = market.lines, market.shape
        after = market.price[:, None] * (1 + self.returns)
        later = np.maximum(lines.tau - h, 0.0)
        u = lines.underlying
        carried = np.exp(shape.carry[u] * later)
        k = np.log(lines.strike / (market.price[u] * carried))
        # One level and one shape for both underlyings (Exchange.open).
        surface = Surface(
            *(each[0] for each in (shape.surface_rho, shape.surface_eta, shape.surface_gamma)),
            *(each[0] for each in (shape.term_ratio, shape.term_speed)),
        )
        deviation = np.sqrt(surface.total_variance(market.volatility_mark[u], later, k))
        rise = shock(self.rise, self.tenor_exponent, lines.tau)
        count = len(lines.tau)
        firsts, _ = expiries(market)
        gains = np.empty((count + len(firsts) + len(market.price), self.returns.shape[1]))
        for i in range(count):
            y = self.volatility[u[i]]
            moved = 1 + rise[i] * np.abs(y)
            s = deviation[i] * np.where(y > 0, moved, 1 / moved)
            gains[i] = black76.call(after[u[i]] * carried[i], lines.strike[i], s) - lines.value[i]
        for place, i in enumerate(firsts):
            gains[count + place] = after[u[i]] * carried[i] - lines.forward[i]
        gains[count + len(firsts) :] = market.price[:, None] * self.returns
        return gains

    def expected_shortfalls(self, books: Books) -> Floats:
        """(books,): 99% ES of each book's loss [dollars]."""
        exposures = books.sizes @ rows_of_instruments(self.exchange)
        starts = range(0, len(books), _CHUNK)
        return np.concatenate([expected_shortfall(exposures[n : n + _CHUNK] @ self.gains) for n in starts])


def expiries(market: mirror.Market) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(expiries,) a line of each expiry of each underlying, and (lines,) the place of each line's expiry in that."""
    both = np.stack([market.lines.underlying, market.lines.tau], axis=1)
    _, firsts, places = np.unique(both, axis=0, return_index=True, return_inverse=True)
    return firsts, places.reshape(-1)


def rows_of_instruments(exchange: Exchange) -> sparse.csr_array:
    """(instruments, rows of Truth.gains): a put is its line's call less its expiry's forward."""
    market = exchange.market
    at, held = market.lines.of_instrument, market.instruments
    count = len(market.lines.tau)
    firsts, places = expiries(market)
    calls = np.where(at >= 0, at, count + len(firsts) + held.underlying)
    number = np.arange(len(at))
    puts = held.kind == PUT
    return sparse.csr_array(
        (
            np.concatenate([np.ones(len(at)), -np.ones(puts.sum())]),
            (np.concatenate([number, number[puts]]), np.concatenate([calls, count + places[at[puts]]])),
        ),
        shape=(len(at), count + len(firsts) + len(market.price)),
    )


def expected_shortfall(gains: Floats) -> Floats:
    """Mean loss in the worst 1% of the last axis, the scenario on the boundary counted in part."""
    count = gains.shape[-1]
    whole = int(count * TAIL)
    part = count * TAIL - whole
    worst = np.partition(gains, whole, axis=-1)[..., : whole + 1]
    shortfall: Floats = -(worst.sum(axis=-1) - (1 - part) * worst.max(axis=-1)) / (count * TAIL)
    return shortfall


def requirements(exchange: Exchange, books: Books) -> dict[str, Floats]:
    """{formula: (books,) requirement for risk [dollars]}."""
    market, positions = exchange.market, books.positions
    bare = replace(market, common=replace(market.common, short_option_minimum=0.0))
    # No time passes and no extremes count; the age of the price keeps the range as it is.
    still = replace(
        bare,
        age=np.full_like(bare.age, bare.common.horizon_initial),
        common=replace(bare.common, horizon_initial=0.0, horizon_maintenance=0.0, extreme_weight=0.0),
    )
    full = mirror.margins(bare, positions, initial_only=True).initial
    return {
        GRID_27: mirror.margins(still, positions, initial_only=True).initial.grid,
        SPAN: span(bare, books),
        GREEKS: full.expected_shortfall,
        GRID: full.grid,
        PLIMSOLL: full.total,
        WITH_MINIMUM: mirror.margins(market, positions, initial_only=True).initial.total,
    }


def span(market: mirror.Market, books: Books) -> Floats:
    """SPAN's sixteen scenarios: price at 0, ±1/3, ±2/3, ±1 of the range with volatility up and down, and two extremes
    at twice the range, volatility as it is, counted at 35%. All are the horizon later (SPAN's look-ahead time)."""
    lines = market.lines
    thirds = np.repeat([0, 1, -1, 2, -2, 3, -3], 2) / 3
    steps = np.concatenate([thirds, [2, -2]])
    weights = np.concatenate([np.ones(14), [0.35, 0.35]])
    range_ = market.ranges[mirror.INITIAL]
    factors = np.maximum(1 + range_[:, None] * steps, mirror.LEAST_FACTOR)
    up, down = volatility_multiples(market)
    multiples = np.stack([up, down] * 7 + [np.ones_like(up)] * 2, axis=1)
    u = lines.underlying
    years = np.maximum(lines.tau - market.common.horizon_initial / YEAR_SECONDS, 0.0)
    deviation = (lines.deviation * np.sqrt(years / lines.tau))[:, None] * multiples
    moved = lines.forward[:, None] * factors[u]
    firsts, _ = expiries(market)
    price = market.price[:, None] * (factors - 1)
    gains = [
        black76.call(moved, lines.strike[:, None], deviation) - lines.value[:, None],
        (moved - lines.forward[:, None])[firsts],
        price,
    ]
    underlyings = len(market.price)
    owner = np.concatenate([u, u[firsts], np.arange(underlyings)])
    weighted = np.concatenate(gains) * weights
    exposures = books.sizes @ rows_of_instruments(Exchange(market, ()))
    losses = np.stack([-(exposures @ np.where(owner[:, None] == n, weighted, 0.0)) for n in range(underlyings)], axis=1)
    standalone = np.maximum(losses.max(axis=2), 0.0).sum(axis=1)
    joint = np.maximum(losses.sum(axis=1).max(axis=1), 0.0)
    return np.asarray((1 - market.common.offset) * standalone + market.common.offset * joint)


def volatility_multiples(market: mirror.Market) -> tuple[Floats, Floats]:
    """(lines,) multiples of volatility at the upper and the lower nodes."""
    u, shape = market.lines.underlying, market.shape
    rise = shock(shape.volatility_shock_initial[u], shape.volatility_shock_exponent[u], market.lines.tau)
    return 1 + rise, 1 / (1 + market.common.volatility_fall * rise)


@dataclass(frozen=True)
class Figures:
    """How one formula did on one set of books."""

    books: int
    left_out: int
    """ES too small to divide by."""
    coverage: float
    """Part of the books whose requirement is at least the true ES."""
    average: float
    """Mean of requirement over true ES."""
    median: float
    first_percentile: float
    least: float
    together: float
    """Σ requirement / Σ true ES."""

    @classmethod
    def of(cls, requirement: Floats, shortfall: Floats, gross: Floats) -> Figures:
        """Of the books whose ES is large enough."""
        counted = shortfall >= LEAST_SHORTFALL * gross
        if not counted.any():
            return cls(0, len(gross), *[float("nan")] * 6)
        ratio = requirement[counted] / shortfall[counted]
        return cls(
            books=int(counted.sum()),
            left_out=int((~counted).sum()),
            coverage=float(np.mean(ratio >= 1)),
            average=float(ratio.mean()),
            median=float(np.median(ratio)),
            first_percentile=float(np.quantile(ratio, 0.01)),
            least=float(ratio.min()),
            together=float(requirement[counted].sum() / shortfall[counted].sum()),
        )


@dataclass(frozen=True)
class Result:
    """Everything there is to show, by set of books, then by formula."""

    random: dict[str, dict[str, Figures]]
    """All, hedged, not hedged, on two assets; and all where prices alone move."""
    families: dict[str, dict[str, Figures]]
    other_truths: dict[str, dict[str, Figures]]
    box_requirement: float
    """The largest requirement of a box spread over its notional; its risk is nothing."""


def judge(exchange: Exchange, truth: Truth, books: Books) -> dict[str, Figures]:
    """{formula: figures} of all the books."""
    shortfall = truth.expected_shortfalls(books)
    return {name: Figures.of(value, shortfall, books.gross) for name, value in requirements(exchange, books).items()}


def judge_parts(exchange: Exchange, truth: Truth, books: Books) -> dict[str, dict[str, Figures]]:
    """{part of the books: {formula: figures}}."""
    required = requirements(exchange, books)
    true = truth.expected_shortfalls(books)
    parts = {
        "all": np.ones(len(books), dtype=np.bool_),
        "hedged": books.hedged,
        "not hedged": ~books.hedged,
        "two assets": books.mixed,
    }
    figures = {
        part: {name: Figures.of(value[of], true[of], books.gross[of]) for name, value in required.items()}
        for part, of in parts.items()
    }
    alone = truth.of_prices_alone().expected_shortfalls(books)
    figures["prices only"] = {name: Figures.of(value, alone, books.gross) for name, value in required.items()}
    return figures


def judge_other_truths(count: int, seed: int, **changes: float) -> dict[str, dict[str, Figures]]:
    """What if the world is not as in the module's docstring? {what differs: {formula: figures}} on random books."""
    tail = tail_multiple()
    exchange = Exchange.open(tail, **changes)
    of_a_day = np.sqrt(DAY / exchange.market.common.horizon_initial) * exchange.market.shape.volatility_shock_initial[0]
    longer = changes | {"horizon_initial": float(DAY), "volatility_shock_initial": float(of_a_day)}
    a_day = Exchange.open(tail, **longer)
    worlds: dict[str, tuple[Exchange, Callable[[], Truth]]] = {
        "horizon of a day": (a_day, lambda: Truth.draw(a_day, seed)),
        "volatility alone": (exchange, lambda: Truth.draw(exchange, seed, leverage=0.0, turbulence=0.0)),
        "wilder short end": (exchange, lambda: Truth.draw(exchange, seed, tenor_exponent=0.6)),
        "less correlation": (exchange, lambda: Truth.draw(exchange, seed, correlation=0.5)),
    }
    # A fresh truth each, so that one set of scenarios is held at a time.
    return {name: judge(market, draw(), random_books(market, count, seed)) for name, (market, draw) in worlds.items()}


def run(books: int = BOOKS, seed: int = SEED, *, special: int = 300, others: int = 600, **changes: float) -> Result:
    """The whole judgement.

    :param books: random ones. :param special: books of each special shape. :param others: random books for other truths
    :param changes: parameters to have otherwise than in the profile, by field name
    """
    exchange = Exchange.open(tail_multiple(), **changes)
    truth = Truth.draw(exchange, seed)
    shapes = families(exchange, special, seed)
    boxes = next(each for each in shapes if each.name == "box")
    return Result(
        random=judge_parts(exchange, truth, random_books(exchange, books, seed)),
        families={each.name: judge(exchange, truth, each) for each in shapes},
        other_truths=judge_other_truths(others, seed, **changes),
        box_requirement=float((requirements(exchange, boxes)[WITH_MINIMUM] / boxes.gross).max()),
    )


def show(result: Result, console: Console) -> None:
    """The tables, 80 columns wide."""

    def cell(figures: Figures) -> str:
        return f"{figures.coverage:.1%} {figures.average:.2f}" if figures.books else "no risk"

    def print_table(title: str, rows: dict[str, dict[str, Figures]], caption: str) -> None:
        table = Table(
            title=title, caption=caption, box=None, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left"
        )
        columns = list(next(iter(rows.values())))
        table.add_column("", no_wrap=True)
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True)
        for name, row in rows.items():
            table.add_row(name, *(cell(row[column]) for column in columns))
        console.print(table)
        console.print()

    everything = result.random["all"][PLIMSOLL]
    formulas = result.random["all"]
    by_formula = {formula: {part: row[formula] for part, row in result.random.items()} for formula in formulas}
    shown = (GRID_27, SPAN, GREEKS, GRID, PLIMSOLL)
    print_table(
        f"{everything.books:,} random option books, {everything.left_out} more with hardly any risk",
        by_formula,
        "books covered for their true 99% ES; average requirement / ES",
    )
    print_table(
        "Special shapes",
        {name: {formula: row[formula] for formula in shown} for name, row in result.families.items()},
        f"largest requirement of a box spread: {result.box_requirement:.0e} of its notional",
    )
    print_table(
        "Random books in other worlds",
        {name: {formula: row[formula] for formula in shown} for name, row in result.other_truths.items()},
        "volatility alone: it falls as far as it rises, whatever the price does\n"
        "wilder short end: p = 0.6; less correlation: 0.5 between the underlyings",
    )


def main() -> None:
    """Run, print and write .build/bench/adequacy.json."""
    parser = argparse.ArgumentParser(prog="python -m simulation.adequacy", description="Margin against true risk.")
    parser.add_argument("--books", type=int, default=BOOKS, help="random books (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of books and scenarios (default %(default)s)")
    arguments = parser.parse_args()
    started = time.perf_counter()
    result = run(arguments.books, arguments.seed)
    console = Console()
    show(result, console)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(asdict(result), indent=1) + "\n")
    console.print(f"{time.perf_counter() - started:.0f} s; written to {OUTPUT.relative_to(OUTPUT.parents[2])}")


if __name__ == "__main__":
    main()
