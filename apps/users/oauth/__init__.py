"""How the OAuth2 server of django-oauth-toolkit behaves here."""
