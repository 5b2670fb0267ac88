"""Market data over the network: bars of any exchange ccxt knows, and the rounds of a Chainlink feed by RPC.

Nothing that comes back is trusted. Every answer passes the checks that files pass before it is kept; a bad or missing
one is asked for again with growing pauses; at the end the whole passes them once more.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from eth_abi.exceptions import DecodingError

from plimsoll.chain.abi import Call, Contract
from plimsoll.chain.client import Chain, Reverted, RpcError
from plimsoll.errors import PlimsollError
from plimsoll.market.checks import scan_bars, scan_rounds
from plimsoll.market.defects import moment
from plimsoll.market.downloads import Download, open_download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import polars as pl

    from plimsoll.market.checks import Scan

    Report = Callable[[float, str], None]
    """Told the part that is done, 0 to 1, and what was last fetched."""

T = TypeVar("T")

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each new attempt."""
BARS = 1_000
"""Bars asked for in one request; exchanges that give fewer give fewer."""
ROUNDS = 100
"""Rounds asked for in one request."""
ROUND_PAUSE = 0.1
"""Seconds between requests to an endpoint that is not local: public ones count requests."""


class BadAnswerError(PlimsollError):
    """An answer came, and it is not what was asked for."""


def _patiently(what: str, attempt: Callable[[], T], passing: tuple[type[Exception], ...]) -> T:
    """What `attempt` returns, repeated while it fails with `passing`. PlimsollError after the last pause."""
    for pause in PAUSES:
        try:
            return attempt()
        except passing:
            time.sleep(pause)
    try:
        return attempt()
    except passing as fault:
        reason = (str(fault).splitlines() or [type(fault).__name__])[0][:200]
        raise PlimsollError(
            f"{what}: no good answer in {len(PAUSES) + 1} attempts ({reason}); run the command again to continue"
        ) from fault


def _require_clean(scan: Scan, what: str) -> None:
    """Raise BadAnswerError unless nothing needs repair."""
    for finding in scan.findings:
        if finding.action != "kept":
            raise BadAnswerError(f"{what}: row {finding.row}: {finding.message}")


# ─── Bars


def fetch_bars(
    exchange: str,
    symbol: str,
    timeframe: str,
    since: int,
    out: Path,
    *,
    until: int | None = None,
    endpoint: str | None = None,
    report: Report = lambda _part, _what: None,
) -> pl.DataFrame:
    """Fetch the bars that open in [since, until) (unix seconds; None is now) into `out`, or continue to.

    Columns ts, open, high, low, close, volume; ts is when the close was known, the end of the bar. `endpoint` replaces
    scheme and host of the exchange's addresses (a proxy, a mirror). Bars that are not over are left out.
    """
    venue = _venue(exchange, endpoint)
    step = _step(venue, timeframe)
    request = {
        "what": "bars",
        "exchange": exchange,
        "symbol": symbol,
        "timeframe": timeframe,
        "since": since,
        "until": until,
    }
    now = int(time.time())
    with open_download(out, request, {"end": now if until is None else min(until, now)}) as download:
        end = int(download.fixed["end"])
        _patiently(exchange, lambda: _guarded(venue.load_markets), _passing())
        if symbol not in venue.markets:
            base = symbol.partition("/")[0] + "/"
            like = ", ".join([name for name in venue.markets if name.startswith(base)][:5])
            raise PlimsollError(f"{exchange} has no market {symbol}" + (f"; it has {like}" if like else ""))
        last = download.last()
        cursor = since if last is None else int(last["ts"][-1])  # a bar's end is the next one's opening
        while cursor + step <= end:
            piece = _piece(venue, symbol, timeframe, cursor, end, step)
            if piece is None:
                cursor += BARS * step  # nothing traded, or was listed, in all that time
            else:
                download.add(piece)
                cursor = int(piece["ts"][-1])
            report(min(1.0, (cursor - since) / max(1, end - since)), moment(min(cursor, end)))
        return _finish(download, scan_bars, f"{exchange} has no bars of {symbol} from {moment(since)} to {moment(end)}")


