"""Verbs of the conversations house."""
