"""The one client for addresses that a person typed in.

Owns the guard against requests that the server should not make (SSRF), the transport that connects only to addresses
the guard has checked, the circuit breaker, and what is measured about outbound calls. Refuses redirects, proxies taken
from the environment, and answers without end.
"""
