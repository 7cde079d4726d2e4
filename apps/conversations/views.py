"""The chat page. What it shows comes from /api/v3; the page itself is the same for everybody who is logged in."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Send people to the chat, which asks strangers to log in first."""
    return redirect("chat")


@require_safe
@never_cache
@login_required
def chat(request: HttpRequest, conversation_id: str = "") -> HttpResponse:
    """Show the chat page. The page asks the API for the conversation, so that a foreign id and a missing one look alike."""
    return render(request, "conversations/chat.html")
