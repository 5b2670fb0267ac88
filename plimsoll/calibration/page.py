"""The page beside a calibration report, for who must decide whether to trust it: one file, no network, light and dark.

Top to bottom: the verdict; what changed since the last report; parameters; how forecasts and margin did on steps they
had not seen; the other fits with their errors; provenance; terms. Figures come from the report, whose hash is pushed;
paths over time from the calibration that made it.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from plimsoll.calibration import page_comparison, page_fits, page_shapes, page_validation
from plimsoll.calibration.backtest import LEVEL
from plimsoll.calibration.candidates import BENCHMARK
from plimsoll.calibration.configuration import CalibrationConfig
from plimsoll.calibration.filtered import FIRST_FORECAST
from plimsoll.calibration.page_changes import changes
from plimsoll.calibration.page_charts import CHART_STYLE
from plimsoll.calibration.page_text import GLOSSARY, hash_text, moment_of, paragraph, probability, significant
from plimsoll.calibration.report import SCHEMA
from plimsoll.drawing import STYLE, percent, show_tiles, table

if TYPE_CHECKING:
    from plimsoll.calibration.model import Calibration
    from plimsoll.calibration.report import Report


def render(calibration: Calibration, previous: Report | None = None) -> str:
    """The page as HTML text. previous: the report that this one replaces, to show what changed and why."""
    report, judged = calibration.report, calibration.backtest
    limits = CalibrationConfig.from_json(report.configuration).limits
    sections = [("What this is", _identity(report))]
    if previous is not None:
        sections.append(("What changed since the last report", changes(calibration, previous)))
    sections += [
        ("Parameters", page_fits.parameters(report)),
        ("Level of volatility", page_fits.levels(report, calibration.series, calibration.levels)),
    ]
    if judged is None:
        sections.append(("Backtest", paragraph(_NOT_JUDGED)))
    else:
        sections += [
            ("Coverage of the forecasts", page_validation.coverage(report)),
            ("Exceedances", page_validation.exceedances(judged)),
            ("Margin against loss", page_validation.margin_against_loss(judged, limits)),
        ]
    sections.append(("Procyclicality", page_validation.procyclicality(report, judged, limits)))
    if judged is not None:
        sections += [
            ("Models compared", page_comparison.models(report)),
            ("The margin rule beside the standard tools", page_comparison.frontier(report, judged)),
        ]
    sections += [
        ("Tails", page_fits.tails(report)),
        ("Correlation", page_shapes.correlation(report)),
        ("Volatility surface", page_shapes.surface(report)),
        ("Liquidity", page_fits.liquidity(report)),
        ("Regime", page_fits.regime(report)),
        ("Haircuts", page_fits.haircuts(report)),
        ("Insurance fund", page_fits.fund(report)),
        ("Provenance", page_fits.provenance(report)),
        ("Terms", _terms()),
    ]
    ids = [title.lower().replace(" ", "-") for title, _ in sections]
    return _PAGE.format(
        title=f"Calibration of {escape(report.market)}",
        subtitle=f"As of {moment_of(report.as_of)}: {escape(', '.join(report.assets))}.",
        style=STYLE + CHART_STYLE + _STYLE,
        verdict=_verdict(report),
        tiles=_tiles(report),
        contents="".join(f'<a href="#{at}">{title}</a>' for at, (title, _) in zip(ids, sections, strict=True)),
        sections="".join(
            f'<section id="{at}"><h2>{title}</h2>{body}</section>'
            for at, (title, body) in zip(ids, sections, strict=True)
        ),
    )


_NOT_JUDGED = (
    f"There is no backtest: a model forecasts from {FIRST_FORECAST} steps of the grid on, and at least one asset has "
    "no more than that. Parameters rest on the out-of-sample check of their tails alone (section Tails); give a longer "
    "history to have forecasts and margin judged."
)


# ─── The head


def _validation(report: Report) -> dict[str, Any] | None:
    return report.evidence["validation"]  # type: ignore[return-value]


def reasons(report: Report) -> list[str]:
    """Why a report does not pass, one plain sentence each; empty where it does or was not judged."""
    validation = _validation(report)
    if validation is None:
        return []
    out = []
    for row in validation["rows"]:
        for check in row["checks"]:
            if check["passed"] is False:
                value = check["value"]
                limit = (
                    f"at least {significant(check['least'])}"
                    if check["least"] is not None and value < check["least"]
                    else f"at most {significant(check['most'])}"
                )
                out.append(f"{row['asset']}: {check['name']} is {significant(value)}, and {limit} passes.")
    score = next(one for one in validation["models"] if one["model"] == validation["model"])
    if score["model"] != BENCHMARK and score["better_p_value"] > LEVEL:
        out.append(
            f"Over all assets {score['model']} is not significantly better than {BENCHMARK} "
            f"(p = {probability(score['better_p_value'])}, and at most {LEVEL:g} passes)."
        )
    if score["confidence_set_p_value"] < 0.10:
        out.append(
            f"{score['model']} is not among the best models "
            f"(p = {probability(score['confidence_set_p_value'])}, and at least 0.1 passes)."
        )
    return out


def _verdict(report: Report) -> str:
    validation = _validation(report)
    if validation is None:
        return f'<div class="verdict open"><p><strong>– Not judged.</strong> {escape(_NOT_JUDGED)}</p></div>'
    checks = [check for row in validation["rows"] for check in row["checks"] if check["passed"] is not None]
    assets = len(validation["rows"])
    many = f"{assets} asset{'s' if assets > 1 else ''}"
    if validation["passed"]:
        return (
            f'<div class="verdict yes"><p><strong class="good">✓ Passed.</strong> All {len(checks)} checks of {many} '
            f"hold out of sample, for forecasts of model {escape(validation['model'])} and for margin.</p></div>"
        )
    failed = sum(check["passed"] is False for check in checks)
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons(report))
    return (
        f'<div class="verdict no"><p><strong class="bad">✗ Did not pass.</strong> {len(checks) - failed} of '
        f"{len(checks)} checks of {many} hold out of sample. What does not:</p><ul>{items}</ul></div>"
    )


def _tiles(report: Report) -> str:
    validation = _validation(report)
    horizons: dict[str, int] = report.configuration["horizons"]  # type: ignore[assignment]
    tiles = [
        (
            "Coverage of the pushed tails",
            f"{100 * report.coverage:.2f}%",
            "lowest of all assets and horizons ("
            + ", ".join(f"{name} {seconds / 3_600:g} h" for name, seconds in horizons.items())
            + "), out of sample",
        )
    ]
    if validation is not None:
        score = next(one for one in validation["models"] if one["model"] == validation["model"])
        tiles.append(
            (
                f"Model {validation['model']}",
                f"FZ0 {score['loss']:.3f}".replace("-", "−"),
                f"better than {BENCHMARK} with p {probability(score['better_p_value'])}",
            )
        )
        solved = next((one for one in validation["frontier"] if one["tool"] == "solved"), None)
        if solved is not None:
            tiles.append(
                (
                    "Average margin",
                    f"{percent(solved['relative'])} of static",
                    "expanding static ES; at equal shortfall "
                    + ("not defined" if solved["equal"] is None else percent(solved["equal"])),
                )
            )
        if validation["solved"]:
            worst = max(validation["solved"], key=lambda one: one["peak_to_trough"])
            tiles.append(
                (
                    "Margin swings by at most",
                    f"{worst['peak_to_trough']:.2f}× in a year",
                    f"worst 1-day rise {percent(max(one['worst_1_day_rise'] for one in validation['solved']))}",
                )
            )
    return show_tiles(tiles)


def _identity(report: Report) -> str:
    rows = [
        ("Market", escape(report.market)),
        ("Assets", escape(", ".join(report.assets))),
        ("As of", moment_of(report.as_of)),
        ("Report hash (what is pushed)", hash_text(report.hash)),
        ("Data hash", hash_text(report.data_hash)),
        ("Code version", escape(report.code_version)),
        ("Model version, schema", f"{report.model_version}, {escape(SCHEMA)}"),
    ]
    return table(("", ""), rows, 2)


def _terms() -> str:
    return f"<dl>{''.join(f'<dt>{escape(term)}</dt><dd>{escape(line)}</dd>' for term, line in GLOSSARY)}</dl>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll: {title}</title><style>{style}</style></head><body><main>
<h1>{title}</h1><p class="subtitle">{subtitle}</p>
{verdict}
<section class="tiles">{tiles}</section>
<nav>{contents}</nav>
{sections}
</main></body></html>
"""

