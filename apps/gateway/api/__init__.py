"""REST entrance of the gateway: models, providers, raw completions, and the document of /v1."""
