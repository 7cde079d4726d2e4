"""REST entrance of the users house."""
