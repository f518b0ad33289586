"""Redis: the only importer of redis."""
