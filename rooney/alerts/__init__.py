"""Alerts: what people are told, where, and how often; a process of its own (`rooney alert-sender`).

Facts come from the ledgers' outboxes (table `notice`), conditions from a look at everything every few seconds. Both
become troubles in a book that survives the process. What is told of them to each channel is decided here, purely; a
message is in the book before it is sent, so it arrives at least once, and a repeat is known by its number.

troubles.py  what stands, what is over, what a channel has not been told yet, and how that reads
steady.py    conditions that flap, made steady
vitals.py    conditions that only show over time: memory, latency, Redis
sources.py   the ledgers' outboxes and the reports' files
channels.py  where each strategy's troubles go
services.py  Slack, Discord and whatever apprise knows: requests, answers, pauses
book.py      what was taken, told and delivered: one SQLite file in the sender's own directory
sender.py    the process
"""
