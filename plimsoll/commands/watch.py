"""`plimsoll watch`: calibration, execution, pushes and coverage, unattended, until stopped."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.commands.calibrate import Duration, load_files
from plimsoll.commands.options import Place, with_place, with_sender
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.calibration import Report
    from plimsoll.chain.client import Sender
    from plimsoll.chain.system import System


@click.command()
@click.argument("files", nargs=-1, metavar="[[NAME=]FILE]...")
@with_place
@with_sender
@click.option("--market", help="A named market's history instead of files.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="PLIMSOLL_DATA",
    help="Folder with the named markets' price files.  [env: PLIMSOLL_DATA]",
)
@click.option(
    "--stamp",
    type=click.Choice(["open", "close"]),
    default="close",
    show_default=True,
    help="Which end of its bar a file's ts marks.",
)
@click.option("--half-life", type=Duration(), help="Half-life of the volatility EWMA (files: 10d).")
@click.option("--every", type=Duration(), default="8h", show_default=True, help="Time between calibrations.")
@click.option("--interval", type=Duration(), default="1m", show_default=True, help="Time between looks at the chain.")
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    default=Path(".build") / "calibration",
    show_default=True,
    help="Folder that every report is written to, named by its hash.",
)
@click.option("--once", is_flag=True, help="One cycle, then end: 1 where something was refused.")
def command(
    files: tuple[str, ...],
    place: Place,
    find_sender: Callable[[Place], Sender],
    market: str | None,
    data: Path | None,
    stamp: str,
    half_life: int | None,
    every: int,
    interval: int,
    reports: Path,
    once: bool,
) -> None:
    """Recalibrate on time, execute what has waited, push within limits, and keep the chain's backtest, until stopped.

    FILE is as `plimsoll calibrate` takes it, and is read anew for each calibration.
    """
    from plimsoll.governance.push import require_market
    from plimsoll.governance.watch import Cycle, Watch

    if bool(files) == bool(market):
        raise PlimsollError("give either price files or --market NAME")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    system = place.system()
    require_market(system, market or system.manifest.market)
    fit = _calibration(system, files, stamp, market, data, half_life)

    def calibrate(now: int) -> Report:
        report = fit(now)
        report.save(reports / f"{report.market}-{report.hash[2:18]}.json")  # what is pushed can be looked up
        return report

    watch = Watch(system, find_sender(place), calibrate, every)
    watch.require_permission()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: watch.stop())

    def say(cycle: Cycle) -> None:
        click.echo(str(cycle))

    click.echo(f"watching chain {system.chain.chain_id} as {watch.sender.address}")
    if not once:
        watch.run(interval, say)
        click.echo("stopped")
        return
    cycle = watch.step()
    say(cycle)
    if cycle.refused:
        raise PlimsollError(cycle.refused[0])


def _calibration(
    system: System, files: tuple[str, ...], stamp: str, market: str | None, data: Path | None, half_life: int | None
) -> Callable[[int], Report]:
    """What fits a report with the house's own horizons, to what was known at a unix second."""
    # numpy and the readers load here, so that other commands start at once
    from dataclasses import replace

    from plimsoll.calibration import CalibrationConfig, calibrate
    from plimsoll.chain.fields import Field
    from plimsoll.market import load_market

    def fit(now: int) -> Report:
        if market:
            loaded = load_market(market, data)
            name, assets, config = market, loaded.histories(), CalibrationConfig.for_market(loaded.market)
        else:
            name, assets, config = system.manifest.market, load_files(files, stamp), CalibrationConfig()
        horizons = [
            system.chain.read(system.risk_parameters.get(int(one), 0, 0))
            for one in (Field.HORIZON_INITIAL, Field.HORIZON_MAINTENANCE)
        ]
        config = replace(config, initial_horizon=horizons[0], maintenance_horizon=horizons[1])
        if half_life is not None:
            config = replace(config, half_life=half_life)
        return calibrate(name, assets, config, now)

    return fit
