"""REST entrance of the monitoring house."""
