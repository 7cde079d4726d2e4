"""Shapes of component health."""

from __future__ import annotations

from rest_framework import serializers

from apps.monitoring.choices import Health


class ComponentSerializer(serializers.Serializer):
    """One component."""

    name = serializers.CharField()
    status = serializers.ChoiceField(choices=Health.choices)
    reason = serializers.CharField(help_text="Why it is not well; empty when it is.")
    took_ms = serializers.FloatField(help_text="Time that the probe took, in milliseconds.")
    details = serializers.DictField(help_text="What the probe saw.")


class PlatformHealthSerializer(serializers.Serializer):
    """All components and their sum."""

    status = serializers.ChoiceField(choices=Health.choices)
    components = ComponentSerializer(many=True)
