"""Bases of staff pages: of all of them, and of those over tables that nobody edits, however big they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin as UnfoldModelAdmin

MOST_COUNTED = 10_000

_beside: dict[type[Model], list[tuple[str, Callable[[Any], str]]]] = {}


def show_beside(model: type[Model], title: str, show: Callable[[Any], str]) -> None:
    """Have the staff page of a model show, below a row's fields, what a house further up the street knows of it."""
    _beside.setdefault(model, []).append((title, show))


def link_text(url: str, text: object) -> SafeString:
    """Return a link in the colours of staff pages."""
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text)


def link_to(model: type[Model], pk: object, text: str = "") -> SafeString | str:
    """Return a link to a row's staff page; the text alone where there is no such row or page."""
    if pk is None or model not in admin.site._registry:
        return text or "–"
    meta = model._meta
    return link_text(reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[pk]), text or pk)


class CappedPaginator(Paginator):
    """Counts to 10,000 and no further: on a table of millions the count would cost more than the page.

    What lies beyond is reached by filters, not by paging.
    """

    @cached_property
    def count(self) -> int:
        """Return the number of rows, at most 10,000."""
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[:MOST_COUNTED].count())


class ModelAdmin(UnfoldModelAdmin):
    """The base of every staff page."""

    change_form_after_template = "core/admin/beside.html"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return a column's form field; a list of names needs two lines, not a page."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(db_field, ArrayField) and field is not None and isinstance(field.widget, forms.Textarea):
            field.widget.attrs["rows"] = 2
        return field

    def render_change_form(  # noqa: PLR0917 - the signature is Django's
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Show a row's form, and below it what `show_beside` registered."""
        context["beside"] = [(title, show(obj)) for title, show in _beside.get(self.model, ()) if obj is not None]
        return super().render_change_form(request, context, add, change, form_url, obj)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        """Act on the rows that were ticked; say so when what came is no row's key, which Django would fail at."""
        if not all(self._is_key(text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            messages.error(request, "The selection cannot be read; tick the rows again. Nothing was changed.")
            return None
        answer: HttpResponseBase | None = super().response_action(request, queryset)
        return answer

    def _is_key(self, text: str) -> bool:
        field = self.opts.pk
        try:
            field.run_validators(field.to_python(text))
        except ValidationError:
            return False
        return "\x00" not in text


class ReadOnlyModelAdmin(ModelAdmin):
    """Shows rows and never changes them. The count of a list ends at 10,000."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False
