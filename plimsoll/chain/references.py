"""How governance bounds pushes beyond a single step, as a configuration says it and as ParameterSteward takes it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

KINDS = ("collateral", "perpetual", "call", "put")
"""Of a leg, in the order of contracts/interfaces/IParameterSteward.sol."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One line of a reference portfolio. size: part of its notional, negative for short; strike: part of the price."""

    kind: int
    """contracts/interfaces/IParameterSteward.sol: 0 collateral, 1 perpetual, 2 call, 3 put."""
    size: Decimal
    strike: Decimal = Decimal(0)
    tenor: int = 0

    def as_tuple(self) -> tuple[int, int, int, int]:
        """As the ABI wants it."""
        return self.kind, int(self.size.scaleb(6)), int(self.strike.scaleb(6)), self.tenor


@dataclass(frozen=True, slots=True)
class Reference:
    """A portfolio whose margin no push may move by more than its limits, fractions. One for every underlying."""

    name: str
    maximum_rise: Decimal
    maximum_fall: Decimal
    legs: tuple[Leg, ...]

    def as_tuple(self, underlying: int) -> tuple[bytes, int, int, int, list[tuple[int, int, int, int]]]:
        """As the ABI wants it."""
        return (
            self.name.encode().ljust(32, b"\0"),
            underlying,
            int(self.maximum_rise.scaleb(6)),
            int(self.maximum_fall.scaleb(6)),
            [leg.as_tuple() for leg in self.legs],
        )


@dataclass(frozen=True, slots=True)
class Governance:
    """How fast numbers may move beyond a single step; times in seconds, the rest fractions and multiples."""

    ramp: int
    loosening_delay: int
    age_grace: int
    age_rate: Decimal
    age_cap: Decimal
    budget_steps: Decimal
    window: int
    references: tuple[Reference, ...]

    def age(self) -> tuple[int, int, int]:
        """RiskParameters.setAgeSchedule's arguments."""
        return self.age_grace, int(self.age_rate.scaleb(6)), int(self.age_cap.scaleb(6))
