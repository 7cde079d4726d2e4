"""REST entrance of the conversations house."""
