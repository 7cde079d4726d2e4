"""Responses that are kept: written while they grow, followed, cancelled, deleted, and ended when their process dies."""
