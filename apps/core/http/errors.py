"""What can go wrong between a request and the end of its answer."""

from __future__ import annotations


class HttpError(Exception):
    """A request was not answered, or not to the end."""


class AddressInvalid(HttpError):
    """The URL cannot be called."""


class HeaderInvalid(HttpError):
    """A request header holds what no header can, such as a line break."""


class ConnectTimedOut(HttpError):
    """No connection stood in time."""


class ConnectFailed(HttpError):
    """The name cannot be resolved, nobody listens there, or TLS fails."""


class ConnectionCut(HttpError):
    """The connection was closed before the first byte of an answer."""


class ReadTimedOut(HttpError):
    """The server was silent for too long."""


class AnswerBroken(HttpError):
    """What came is not HTTP."""


class AnswerCut(HttpError):
    """The connection was closed before the end of the answer."""
