"""The fault a user can put right."""

from __future__ import annotations


class PlimsollError(Exception):
    """Says in one line what is wrong and what to do; the command line prints it and exits with status 1."""
