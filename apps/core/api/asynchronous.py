"""REST views whose handlers are coroutines: everything around them is Django REST framework's own."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from apps.core.api.views import View


class AsyncView(View):
    """A view with `async def post` and so on.

    Authentication, scopes, parsing, refusals and the API document are those of every other view; only the handler waits,
    without holding a thread or its database connection.
    """

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Answer whoever accepts only an event stream, refusals included."""
        return super().perform_content_negotiation(request, force=True)

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Do what APIView does, awaiting the handler."""
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            await sync_to_async(self._admit)()
            handler = getattr(self, (request.method or "").lower(), self.http_method_not_allowed)
            if not iscoroutinefunction(handler):
                handler = sync_to_async(handler)
            response = await handler(self.request, *args, **kwargs)
        except Exception as error:
            response = await sync_to_async(self.handle_exception)(error)
        self.response = self.finalize_response(self.request, response, *args, **kwargs)
        return self.response

    def _admit(self) -> None:
        """Authenticate, authorise and read the body, in the request's thread; then give its connection back."""
        try:
            self.initial(self.request, *self.args, **self.kwargs)
            self.request.data  # noqa: B018 - parsed here, where waiting for the parser blocks nobody
        finally:
            close_old_connections()
