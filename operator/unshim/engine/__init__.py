"""Moves one node one action at a time: look, decide (core), act through ports, report."""
