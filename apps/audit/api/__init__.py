"""REST entrance of the audit house."""
