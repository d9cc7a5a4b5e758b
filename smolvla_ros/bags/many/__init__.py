"""Replays of many bags, and of two checkpoints on the same bags: figures, comparison, verdict."""
