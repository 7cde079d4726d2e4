"""How the platform feels, component by component."""
