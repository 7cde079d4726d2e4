"""The OpenAPI 3.1 document: what every operation shares is said once, here."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Page that explains the code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong here, which limit, and the remedy."},
        "code": {"type": "string", "description": "Stable code, `house.reason`."},
        "errors": {
            "type": "object",
            "description": "Sentences by field.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
    "example": {
        "type": "/api/docs/errors/invalid_input",
        "title": "The request is not valid",
        "status": 400,
        "detail": "title: Ensure this field has no more than 200 characters.",
        "code": "invalid_input",
        "errors": {"title": ["Ensure this field has no more than 200 characters."]},
        "request_id": "req_01h455vb4pex5vsknk084sn02q",
    },
}
SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`pk_live_…`), a JWT from /api/v3/auth/login, or an OAuth2 access token.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key."},
    "session": {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The web session, with CSRF."},
    "oauth2": {
        "type": "oauth2",
        "flows": {
            "authorizationCode": {"authorizationUrl": "/oauth/authorize", "tokenUrl": "/oauth/token", "scopes": {}},
            "clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}},
        },
    },
}
REFUSALS = {"400": "Bad input", "401": "Not authenticated", "403": "Not permitted", "404": "Not there", "429": "Limit"}


class PorticoSchema(AutoSchema):
    """Names operations by path and verb, tags them by house, and documents refusals as problems."""

    def get_tags(self) -> list[str]:
        """Return the house that owns the view."""
        parts = type(self.view).__module__.split(".")
        return [parts[1] if len(parts) > 1 and parts[0] == "apps" else "core"]

    def get_operation_id(self) -> str:
        """Return the path in words and the verb: unique, and stable as long as the path is."""
        words = re.sub(r"^/(?:api/v3|v1)/|[{}]", "", self.path).replace("-", "_").replace("/", "_").replace(".", "_")
        return f"{words.strip('_')}_{self.method.lower()}"

    def get_auth(self) -> list[dict[str, Any]]:
        """Return the ways to authenticate; none for open views."""
        if not self.view.authentication_classes or getattr(self.view, "is_open", False):
            return []
        return [{"bearer": []}, {"apiKey": []}, {"session": []}]


def add_shared_parts(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the problem schema, the security schemes and the refusals that any operation can answer."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["securitySchemes"] = SECURITY_SCHEMES
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, item in result.get("paths", {}).items():
        if not path.startswith("/api/"):
            continue
        for operation in item.values():
            for status, description in REFUSALS.items():
                needs_id = status != "404" or "{" in path
                needs_auth = status not in {"401", "403"} or operation.get("security")
                if needs_id and needs_auth:
                    operation["responses"].setdefault(status, {"description": description, "content": problem})
    return result