_STYLE = """
main{overflow-wrap:break-word}h3{font-size:14px;margin:16px 0 4px}section{scroll-margin-top:8px}
.verdict{border:1px solid var(--rule);border-left:5px solid var(--muted);border-radius:7px;padding:2px 14px;
margin:0 0 12px;background:var(--panel)}
.verdict.yes{border-left-color:var(--good)}.verdict.no{border-left-color:var(--red)}.verdict ul{margin:0 0 12px;
padding-left:20px}.verdict strong{font-size:16px}
nav{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:13px}nav a{color:var(--u0)}
.tile .figure{white-space:normal}.hash{overflow-wrap:anywhere;white-space:normal}
.rod{display:inline-block;height:9px;background:var(--u0);border-radius:2px}
.heat{width:auto}.heat td{padding:5px 8px}.heat th{padding:5px 8px 5px 0}
.warm{background:color-mix(in srgb,var(--u1) calc(var(--share)*45%),transparent)}
.cold{background:color-mix(in srgb,var(--u0) calc(var(--share)*45%),transparent)}
dl{display:grid;grid-template-columns:minmax(120px,220px) 1fr;gap:5px 14px;font-size:13px;margin:0}
dt{font-weight:600}dd{margin:0;color:var(--soft)}
@media (max-width:560px){main{padding:16px 12px 40px}.tiles{grid-template-columns:1fr 1fr}dl{display:block}
dd{margin:0 0 7px}}
"""
