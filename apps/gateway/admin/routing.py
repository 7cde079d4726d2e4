"""Aliases, routing rules and health for staff, and a page that explains where a call would go."""

from __future__ import annotations

from datetime import UTC
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from apps.core.actor import Actor, ActorKind
from apps.core.admin import ModelAdmin, ReadOnlyModelAdmin
from apps.core.errors import AppError, InvalidInput
from apps.gateway.choices import Capability, HealthStatus, RuleAction
from apps.gateway.models import Alias, HealthState, RoutingRule
from apps.gateway.runtime.rule_failures import read_failures
from apps.gateway.runtime.sharing import shared_health
from apps.gateway.selectors import Caller, caller_of_actor, load_snapshot
from apps.gateway.selectors.routing import RULE_VOCABULARY
from apps.gateway.selectors.terms import Terms
from apps.gateway.services.facts import CallFacts, read_tags
from apps.gateway.services.routing import RouteExplanation, explain_route
from apps.gateway.services.routing.saving import (
    check_fallbacks,
    check_rule,
    delete_alias,
    delete_rule,
    save_alias,
    save_rule,
)
from apps.users.models import ApiKey, Organization, Team
from apps.users.selectors import actor_of_key

LISTS = ("fallbacks", "context_fallbacks", "content_fallbacks")


class AliasForm(forms.ModelForm):
    """An alias whose fallbacks are names that mean something."""

    class Meta:
        model = Alias
        fields = ("name", "organization", "model", *LISTS, "is_active")

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        _add_errors(self, check_fallbacks(self.instance))


class RuleForm(forms.ModelForm):
    """A rule whose condition is understood."""

    class Meta:
        model = RoutingRule
        fields = (
            "name", "organization", "position", "condition", "time_zone", "action", "target", "deployments", *LISTS,
            "overrides_keys", "message", "is_active",
        )  # fmt: skip
        widgets: ClassVar[Any] = {
            "condition": UnfoldAdminTextareaWidget(
                attrs={"rows": 4, "spellcheck": "false", "class": "font-mono", "autocomplete": "off"}
            )
        }

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        _add_errors(self, check_rule(self.instance, list(self.cleaned_data.get("deployments") or [])))


class ExplainForm(forms.Form):
    """A call that is only imagined."""

    model = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Model or alias.")
    kind = forms.ChoiceField(
        choices=[(Capability.CHAT.value, "Chat"), (Capability.EMBEDDINGS.value, "Embeddings")],
        widget=UnfoldAdminSelectWidget,
        initial=Capability.CHAT.value,
    )
    key = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget, help_text="Id of an API key, key_…")
    team = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget, help_text="Id of a team, team_…")
    organization = forms.CharField(
        required=False, widget=UnfoldAdminTextInputWidget, help_text="Id of an organization, org_…; a key has its own."
    )
    tags = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget, help_text="Separated by commas.")
    end_user = forms.CharField(required=False, max_length=128, widget=UnfoldAdminTextInputWidget)
    metadata = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text="name=value, one a line."
    )
    prompt_tokens = forms.IntegerField(
        min_value=0, max_value=100_000_000, initial=1000, widget=UnfoldAdminIntegerFieldWidget
    )
    answer_tokens = forms.IntegerField(
        required=False, min_value=1, max_value=10_000_000, widget=UnfoldAdminIntegerFieldWidget,
        help_text="The bound that the caller sets; empty for none.",
    )  # fmt: skip
    stream = forms.BooleanField(required=False, widget=UnfoldBooleanWidget)
    has_tools = forms.BooleanField(required=False, widget=UnfoldBooleanWidget)
    has_images = forms.BooleanField(required=False, widget=UnfoldBooleanWidget)
    moment = forms.SplitDateTimeField(
        required=False, widget=UnfoldAdminSplitDateTimeWidget, help_text="UTC; empty for now."
    )

    def explain(self) -> RouteExplanation:
        """Return what would become of the call. Raise InvalidInput where an id means nobody."""
        said = self.cleaned_data
        tools: list[Any] = [{}] if said["has_tools"] else []
        content = [{"type": "image_url"}] if said["has_images"] else []
        request = {
            "stream": said["stream"],
            "tools": tools,
            "messages": [{"role": "user", "content": content}],
            "metadata": dict(_pairs(said["metadata"])),
        }
        facts = CallFacts(
            model=said["model"],
            end_user=said["end_user"],
            tags=read_tags(said["tags"]),
            prompt_tokens=said["prompt_tokens"],
            answer_tokens=said["answer_tokens"],
        )
        moment = said["moment"].replace(tzinfo=UTC) if said["moment"] else None
        return explain_route(
            load_snapshot(),
            self._caller(),
            request,
            facts=facts,
            kind=said["kind"],
            health=shared_health(),
            now=moment,
        )

    def _caller(self) -> Caller:
        said = self.cleaned_data
        if said["key"]:
            key = _find(ApiKey, said["key"], "key")
            return caller_of_actor(actor_of_key(key=key))
        team = _find(Team, said["team"], "team") if said["team"] else None
        organization_id: UUID | None = team.organization_id if team else None
        if said["organization"]:
            organization_id = _find(Organization, said["organization"], "organization").id
        actor = Actor(kind=ActorKind.USER, organization_id=organization_id)
        return Caller(actor=actor, terms=Terms(team_id=team.id if team else None))


