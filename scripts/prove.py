"""Proofs of the pure arithmetic of auctions, funding, interest, shares and shared losses: `python scripts/prove.py`.

Z3 proves each theorem for all values within its hypotheses, not for samples. A quotient of the contracts is modelled by
what defines it: `fullMulDiv(a, b, d)` is the q with q·d ≤ a·b < (q + 1)·d, and its "Up" the q with
(q − 1)·d < a·b ≤ q·d. That the functions of Solady and OpenZeppelin are these, and that nothing overflows, is not
proven here. On bytecode, with words of 256 bits, quotients are out of reach: Halmos 0.3.3 with Yices had decided none
of five properties of AuctionMath and InterestMath after a minute each.

What ties a theorem to the code: the lines that it is about must stand in the sources word for word, or this fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import z3
from rich.console import Console
from rich.table import Table

from plimsoll.chain.toolchain import ROOT

WAD = 10**18
VIRTUAL = 10**6
"""Virtual shares an asset: 10 to the insurance fund's decimals offset."""
TIMEOUT = 60_000
"""Milliseconds for a theorem."""

AUCTION = "contracts/libraries/AuctionMath.sol"
FUNDING = "contracts/libraries/FundingMath.sol"
SIGNED = "contracts/libraries/SignedWad.sol"
INTEREST = "contracts/libraries/InterestMath.sol"
HOUSE = "contracts/ClearingHouse.sol"
FUND = "contracts/InsuranceFund.sol"
VAULT = "node_modules/@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol"

Number = z3.ArithRef
Code = tuple[tuple[str, str], ...]
"""File and text, for each line that a theorem is about."""


@dataclass(frozen=True, slots=True)
class Theorem:
    """What it says, the code it is about, and the claim: it adds hypotheses to a solver and returns what follows."""

    says: str
    code: Code
    claim: Callable[[z3.Solver], z3.BoolRef]


def naturals(solver: z3.Solver, names: str) -> list[Number]:
    """Variables, each at least zero; not only whole ones, so that a theorem is a little stronger than need be."""
    variables = z3.Reals(names)
    solver.add([variable >= 0 for variable in variables])
    return list(variables)


def floor_of(solver: z3.Solver, name: str, product: Number, divisor: Number | int) -> Number:
    """⌊product / divisor⌋: all that is used of it but that it is whole."""
    quotient = z3.Real(name)
    solver.add(quotient >= 0, quotient * divisor <= product, product < quotient * divisor + divisor)
    return quotient


def ceiling_of(solver: z3.Solver, name: str, product: Number, divisor: Number | int) -> Number:
    """⌈product / divisor⌉, likewise."""
    quotient = z3.Real(name)
    solver.add(quotient >= 0, quotient * divisor >= product, quotient * divisor < product + divisor)
    return quotient


# ─── Auctions

DISCOUNT: Code = ((AUCTION, "return elapsed >= duration ? maximum : maximum * elapsed / duration;"),)
FRACTION: Code = (
    (AUCTION, "uint256 missing = target - equity + fee;"),
    (AUCTION, "uint256 gained = target - discount;"),
    (AUCTION, "return missing >= gained ? WAD : FixedPoint.fullMulDiv(missing, WAD, gained);"),
)
PRODUCT: Code = (
    (SIGNED, "? int256(FixedPoint.fullMulDiv(uint256(amount), factor, WAD))"),
    (SIGNED, ": -int256(FixedPoint.fullMulDivUp(uint256(-amount), factor, WAD));"),
)
TOWARDS_ZERO: Code = (
    (AUCTION, "int256 size = int256(FixedPoint.fullMulDiv(FixedPoint.abs(amount), fraction, WAD));"),
    (AUCTION, "return amount < 0 ? -size : size;"),
)
IN_CASH: Code = ((AUCTION, "return repaid + FixedPoint.fullMulDivUp(dollars - repaid, WAD, cashPrice);"),)


def discount_bounded(solver: z3.Solver) -> z3.BoolRef:
    elapsed, duration, maximum = naturals(solver, "elapsed duration maximum")
    solver.add(elapsed < duration)
    return floor_of(solver, "discount", maximum * elapsed, duration) <= maximum


def discount_rises(solver: z3.Solver) -> z3.BoolRef:
    # Whole numbers, or the two floors could be up to one apart either way.
    maximum, duration, elapsed, more, early, late = z3.Ints("maximum duration elapsed more early late")
    solver.add(maximum >= 0, duration > 0, elapsed >= 0, more >= 0)
    solver.add(early * duration <= maximum * elapsed)
    solver.add(maximum * elapsed + maximum * more < late * duration + duration, maximum * more >= 0)
    return early <= late


def fraction_at_most_one(solver: z3.Solver) -> z3.BoolRef:
    missing, gained = naturals(solver, "missing gained")
    solver.add(missing < gained)
    return floor_of(solver, "fraction", missing * WAD, gained) < WAD


