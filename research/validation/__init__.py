"""Cross-validation and the luck in a best result."""
