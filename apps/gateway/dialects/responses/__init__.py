"""OpenAI's responses: read into a chat completion, and written from one, as an object or as numbered events."""

from apps.gateway.dialects.responses.dialect import OpenAIResponses
from apps.gateway.dialects.responses.objects import ResponseOptions, describe_response, name_items, show_id
from apps.gateway.dialects.responses.reading import Prior, read_request
from apps.gateway.dialects.responses.writing import ResponsesWriter

__all__ = [
    "OpenAIResponses",
    "Prior",
    "ResponseOptions",
    "ResponsesWriter",
    "describe_response",
    "name_items",
    "read_request",
    "show_id",
]
