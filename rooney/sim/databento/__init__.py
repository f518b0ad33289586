"""A local stand-in for Databento's live gateway."""
