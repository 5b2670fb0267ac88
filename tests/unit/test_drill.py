"""The drill's schedule of faults, its keepers' sums and its books, from data and states made by hand."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest

from plimsoll.chain.abi import Event
from plimsoll.chain.state import AccountState, AssetState, AuctionParameters, AuctionState, OracleState, State
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.keeper.decide import Bid, End, Flag, Poke, Policy, Reserve
from plimsoll.margin.onchain import NO_CAP, Margin, Requirement, UnderlyingMargin
from simulation.drill import Outcome, Report, choose, main, people, plan, rows, watched, worst_bar
from simulation.drill_page import render
from simulation.faults import (
    BID_GAS,
    GWEI,
    NATIVE_PRICE,
    NO_FAULTS,
    Colluder,
    CountingKeeper,
    Faults,
    Flagger,
    Span,
    flag_fee,
)
from simulation.keeper_game import FLAG_GAS
from simulation.watch import Balance, Case, Point, Watch

MARKET = "sp500-nasdaq"
KEEPER, TRADER, FRIEND = 1, 2, 3
OWNER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
NAMES = {KEEPER: "Keeper", TRADER: "Trader", FRIEND: "Friend"}
TERMS = AuctionParameters(1_800, WAD // 2, WAD // 2, WAD // 10, 0, 500 * WAD, 5 * WAD, WAD, 200 * WAD, WAD, 1_800)
DEAR = 1_000 * GWEI


def margin(equity: int, maintenance: int, exposure: int = 0) -> Margin:
    """Dollars; initial margin is half as much again."""

    def requirement(total: int) -> Requirement:
        return Requirement(0, 0, 0, 0, 0, total * WAD, 0, 0, 0, NO_CAP, total * WAD)

    part = UnderlyingMargin(**dict.fromkeys(UnderlyingMargin.__slots__, 0) | {"exposure": exposure * WAD})
    initial = requirement(maintenance * 3 // 2)
    return Margin(equity * WAD, 0, 0, 0, WAD, WAD, True, initial, requirement(maintenance), (part,))


def account(number: int, of: Margin | None, discount: float | None = None) -> AccountState:
    auction = None if discount is None else AuctionState(900, KEEPER, 20 * WAD, 0, int(discount * WAD))
    return AccountState(number, OWNER, 7, 0, 0, {}, {}, of, "" if of else "stale", auction)


def state(*accounts: AccountState, timestamp: int = 1_000, price: int | None = WAD, **changes: object) -> State:
    oracle = OracleState(
        1, price, 0, 5, WAD, WAD, 0, True, 0, 0, timestamp, WAD, 5, "", WAD, 0, 0, 0, 10**9 * WAD
    )  # fmt: skip
    cash = AssetState(0, "USD", OWNER, 6, 0, 10**15, 10**12, 10**12)
    made = State(
        1, timestamp, {a.id: a for a in accounts}, {0: cash}, {"BTC": oracle}, {}, 1, 0, 0, 10**27, 0, 10**27, 0, 0, 0,
        0, TERMS, 0, 0, 0, 0, {}, {},
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


RICH = account(KEEPER, margin(1_000_000, 0))


class Node(NamedTuple):
    """What a keeper that sends nothing needs of a chain."""

    base_fee: int | None


class Place(NamedTuple):
    """And of a system."""

    chain: Node


def keeper(kind: type[CountingKeeper], base_fee: int | None) -> CountingKeeper:
    return kind(Place(Node(base_fee)), None, Policy(KEEPER))  # type: ignore[arg-type]


# ─── Schedule


def test_span_includes_its_first_second_and_not_its_end() -> None:
    span = Span(10, 20)
    assert [ts in span for ts in (9, 10, 19, 20)] == [False, True, True, False]


def test_faults_say_what_works_at_a_moment() -> None:
    faults = Faults(outage=Span(10, 20), base_fee=7, spike=Span(15, 30), spike_factor=50, dead={"Keeper": 12})
    assert [faults.reports(ts) for ts in (9, 10, 20)] == [True, False, True]
    assert [faults.base_fee_at(ts) for ts in (14, 15, 30)] == [7, 350, 7]
    assert [faults.acts("Keeper", ts) for ts in (11, 12, 99)] == [True, False, False]
    assert faults.acts("Second keeper", 99)


def test_no_faults_change_nothing_and_cost_nothing() -> None:
    assert NO_FAULTS.reports(0)
    assert NO_FAULTS.base_fee_at(0) is None
    assert NO_FAULTS.acts("Keeper", 0)


def test_worst_bar_is_the_deepest_fall_of_all_prices_together() -> None:
    bars = [(0, {"A": 100.0, "B": 10.0}), (1, {"A": 50.0}), (2, {"A": 45.0, "B": 5.0}), (3, {"A": 44.0, "B": 5.0})]
    assert worst_bar(bars, 0) == 2
    assert worst_bar(bars, 3) == 3
    with pytest.raises(PlimsollError, match="late traders"):
        worst_bar(bars, 4)


def test_watched_adds_looks_without_prints_and_a_report_at_the_end() -> None:
    bars = [(0, {"A": 1.0, "B": 2.0}), (3_600, {"A": 3.0}), (7_200, {"A": 4.0})]
    found = watched(bars, Span(3_600, 5_400))
    assert [ts for ts, _ in found] == [0, 3_600, 3_900, 4_200, 4_500, 4_800, 5_100, 5_400, 7_200]
    assert [printed for _, printed in found[2:7]] == [{}] * 5
    assert dict(found)[5_400] == {"A": 3.0, "B": 2.0}
    assert dict(found)[3_600] == {"A": 3.0}
    on_time = watched([(0, {"A": 1.0}), (1_800, {"A": 2.0})], Span(0, 1_800))
    assert on_time[-1] == (1_800, {"A": 2.0})


def test_plan_of_the_bundled_market_holds_every_fault_around_its_worst_bar() -> None:
    found = plan(MARKET)
    assert found.worst == 1_517_856_600  # 5 February 2018, 18:50
    assert [drill.name for drill in found.drills] == [
        "reference", "outage", "gas", "dead keeper", "collusion", "all at once", "no keeper left",
    ]  # fmt: skip
    outage, everything = found.drills[1].faults, found.drills[-1].faults
    assert outage.outage == Span(found.worst, found.worst + 1_800)
    assert everything.spike == Span(found.worst - 7_200, found.worst + 14_400)
    assert everything.base_fee_at(found.worst) == 50 * (found.drills[0].faults.base_fee_at(found.worst) or 0) > 0
    assert not everything.acts("Keeper", found.worst)
    names = {agent.name for agent in people(found)}
    assert {"Keeper", everything.colluder, everything.flagger, *everything.friends} <= names
    assert len({"Keeper", everything.colluder, everything.flagger}) == 3
    assert found.bars[0][0] < found.scenario.late <= found.worst < found.bars[-1][0]
    assert plan(MARKET, held=3).scenario.late == 1_517_605_200  # the close of Friday the 2nd
    assert [drill.name for drill in choose(found, ["gas"])] == ["gas"]
    with pytest.raises(PlimsollError, match="no drill 'flood'"):
        choose(found, ["flood"])


@pytest.mark.parametrize("arguments", [["--market", "tulips"], ["--market", MARKET, "--drill", "flood"]])
def test_main_says_what_is_wrong_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert re.fullmatch(r"error: .+\n", capsys.readouterr().err)


# ─── Keepers


def test_counting_keeper_without_a_base_fee_is_the_keeper() -> None:
    one = keeper(CountingKeeper, None)
    assert one.wanted(state(RICH, account(TRADER, margin(90, 100)))) == [Flag(TRADER)]
    assert one.policy.minimum_reward == Policy(KEEPER).minimum_reward
    assert one.refrained == 0


@pytest.mark.parametrize(("maintenance", "flags"), [(1_000, False), (200_000, True)])
def test_counting_keeper_flags_what_pays_for_the_gas(maintenance: int, flags: bool) -> None:
    """At 1,000 gwei and 3,000 dollars a flag costs 690, the fee is the least, 5: the discount has to pay the rest."""
    one = keeper(CountingKeeper, DEAR)
    wanted = one.wanted(state(RICH, account(TRADER, margin(maintenance - 1, maintenance))))
    assert (Flag(TRADER) in wanted) is flags
    assert one.refrained == (not flags)


def test_counting_keeper_bids_once_the_discount_pays_for_the_gas() -> None:
    """A bid costs 1,800 dollars; of a discount d on 10,000 of maintenance nine tenths are the bidder's."""
    one = keeper(CountingKeeper, DEAR)
    cost = BID_GAS * DEAR * NATIVE_PRICE // WAD // WAD
    assert cost == 1_800

    def bids(discount: float) -> bool:
        wanted = one.wanted(state(RICH, account(TRADER, margin(-1, 10_000), discount)))
        return any(isinstance(action, Bid) for action in wanted)

    assert [bids(0.17), bids(0.19)] == [False, True]


