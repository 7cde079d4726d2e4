"""REST entrance of the billing house."""
