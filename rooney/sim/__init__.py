"""Stand-ins for the outside in demo and tests: a market, and a gateway that speaks Databento's live protocol.

Production modules never import this package.
"""