def _finish(download: Download, scan: Callable[[pl.DataFrame], Scan], nothing: str) -> pl.DataFrame:
    frame = download.whole()
    if frame is None:
        raise PlimsollError(nothing)
    _require_clean(scan(frame), f"{download.out.name}.partial")
    download.finish(frame)
    return frame


def _venue(exchange: str, endpoint: str | None) -> Any:
    try:
        import ccxt
    except ImportError as missing:
        raise PlimsollError("fetching bars needs ccxt; install plimsoll[online]") from missing
    if exchange not in ccxt.exchanges:
        raise PlimsollError(f"ccxt knows no exchange {exchange!r}; names are as binance, kraken, coinbase")
    venue = getattr(ccxt, exchange)({"enableRateLimit": True, "timeout": 20_000, "enableLastJsonResponse": True})
    if not venue.has.get("fetchOHLCV"):
        raise PlimsollError(f"{exchange} gives no bars; choose another exchange")
    if endpoint is not None:
        target = urlsplit(endpoint)
        if target.scheme not in {"http", "https"} or not target.netloc:
            raise PlimsollError(f"{endpoint!r} is not an address such as http://localhost:8080")
        venue.urls["api"] = _redirected(venue.urls["api"], target.scheme, target.netloc)
    return venue


def _redirected(urls: Any, scheme: str, host: str) -> Any:
    """The same addresses, however nested, on another host."""
    if isinstance(urls, dict):
        return {name: _redirected(inner, scheme, host) for name, inner in urls.items()}
    if not isinstance(urls, str):
        return urls
    return urlunsplit((scheme, host, *urlsplit(urls)[2:]))


def _step(venue: Any, timeframe: str) -> int:
    known = [name for name in venue.timeframes or {} if name[-1] in "smhdw"]  # months have no one length
    if timeframe not in known:
        raise PlimsollError(f"{venue.id} has no bars of {timeframe!r}; choose one of {', '.join(known)}")
    return int(venue.parse_timeframe(timeframe))


def _passing() -> tuple[type[Exception], ...]:
    """Faults that may be gone in a moment: the network's, and answers that make no sense."""
    import ccxt

    return (ccxt.OperationFailed, ccxt.BadResponse, ccxt.NullResponse, BadAnswerError)


def _guarded(call: Callable[..., T], *arguments: Any) -> T:
    """A call to ccxt: refusals by the exchange as PlimsollError, answers ccxt stumbles over as BadAnswerError."""
    import ccxt

    try:
        return call(*arguments)
    except _passing():
        raise
    except ccxt.BaseError as refusal:
        reason = (str(refusal).splitlines() or [type(refusal).__name__])[0][:200]
        raise PlimsollError(f"the exchange refuses: {reason}") from refusal
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as fault:
        raise BadAnswerError(f"an answer that cannot be read ({type(fault).__name__})") from fault


def _piece(venue: Any, symbol: str, timeframe: str, cursor: int, end: int, step: int) -> pl.DataFrame | None:
    """Checked bars that open at or after `cursor` and are over by `end`; None if there are none in the next BARS."""

    def attempt() -> pl.DataFrame:
        raw = _guarded(venue.fetch_ohlcv, symbol, timeframe, cursor * 1_000, BARS)
        if venue.last_json_response is None:  # ccxt makes of half a document no bars, which would be taken for a gap
            raise BadAnswerError("an answer that is no JSON")
        return _bars(raw, cursor, end, step, f"{venue.id} {symbol}")

    piece = _patiently(f"{venue.id} {symbol}", attempt, _passing())
    if piece.height == 0:  # an empty answer skips bars, so it has to be given twice
        piece = _patiently(f"{venue.id} {symbol}", attempt, _passing())
    return piece if piece.height else None


