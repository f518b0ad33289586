"""Exports of a broker as its reports are written."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tests.support.minutes import ENTERED

BOUGHT = ENTERED[1].ts_close  # open of the minute whose price the entry is assumed at
CHICAGO = ZoneInfo("America/Chicago")
FILLS_HEADER = (
    "_id,_orderId,_contractId,_timestamp,_tradeDate,_action,_qty,_price,_active,_accountId,Fill ID,Order ID,Timestamp,"
    "Date,Account,B/S,Quantity,Price,_priceFormat,_priceFormatType,_tickSize,Contract,Product,Product Description,"
    "commission"
)


def tradovate(*fills: tuple[int, str, str, int, float], account: str = "DEMO1") -> str:
    """A Fills report as Tradovate writes it: UTC in `_timestamp`, the exporter's zone in Timestamp, blanks in B/S."""
    lines = [FILLS_HEADER]
    for n, (ts_ns, contract, side, quantity, price) in enumerate(fills, 1):
        at = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
        local = at.astimezone(CHICAGO)
        lines.append(
            f"{n},9{n},77,{at:%Y-%m-%d %H:%M:%S}.083Z,{at:%Y-%m-%d},{int(side == 'Sell')},{quantity},{price},true,5,"
            f"{n},9{n},{local:%m/%d/%Y %H:%M:%S},{local:%m/%d/%y},{account}, {side},{quantity},{price},-2,0,0.25,"
            f"{contract},{contract[:-2]},E-mini,0.79"
        )
    return "\n".join(lines) + "\n"