@admin.register(Alias)
class AliasAdmin(ModelAdmin):
    form = AliasForm
    list_display: ClassVar[Any] = ("name", "model", "organization", "stand_ins", "is_active")
    list_filter: ClassVar[Any] = ("is_active", ("organization", admin.EmptyFieldListFilter))
    list_select_related: ClassVar[Any] = ("model", "organization")
    search_fields: ClassVar[Any] = ("name", "model__name", "organization__name")
    ordering: ClassVar[Any] = ("name", "id")
    autocomplete_fields: ClassVar[Any] = ("model", "organization")

    @admin.display(description="fallbacks")
    def stand_ins(self, alias: Alias) -> str:
        """Return the models that may answer instead."""
        return ", ".join(alias.fallbacks) or "those of the model"

    def save_model(self, request: HttpRequest, obj: Alias, form: Any, change: bool) -> None:
        save_alias(alias=obj, actor=_actor(request))

    def delete_model(self, request: HttpRequest, obj: Alias) -> None:
        delete_alias(alias=obj, actor=_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Alias]) -> None:
        for alias in queryset.select_related("model").order_by("id"):
            delete_alias(alias=alias, actor=_actor(request))


@admin.register(RoutingRule)
class RoutingRuleAdmin(ModelAdmin):
    form = RuleForm
    list_display: ClassVar[Any] = ("name", "position", "when", "goes_to", "organization", "failures", "is_active")
    list_display_links: ClassVar[Any] = ("name",)
    list_filter: ClassVar[Any] = ("is_active", "action", ("organization", admin.EmptyFieldListFilter))
    list_select_related: ClassVar[Any] = ("organization",)
    search_fields: ClassVar[Any] = ("name", "condition", "target", "organization__name")
    ordering: ClassVar[Any] = ("position", "id")
    autocomplete_fields: ClassVar[Any] = ("organization", "deployments")
    actions_list: ClassVar[Any] = ("explain",)
    _failures: ClassVar[dict[str, tuple[int, str]]] = {}
    readonly_fields: ClassVar[Any] = ("words", "failures")
    fieldsets: ClassVar[Any] = (
        (
            "Which calls",
            {"fields": ("name", "organization", "position", "condition", "words", "time_zone", "is_active")},
        ),
        ("Where they go", {"fields": ("action", "target", "deployments", "overrides_keys", "message")}),
        ("Who stands in", {"fields": LISTS}),
        ("Record", {"fields": ("failures",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RoutingRule]:
        type(self)._failures = read_failures()
        return super().get_queryset(request).prefetch_related("deployments")

    @admin.display(description="what a condition may speak of")
    def words(self, rule: RoutingRule | None) -> str:
        """List the variables with their kinds."""
        return ", ".join(f"{name} ({kind.value})" for name, kind in RULE_VOCABULARY.variables.items())

    @admin.display(description="when")
    def when(self, rule: RoutingRule) -> SafeString:
        """Show the beginning of the condition."""
        text = " ".join(rule.condition.split())
        return format_html("<code>{}</code>", text if len(text) <= 80 else text[:79] + "…")

    @admin.display(description="then")
    def goes_to(self, rule: RoutingRule) -> str:
        """Say what becomes of the calls."""
        if rule.action == RuleAction.REFUSE:
            return "refused"
        count = len(rule.deployments.all())
        to = rule.target or "the model asked for"
        return f"{to}, at {count} deployment{'s' if count > 1 else ''}" if count else to

    @admin.display(description="could not be asked (24 h)")
    def failures(self, rule: RoutingRule) -> str:
        """Tell how often the rule could not be asked, and why the last time."""
        count, words = self._failures.get(rule.public_id, (0, ""))
        return f"{count} times; the last time: {words}" if count else "never"

    @action(description="Explain a route", url_path="explain", icon="route", permissions=["explain"])
    def explain(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for a call, and show where it would go and why."""
        form = ExplainForm(request.GET if request.GET else None)
        explanation: RouteExplanation | None = None
        if request.GET and form.is_valid():
            try:
                explanation = form.explain()
            except AppError as error:
                form.add_error(error.param if error.param in form.fields else None, error.message)
        context = {
            **self.admin_site.each_context(request),
            "title": "Explain a route",
            "opts": self.opts,
            "form": form,
            "explanation": explanation,
        }
        return TemplateResponse(request, "gateway/admin/explain.html", context)

    def has_explain_permission(self, request: HttpRequest) -> bool:
        """Let those explain routes who may see the rules."""
        return self.has_view_permission(request)

    def save_model(self, request: HttpRequest, obj: RoutingRule, form: Any, change: bool) -> None:
        save_rule(rule=obj, deployments=form.cleaned_data["deployments"], actor=_actor(request))

    def delete_model(self, request: HttpRequest, obj: RoutingRule) -> None:
        delete_rule(rule=obj, actor=_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RoutingRule]) -> None:
        for rule in queryset.order_by("id"):
            delete_rule(rule=rule, actor=_actor(request))


@admin.register(HealthState)
class HealthStateAdmin(ReadOnlyModelAdmin):
    list_display: ClassVar[Any] = ("subject", "shown_status", "since", "checked_at", "latency", "failures", "error")
    list_display_links = None
    list_filter: ClassVar[Any] = ("status", "provider")
    list_select_related: ClassVar[Any] = ("provider", "deployment__model", "deployment__provider")
    search_fields: ClassVar[Any] = ("provider__name", "provider__slug", "deployment__model__name")
    ordering: ClassVar[Any] = ("provider__name", "id")

    @admin.display(description="provider or deployment", ordering="provider__name")
    def subject(self, state: HealthState) -> str:
        """Say whom the probes ask."""
        return str(state.deployment or state.provider)

    @display(
        description="status",
        ordering="status",
        label={HealthStatus.UP.value: "success", HealthStatus.DOWN.value: "danger", HealthStatus.UNKNOWN.value: "info"},
    )
    def shown_status(self, state: HealthState) -> tuple[str, str]:
        """Show the status as a label."""
        return state.status, state.get_status_display()

    @admin.display(description="latency", ordering="latency_ms")
    def latency(self, state: HealthState) -> str:
        """Return how long the last answer took."""
        return f"{state.latency_ms:,} ms" if state.latency_ms is not None else "–"


def _add_errors(form: forms.ModelForm, errors: dict[str, list[str]]) -> None:
    for field, sentences in errors.items():
        if field not in form.errors:
            form.add_error(field, sentences)


def _find(model: Any, wanted: str, param: str) -> Any:
    row = model.objects.filter(id=model.parse_id(wanted.strip())).first()
    if row is None:
        raise InvalidInput(f"There is no such {param}.", param=param)
    return row


def _pairs(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and name.strip():
            found.append((name.strip(), value.strip()))
    return found


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor
