"""The design's invariants over random lives of a whole house on a real chain.

Hypothesis draws what everybody does next; after every step all invariants are checked on the chain's own state and
events (simulation.audit). Rules also check what a step promises of itself, and try what must not work. Every example
starts from one snapshot: a house that trades, a trader short of margin, and a fund that a crash can empty.

The draw is fixed, so that a run is the same everywhere. `PLIMSOLL_EXAMPLES=200` looks further and, where it finds
something, for the shortest way there.

What failed when the contracts were broken on purpose, one line at a time: the check of initial margin on trades
(`overreach`, GATE) or on withdrawals (`feed_fails`, ORACLE); `heldOf` left as it was by a withdrawal (the next deposit
in `go_round_in_circles`); variation settled the wrong way round (`settle_variation`, EQUITY); a wei left over by a
withdrawal (the audit, CASH); half a loss shared (the audit, LOSS); steps twice as long (`calibrator_pushes`, BOUNDS);
no check of a price's age (`feed_fails`, ORACLE); a payoff or a premium that is off by a wei (the audit, CASH); no check
of margin on the maker's side of a trade in options (the audit, GATE); an expiry settled by a round before the one in
force (`expire`, ORACLE).
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.invariants.governance import Governance
from tests.invariants.keepers import Keepers
from tests.invariants.market import Market
from tests.invariants.money import Money
from tests.invariants.stage import Stage, set_stage
from tests.invariants.trading import Trading
from tests.invariants.what_if import WhatIf

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = int(os.environ.get("PLIMSOLL_EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 20,
    stateful_step_count=30,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
)


class House(Money, Trading, Market, Keepers, Governance, WhatIf):
    """One life of the house, with all rules."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with set_stage(tmp_path_factory.mktemp("deployments")) as made:
        yield made


HAPPENED = {
    "Deposited", "Withdrawn", "Transferred", "Traded", "OrdersCancelled", "VariationSettled", "AccountFlagged",
    "BidSettled", "AuctionEnded", "ShortfallReserved", "LossCovered", "LossShared", "FeesSwept", "ParametersPushed",
    "solvent bid", "insolvent bid", "feed fault", "option trade", "ExpirySettled", "ExpiredSettled", "LossPending",
    "ClaimPaid", "InterestAccrued", "RedemptionRequested", "Withdraw", "pause", "protection",
    "healthy through a push",
}  # fmt: skip
"""What a run must have seen, or its draw was too tame to show anything."""


def test_house_keepsItsInvariants(stage: Stage) -> None:
    """Whatever everybody does. What was compared and what happened is counted, so that a tame run fails."""
    compared: Counter[str] = Counter()
    happened: Counter[str] = Counter()

    class Counted(House):
        def __init__(self) -> None:
            super().__init__(stage)

        def teardown(self) -> None:
            try:
                if self.sound:
                    self.settle_up()
            finally:
                compared.update(self.audit.checks.counts)
                happened.update(self.audit.seen)
                super().teardown()

    run_state_machine_as_test(Counted, settings=SETTINGS)
    print(f"compared: {dict(compared)}\nhappened: {dict(happened)}")
    assert all(compared.values()), compared
    assert set(happened) >= HAPPENED, f"it never happened: {HAPPENED - set(happened)}"
