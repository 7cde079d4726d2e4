"""Guardrails for staff: policies with a box to try them in, where they apply, and what they found."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from apps.core.actor import Actor
from apps.core.admin import ModelAdmin, ReadOnlyModelAdmin, link_to
from apps.gateway.choices import GUARD_STRICTNESS, GuardDetector, GuardDirection, GuardMode
from apps.gateway.guards import pii
from apps.gateway.guards.moderation import CATEGORIES
from apps.gateway.models import GuardBinding, GuardHit, GuardPolicy
from apps.gateway.selectors.guardrails import compile_terms, describe_policy
from apps.gateway.services.guarding.policies import (
    bind_guard_policy,
    check_guard_policy,
    delete_guard_policy,
    organization_of,
    save_guard_policy,
    unbind_guard_policy,
)
from apps.gateway.services.guarding.trying import Trial, try_policies
from apps.users.models import ApiKey, Organization

DAYS = 14
LONGEST_TRIAL = 100_000
SUBJECTS = ("organization", "team", "api_key")
PII_LABELS = {
    "email": "E-mail addresses", "phone": "Telephone numbers", "iban": "IBAN", "card": "Payment cards", "ip": "IP addresses",
    "us_ssn": "US: social security number", "uk_nino": "UK: national insurance number", "de_tax_id": "DE: tax id",
    "fr_nir": "FR: social security number (NIR)", "es_dni": "ES: DNI and NIE", "it_codice_fiscale": "IT: codice fiscale",
    "nl_bsn": "NL: BSN", "se_personnummer": "SE: personnummer", "pl_pesel": "PL: PESEL", "br_cpf": "BR: CPF",
    "ch_ahv": "CH: AHV number", "be_rrn": "BE: national register number", "cn_resident_id": "CN: resident id",
    "name": "Names of people (a heuristic)",
}  # fmt: skip


class PairsField(forms.CharField):
    """`name = value`, one a line, as a mapping."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        """Return a mapping as lines."""
        return "\n".join(f"{name} = {text}" for name, text in value.items()) if isinstance(value, dict) else value

    def clean(self, value: Any) -> Any:
        """Return the lines as a mapping. Raise ValidationError, naming a line that is none."""
        pairs: dict[str, str] = {}
        for line in (super().clean(value) or "").splitlines():
            name, separator, text = line.partition("=")
            if not separator and line.strip():
                raise forms.ValidationError(f"{line.strip()!r} has no equals sign: write name = value.")
            if separator:
                pairs[name.strip()] = text.strip()
        return pairs

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare what the lines say."""
        try:
            return bool(self.clean(data) != (initial or {}))
        except forms.ValidationError:
            return True


class ScoresField(PairsField):
    """`category = score`, one a line."""

    def clean(self, value: Any) -> Any:
        """Return scores by category. Raise ValidationError."""
        try:
            return {name: float(text) for name, text in super().clean(value).items()}
        except ValueError as error:
            raise forms.ValidationError("Write category = score, such as violence = 0.7.") from error


