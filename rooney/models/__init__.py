"""Model files and bundles of them."""
