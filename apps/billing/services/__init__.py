"""Verbs of the billing house: price, record usage."""
