"""Conversations: chats, messages as a tree, running answers that survive a dropped connection.

Owns what people said and what was answered. Refuses to call models itself: it asks the gateway.
"""
