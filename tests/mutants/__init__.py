"""Deliberate faults: each must turn the suite red, or the suite proves nothing."""
