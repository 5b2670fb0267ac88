"""Plimsoll: margin that follows volatility for perpetual futures, calibrated off-chain and bounded on-chain."""

__version__ = "0.1.0"
