"""Databento's historical API: the trades of a gap that is older than what the live gateway replays.

Trades rather than ohlcv-1m: the same records go through the same fold, so a healed bar has every field of a live one
(trade count, volume per contract, prices doubted and believed alike) and nothing has to be reconciled. They are asked
for an hour at a time, onto disk, so that neither a weekend of 18 products nor a broken download costs more than that.
"""

import heapq
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import databento
import databento_dbn as dbn
import zstandard  # comes with databento

from rooney.errors import FeedError, FeedFatalError
from rooney.hub.databento import Subscription, contract_at, received_ns
from rooney.hub.receiver import panics_told
from rooney.market.bars import MinuteBuilder
from rooney.market.instruments import Contract
from rooney.market.sessions import HOUR_NS

_READ_BYTES = 1 << 20
_PASSING = (408, 429)  # the only answers of the 400s that another try may change
_DAY_S = 86_400.0


class Archive:
    """Fills a MinuteBuilder from the historical API.

    subscription: its gateway is the URL of a local stand-in; a continuous product is not to be had here, the files do
                  not name its contract
    limit_days, limit_usd: an older or a dearer gap is not healed
    """

    def __init__(
        self, subscription: Subscription, *, limit_days: float = math.inf, limit_usd: float = math.inf
    ) -> None:
        self._subscription = subscription
        self._dataset = subscription.source.dataset
        self._limit_days = limit_days
        self._limit_usd = limit_usd
        self.trades = 0

    def fill(
        self,
        builder: MinuteBuilder,
        until_ns: int,
        now_ns: int,
        on_mapping: Callable[[Contract], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Build every minute from the builder's open one up to `until_ns` (UTC ns); `now_ns` says how old it is.

        What is built stays built: after an error, the next call goes on with the minute that is open then.
        Raises FeedError when another try may help, FeedFatalError when none will.
        """
        if self._subscription.is_continuous:
            raise FeedFatalError("the historical API does not say which contracts a continuous product was")
        self._admit(builder.minute_ns, until_ns, now_ns)
        builder.restart()
        while builder.minute_ns < until_ns and not stopped():
            end_ns = min(until_ns, builder.minute_ns - builder.minute_ns % HOUR_NS + HOUR_NS)
            with tempfile.TemporaryDirectory(prefix="rooney-archive-") as directory, panics_told():
                self._hour(builder, end_ns, on_mapping, Path(directory))

    def _admit(self, start_ns: int, end_ns: int, now_ns: int) -> None:
        """Raises FeedFatalError when the gap is too old or its trades cost too much; the price is asked for first."""
        old_days = (now_ns - start_ns) / 1e9 / _DAY_S
        if old_days > self._limit_days:
            raise FeedFatalError(
                f"the gap begins {old_days:.1f} days ago, data_hub.heal_limit_days allows {self._limit_days:g}"
            )
        if self._limit_usd == math.inf:
            return
        cost_usd = 0.0
        for stype, symbols in self._subscription.by_stype():
            with self._errors("price", symbols):
                cost_usd += self._client().metadata.get_cost(
                    self._dataset, start_ns, end_ns, symbols=symbols, schema="trades", stype_in=stype
                )
        if cost_usd > self._limit_usd:
            raise FeedFatalError(
                f"the trades of the gap cost {cost_usd:.2f} USD, data_hub.heal_limit_usd allows {self._limit_usd:.2f}"
            )

    def _client(self) -> Any:
        source = self._subscription.source
        where = {} if source.gateway is None else {"gateway": source.gateway}
        return databento.Historical(source.api_key.reveal(), **where)

    def _hour(
        self, builder: MinuteBuilder, end_ns: int, on_mapping: Callable[[Contract], None], directory: Path
    ) -> None:
        start_ns = builder.minute_ns
        streams = []
        for stype, symbols in self._subscription.by_stype():
            path = directory / stype
            with self._errors("trades", symbols):
                self._client().timeseries.get_range(
                    self._dataset, start_ns, end_ns, symbols, "trades", stype_in=stype, path=path
                )
            streams.append(self._read(path, builder, on_mapping))
        for ts_recv, record in heapq.merge(*streams, key=lambda pair: pair[0]):
            self.trades += 1
            builder.on_trade(record.instrument_id, ts_recv, record.price, record.size)
        builder.complete_until(end_ns)

    @contextmanager
    def _errors(self, what: str, symbols: list[str]) -> Iterator[None]:
        try:
            yield
        except databento.BentoClientError as error:
            kind = FeedError if error.http_status in _PASSING else FeedFatalError
            raise kind(
                f"the historical API refused the {what} of {', '.join(symbols)}: {error.http_status} {error.message}"
            ) from None
        except (databento.BentoError, dbn.DBNError, zstandard.ZstdError, ValueError, OSError) as error:
            # Its requests carry the key in a header: only the text of what went wrong is kept.
            raise FeedError(f"the historical API gave no {what} of {', '.join(symbols)}: {error}") from None

    def _read(
        self, path: Path, builder: MinuteBuilder, on_mapping: Callable[[Contract], None]
    ) -> Iterator[tuple[int, Any]]:
        """(ts_recv, trade) in the order of the file, whose header names the contracts. Raises FeedError."""
        decoder = dbn.DBNDecoder(upgrade_policy=dbn.VersionUpgradePolicy.UPGRADE_TO_V3)
        plain = zstandard.ZstdDecompressor().decompressobj()
        try:
            with path.open("rb") as file:
                while data := file.read(_READ_BYTES):
                    for record in decoder.write_and_decode(plain.decompress(data)):
                        if isinstance(record, dbn.Metadata):
                            _map(record, builder, on_mapping)
                        elif isinstance(record, dbn.TradeMsg):
                            yield received_ns(record), record
        except (zstandard.ZstdError, dbn.DBNError, ValueError) as error:
            raise FeedError(f"the historical API sent what is no DBN: {error}") from error
        decoder.decode()  # moves on past what was decoded; only then the rest is a rest
        # Half an hour of trades would look just like a quiet hour.
        if not plain.eof or decoder.buffer():
            raise FeedError(f"the historical API's answer breaks off after {path.stat().st_size} bytes")


def _map(metadata: dbn.Metadata, builder: MinuteBuilder, on_mapping: Callable[[Contract], None]) -> None:
    for raw, intervals in metadata.mappings.items():
        contract = contract_at(raw, builder.minute_ns)
        for interval in intervals:
            if str(interval["symbol"]).isdecimal():
                builder.map(int(interval["symbol"]), contract)
        if contract is not None:
            on_mapping(contract)
