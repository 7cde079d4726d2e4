"""HTTP to servers that answer slowly and in pieces, for the path that every call takes: no more than that needs.

HTTP/1.1 over kept connections, requests of one piece, answers as they arrive. No redirects, cookies or proxies: whoever
needs those uses httpx (`apps.core.outbound` for addresses of users).
"""

from apps.core.http.errors import (
    AddressInvalid,
    AnswerBroken,
    AnswerCut,
    ConnectFailed,
    ConnectionCut,
    ConnectTimedOut,
    HeaderInvalid,
    HttpError,
    ReadTimedOut,
)
from apps.core.http.response import Response
from apps.core.http.session import HttpSession, resolve_name

__all__ = [
    "AddressInvalid",
    "AnswerBroken",
    "AnswerCut",
    "ConnectFailed",
    "ConnectTimedOut",
    "ConnectionCut",
    "HeaderInvalid",
    "HttpError",
    "HttpSession",
    "ReadTimedOut",
    "Response",
    "resolve_name",
]
