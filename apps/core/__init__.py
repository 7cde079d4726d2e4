"""The kernel: ids, errors, the actor, money, encryption, outbound HTTP, API plumbing.

Owns what every house needs and no house could own alone. Refuses tables, business words and any import of another
house: what knows what an organization may do lives further up the street.
"""
