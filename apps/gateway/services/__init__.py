"""Verbs of the gateway. One life of a call serves every entrance: `/v1`, `/api/v3` and the conversations house."""

from apps.gateway.services.calls import RunningCall
from apps.gateway.services.opening import open_chat, open_embedding, prepare_call

__all__ = ["RunningCall", "open_chat", "open_embedding", "prepare_call"]