def test_counting_keeper_leaves_care_for_the_house_while_gas_is_dear() -> None:
    due = {"timestamp": 10_000}
    late = replace(state(RICH), **due)  # type: ignore[arg-type]
    assert keeper(CountingKeeper, 20 * GWEI).wanted(late) == [Poke(1)]
    dear = keeper(CountingKeeper, DEAR)
    assert dear.wanted(late) == []
    assert dear.refrained == 1


def test_flag_fee_is_the_gas_within_its_bounds() -> None:
    priced = replace(TERMS, native_underlying=1)
    for gas_price, fee in ((0, 5 * WAD), (10**14, FLAG_GAS * 10**14 * 3 // 2), (10**18, 200 * WAD)):
        assert flag_fee(state(auction_parameters=priced), gas_price) == fee
        assert flag_fee(state(), gas_price) == 5 * WAD


def test_colluder_waits_for_the_highest_discount_of_its_friends_alone() -> None:
    one = keeper(Colluder, None)
    assert isinstance(one, Colluder)
    one.friends = frozenset({FRIEND})
    poor, ripe, unripe = margin(-1, 100_000), 0.5, 0.4
    assert one.wanted(state(RICH, account(FRIEND, poor), account(TRADER, poor))) == [Flag(TRADER)]
    assert one.wanted(state(RICH, account(FRIEND, poor, unripe))) == []
    lapsed = account(FRIEND, poor, 0.0)
    assert lapsed.auction is not None
    lapsed = replace(lapsed, auction=replace(lapsed.auction, lapsed=True))
    assert one.wanted(state(RICH, lapsed)) == []
    assert keeper(CountingKeeper, None).wanted(state(RICH, lapsed)) == [Flag(FRIEND)]
    wanted = one.wanted(state(RICH, account(FRIEND, poor, ripe), account(TRADER, poor, unripe)))
    assert {action.account for action in wanted if isinstance(action, Bid)} == {FRIEND, TRADER}
    healthy = one.wanted(state(RICH, account(FRIEND, margin(200, 100), unripe)))
    assert not any(isinstance(action, End | Reserve) for action in healthy)


def test_flagger_flags_everything_and_never_bids() -> None:
    poor = margin(-1, 100_000)
    wanted = keeper(Flagger, None).wanted(state(RICH, account(FRIEND, poor), account(TRADER, poor, 0.5)))
    assert Flag(FRIEND) in wanted
    assert not any(isinstance(action, Bid) for action in wanted)


# ─── Watching


class Taken(NamedTuple):
    """What the watch reads of a bid."""

    fraction: int
    fundFee: int  # noqa: N815 - the contract's name


def event(name: str, block: int, **arguments: object) -> Event:
    return Event(name, arguments, block, "")


@pytest.fixture
def watch() -> Watch:
    """Blocks are numbered by their time."""
    return Watch(NAMES, lambda block: block)


def test_watch_counts_delays_from_the_first_block_below_maintenance(watch: Watch) -> None:
    poor, fine = margin(90, 100, 4_000), margin(200, 100, 4_000)
    watch.see(state(account(TRADER, fine), timestamp=0))
    watch.see(state(account(TRADER, poor), timestamp=100))
    watch.see(state(account(TRADER, None), timestamp=160, price=None))  # nothing is known: it may still be below
    watch.see(state(account(TRADER, poor), timestamp=220))
    watch.see(state(account(TRADER, margin(200, 75, 3_000)), timestamp=400))  # before the events are told
    flagged = event("AccountFlagged", 280, account=TRADER, keeper=KEEPER, fee=20 * WAD)
    bid = event("BidSettled", 390, account=TRADER, bidder=KEEPER, bid=Taken(WAD // 4, 3 * WAD))
    watch.note([flagged, bid, event("AuctionEnded", 400, account=TRADER)])
    (case,) = watch.cases
    assert (case.liquidatable, case.flagged, case.ended, case.bids) == (100, 280, 400, 1)
    assert (case.to_flag, case.to_end) == (3.0, 5.0)
    assert (watch.flags, watch.ends, watch.fees_within, watch.open) == (1, 1, 1, {})
    assert (watch.taken, watch.peak[TRADER]) == (1_000 * WAD, 4_000 * WAD)
    assert watch.fees_in == 3 * WAD
    assert watch.unknown == 60


def test_watch_takes_an_auction_flagged_anew_for_one(watch: Watch) -> None:
    for ts in (0, 10_000):
        watch.see(state(account(TRADER, margin(90, 100)), timestamp=ts))
    flags = [event("AccountFlagged", block, account=TRADER, keeper=KEEPER, fee=20 * WAD) for block in (100, 9_000)]
    watch.note([*flags, event("AuctionEnded", 9_500, account=TRADER)])
    (case,) = watch.cases
    assert (case.flagged, case.ended) == (100, 9_500)
    assert (watch.flags, watch.anew, watch.ends, watch.fees_within, watch.open) == (2, 1, 1, 2, {})


def test_watch_forgets_a_danger_that_passed_unflagged(watch: Watch) -> None:
    for ts, equity in ((0, 90), (100, 200), (500, 90)):
        watch.see(state(account(TRADER, margin(equity, 100)), timestamp=ts))
    watch.note([event("AccountFlagged", 560, account=TRADER, keeper=KEEPER, fee=1_000 * WAD)])
    assert watch.cases[0].to_flag == 1.0
    assert watch.cases[0].to_end == math.inf
    assert watch.fees_within == 0  # above the most that may be paid


def test_watch_counts_the_time_withdrawals_are_locked(watch: Watch) -> None:
    watch.see(state(timestamp=0, pending_loss=1))
    watch.see(state(timestamp=60, reserved_shortfall=1, fund_assets=0))
    watch.see(state(timestamp=90, reserved_shortfall=10**12, fund_assets=1))
    watch.see(state(timestamp=500))
    assert watch.locked == 90


def test_balance_holds_only_if_all_is_accounted_for_and_nothing_is_left_open() -> None:
    assert Balance("claims", 5, 5).holds
    assert not Balance("claims", 5, 4).holds
    assert not Balance("claims", 5, 4, 1).holds
    assert Balance("fees", 5, 4, 1, may_stay=True).holds
    assert not Balance("fees", 5, 4, 2, may_stay=True).holds


# ─── Results


def outcome(name: str, flagged: int, *, holds: bool = True, open_: int = 0) -> Outcome:
    points = [
        Point(1_800 * k, {"BTC": None if k == 2 else 100.0 - k}, {"BTC": 100.0 - k}, 1e6, 2.0 * k, 0.0, 0.0, 20.0)
        for k in range(4)
    ]
    return Outcome(
        name, f"A <{name}>", Faults(outage=Span(3_600, 5_400), spike=Span(0, 5_400), dead={"Keeper": 1_800}), 10.0, 4.0,
        6.0, 0.0, 0.0, 0.0, 1e6, 4, 1, 0.25, 1, 1, 2.0, "Trader", 9.0, "Trader", 0.0, 5.0, 5.0, 20.0, {"Keeper": 100.0},
        {"Keeper": 3.0}, {"Keeper": 1}, 0.0, {"CASH": 7, "LOSS": 0 if not holds else 2}, "",
        [Balance("claims", 6, 6 - open_, open_)],
        [Case("Trader", flagged - 120, flagged, flagged + 420, 20.0, 1), Case("<Open>", 100, 100)],
    points)  # fmt: skip


@pytest.fixture
def report() -> Report:
    return Report("test", "A <test> market", 3_600, 2_250, [outcome("reference", 2_000), outcome("outage", 3_800)])


def test_report_says_how_much_later_than_in_the_reference(report: Report) -> None:
    assert report.later(report.outcomes[1]) == 30.0
    assert report.later(report.outcomes[0]) == 0.0
    assert Report("test", "", 0, 0, report.outcomes[1:]).later(report.outcomes[1]) is None


def test_report_holds_only_if_every_drill_does(report: Report) -> None:
    assert report.holds
    assert not replace(report, outcomes=[*report.outcomes, outcome("gas", 1, holds=False)]).holds
    assert not replace(report, outcomes=[*report.outcomes, outcome("gas", 1, open_=1)]).holds


def test_result_is_plain_json_without_infinity(report: Report) -> None:
    text = json.dumps(report.result(), allow_nan=False)
    found = json.loads(text)["drills"]["outage"]
    assert found["bad_debt"] == 10
    assert found["faults"]["outage"] == {"first": 3_600, "end": 5_400}
    assert found["cases"][1]["ended"] is None
    assert found["later_than_reference"] == 30
    assert found["nothing_lost"]


def test_page_is_one_file_without_network(report: Report, require_balanced: Callable[[str], None]) -> None:
    page = render(report, rows(report))
    assert not re.search(r"https?://|src=|href=|@import|url\(", page)
    require_balanced(page)
    assert "A <test>" not in page
    assert "<Open>" not in page
    assert page.count('class="outage"') == 3 * len(report.outcomes)
    assert page.count('class="dead"') == page.count('class="spike"') == 3 * len(report.outcomes)
    assert "Every invariant held" in page
    assert "A drill failed" in render(replace(report, outcomes=[outcome("gas", 1, open_=1)]), rows(report))
