"""Runs as SLURM jobs: submitted, observed, ended in order, and put back into the queue."""
