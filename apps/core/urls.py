"""The API document and its pages."""

from django.urls import path

from apps.core.api.views import SchemaView
from apps.core.views import explain_code, explain_codes, show_api_docs

urlpatterns = [
    path("api/v3/schema", SchemaView.as_view(), name="schema"),
    path("api/docs", show_api_docs, name="api-docs"),
    path("api/docs/errors", explain_codes, name="error-codes"),
    path("api/docs/errors/<str:code>", explain_code, name="error-code"),
]