def fraction_reaches_target(solver: z3.Solver) -> z3.BoolRef:
    equity, discount, fee, target = naturals(solver, "equity discount fee target")
    solver.add(equity < target, discount <= equity)
    missing, gained = target - equity + fee, target - discount
    solver.add(missing < gained)
    fraction = floor_of(solver, "fraction", missing * WAD, gained)
    return equity * WAD - fraction * discount - fee * WAD > (WAD - fraction) * target - gained


def product_never_above(solver: z3.Solver) -> z3.BoolRef:
    magnitude, factor = naturals(solver, "magnitude factor")
    gain = floor_of(solver, "gain", magnitude * factor, WAD)
    loss = ceiling_of(solver, "loss", magnitude * factor, WAD)
    return z3.And(gain * WAD <= magnitude * factor, -loss * WAD <= -magnitude * factor)


def products_create_nothing(solver: z3.Solver) -> z3.BoolRef:
    magnitude, factor = naturals(solver, "magnitude factor")
    gain = floor_of(solver, "gain", magnitude * factor, WAD)
    loss = ceiling_of(solver, "loss", magnitude * factor, WAD)
    return z3.And(gain <= loss, loss < gain + 2)


def part_at_most_whole(solver: z3.Solver) -> z3.BoolRef:
    magnitude, fraction = naturals(solver, "magnitude fraction")
    solver.add(fraction <= WAD)
    return floor_of(solver, "size", magnitude * fraction, WAD) <= magnitude


def cash_is_worth_the_price(solver: z3.Solver) -> z3.BoolRef:
    rest, price = naturals(solver, "rest price")
    solver.add(price > 0, price <= WAD)
    paid = ceiling_of(solver, "paid", rest * WAD, price)
    return z3.And(paid * price >= rest * WAD, paid >= rest)


# ─── Funding and interest

TRADE: Code = (
    (FUNDING, "uint256 moved = FixedPoint.fullMulDiv(gap, size, size + openInterest);"),
    (FUNDING, "fee = FixedPoint.fullMulDivUp(size * gap, TIME_CONSTANT, PERIOD * WAD);"),
    (FUNDING, "TIME_CONSTANT = 1 hours;"),
    (FUNDING, "PERIOD = 8 hours;"),
)
DECAY: Code = (
    (FUNDING, "int256 premium = int256(self.premium) * int256(kept) / int256(WAD);"),
    (FUNDING, "int256 gained = (self.premium - premium) * int256(TIME_CONSTANT) / int256(PERIOD);"),
)
PAID: Code = (
    (FUNDING, "return -SignedWad.mulDown(size, uint256(index));"),
    *PRODUCT,
)
RATE: Code = (
    (INTEREST, "uint256 utilisation = debts >= supply ? WAD : debts * WAD / supply;"),
    (INTEREST, "if (utilisation <= KINK) return BASE + (AT_KINK - BASE) * utilisation / KINK;"),
    (INTEREST, "return AT_KINK + (AT_FULL - AT_KINK) * (utilisation - KINK) / (WAD - KINK);"),
    (INTEREST, "BASE = 0.02e18;"),
    (INTEREST, "KINK = 0.8e18;"),
    (INTEREST, "AT_KINK = 0.1e18;"),
    (INTEREST, "AT_FULL = 1e18;"),
)


def premium_stays_between(solver: z3.Solver) -> z3.BoolRef:
    gap, size, interest = naturals(solver, "gap size interest")
    solver.add(size > 0)
    return floor_of(solver, "moved", gap * size, size + interest) <= gap


def moving_is_not_free(solver: z3.Solver) -> z3.BoolRef:
    gap, size, interest = naturals(solver, "gap size interest")
    solver.add(size > 0)
    moved = floor_of(solver, "moved", gap * size, size + interest)
    fee = ceiling_of(solver, "fee", size * gap, 8 * WAD)
    # All that the move can bring: open interest after the trade, times the move, times τ / T.
    return fee * 8 * WAD >= (size + interest) * moved


def premium_fades(solver: z3.Solver) -> z3.BoolRef:
    premium, kept = naturals(solver, "premium kept")
    solver.add(kept <= WAD)
    left = floor_of(solver, "left", premium * kept, WAD)
    gained = floor_of(solver, "gained", premium - left, 8)
    return z3.And(left <= premium, 8 * gained <= premium - left)


def funding_pays_out_no_more(solver: z3.Solver) -> z3.BoolRef:
    magnitude, rate = naturals(solver, "magnitude rate")
    paid = ceiling_of(solver, "paid", magnitude * rate, WAD)
    return paid >= floor_of(solver, "received", magnitude * rate, WAD)


