"""Keepers, and those who bid against them; who asks for protection; and what becomes of losses (LIQUIDATE, LOSS)."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from plimsoll.config import WAD
from tests.invariants.life import ANY_NONCE, MARGIN, Life
from tests.invariants.stage import SETTLER, THIEF, TRADERS

SETTLING = 3_700
"""Seconds: more than the hour after which a loss is shared and the fund's allowance is whole again."""


class Keepers(Life):
    """Rules about liquidation."""

    @rule(rounds=st.integers(1, 4), pause=st.integers(60, 600))
    def keeper_works(self, rounds: int, pause: int) -> None:
        """LIQUIDATE, LOSS: flags, bids, ends and settles; the audit looks at every bid."""
        self.let_keeper_work(rounds, pause)

    @rule(role=st.sampled_from(["maker", "hedger", "bear"]), fraction=st.integers(1, WAD))
    def outbid(self, role: str, fraction: int) -> None:
        """LIQUIDATE: anybody may bid, for any fraction, at any stage of an auction."""
        bidder = self.stage.accounts[role]
        for account in self.state.accounts.values():
            if account.auction is not None and account.id != bidder:
                self.attempt(
                    self.system.liquidation_engine.bid(account.id, bidder, fraction, 2**200, ANY_NONCE),
                    self.stage.sender(role),
                    MARGIN,
                    "LiquidationNotLiquidatable",
                    "LiquidationNotFlagged",
                    "LiquidationZeroFraction",
                    "LiquidationThroughput",
                )

    @rule(role=st.sampled_from(TRADERS))
    def flag_a_healthy_account(self, role: str) -> None:
        account = self.account(role)
        call = self.system.liquidation_engine.flag(account.id, self.stage.accounts["thief"])
        if account.auction is None and not account.margin.is_liquidatable:
            self.refused("LIQUIDATE", call, THIEF, "LiquidationNotLiquidatable")

    @rule(role=st.sampled_from(["bull", "bear", "hedger"]), stale=st.integers(1, 3))
    def bid_on_a_stale_state(self, role: str, stale: int) -> None:
        """LIQUIDATE: a bid that names the account's nonce holds for that state alone."""
        account = self.account(role)
        if account.auction is None or not account.margin.is_liquidatable:
            return
        number = self.stage.accounts["maker"]
        call = self.system.liquidation_engine.bid(account.id, number, WAD, 2**200, account.nonce + stale)
        self.refused("LIQUIDATE", call, self.stage.sender("maker"), "LiquidationStaleBid")

    @rule(
        role=st.sampled_from(["bull", "bear", "hedger"]),
        trigger=st.integers(WAD, 4 * WAD),
        discount=st.integers(WAD // 50, WAD // 4),
    )
    def ask_for_protection(self, role: str, trigger: int, discount: int) -> None:
        """The keeper reduces it before it must be liquidated, on the owner's terms; the audit looks at every bid."""
        engine, number = self.system.liquidation_engine, self.stage.accounts[role]
        self.refused("LIQUIDATE", engine.setProtection(number, trigger, discount), THIEF, "LiquidationNotAuthorised")
        self.attempt(
            engine.setProtection(number, trigger, discount), self.stage.sender(role), "LiquidationBadProtection"
        )
        self.audit.seen["protection"] += 1
        self.let_keeper_work(2, 120)

    @rule(wait=st.booleans())
    def share_loss(self, wait: bool) -> None:
        """LOSS: an hour after it arose, and not before, what nobody could pay is shared; the audit adds it up."""
        if self.state.pending_loss == 0:
            self.refused("LOSS", self.clearing.shareLoss(), SETTLER, "ClearingHouseNoLossDue")
            return
        if self.chain.block().timestamp + 5 < self.state.loss_due_at:
            self.refused("LOSS", self.clearing.shareLoss(), SETTLER, "ClearingHouseNoLossDue")
            if not wait:
                return
            self.pass_time(self.state.loss_due_at - self.chain.block().timestamp)
            self.reporter_returns()
        self.attempt(self.clearing.shareLoss(), SETTLER, "ClearingHouseNoLossDue")

    @rule(maximum=st.integers(1, 5))
    def pay_claims(self, maximum: int) -> None:
        """LOSS: in order and in parts; the audit adds it up."""
        self.attempt(self.system.insurance_fund.payClaims(maximum), SETTLER, "InsuranceFundNoClaimDue")

    def settle_up(self) -> None:
        """LOSS: what a life leaves unpaid is paid or shared an hour later."""
        self.pass_time(SETTLING)
        self.reporter_returns()
        self.share_loss(wait=True)
        self.everything_holds()
        self.pay_claims(5)
        self.everything_holds()
