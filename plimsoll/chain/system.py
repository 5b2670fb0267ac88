"""A deployed house: every contract, bound by the addresses of its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.chain.abi import Contract
from plimsoll.chain.instruments import Instrument
from plimsoll.chain.manifest import Manifest, manifest_path
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plimsoll.chain.client import Chain
    from plimsoll.chain.manifest import AssetEntry

CASH = 0
"""Id of the cash asset."""


@dataclass(frozen=True)
class System:
    """Bound contracts. `assets`, `price_feeds` and `volatility_feeds` are by name; `underlyings` is {name: id}."""

    chain: Chain
    manifest: Manifest
    access_manager: Contract
    price_oracle: Contract
    volatility_oracle: Contract
    risk_parameters: Contract
    steward: Contract
    registry: Contract
    clearing_house: Contract
    margin_engine: Contract
    margin_lens: Contract
    liquidation_engine: Contract
    insurance_fund: Contract
    order_gateway: Contract
    coverage_monitor: Contract
    cash: Contract
    assets: Mapping[str, Contract]
    """Tokens other than cash."""
    price_feeds: Mapping[str, Contract]
    volatility_feeds: Mapping[str, Contract]
    underlyings: Mapping[str, int]

    @classmethod
    def load(cls, chain: Chain, manifest: Manifest | Path | None = None) -> System:
        """Bind a complete deployment: a manifest, its file, or by default deployments/<chain id>.json."""
        if not isinstance(manifest, Manifest):
            manifest = Manifest.load(manifest or manifest_path(chain.chain_id))
        if manifest.chain_id != chain.chain_id:
            raise PlimsollError(f"the deployment is on chain {manifest.chain_id}, the endpoint on {chain.chain_id}")
        if not manifest.complete:
            raise PlimsollError(f"the deployment on chain {chain.chain_id} stopped halfway; run plimsoll deploy again")
        if not chain.code(manifest.address("clearing_house")):
            raise PlimsollError(
                f"no clearing house at {manifest.address('clearing_house')} on chain {chain.chain_id}; "
                "a local chain that was restarted needs `plimsoll deploy --fresh`"
            )

        def bound(step: str) -> Contract:
            return Contract.at(manifest.steps[step].contract, manifest.address(step))

        tokens = {name: Contract.at("TestToken", entry.token) for name, entry in manifest.assets.items()}
        cash = next(name for name, entry in manifest.assets.items() if entry.id == CASH)
        return cls(
            chain=chain,
            manifest=manifest,
            access_manager=bound("access_manager"),
            price_oracle=bound("price_oracle"),
            volatility_oracle=bound("volatility_oracle"),
            risk_parameters=bound("risk_parameters"),
            steward=bound("steward"),
            registry=bound("registry"),
            clearing_house=bound("clearing_house"),
            margin_engine=bound("margin_engine"),
            margin_lens=bound("margin_lens"),
            liquidation_engine=bound("liquidation_engine"),
            insurance_fund=bound("insurance_fund"),
            order_gateway=bound("order_gateway"),
            coverage_monitor=bound("coverage_monitor"),
            cash=tokens[cash],
            assets={name: token for name, token in tokens.items() if name != cash},
            price_feeds={n: Contract.at("PushedFeed", u.price_feed) for n, u in manifest.underlyings.items()},
            volatility_feeds={n: Contract.at("PushedFeed", u.volatility_feed) for n, u in manifest.underlyings.items()},
            underlyings={name: entry.id for name, entry in manifest.underlyings.items()},
        )

    def asset(self, name: str) -> AssetEntry:
        """Id, token, decimals and underlying of an asset; PlimsollError if there is none of that name."""
        if name not in self.manifest.assets:
            raise PlimsollError(f"no asset {name!r}; there are {', '.join(self.manifest.assets)}")
        return self.manifest.assets[name]

    @property
    def names(self) -> dict[int, str]:
        """{underlying id: name}."""
        return {number: name for name, number in self.underlyings.items()}

    def perpetual(self, name: str) -> int:
        """Instrument id of the perpetual on an underlying, by name."""
        if name not in self.underlyings:
            raise PlimsollError(f"no underlying {name!r}; there are {', '.join(self.underlyings)}")
        return Instrument.perpetual(self.underlyings[name]).id

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol, ETH-PERP or ETH-27MAR26-3000-P, listed or not; PlimsollError if it is none."""
        return Instrument.parse(symbol, self.underlyings)

    def symbol(self, instrument: int) -> str:
        """The symbol of an instrument's id."""
        return Instrument.of(instrument).symbol(self.names)
