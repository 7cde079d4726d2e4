"""Guardrails in a call: prompts are looked through before anything is sent, answers before anything is passed on."""

from apps.gateway.services.guarding.screening import Screen, screen_input

__all__ = ["Screen", "screen_input"]
