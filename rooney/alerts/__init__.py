"""Alerts: what people are told, where, and how often; a process of its own (`rooney alert-sender`).

Facts come from the ledgers' outboxes (table `notice`), conditions from a look at everything every few seconds. Both
become troubles in a book that survives the process. What is told of them to each channel is decided here, purely; a
message is in the book before it is sent, so it arrives at least once, and a repeat is known by its number.

incidents.py         what stands, what is over, what each channel was told
timing.py            how long a trouble lasts before it counts; pauses and repeats
message.py           how it reads
thresholds.py        conditions that only show over time: memory, latency, Redis
outbox.py            the ledgers' outboxes and the reports' files
routing.py           where each strategy's troubles go
services.py          Slack, Discord and whatever apprise knows: requests, answers, pauses
store.py             what was taken, told and delivered: one SQLite file in the sender's own directory
dead_mans_switch.py  the ping that others miss when this machine is gone
on_failure.py        the alert of a failed unit, which shares nothing with the rest
process.py           the process
"""
