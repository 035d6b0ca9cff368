"""Whole families of losses, each judged by `python -m experiments.families`."""
