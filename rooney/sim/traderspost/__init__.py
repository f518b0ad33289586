"""A local TradersPost: the vendor's webhook over real HTTP, and behind it a broker on paper that counts effects.

    python -m rooney.sim.traderspost --ready-file PORT --accounts ibs=UUID/PASSWORD --log webhooks.jsonl

It answers as the contract says the vendor does, also where that is unpleasant: a trade that is rejected by a safeguard
is an HTTP 200 all the same, and two exits planned before the first has filled both sell. Times in the log are wall
clock, UTC ns.

    validation   what the vendor refuses
    book         planning, and a broker with positions
    http, server the webhook
"""

from rooney.sim.traderspost.positions import Book, Effect
from rooney.sim.traderspost.server import Account, Server, read_accounts
from rooney.sim.traderspost.validation import Refusal, check

__all__ = ["Account", "Book", "Effect", "Refusal", "Server", "check", "read_accounts"]
