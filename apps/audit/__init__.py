"""Audit: who did what, as row changes and as events, in one searchable trail.

Owns the change log and its triggers. Refuses to be called: it listens.
"""
