"""Which detectors there are."""

from __future__ import annotations

from apps.gateway.guards.base import Detector
from apps.gateway.guards.injection import InjectionDetector
from apps.gateway.guards.moderation import ModerationDetector
from apps.gateway.guards.pii import PiiDetector
from apps.gateway.guards.secrets import SecretDetector

DETECTORS: dict[str, Detector] = {
    detector.name: detector for detector in (PiiDetector(), SecretDetector(), InjectionDetector(), ModerationDetector())
}
"""By name. Own patterns, topics and lengths belong to a policy and have no detector of their own here."""
