"""Runs on disk: the directory of a run, its checkpoints, how far it has come."""
