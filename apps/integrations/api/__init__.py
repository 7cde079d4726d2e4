"""REST entrance of the integrations house."""
