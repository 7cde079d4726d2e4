"""What the coroutine views of this house know beyond those of the core."""

from __future__ import annotations

from apps.core.api.asynchronous import AsyncView as CoreAsyncView
from apps.users.selectors.credentials import Credential


class AsyncView(CoreAsyncView):
    """A view with `async def post` and so on that knows what its caller showed at the entrance."""

    @property
    def credential(self) -> Credential:
        """Return what the caller showed at the entrance."""
        credential: Credential = self.request._request.credential
        return credential
