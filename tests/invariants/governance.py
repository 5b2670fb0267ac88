"""A calibrator, a guardian and those who have money in the insurance fund (BOUNDS, LOSS, ROUND)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import rule

from plimsoll.chain.client import Reverted
from plimsoll.chain.fields import Field, Key, ParameterChange
from plimsoll.chain.plan import market_hash
from plimsoll.config import WAD
from tests.invariants.life import LOCKED, PAUSED, SHORT_OF_FUNDS, Life
from tests.invariants.stage import CALIBRATOR, DEPLOYER, SETTLER, SYMBOLS, THIEF, TRADERS, UNDERWRITER

if TYPE_CHECKING:
    from plimsoll.chain.abi import Call

GUARDIAN = DEPLOYER  # as in the profile
DAY = 86_400
HEALTHY = "LiquidationNotLiquidatable"
BUNDLE_REFUSALS = ("RiskParametersInconsistent", "RiskParametersNotPositiveDefinite", "ParameterStewardImpact")
"""Why a bundle whose every number is within its limits may be refused: what they come to together."""


class Governance(Life):
    """Rules about numbers, pauses and the fund."""

    @rule(
        field=st.sampled_from([Field.TAIL_INITIAL, Field.TAIL_MAINTENANCE, Field.VOLATILITY_STRESS,
                               Field.VOLATILITY_FLOOR, Field.AVERAGE_DAILY_VOLUME, Field.CORRELATION_LOW,
                               Field.CORRELATION_HIGH, Field.SURFACE_RHO, Field.CARRY]),
        part=st.floats(0, 1),
        symbol=st.sampled_from(SYMBOLS),
    )  # fmt: skip
    def calibrator_pushes(self, field: Field, part: float, symbol: str) -> None:
        """BOUNDS: what tightens within the limits is pushed; a unit beyond, too soon after another move or what
        loosens is not."""
        key = self.key_of(field, symbol)
        allowed = self.chain.read(self.system.steward.allowed(int(field), key.underlying, key.other))
        now, present = self.chain.block().timestamp, self.state.parameters[key]
        within = int(allowed.minimum + (allowed.maximum - allowed.minimum) * Decimal(str(part)))
        limits = ("ParameterStewardStep", "ParameterStewardBudget", "RiskParametersOutOfBounds")
        refusals = (*limits, "ParameterStewardTooSoon", "ParameterStewardLoosens")
        for beyond in (allowed.minimum - 1, allowed.maximum + 1):
            if beyond != present:
                self.refused("BOUNDS", self.bundle(key, beyond), CALIBRATOR, *refusals)
        self.refused("BOUNDS", self.bundle(key, within), THIEF, "AccessManagedUnauthorized")
        if (within - present) * field.direction < 0:
            self.refused("BOUNDS", self.bundle(key, within), CALIBRATOR, "ParameterStewardLoosens")
        elif now < allowed.allowedAt - 5 and within != present:
            self.refused("BOUNDS", self.bundle(key, within), CALIBRATOR, "ParameterStewardTooSoon")
        elif self.attempt(self.bundle(key, within), CALIBRATOR, *BUNDLE_REFUSALS) and within != present:
            self.whoever_was_healthy_is_not_flagged()

    def whoever_was_healthy_is_not_flagged(self) -> None:
        """PUSH: who could not be flagged without the block just mined, at its time, cannot be with it. Who asked for
        protection is left out: it begins at the target, which moves with initial margin."""
        engine, keeper, head = self.system.liquidation_engine, self.stage.accounts["keeper"], self.chain.block()
        asked = self.chain.read_many([engine.protectionOf(self.stage.accounts[role]) for role in TRADERS])
        roles = [role for role, protection in zip(TRADERS, asked, strict=True) if protection.trigger == 0]
        calls = [engine.flag(self.stage.accounts[role], keeper) for role in roles]
        before, after = (
            self.chain.try_read_many(calls, number, sender=SETTLER.address, time=head.timestamp)
            for number in (head.number - 1, head.number)
        )
        for role, was, is_ in zip(roles, before, after, strict=True):
            if isinstance(was, Reverted) and was.error == HEALTHY:
                assert isinstance(is_, Reverted), f"{role} can be flagged because of a push"
                assert is_.error == HEALTHY, is_
                self.audit.seen["healthy through a push"] += 1

    @rule(field=st.sampled_from([Field.TAIL_INITIAL, Field.AVERAGE_DAILY_VOLUME]), symbol=st.sampled_from(SYMBOLS))
    def calibrator_announces(self, field: Field, symbol: str) -> None:
        """BOUNDS: what loosens waits; a guardian ends it, and nobody else."""
        key, steward = self.key_of(field, symbol), self.system.steward
        looser = self.state.parameters[key] - field.direction
        if not self.attempt(
            self.bundle(key, looser, "schedule"), CALIBRATOR, "ParameterStewardBudget", "RiskParametersOutOfBounds"
        ):
            return
        execute = self.bundle(key, looser, "execute")
        self.refused("BOUNDS", execute, THIEF, "ParameterStewardNotReady")
        self.refused("BOUNDS", steward.veto(), THIEF, "AccessManagedUnauthorized")
        self.chain.send(steward.veto(), GUARDIAN)
        self.refused("BOUNDS", execute, THIEF, "ParameterStewardNotPending")

    def key_of(self, field: Field, symbol: str) -> Key:
        """Of an underlying's number, or of the pair's."""
        is_pair = field in {Field.CORRELATION_LOW, Field.CORRELATION_HIGH}
        ids = sorted(self.system.underlyings.values())
        return Key(field, *ids) if is_pair else Key(field, self.system.underlyings[symbol])

    def bundle(self, key: Key, value: int, how: str = "push") -> Call:
        """One change; `how`: push, schedule or execute."""
        change = ParameterChange(key.field, key.underlying, key.other, value)
        provenance = (b"\1" * 32, b"\2" * 32, market_hash(self.system.manifest.market), 1, 990_000)
        call: Call = getattr(self.system.steward, how)((change.as_tuple(),), provenance)
        return call

    @rule(seconds=st.integers(600, 7_200), early=st.booleans())
    def guardian_pauses(self, seconds: int, early: bool) -> None:
        """GATE: in a pause nobody adds risk nor takes anything out from under a position; deposits and reductions go
        on. It ends by itself, and there is none again for as long as one may last."""
        pause = self.clearing.pause(seconds)
        self.refused("GATE", pause, THIEF, "AccessManagedUnauthorized")
        self.refused("GATE", self.clearing.pause(3 * DAY + 1), GUARDIAN, "ClearingHouseBadPause")
        if not self.attempt(pause, GUARDIAN, "ClearingHouseBadPause"):
            return
        self.audit.seen["pause"] += 1
        self.refused("GATE", self.clearing.pause(600), GUARDIAN, "ClearingHouseBadPause")
        hedger = self.account("hedger")
        if hedger.positions:
            call = self.withdrawal("hedger", "USD", 1)
            reasons = (
                PAUSED,
                SHORT_OF_FUNDS,
                LOCKED,
                "ClearingHouseInsufficientMargin",
                "ClearingHouseStaleVolatility",
            )
            self.refused("GATE", call, self.stage.sender("hedger"), *reasons)
        held = self.account("bull").positions.get(self.system.perpetual("BTC"))
        size = (1 if held is None or held.size >= 0 else -1) * WAD // 10
        more = self.stage.trade("bull", "maker", "BTC-PERP", size, self.price("BTC"))
        self.refused("GATE", more, SETTLER, PAUSED)
        self.stage.deposit("bull", "USD", 1_000_000)
        if early:
            self.chain.send(self.clearing.unpause(), GUARDIAN)

    # ─── The fund

    @rule(dollars=st.floats(0.000001, 50_000))
    def join_fund(self, dollars: float) -> None:
        """ROUND: what a new underwriter gets back by its shares is no more than it brought."""
        fund, cash, units = self.system.insurance_fund, self.system.cash, max(1, int(dollars * 10**6))
        self.chain.send(cash.mint(UNDERWRITER.address, units), UNDERWRITER)
        held = self.chain.read(fund.balanceOf(UNDERWRITER.address))
        self.chain.send(fund.deposit(units, UNDERWRITER.address), UNDERWRITER)
        shares = self.chain.read(fund.balanceOf(UNDERWRITER.address)) - held
        back = self.chain.read(fund.previewRedeem(shares))
        self.require("ROUND", back <= units, f"the fund would give {back - units} units more than it was given")

    @rule(part=st.floats(0, 1), again=st.booleans())
    def ask_shares_back(self, part: float, again: bool) -> None:
        """LOSS: it takes a week's notice, and the shares bear losses all the while."""
        fund = self.system.insurance_fund
        shares = int(self.chain.read(fund.balanceOf(UNDERWRITER.address)) * part)
        if not shares:
            return
        self.chain.send(fund.requestRedemption(shares), UNDERWRITER)
        call = fund.redeem(1, UNDERWRITER.address, UNDERWRITER.address)
        self.refused("LOSS", call, UNDERWRITER, "ERC4626ExceededMaxRedeem")
        if again:
            self.chain.send(fund.cancelRedemption(), UNDERWRITER)

    @rule(part=st.floats(0, 1), late=st.booleans())
    def underwriter_leaves(self, part: float, late: bool) -> None:
        """LOSS: in the days after its notice and not later; the audit looks at every redemption."""
        fund = self.system.insurance_fund
        asked = self.chain.read(fund.redemptionOf(UNDERWRITER.address))
        if not asked.shares:
            shares = self.chain.read(fund.balanceOf(UNDERWRITER.address)) // 2
            self.attempt(fund.requestRedemption(shares), UNDERWRITER, "InsuranceFundZeroShares")
            asked = self.chain.read(fund.redemptionOf(UNDERWRITER.address))
        wait = asked.readyAt - self.chain.block().timestamp + (3 * DAY if late else 0)
        if wait > 0:
            self.pass_time(wait)
            self.reporter_returns()
        shares = int(asked.shares * part)
        call = fund.redeem(shares, UNDERWRITER.address, UNDERWRITER.address)
        if late and shares:
            self.refused("LOSS", call, UNDERWRITER, "ERC4626ExceededMaxRedeem")
        self.attempt(call, UNDERWRITER, "ERC4626ExceededMaxRedeem")

    @rule()
    def sweep_fees(self) -> None:
        self.chain.send(self.clearing.sweepFees(), SETTLER)
