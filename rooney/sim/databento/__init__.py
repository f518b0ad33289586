"""A local stand-in for Databento's live and historical services."""
