"""Monitoring: liveness, readiness, metrics and component checks.

Owns how the platform feels. Refuses to act on it.
"""
