"""One SQLite file per strategy: written by its worker, read by everyone else."""
