"""Integrations: webhooks out, to the endpoints that an organization names.

Owns endpoints and their secrets, the queue of every endpoint, signatures, the retry schedule and the catalogue of what
can be subscribed to. Refuses business words: it sends the public events of other houses as they are, and decides
nothing because of them.
"""
