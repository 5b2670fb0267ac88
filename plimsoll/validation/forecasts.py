"""What a model said and what then happened: the one thing every test of a model takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats, Integers

Side = Literal["long", "short"]
SIDES: tuple[Side, Side] = ("long", "short")


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """One model's forecasts for one asset over steps that don't overlap. Arrays of shape (n,), in order of time.

    ts: unix seconds when the forecast was made, from what was known by then. end: when its return was known.
    realised: simple return from ts to end. value_at_risk, expected_shortfall: per side, as positive fractions of the
    price at ts; "long" loses when the price falls, "short" when it rises. confidence: of both, in (0, 1).
    """

    asset: str
    model: str
    confidence: float
    ts: Integers
    end: Integers
    realised: Floats
    value_at_risk: dict[Side, Floats]
    expected_shortfall: dict[Side, Floats]

    def __post_init__(self) -> None:
        n = len(self.ts)
        if n == 0:
            raise PlimsollError(f"{self.asset}: {self.model} has no forecasts; give a longer history")
        columns = {"end": self.end, "realised": self.realised}
        for side in SIDES:
            columns |= {
                f"{side} value at risk": self.value_at_risk[side],
                f"{side} expected shortfall": self.expected_shortfall[side],
            }
        for name, values in columns.items():
            if len(values) != n or not np.all(np.isfinite(values)):
                raise PlimsollError(f"{self.asset}: {self.model}: {name} is not a finite number on every row")

    def __len__(self) -> int:
        return len(self.ts)

    def losses(self, side: Side) -> Floats:
        """Losses of one side, positive where it lost."""
        return -self.realised if side == "long" else self.realised

    def since(self, ts: int) -> Forecasts:
        """Those made at `ts` (unix seconds) or later: to compare models over the same steps."""
        rows = self.ts >= ts
        return replace(
            self,
            ts=self.ts[rows],
            end=self.end[rows],
            realised=self.realised[rows],
            value_at_risk={side: self.value_at_risk[side][rows] for side in SIDES},
            expected_shortfall={side: self.expected_shortfall[side][rows] for side in SIDES},
        )
