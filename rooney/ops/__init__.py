"""Acts of an operator: look, hold back, close, state what is so, compare with the broker, keep copies.

Reading needs a ledger file and nothing else: no configuration, no Redis, no worker. Writing goes to a running worker as
a file in the control directory; only where no worker holds the ledger's lock is the ledger written from here.
"""
