"""Every number a calibration depends on besides its data. It is written whole into the report."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.calibration.rule import Limits
    from plimsoll.market.markets import Market

_HOUR = 3_600
_DAY = 86_400
_MOST_PATHS = 1_000_000  # a report from elsewhere could ask for any number


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """Times in seconds, fractions as decimals. Raises PlimsollError if a number cannot be used."""

    initial_horizon: int = 8 * _HOUR
    maintenance_horizon: int = 2 * _HOUR
    half_life: int = 10 * _DAY
    """Of the EWMA variance."""
    confidence: float = 0.99
    """Of the expected shortfall."""
    warm_up_weight: float = 0.75
    """EWMA weight below which a forecast is not used: 0.75 is two half-lives."""
    minimum_episodes: int = 10
    """Separate tail events a fit needs on the side that decides; overlapping returns count once."""
    stress_share: float = 0.10
    """The stress level is the mean of this worst share of the volatility history."""
    floor_quantile: float = 0.05
    """The floor is this quantile of the volatility history."""
    cap_multiple: float = 2.0
    """The cap is this many times the highest EWMA volatility of the history."""
    correlation_step: int = _DAY
    correlation_half_life: int = 30 * _DAY
    """Of the running correlation whose range widens the stress matrices."""
    correlation_quantile: float = 0.05
    """The running correlation's range goes from this quantile to one minus it."""
    correlation_errors: float = 2.326
    """Standard errors on either side of the central correlation (2.326: 99% one-sided)."""
    correlation_limit: float = 0.99
    """Widening never goes beyond ± this."""
    fit_fraction: float = 0.7
    """The out-of-sample check fits on this first part and counts exceedances on the rest."""
    grid: int = _DAY
    """Step of the walk-forward forecasts and of the margin rule's choice."""
    peak_to_trough: float = 1.7
    """Of margin, within any 365 days: the rule keeps to it, as to the next two."""
    rise_1_day: float = 0.12
    rise_5_days: float = 0.60
    shock_initial: float = 0.20
    """Rise of implied volatility over the initial horizon, for checking a surface, where no index measures it."""
    shock_maintenance: float = 0.12
    shock_exponent: float = 0.5
    """A shock to a tenor τ is (30 d / τ) to this power of the 30-day shock."""
    fund_rows: int = 250
    """Common steps the simulated day needs."""
    fund_paths: int = 20_000
    fund_replicates: int = 50
    """Histories drawn anew, for the sampling error of the simulated day."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value) or value <= 0:
                raise PlimsollError(f"calibration: {name} is {value}; it must be above zero")
        for name in (
            "confidence",
            "warm_up_weight",
            "stress_share",
            "floor_quantile",
            "correlation_quantile",
            "correlation_limit",
            "fit_fraction",
        ):
            if getattr(self, name) >= 1:
                raise PlimsollError(f"calibration: {name} is {getattr(self, name)}; it must be below 1")
        if self.maintenance_horizon > self.initial_horizon:
            raise PlimsollError(
                f"calibration: the maintenance horizon of {self.maintenance_horizon} s is longer than the initial one "
                f"of {self.initial_horizon} s; make the initial horizon at least as long"
            )
        if self.fund_paths > _MOST_PATHS:
            raise PlimsollError(f"calibration: fund_paths is {self.fund_paths}; it must be at most {_MOST_PATHS}")
        if self.cap_multiple < 1:
            raise PlimsollError(f"calibration: cap_multiple is {self.cap_multiple}; it must be at least 1")

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> CalibrationConfig:
        """What `to_json` gave, as a report that was read and checked holds it."""
        numbers: dict[str, Any] = {name: value for name, value in raw.items() if name not in ("horizons", "compare")}
        horizons: Any = raw["horizons"]
        return cls(**numbers, initial_horizon=horizons["initial"], maintenance_horizon=horizons["maintenance"])

    @classmethod
    def for_market(cls, market: Market) -> CalibrationConfig:
        """The configuration that suits a named market."""
        return cls(
            initial_horizon=market.initial_horizon,
            maintenance_horizon=market.maintenance_horizon,
            half_life=market.half_life,
        )

    @property
    def limits(self) -> Limits:
        """What the margin rule keeps to."""
        from plimsoll.calibration.rule import Limits

        return Limits(self.peak_to_trough, self.rise_1_day, self.rise_5_days, self.confidence)

    def volatility_shocks(self) -> tuple[float, float]:
        """(initial, maintenance), where no index measures them."""
        return self.shock_initial, self.shock_maintenance

    def horizons(self) -> dict[str, int]:
        """Seconds, by what they are for."""
        return {"initial": self.initial_horizon, "maintenance": self.maintenance_horizon}

    def to_json(self) -> dict[str, object]:
        """As the report shows it: horizons together, the rest by name."""
        numbers: dict[str, object] = dict(asdict(self))
        return {
            "horizons": {"initial": numbers.pop("initial_horizon"), "maintenance": numbers.pop("maintenance_horizon")},
            **numbers,
        }
