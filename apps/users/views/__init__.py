"""Web pages of the users house."""
