"""Admin panel: staff's front door, the dashboard and what spans houses.

Owns no table. Refuses business rules: it calls the houses' services.
"""