def rate_bounded(solver: z3.Solver) -> z3.BoolRef:
    utilisation, excess = naturals(solver, "utilisation excess")
    base, kink, at_kink, at_full = WAD // 50, 4 * WAD // 5, WAD // 10, WAD
    solver.add(utilisation <= WAD, excess == z3.If(utilisation > kink, utilisation - kink, 0))
    low = floor_of(solver, "low", (at_kink - base) * utilisation, kink)
    high = floor_of(solver, "high", (at_full - at_kink) * excess, WAD - kink)
    rate = z3.If(utilisation <= kink, base + low, at_kink + high)
    return z3.And(rate >= base, rate <= at_full, z3.Implies(utilisation <= kink, rate <= at_kink))


# ─── Shares and losses

SHARES: Code = (
    (VAULT, "return assets.mulDiv(totalSupply() + 10 ** _decimalsOffset(), totalAssets() + 1, rounding);"),
    (VAULT, "return shares.mulDiv(totalAssets() + 1, totalSupply() + 10 ** _decimalsOffset(), rounding);"),
    (FUND, "function _decimalsOffset() internal pure override returns (uint8) {\n        return 6;"),
)
LOSS: Code = (
    (HOUSE, "FixedPoint.fullMulDiv(credits.index, credits.total - shared, credits.total)"),
    (HOUSE, "int256(FixedPoint.fullMulDiv(uint256(cash), current, index))"),
)


def round_trip_earns_nothing(solver: z3.Solver) -> z3.BoolRef:
    supply, held, assets = naturals(solver, "supply held assets")
    shares = floor_of(solver, "shares", assets * (supply + VIRTUAL), held + 1)
    return floor_of(solver, "returned", shares * (held + assets + 1), supply + shares + VIRTUAL) <= assets


def deposit_dilutes_nobody(solver: z3.Solver) -> z3.BoolRef:
    supply, held, assets = naturals(solver, "supply held assets")
    shares = floor_of(solver, "shares", assets * (supply + VIRTUAL), held + 1)
    return (held + assets + 1) * (supply + VIRTUAL) >= (held + 1) * (supply + shares + VIRTUAL)


def loss_is_carried_in_full(solver: z3.Solver) -> z3.BoolRef:
    cash, index, total, shared = naturals(solver, "cash index total shared")
    solver.add(index > 0, total > 0, shared <= total)
    lowered = floor_of(solver, "lowered", index * (total - shared), total)
    return floor_of(solver, "left", cash * lowered, index) * total <= cash * (total - shared)


THEOREMS = (
    Theorem("the discount is at most its maximum", DISCOUNT, discount_bounded),
    Theorem("the discount never falls with time", DISCOUNT, discount_rises),
    Theorem("the fraction is at most one", FRACTION, fraction_at_most_one),
    Theorem("the fraction brings equity to its target, within 1e-18 of it", FRACTION, fraction_reaches_target),
    Theorem("a product is never above amount · factor", PRODUCT, product_never_above),
    Theorem("product(x) + product(−x) is 0 or −1", PRODUCT, products_create_nothing),
    Theorem("a part is at most the whole", TOWARDS_ZERO, part_at_most_whole),
    Theorem("cash paid is worth the price", IN_CASH, cash_is_worth_the_price),
    Theorem("a trade moves the premium no further than to its own", TRADE, premium_stays_between),
    Theorem("the fee is at least all funding the move can bring", TRADE, moving_is_not_free),
    Theorem("the premium fades, an eighth of it at most into the index", DECAY, premium_fades),
    Theorem("one side pays at least what the other gets", PAID, funding_pays_out_no_more),
    Theorem("2% ≤ interest ≤ 100%, up to the kink ≤ 10%", RATE, rate_bounded),
    Theorem("deposit and redeem earn nothing", SHARES, round_trip_earns_nothing),
    Theorem("a deposit lowers nobody's assets a share", SHARES, deposit_dilutes_nobody),
    Theorem("accounts carry all of a shared loss", LOSS, loss_is_carried_in_full),
)


def prove(theorem: Theorem) -> str:
    """`proven`, or why not."""
    for file, text in theorem.code:
        if text not in (ROOT / file).read_text():
            return f"{file} has no more: {text}"
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT)
    claim = theorem.claim(solver)
    # Hypotheses that contradict each other would prove anything.
    if solver.check() != z3.sat:
        return "nothing is known to satisfy the hypotheses"
    solver.add(z3.Not(claim))
    result = solver.check()
    if result == z3.unsat:
        return "proven"
    return f"refuted: {solver.model()}" if result == z3.sat else "open"


def main() -> None:
    """Prove them all; exit status 1 where one is not proven."""
    table = Table("theorem", "result", "s", title="Proofs", title_justify="left")
    failed = 0
    for theorem in THEOREMS:
        start = time.monotonic()
        result = prove(theorem)
        failed += result != "proven"
        table.add_row(theorem.says, result, f"{time.monotonic() - start:.1f}")
    Console().print(table)
    if failed:
        sys.exit(f"error: {failed} of {len(THEOREMS)} theorems are not proven")


if __name__ == "__main__":
    main()
