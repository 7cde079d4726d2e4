"""Users: people, organizations, memberships, API keys, tokens, and the OAuth2/OIDC server.

Owns who somebody is and what the entrance gives them as `Actor`. Refuses to know what anybody does with it: quotas and
money are billing's, models are the gateway's.
"""
