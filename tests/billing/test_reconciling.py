"""Bills of providers are compared with the records, in every form they come in; what cannot be read is named."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.billing.errors import BillUnreadable
from apps.billing.models import Reconciliation, ReconciliationLine
from apps.billing.services import bill_forms
from apps.billing.services.bill_forms import model_key, read_bill
from apps.billing.services.reconciling import Comparison, reconcile_bill
from apps.billing.services.recording import record_usage
from apps.billing.services.repricing import Scope, reprice_usage
from apps.core.actor import system_actor
from apps.events.models import Event
from tests.factories.billing import PriceFactory, make_entry

pytestmark = pytest.mark.django_db
GENERIC = "date,model,input_tokens,output_tokens,cost\n"


def compare(text: str, **changes: object) -> Comparison:
    return reconcile_bill(
        **{
            "provider": "openai", "file_name": "bill.csv", "text": io.StringIO(text), "actor": system_actor(),
            "tolerance_percent": Decimal(1), **changes,
        }
    )  # fmt: skip


def verdicts(found: Comparison) -> list[tuple[str, str, str]]:
    lines = ReconciliationLine.objects.filter(reconciliation=found.reconciliation).order_by("id")
    return [(line.day.isoformat(), line.model, line.verdict) for line in lines]


@pytest.fixture
def calls() -> None:
    """Two calls of 100 + 20 tokens for 1.00 dollar each on the 20th, one on the 21st of another model."""
    record_usage(
        [
            make_entry(cost_micros=1_000_000, upstream_request_id="gen-1"),
            make_entry(cost_micros=1_000_000, upstream_request_id="gen-2"),
            make_entry(created_at=datetime(2026, 11, 21, tzinfo=UTC), upstream_model="gpt-5", cost_micros=500_000,
                       upstream_request_id="gen-3"),
            make_entry(provider="anthropic", cost_micros=7_000_000),
        ]
    )  # fmt: skip


def test_days_and_models_are_compared(calls: None) -> None:
    found = compare(
        GENERIC + "2026-11-20,gpt-4o-mini,200,40,2.00\n2026-11-21,gpt-5,100,25,0.50\n2026-11-21,o3,5,5,0.10\n"
    )
    assert verdicts(found) == [
        ("2026-11-20", "gpt-4o-mini", "agrees"), ("2026-11-21", "gpt-5", "differs"), ("2026-11-21", "o3", "not_recorded"),
    ]  # fmt: skip
    kept = found.reconciliation
    assert (kept.form, kept.compared, kept.differences, kept.bill_cost_micros, kept.own_cost_micros) == (
        "generic", 3, 2, 2_600_000, 2_500_000,
    )  # fmt: skip
    assert (kept.first_day.isoformat(), kept.last_day.isoformat(), kept.is_clean) == ("2026-11-20", "2026-11-21", False)
    assert [line.model for line in found.differences] == ["gpt-5", "o3"]
    assert (str(kept), str(found.differences[0])) == ("openai, 2026-11-20 to 2026-11-21", "2026-11-21 gpt-5: Differs")
    event = Event.objects.get(type="bill.reconciled")
    assert (event.aggregate_id, event.payload["differences"]) == (kept.id, 2)


def test_what_the_bill_leaves_out_is_named(calls: None) -> None:
    found = compare(GENERIC + "2026-11-20,gpt-4o-mini,200,40,2.00\n2026-11-21,none,0,0,0\n")
    assert verdicts(found)[1:] == [("2026-11-21", "gpt-5", "not_billed"), ("2026-11-21", "none", "agrees")]


@pytest.mark.parametrize(
    ("cost", "tokens", "tolerance", "agrees"),
    [
        ("2.02", 200, "1", True),
        ("2.03", 200, "1", False),
        ("2.00", 202, "1", True),
        ("2.00", 203, "1", False),
        ("2.004", 200, "0", True),
        ("2.006", 200, "0", False),
        ("2.00", 201, "0", False),
        ("3.50", 200, "50", True),
    ],
)
def test_differences_count_above_the_tolerance(
    calls: None, cost: str, tokens: int, tolerance: str, agrees: bool
) -> None:
    bill = f"{GENERIC}2026-11-20,gpt-4o-mini,{tokens},40,{cost}\n"
    assert compare(bill, tolerance_percent=Decimal(tolerance)).reconciliation.is_clean is agrees


def test_lines_of_one_request_are_one(calls: None) -> None:
    header = "generation_id,created_at,cost_total,tokens_prompt,tokens_completion,model_permaslug,provider_name\n"
    found = compare(
        header
        + "gen-1,2026-11-20 10:15:00,0.40,60,20,openai/gpt-4o-mini,x\n"
        + "gen-1,2026-11-20 10:15:01,0.60,40,0,openai/gpt-4o-mini,x\n"
        + "gen-2,2026-11-20 10:15:02,1.00,100,20,openai/gpt-4o-mini,x\n"
    )
    assert (found.reconciliation.compared, found.reconciliation.is_clean) == (2, True)


def test_adjustments_are_part_of_what_was_recorded(calls: None) -> None:
    PriceFactory(provider="openai", model="gpt-4o-mini-2024-07-18", input_micros=10_000_000_000, output_micros=0)
    reprice_usage(
        scope=Scope(since=datetime(2026, 11, 20, tzinfo=UTC), until=datetime(2026, 11, 22, tzinfo=UTC)),
        actor=system_actor(),
    )
    found = compare(GENERIC + "2026-11-20,gpt-4o-mini,200,40,1.80\n")
    assert (found.reconciliation.is_clean, found.reconciliation.own_cost_micros) == (True, 1_800_002)


def test_requests_are_matched_by_their_ids(calls: None) -> None:
    header = "generation_id,created_at,cost_total,tokens_prompt,tokens_completion,model_permaslug,provider_name\n"
    found = compare(
        header
        + "gen-1,2026-11-20 10:15:00,1.00,100,20,openai/gpt-4o-mini,x\n"
        + "gen-2,2026-11-20T10:15:00Z,1.10,100,20,openai/gpt-4o-mini,x\n"
        + "gen-9,2026-11-20T10:15:00Z,0.10,1,2,openai/gpt-4o-mini,x\n"
        + "gen-3,2026-11-21T00:00:00+00:00,0.50,100,20,openai/gpt-5,x\n"
    )
    lines = ReconciliationLine.objects.order_by("request_id").values_list("request_id", "verdict")
    assert list(lines) == [("gen-1", "agrees"), ("gen-2", "differs"), ("gen-3", "agrees"), ("gen-9", "not_recorded")]
    assert found.reconciliation.form == "openrouter"


FORMS = {
    "openai_usage": (
        "start_time,end_time,start_time_iso,end_time_iso,num_model_requests,model,batch,input_tokens,output_tokens\n"
        "1,2,2026-11-20T00:00:00+00:00,x,1,gpt-4o-mini-2024-07-18,,150,30\n"
        "1,2,2026-11-20T00:00:00+00:00,x,1,gpt-4o-mini-2024-07-18,true,50,10\n",
        [("gpt-4o-mini-2024-07-18", 200, 40, None)],
    ),
    "openai_cost": (
        "start_time,start_time_iso,amount_value,amount_currency,line_item\n"
        '1,2026-11-20T00:00:00+00:00,1.5,usd,"gpt-4o-mini-2024-07-18, input"\n'
        '1,2026-11-20T00:00:00+00:00,0.5,usd,"gpt-4o-mini-2024-07-18, output"\n',
        [("gpt-4o-mini-2024-07-18", None, None, 2_000_000)],
    ),
    "anthropic_usage": (
        "usage_date_utc,model_version,api_key,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
        "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n"
        "2026-11-20,gpt-4o-mini,k,100,50,25,25,40\n",
        [("gpt-4o-mini", 200, 40, None)],
    ),
    "anthropic_cost": (
        "usage_date_utc,model,workspace,token_type,cost_usd\n"
        "2026-11-20,GPT 4o mini,w,input,$1.50\n2026-11-20,GPT 4o mini,w,output,0.50\n2026-11-20,,w,web_search,3.00\n",
        [("GPT 4o mini", None, None, 2_000_000)],
    ),
    "generic": (
        "\ufeffDate, Model ,input_tokens,output_tokens,cost,request_id\n1795132800,gpt-4o-mini,200,40,2,\n",
        [("gpt-4o-mini", 200, 40, 2_000_000)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_known_by_its_header(calls: None, form: str) -> None:
    text, lines = FORMS[form]
    bill = read_bill(io.StringIO(text))
    assert bill.form == form
    assert [(line.model, line.prompt_tokens, line.completion_tokens, line.cost_micros) for line in bill.lines] == lines
    assert compare(text).reconciliation.is_clean is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Line 1 has the columns of an empty file"),
        ("day,what\n", "Line 1 has the columns day, what, which are of no known form. Expected OpenRouter activity: gen"),
        (GENERIC, "a header and no lines"),
        (GENERIC + "soon,m,1,1,1\n", "Line 2, column date: expected a date such as 2026-11-20, found 'soon'"),
        (GENERIC + "2026-11-20,,1,1,1\n", "Line 2, column model: expected a text, found nothing"),
        (GENERIC + "2026-11-20,m,1.5,1,1\n", "Line 2, column input_tokens: expected a whole number, 0 or more, found '1.5'"),
        (GENERIC + "2026-11-20,m,-1,1,1\n", "column input_tokens: expected a whole number"),
        (GENERIC + "2026-11-20,m,1,NaN,1\n", "column output_tokens: expected a whole number"),
        (GENERIC + "2026-11-20,m,1,1,free\n", "Line 2, column cost: expected an amount such as 12.34, found 'free'"),
        (GENERIC + "2026-11-20,m,1,1,1e99\n", "column cost: expected an amount"),
        (GENERIC + "2026-11-20,m,1,1,1\n2026-11-20,m,1\n", "Line 3 has another number of columns than the header"),
        (GENERIC + "2026-11-20,m,1,1,1,1\n", "Line 2 has another number of columns"),
        (GENERIC + '2026-11-20,"m"x,1,1,1\n', "is no CSV in UTF-8"),
        ("start_time_iso,amount_value,amount_currency,line_item\n2026-11-20,1,eur,m\n",
         "Line 2, column amount_currency: expected usd, found 'eur'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(text: str, said: str) -> None:
    with pytest.raises(BillUnreadable) as refused:
        compare(text)
    assert said in refused.value.message
    assert not Reconciliation.objects.exists()


def test_a_file_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill_forms, "MOST_LINES", 1)
    with pytest.raises(BillUnreadable, match="more than 1 lines"):
        compare(GENERIC + "2026-11-20,m,1,1,1\n" * 2)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("gpt-4.1-2025-04-14", "gpt-4-1"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5"),
        ("Claude Opus 4.5", "claude-opus-4-5"),
    ],
)
def test_models_are_known_under_all_their_names(name: str, key: str) -> None:
    assert model_key(name) == key


def run(path: Path, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("reconcile", "--provider", "openai", "--csv", str(path), *arguments, stdout=out)
    except SystemExit as left:
        return int(left.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_says_what_differs_and_fails(calls: None, tmp_path: Path) -> None:
    path = tmp_path / "november.csv"
    path.write_text(GENERIC + "2026-11-20,gpt-4o-mini,200,40,2.50\n")
    assert run(path) == (
        1,
        "2026-11-20 gpt-4o-mini: differs, tokens in 200 billed and 200 recorded, out 40 billed and 40 recorded, "
        "cost 2.500000 billed and 2.000000 recorded\n"
        "1 differences: 1 lines compared, 2026-11-20 to 2026-11-20, cost 2.500000 billed and 2.000000 recorded\n",
    )
    code, text = run(path, "--tolerance", "20", "--json")
    document = json.loads(text)
    assert (code, document["ok"], document["compared"], document["differences"]) == (0, True, 1, [])
    found = json.loads(run(path, "--json")[1])["differences"]
    assert found == [{
        "day": "2026-11-20", "model": "gpt-4o-mini", "request_id": None, "verdict": "differs", "bill_prompt_tokens": 200,
        "own_prompt_tokens": 200, "bill_completion_tokens": 40, "own_completion_tokens": 40, "bill_cost_micros": 2_500_000,
        "own_cost_micros": 2_000_000,
    }]  # fmt: skip


def test_the_command_refuses_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.csv cannot be read: No such file"):
        run(tmp_path / "none.csv")
    path = tmp_path / "bad.csv"
    path.write_bytes(GENERIC.encode() + b"2026-11-20,\xff,1,1,1\n")
    with pytest.raises(CommandError, match=r"bad\.csv: Line \d+ is no CSV in UTF-8"):
        run(path)
    for tolerance in ("much", "101", "-1"):
        with pytest.raises(CommandError, match="is not a percentage"):
            run(path, f"--tolerance={tolerance}")
