"""Forms of the staff pages."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from apps.core.outbound.errors import OutboundRefused
from apps.core.outbound.guard import inspect_url
from apps.integrations.models import WebhookEndpoint
from apps.integrations.selectors.catalogue import public_event_types
from apps.integrations.services.endpoints import MAX_ENDPOINTS


class WebhookEndpointForm(forms.ModelForm):
    """An endpoint as staff create and change it; secrets are never in a form."""

    event_types = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked: every public event, future ones included.",
    )

    class Meta:
        model = WebhookEndpoint
        fields: ClassVar[Any] = ("organization", "url", "description", "event_types")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["event_types"].choices = [(name, name) for name in public_event_types()]  # type: ignore[attr-defined]
        if "url" in self.fields:
            self.fields["url"].required = True

    def clean_url(self) -> str:
        """Refuse what the guard would refuse."""
        url: str = self.cleaned_data["url"]
        try:
            inspect_url(url)
        except OutboundRefused as error:
            raise forms.ValidationError(error.message) from error
        return url

    def clean(self) -> dict[str, Any]:
        """Refuse one endpoint too many."""
        found = super().clean() or {}
        organization = found.get("organization")
        if self.instance._state.adding and organization is not None:
            kept = WebhookEndpoint.objects.kept().filter(organization=organization)
            if kept.count() >= MAX_ENDPOINTS:
                self.add_error("organization", f"It has {MAX_ENDPOINTS} webhook endpoints, which is the most.")
        return found
