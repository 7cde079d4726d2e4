"""Verbs of the users house."""
