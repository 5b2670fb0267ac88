"""`plimsoll watch`: calibration, execution, pushes and coverage, unattended, until stopped."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.commands.inputs import Duration, Inputs, with_inputs, with_sources
from plimsoll.commands.options import Place, with_place, with_sender
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.calibration import Report
    from plimsoll.chain.client import Sender
    from plimsoll.chain.system import System


@click.command()
@with_inputs
@with_sources
@with_place
@with_sender
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
    inputs: Inputs,
    place: Place,
    find_sender: Callable[[Place], Sender],
    half_life: int | None,
    every: int,
    interval: int,
    reports: Path,
    once: bool,
) -> None:
    """Recalibrate on time, execute what has waited, push within limits, and keep the chain's backtest, until stopped.

    FILE and the options that name data are as `plimsoll calibrate` takes them; all of it is read anew for each
    calibration.
    """
    from plimsoll.governance.push import require_market
    from plimsoll.governance.watch import Cycle, Watch

    inputs.require_prices()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    system = place.system()
    require_market(system, inputs.market or system.manifest.market)
    fit = _calibration(system, inputs, half_life)

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


def _calibration(system: System, inputs: Inputs, half_life: int | None) -> Callable[[int], Report]:
    """What fits a report with the house's own horizons, to what was known at a unix second."""
    # numpy and the readers load here, so that other commands start at once
    from dataclasses import replace

    from plimsoll.calibration import CalibrationConfig, calibrate
    from plimsoll.chain.fields import Field

    def fit(now: int) -> Report:
        loaded = inputs.load()
        config = CalibrationConfig() if loaded.market is None else CalibrationConfig.for_market(loaded.market)
        horizons = [
            system.chain.read(system.risk_parameters.get(int(one), 0, 0))
            for one in (Field.HORIZON_INITIAL, Field.HORIZON_MAINTENANCE)
        ]
        config = replace(config, initial_horizon=horizons[0], maintenance_horizon=horizons[1])
        if half_life is not None:
            config = replace(config, half_life=half_life)
        name = inputs.market or system.manifest.market
        return calibrate(name, loaded.assets, config, now, loaded.sources)

    return fit
