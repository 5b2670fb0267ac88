"""Market data: checked series and option chains, the named markets, and volatility as known at a moment."""

from plimsoll.market.chains import Chain, load_chains
from plimsoll.market.markets import (
    DEFAULT_MARKET,
    MARKETS,
    AssetData,
    Market,
    MarketData,
    average_daily_volume,
    get_market,
    load_dvol,
    load_market,
)
from plimsoll.market.prices import Repair, join_series, read_prices
from plimsoll.market.series import YEAR_SECONDS, Series, combined_hash, data_hash, load_series, make_series, resample
from plimsoll.market.volatility import Ewma, VolatilityIndex, ewma_volatility

__all__ = [
    "DEFAULT_MARKET",
    "MARKETS",
    "YEAR_SECONDS",
    "AssetData",
    "Chain",
    "Ewma",
    "Market",
    "MarketData",
    "Repair",
    "Series",
    "VolatilityIndex",
    "average_daily_volume",
    "combined_hash",
    "data_hash",
    "ewma_volatility",
    "get_market",
    "join_series",
    "load_chains",
    "load_dvol",
    "load_market",
    "load_series",
    "make_series",
    "read_prices",
    "resample",
]
