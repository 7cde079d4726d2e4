"""A call is recorded once, with its debit, its hour and its balances, however often and by whomever it is sent."""

from __future__ import annotations

import pytest

from apps.billing.models import LedgerAccount, LedgerTransaction, Posting, UsageHour, UsageRecord
from apps.billing.services.recording import record_usage
from tests.factories.billing import make_entry

pytestmark = pytest.mark.django_db


def test_a_call_becomes_a_record_a_debit_an_hour_and_two_balances() -> None:
    entry = make_entry()
    assert record_usage([entry]) == 1
    record = UsageRecord.objects.get()
    assert record.id == entry.request_id
    assert LedgerTransaction.objects.get().id == entry.request_id
    usage = LedgerAccount.objects.get(kind="usage")
    revenue = LedgerAccount.objects.get(kind="revenue")
    assert (usage.organization_id, usage.balance_micros, revenue.balance_micros) == (entry.organization_id, 27, -27)
    assert sorted(Posting.objects.values_list("account_id", "amount_micros")) == sorted(
        [(usage.id, 27), (revenue.id, -27)]
    )
    assert UsageHour.objects.get().requests == 1


def test_recording_again_adds_nothing() -> None:
    entries = [make_entry(), make_entry()]
    assert record_usage(entries) == 2
    assert record_usage([*entries, make_entry(), entries[0]]) == 1
    assert (UsageRecord.objects.count(), Posting.objects.count()) == (3, 6)
    assert UsageHour.objects.count() == 1
    assert UsageHour.objects.get().requests == 3