class LinesField(forms.CharField):
    """One a line, as a list."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        """Return a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        """Return the lines that are not empty."""
        return [line.strip() for line in (super().clean(value) or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare what the lines say."""
        return bool(self.clean(data) != (initial or []))


class PolicyForm(forms.ModelForm):
    """A policy, its lists as lines of text."""

    pii_kinds = forms.MultipleChoiceField(
        label="Kinds",
        choices=[(kind, PII_LABELS.get(kind, kind)) for kind in pii.KINDS],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked: all but names, which are a heuristic.",
    )
    moderation_thresholds = ScoresField(
        required=False,
        help_text=f"category = score, one a line; 0.5 for the others. Categories: {', '.join(CATEGORIES)}.",
    )
    own_patterns = PairsField(
        required=False,
        help_text=r"name = regular expression, one a line, such as staff = EMP-\d{6}. Every repeat needs a bound.",
    )
    own_words = LinesField(required=False, help_text="Words and phrases, one a line; capital letters do not matter.")

    class Meta:
        model = GuardPolicy
        widgets = {name: UnfoldAdminTextareaWidget(attrs={"rows": 3}) for name in ("topics_allow", "topics_deny")}
        fields = (
            "name", "organization", "description", "is_active", "pii_input", "pii_output", "pii_kinds", "is_reversible",
            "secrets_input", "secrets_output", "finds_random_text", "injection_input", "injection_output",
            "injection_threshold", "moderation_input", "moderation_output", "moderation_thresholds", "moderation_model",
            "topics_input", "topics_output", "topics_allow", "topics_deny", "lengths_input", "lengths_output",
            "max_prompt_characters", "max_answer_characters", "own_input", "own_output", "own_patterns", "own_words",
        )  # fmt: skip

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        wrong = set(self.errors)
        for name, texts in check_guard_policy(self.instance).items():
            for text in () if name in wrong else texts:
                self.add_error(name if name in self.fields else None, text)


class BindingForm(forms.ModelForm):
    """Where a policy applies."""

    class Meta:
        model = GuardBinding
        fields = SUBJECTS

    def clean(self) -> dict[str, Any]:
        """Refuse what belongs to another organization than the policy."""
        found = super().clean() or {}
        binding = GuardBinding(**{name: found.get(name) for name in SUBJECTS})
        owner = getattr(self.instance.policy, "organization_id", None) if self.instance.policy_id else None
        if owner is not None and organization_of(binding) != owner:
            raise forms.ValidationError("An organization's policy applies to its own teams and keys only.")
        return found


class BindingInline(TabularInline):
    """Where the policy applies, on its page."""

    model = GuardBinding
    form = BindingForm
    extra = 0
    autocomplete_fields = SUBJECTS
    verbose_name_plural = "Where it applies (all three empty: to everybody)"


class TrialForm(forms.Form):
    """A text to try a policy on."""

    direction = forms.ChoiceField(choices=GuardDirection.choices, widget=UnfoldAdminSelectWidget)
    text = forms.CharField(max_length=LONGEST_TRIAL, strip=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}))


@admin.register(GuardPolicy)
class GuardPolicyAdmin(ModelAdmin):
    """Policies. A change holds for the next call of every process."""

    form = PolicyForm
    list_display: ClassVar[Any] = ("name", "organization", "in_prompts", "in_answers", "applies_to", "is_active")
    list_filter: ClassVar[Any] = ("is_active", ("organization", admin.EmptyFieldListFilter))
    list_select_related: ClassVar[Any] = ("organization",)
    search_fields: ClassVar[Any] = ("name", "description", "organization__name", "organization__slug")
    ordering: ClassVar[Any] = ("name", "id")
    autocomplete_fields: ClassVar[Any] = ("organization",)
    inlines: ClassVar[Any] = (BindingInline,)
    actions_detail: ClassVar[Any] = ("try_out",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("name", "organization", "description", "is_active")}),
        (
            "Personal data",
            {
                "fields": (("pii_input", "pii_output"), "pii_kinds", "is_reversible"),
                "description": "Log counts, mask puts a placeholder such as [EMAIL_1] in its place, block refuses the call. "
                "Where several policies apply, the strictest holds for each find.",
            },
        ),
        ("Secrets", {"fields": (("secrets_input", "secrets_output"), "finds_random_text")}),
        ("Prompt injection", {"fields": (("injection_input", "injection_output"), "injection_threshold")}),
        (
            "Moderation",
            {"fields": (("moderation_input", "moderation_output"), "moderation_thresholds", "moderation_model")},
        ),
        ("Topics", {"fields": (("topics_input", "topics_output"), "topics_allow", "topics_deny")}),
        (
            "Lengths",
            {"fields": (("lengths_input", "lengths_output"), ("max_prompt_characters", "max_answer_characters"))},
        ),
        ("Own patterns and words", {"fields": (("own_input", "own_output"), "own_patterns", "own_words")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[GuardPolicy]:
        """Add how often each policy applies."""
        return super().get_queryset(request).annotate(binding_count=Count("bindings"))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Call the two modes of a detector what they are on a page that has its name already."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        detector, _, direction = db_field.name.rpartition("_")
        if field is not None and detector in GuardDetector.values and direction in GuardDirection.values:
            field.label = f"In {GuardDirection(direction).label.lower()}s"
        return field

    @admin.display(description="in prompts")
    def in_prompts(self, policy: GuardPolicy) -> str:
        """Say what is done about prompts."""
        return _describe(policy, GuardDirection.INPUT)

    @admin.display(description="in answers")
    def in_answers(self, policy: GuardPolicy) -> str:
        """Say what is done about answers."""
        return _describe(policy, GuardDirection.OUTPUT)

    @admin.display(description="bindings", ordering="binding_count")
    def applies_to(self, policy: Any) -> str:
        """Return in how many places the policy applies."""
        return f"{policy.binding_count}" if policy.binding_count else "nowhere"

    def save_model(self, request: HttpRequest, obj: GuardPolicy, form: Any, change: bool) -> None:
        """Save through the service."""
        save_guard_policy(policy=obj, fields=tuple(form.changed_data), actor=_actor(request))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Bind and lift through the services."""
        for binding in formset.save(commit=False):
            bind_guard_policy(binding=binding, actor=_actor(request))
        for binding in formset.deleted_objects:
            unbind_guard_policy(binding=binding, actor=_actor(request))
        formset.save_m2m()

    def delete_model(self, request: HttpRequest, obj: GuardPolicy) -> None:
        """Delete through the service."""
        delete_guard_policy(policy=obj, actor=_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[GuardPolicy]) -> None:
        """Delete each through the service."""
        for policy in queryset:
            delete_guard_policy(policy=policy, actor=_actor(request))

    @action(description="Try it out", url_path="try", icon="science", permissions=["try_out"])
    def try_out(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Take a text, and show what the policy finds in it and what would be passed on. Nothing is kept."""
        policy = self.get_object(request, object_id)
        if policy is None:
            raise Http404
        form = TrialForm(request.POST if request.method == "POST" else None)
        trial: Trial | None = None
        if request.method == "POST" and form.is_valid():
            terms = compile_terms([describe_policy(policy)])
            direction = GuardDirection(form.cleaned_data["direction"])
            trial = try_policies(terms, form.cleaned_data["text"], direction=direction)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Try out {policy}",
            "opts": self.opts,
            "form": form,
            "policy": policy,
            "trial": trial,
            "found": [(finding, GuardMode(finding.mode).label, count) for finding, count in trial.findings]
            if trial
            else [],
            "back": reverse("admin:gateway_guardpolicy_change", args=[policy.pk]),
        }
        return TemplateResponse(request, "gateway/admin/guard_trial.html", context)

    def has_try_out_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Let those try a policy who may see it."""
        return self.has_view_permission(request)


@admin.register(GuardHit)
class GuardHitAdmin(ReadOnlyModelAdmin):
    """What was found: kinds and counts, never the text."""

    list_display: ClassVar[Any] = ("created_at", "detector", "kind", "mode", "direction", "count", "model", "policy", "key", "owner")  # fmt: skip
    list_filter: ClassVar[Any] = ("detector", "mode", "direction", ("created_at", RangeDateTimeFilter))
    search_fields: ClassVar[Any] = ("=kind", "=model", "=request_id", "=policy_id", "=organization_id", "=api_key_id")
    search_help_text = "Kind, model, or the UUID of a request, policy, organization or key"
    ordering: ClassVar[Any] = ("-created_at", "-id")
    list_before_template = "gateway/admin/guard_days.html"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show what was found on each of the last days above the list."""
        self._names = {str(policy.pk): policy.name for policy in GuardPolicy.objects.only("name")}
        return super().changelist_view(request, {**(extra_context or {}), "days": _count_days()})

    @admin.display(description="policy", ordering="policy_id")
    def policy(self, hit: GuardHit) -> SafeString | str:
        """Link the policy, by its name where it is still there."""
        return link_to(GuardPolicy, hit.policy_id, getattr(self, "_names", {}).get(str(hit.policy_id), "deleted"))

    @admin.display(description="key", ordering="api_key_id")
    def key(self, hit: GuardHit) -> SafeString | str:
        """Link the key."""
        return link_to(ApiKey, hit.api_key_id, "key" if hit.api_key_id else "")

    @admin.display(description="organization", ordering="organization_id")
    def owner(self, hit: GuardHit) -> SafeString | str:
        """Link the organization."""
        return link_to(Organization, hit.organization_id, "organization" if hit.organization_id else "")


def _count_days() -> list[dict[str, Any]]:
    today = timezone.now().date()
    since = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    rows: Any = GuardHit.objects.per_day(since)
    counts = {(row["day"], row["mode"]): row["total"] for row in rows}
    modes = (GuardMode.LOG, GuardMode.MASK, GuardMode.BLOCK)
    days = [today - timedelta(days=back) for back in range(DAYS)]
    found = {day for day, _ in counts}
    return [
        {"day": day, **{mode.value: counts.get((day, mode.value), 0) for mode in modes}} for day in days if day in found
    ]


def _describe(policy: GuardPolicy, direction: GuardDirection) -> str:
    active = [
        (GUARD_STRICTNESS[mode], f"{GuardDetector(name).label.lower()}: {mode}")
        for name in GuardDetector.values
        if (mode := getattr(policy, f"{name}_{direction.value}")) != GuardMode.OFF
    ]
    return ", ".join(text for _, text in sorted(active, reverse=True)) or "nothing"


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor
