"""Anthropic's messages: read into the canonical form, and answered in their own events."""

from apps.gateway.dialects.anthropic.messages import AnthropicMessages

__all__ = ["AnthropicMessages"]
