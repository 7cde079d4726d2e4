"""REST plumbing of this house: idempotent POSTs."""
