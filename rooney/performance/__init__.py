"""How well a strategy did: measures, comparisons, reports."""
