"""Gateway: the OpenAI-compatible hot path, models, providers, limits, usage journal.

Owns the life of a call. Refuses to know conversations and prices: it asks billing what a call costs.
"""
