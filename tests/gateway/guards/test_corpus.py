"""How much of a generated corpus the detectors find, and how much they find that is not there."""

from __future__ import annotations

import pytest

from apps.gateway.guards import pii, secrets
from apps.gateway.guards.base import Hit, Text
from apps.gateway.guards.pii import PiiDetector
from apps.gateway.guards.secrets import SecretDetector
from tests.gateway.guards.corpus import MAKERS, SECRET_MAKERS, Sample, negatives, positives

PER_KIND = 560
PII = frozenset(pii.KINDS) - {"name"}
SECRETS = frozenset(secrets.KINDS) - secrets.OPTIONAL_KINDS


def find(sample: Sample) -> list[Hit]:
    text = Text(sample.text)
    return [*PiiDetector().find(text, PII), *SecretDetector().find(text, SECRETS)]


def is_covered(sample: Sample, hits: list[Hit]) -> bool:
    start = sample.text.index(sample.value)
    end = start + len(sample.value)
    return any(hit.kind == sample.kind and hit.start <= start and hit.end >= end for hit in hits)


@pytest.fixture(scope="module")
def findings() -> list[tuple[Sample, list[Hit]]]:
    samples = [*positives(11, PER_KIND), *positives(12, 120, secrets=True), *negatives(13, 4_000, 200)]
    return [(sample, find(sample)) for sample in samples]


def test_the_corpus_is_as_big_as_promised(findings: list[tuple[Sample, list[Hit]]]) -> None:
    assert sum(bool(sample.value) for sample, _ in findings) >= 10_000
    assert len(findings) >= 18_000


@pytest.mark.parametrize("kind", [*MAKERS, *SECRET_MAKERS])
def test_recall_of_each_kind(findings: list[tuple[Sample, list[Hit]]], kind: str) -> None:
    found = [is_covered(sample, hits) for sample, hits in findings if sample.kind == kind and sample.value]

    assert sum(found) / len(found) >= 0.99


@pytest.mark.parametrize("kind", [*MAKERS, *SECRET_MAKERS])
def test_precision_of_each_kind(findings: list[tuple[Sample, list[Hit]]], kind: str) -> None:
    right = sum(is_covered(sample, hits) for sample, hits in findings if sample.kind == kind and sample.value)
    wrong = sum(any(hit.kind == kind for hit in hits) for sample, hits in findings if not sample.value)

    assert right / (right + wrong) >= 0.95


def test_recall_and_precision_overall(findings: list[tuple[Sample, list[Hit]]]) -> None:
    wanted = [is_covered(sample, hits) for sample, hits in findings if sample.value]
    wrong = sum(bool(hits) for sample, hits in findings if not sample.value)

    assert sum(wanted) / len(wanted) >= 0.99
    assert sum(wanted) / (sum(wanted) + wrong) >= 0.95
