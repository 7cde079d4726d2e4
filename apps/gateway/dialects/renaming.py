"""Answers speak of the model under the name that the caller used."""

from __future__ import annotations

from typing import Any

import orjson


class ModelRenamer:
    """Writes the public name over the upstream's in the events of one stream.

    All events of a stream carry the same name, so its bytes are learned from the first one and replaced in the others;
    an event in which they are not found is decoded. Quotes are escaped inside JSON strings, so text never matches.
    """

    def __init__(self, public_name: str) -> None:
        self._public_name = public_name
        self._new = b'"model":' + orjson.dumps(public_name)
        self._old: bytes | None = None

    def rename(self, data: bytes) -> bytes:
        """Return the event under the public name."""
        if self._old is not None and self._old in data:
            return data.replace(self._old, self._new, 1)
        payload = orjson.loads(data)
        name = orjson.dumps(payload.get("model"))
        for separator in (b'"model":', b'"model": '):
            if separator + name in data:
                self._old = separator + name
                return data.replace(self._old, self._new, 1)
        return self.rename_object(payload)

    def rename_object(self, payload: dict[str, Any]) -> bytes:
        """Return a decoded answer under the public name."""
        payload["model"] = self._public_name
        return orjson.dumps(payload)
