"""Billing: the price list, the usage ledger and the double-entry books.

Owns what a call cost and who owes it. Refuses to know how a call was made: that is the gateway's.
"""
