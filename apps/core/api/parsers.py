"""What a body of /api/v3 may be: JSON in UTF-8, not too deep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from apps.core.nesting import MAX_DEPTH, is_too_deep


class JSONParser(BaseParser):
    """Reads JSON as /v1 does. The standard library's parser takes NaN for a number and recurses until the stack is used up."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the value. Raise ParseError."""
        body = stream.read()
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            where = f" (line {error.lineno}, column {error.colno})" if error.pos else ""
            raise ParseError(f"The body is not valid JSON: {error.msg}{where}.") from None
        if is_too_deep(found, body=body):
            raise ParseError(f"The body is nested more than {MAX_DEPTH} levels deep.")
        return found
