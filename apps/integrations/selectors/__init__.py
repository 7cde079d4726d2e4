"""Answers of the integrations house: the catalogue of public events, and how the queues stand."""
