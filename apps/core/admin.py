"""Bases of staff pages over tables that nobody edits, however big they are."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

MOST_COUNTED = 10_000


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
