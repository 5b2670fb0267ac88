"""How a calibration's page writes numbers, dates and verdicts, and what its terms mean."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plimsoll.calibration.report import Report

SIDE_WORDS = {"long": "long (prices fall)", "short": "short (prices rise)"}

PARAMETERS = {
    "tail_initial": ("Tail multiplier z, initial", "σ"),
    "tail_maintenance": ("Tail multiplier z, maintenance", "σ"),
    "volatility_stress": ("Stress volatility", "%"),
    "volatility_floor": ("Volatility floor", "%"),
    "volatility_cap": ("Volatility cap", "%"),
    "average_daily_volume": ("Average daily volume", "$"),
    "half_spread": ("Half spread charged", "bp"),
    "impact": ("Impact Y", ""),
    "option_half_spread": ("Option half spread", "points"),
    "surface_rho": ("Smile ρ (skew)", ""),
    "surface_eta": ("Smile η (strength)", ""),
    "surface_gamma": ("Smile γ (flattening)", ""),
    "term_ratio": ("Term ratio ℓ", ""),
    "term_speed": ("Term speed κ", "a year"),
    "carry": ("Carry", "%"),
    "volatility_shock_initial": ("Volatility shock, initial", "%"),
    "volatility_shock_maintenance": ("Volatility shock, maintenance", "%"),
}
"""Name and unit of every field of AssetParameters, in the order they are shown."""


def assets_of(report: Report) -> dict[str, dict[str, Any]]:
    """Evidence by asset."""
    return report.evidence["assets"]  # type: ignore[return-value]


def parameter(name: str, value: float | None) -> str:
    """One parameter's value in the unit people quote it in."""
    if value is None:
        return "–"
    unit = PARAMETERS[name][1]
    if unit == "%":
        return f"{significant(100 * value)}%"
    if unit == "bp":
        return f"{significant(1e4 * value)} bp"
    if unit == "points":
        return f"{significant(100 * value)} points"
    if unit == "$":
        return money(value)
    return significant(value)


def significant(value: float, digits: int = 4) -> str:
    """A number to a few significant digits, never as a power of ten, with a true minus."""
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = f"{value:,.0f}" if abs(value) >= 1 else f"{value:.{digits + 8}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text.replace("-", "−")


def money(value: float) -> str:
    """Dollars to three digits: $1.23B, $45.2M, $310k, $7."""
    size, sign = abs(value), "−" if value < 0 else ""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9995 * unit:
            return f"{sign}${size / unit:.3g}{letter}" if size < 999.5 * unit else f"{sign}${size / unit:,.0f}{letter}"
    return f"{sign}${size:.0f}"


def probability(value: float) -> str:
    """A p-value: 0.43, 0.012, < 0.0001."""
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def change(value: float) -> str:
    """A relative change, signed: +3.1%."""
    text = f"{100 * value:+.1f}%"
    return "0.0%" if text in ("+0.0%", "-0.0%") else text.replace("-", "−")


def day(ts: int | float) -> str:
    """19 May 2021."""
    when = datetime.fromtimestamp(ts, UTC)
    return f"{when.day} {when:%b %Y}"


def moment_of(ts: int | float) -> str:
    """19 May 2021, 12:00 UTC."""
    return f"{day(ts)}, {datetime.fromtimestamp(ts, UTC):%H:%M} UTC"


def hours(seconds: float) -> str:
    """8 h, 1 d, 30 min."""
    if seconds >= 86_400:
        return f"{seconds / 86_400:g} d"
    return f"{seconds / 3_600:g} h" if seconds >= 3_600 else f"{seconds / 60:g} min"


def verdict(passed: bool | None, text: str = "") -> str:
    """HTML: a word and a sign, not only a colour. `text` (escaped here) is what is judged."""
    if passed is None:
        return escape(text) or "–"
    sign, css, word = ("✓", "good", "pass") if passed else ("✗", "bad", "fail")
    return f'<span class="{css}">{sign} {escape(text) or word}</span>'


def paragraph(text: str) -> str:
    """An explanation under a heading; text is escaped."""
    return f'<p class="note">{escape(text)}</p>'


def hash_text(value: Any) -> str:
    """A hash that may break over lines."""
    return f'<code class="hash">{escape(str(value))}</code>'


GLOSSARY = (
    (
        "Calibration",
        "Fitting every parameter of margin to data. The report is the record of it; the keccak256 of its bytes is what "
        "is pushed to the chain with the parameters.",
    ),
    (
        "Level",
        "The annualised volatility that is published for an asset: the margin rule applied to the model's forecasts. "
        "Margin over a horizon h is z · level · √(h/year).",
    ),
    (
        "Tail multiplier z",
        "The 99% expected shortfall of moves over a horizon, each divided by the level known when it began: how many "
        "times the level a bad move is. The worse of the two sides is pushed.",
    ),
    ("Long, short", "A long loses when prices fall, a short when they rise. Each side is tested by itself."),
    ("Value at risk (VaR)", "The loss that is exceeded on 1% of days at 99% confidence."),
    ("Expected shortfall (ES)", "The mean of the worst 1% of losses."),
    ("Standard error", "How far an estimate would vary had another history of the same kind been drawn."),
    ("Episode", "A run of tail moves that overlap in time: one event, however many returns it shows up in."),
    (
        "Exceedance",
        "A step on which the loss was larger than the forecast value at risk (or, where said, margin).",
    ),
    (
        "Out of sample, walk-forward",
        "Each forecast uses only what was known at its time; the model is fitted again as time goes on, never on data "
        "that came later.",
    ),
    ("Kupiec", "Test whether exceedances are as many as promised; the band holds the counts it accepts at 5%."),
    ("Christoffersen", "Test whether exceedances come singly, not in clusters; a low p says clusters."),
    ("Dynamic quantile", "Engle and Manganelli's test whether exceedances can be predicted from what was known."),
    (
        "Z2",
        "Acerbi and Székely's test of expected shortfall: number and size of exceedances together. Zero as promised, "
        "negative when losses are worse; it fails below its simulated 5% critical value. Z1 and Z3 are shown too.",
    ),
    ("FZ0", "Fissler and Ziegel's loss of VaR and ES forecasts together: lower is better."),
    ("Diebold–Mariano", "Test whether one model's loss is lower than another's by more than chance."),
    ("Model confidence set", "The models that can't be told from the best; p of 0.10 or more is in the 90% set."),
    ("Average margin / static", "Mean margin over that of an expanding 99% ES of the asset's own past returns."),
    (
        "At equal shortfall",
        "The same after both are scaled to leave the same loss uncovered: less margin by covering less is no gain.",
    ),
    ("Shortfall", "Mean over all steps of the loss beyond margin, a fraction of price."),
    ("Peak to trough", "Highest over lowest margin within 365 days: how far margin swings with the market."),
    ("Procyclicality", "Margin that rises when markets fall asks for cash when cash is scarce."),
    (
        "Extreme-value check",
        "The same ES from a Pareto fit to the worst losses; shape above 0 is a fat tail.",
    ),
    (
        "Smile (SSVI)",
        "Implied volatility by strike, as Gatheral and Jacquier write it; k is ln(strike/forward).",
    ),
    (
        "Arbitrage margin",
        "How far inside each no-arbitrage condition, where it is tightest; above 0 is in.",
    ),
    ("Impact Y", "Moving the price by Y · σ · √(size / daily volume): the square-root law."),
    ("Haircut", "What is taken off collateral's value: by volatility, and not below the worst fall of its class."),
    ("Cover-2", "What the fund needs when the two costliest participants default on the worst day of history."),
)
"""Term, and one line on it."""
