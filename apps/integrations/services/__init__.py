"""Verbs of the integrations house: manage endpoints, queue events, send what is queued, replay."""
