"""REST plumbing of /api/v3: problems, pages, validators, the OpenAPI document."""
