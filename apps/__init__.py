"""The street: one package per house; who may import whom is in pyproject.toml."""
