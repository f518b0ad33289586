"""Decisions, orders and their lives, what an operator orders. Values; nothing here sends."""