def _bars(raw: Any, cursor: int, end: int, step: int, what: str) -> pl.DataFrame:
    """ccxt's rows [opening in ms, open, high, low, close, volume] as a table. BadAnswerError if they are not that."""
    import polars as pl

    if not isinstance(raw, list):
        raise BadAnswerError(f"{what}: an answer that is no list of bars")
    rows = []
    for row in raw:
        if not isinstance(row, (list, tuple)) or len(row) < 6 or not isinstance(row[0], int) or row[0] % 1_000:
            raise BadAnswerError(f"{what}: {str(row)[:60]} is no bar")
        if not all(isinstance(value, (int, float)) for value in row[1:6]):
            raise BadAnswerError(f"{what}: {str(row)[:60]} is no bar")
        opening = row[0] // 1_000
        if cursor <= opening and opening + step <= end:
            rows.append([opening + step, *map(float, row[1:6])])
    names = ("ts", "open", "high", "low", "close", "volume")
    schema = {name: pl.Int64 if name == "ts" else pl.Float64 for name in names}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if frame.height:
        _require_clean(scan_bars(frame), what)
    return frame


# ─── Chainlink rounds

_RPC_FAULTS = (RpcError, BadAnswerError)


def _function(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> dict[str, Any]:
    described = ([{"name": "", "type": kind} for kind in kinds] for kinds in (inputs, outputs))
    given, returned = described
    return {"type": "function", "name": name, "inputs": given, "outputs": returned, "stateMutability": "view"}


_ROUND = ("uint80", "int256", "uint256", "uint256", "uint80")
_FEED = [
    _function("decimals", (), ("uint8",)),
    _function("latestRoundData", (), _ROUND),
    _function("getRoundData", ("uint80",), _ROUND),
    _function("phaseAggregators", ("uint16",), ("address",)),
    _function("latestRound", (), ("uint256",)),
]
"""AggregatorV3Interface, and what Chainlink's proxy and aggregators have beside it."""
_NOWHERE = "0x" + "0" * 40


def fetch_rounds(
    chain: Chain, feed: str, out: Path, *, since: int = 0, report: Report = lambda _part, _what: None
) -> pl.DataFrame:
    """Fetch a feed's rounds with updatedAt ≥ since (unix seconds), oldest first, into `out`, or continue to.

    Columns roundId, phase, agg_round, answer, startedAt, updatedAt, answeredInRound, decimals. Behind a proxy every
    phase is read; where two overlap in time, the older ends where the newer begins. Rounds that hold no answer of their
    own (none at all, or an earlier round's) are left out.
    """
    contract = Contract("feed", feed, _FEED)
    facts = _ask(chain, [contract.decimals(), contract.latestRoundData()])
    for fact in facts:
        if isinstance(fact, Reverted):
            raise PlimsollError(f"{contract.address} does not answer as a Chainlink feed ({fact}); check the address")
    decimals, latest = facts
    request = {"what": "rounds", "chain": chain.chain_id, "feed": contract.address, "since": since}
    with open_download(out, request, {"latest": str(latest[0])}) as download:
        end = int(download.fixed["latest"])
        last = download.last()
        done = -1 if last is None else int(last["roundId"][-1])
        spans = [
            (max(_first_since(chain, contract, phase, number, since), done + 1), phase << 64 | number)
            for phase, number in _phases(chain, contract, end)
        ]
        total = sum(max(0, stop + 1 - start) for start, stop in spans)
        fetched = 0
        for start, stop in spans:
            for first in range(start, stop + 1, ROUNDS):
                ids = range(first, min(first + ROUNDS, stop + 1))
                piece = _patiently("the endpoint", partial(_rounds, chain, contract, ids, int(decimals)), _RPC_FAULTS)
                if piece.height:
                    download.add(piece)
                fetched += len(ids)
                known = moment(piece["updatedAt"][-1]) if piece.height else f"round {ids[-1]}"
                report(fetched / total, known)
                if not chain.fast:
                    time.sleep(ROUND_PAUSE)
        whole = download.whole()
        if whole is None:
            raise PlimsollError(f"feed {contract.address} has no rounds since {moment(since)}")
        whole = _cut_phases(whole)
        scan = scan_rounds(whole)
        for finding in scan.refused:
            raise PlimsollError(f"feed {contract.address}: row {finding.row}: {finding.message}")
        download.finish(whole)
        return whole


def _phases(chain: Chain, contract: Contract, latest: int) -> Iterator[tuple[int, int]]:
    """(phase, its last round's number) of each phase, oldest first. A feed that is no proxy has one."""
    current = latest >> 64
    for phase in range(1, current):
        (found,) = _ask(chain, [contract.phaseAggregators(phase)])
        if isinstance(found, Reverted) or found == _NOWHERE:
            continue
        (number,) = _ask(chain, [Contract("aggregator", found, _FEED).latestRound()])
        if not isinstance(number, Reverted) and number:
            yield phase, int(number) & (2**64 - 1)
    yield current, latest & (2**64 - 1)


def _ask(chain: Chain, calls: list[Call]) -> list[Any]:
    """The results of calls, patiently; a `Reverted` for each that the contract refuses."""
    return _patiently("the endpoint", partial(_read, chain, calls), _RPC_FAULTS)


def _read(chain: Chain, calls: list[Call]) -> list[Any]:
    """The results of calls, once. BadAnswerError for bytes that are no result."""
    try:
        return chain.try_read_many(calls)
    except (DecodingError, LookupError, TypeError, ValueError) as fault:
        raise BadAnswerError(f"an answer that cannot be read ({type(fault).__name__})") from fault


def _first_since(chain: Chain, contract: Contract, phase: int, last: int, since: int) -> int:
    """Id of the first round of a phase with updatedAt ≥ since, by bisection; one after the last if there is none."""
    low, high = 1, last + 1
    while since > 0 and low < high:
        middle = probe = (low + high) // 2
        found = None
        while found is None and probe < high:  # a round without data tells nothing, the next may
            (answer,) = _ask(chain, [contract.getRoundData(phase << 64 | probe)])
            found = None if isinstance(answer, Reverted) else answer
            probe += 1
        if found is None or found[3] >= since:
            high = middle
        else:
            low = probe
    return phase << 64 | low


def _rounds(chain: Chain, contract: Contract, ids: range, decimals: int) -> pl.DataFrame:
    """The rounds of these ids that hold an answer. BadAnswerError for an answer no feed can give."""
    import polars as pl

    answers = _read(chain, [contract.getRoundData(id_) for id_ in ids])
    rows = []
    for id_, answer in zip(ids, answers, strict=True):
        if isinstance(answer, Reverted):
            continue
        found, value, started, updated, answered_in = answer
        if found != id_:
            raise BadAnswerError(f"asked for round {id_}, answered with {found}")
        if updated == 0 or answered_in < id_:
            continue
        if not 0 < value < 2**63 or max(started, updated) >= 2**40:
            raise BadAnswerError(f"round {id_} has answer {value} at {updated}")
        rows.append((id_, id_ >> 64, id_ & (2**64 - 1), value, started, updated, answered_in, decimals))
    names = ("roundId", "phase", "agg_round", "answer", "startedAt", "updatedAt", "answeredInRound", "decimals")
    wide = {"roundId", "answeredInRound"}
    schema = {name: pl.Int128 if name in wide else pl.Int64 for name in names}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    for finding in scan_rounds(frame).refused if frame.height else []:
        raise BadAnswerError(f"row {finding.row} of the answer: {finding.message}")
    return frame


def _cut_phases(frame: pl.DataFrame) -> pl.DataFrame:
    """Each phase until the first round of a later one."""
    import polars as pl

    phases = frame["phase"].to_numpy()
    updated = frame["updatedAt"].to_numpy()
    kept = np.ones(len(phases), dtype=bool)
    for phase in np.unique(phases)[1:]:
        kept &= (phases >= phase) | (updated < updated[phases == phase].min())
    return frame.filter(pl.Series(kept))
