"""Verbs of the audit house: keep the triggers, tell the database who writes."""
