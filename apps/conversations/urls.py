"""Routes of the conversations house."""

from django.urls import URLPattern, path

from apps.conversations import views
from apps.conversations.api.chat import ChatStreamView, ChatView, RegenerateView, RunCancelView, RunStreamView
from apps.conversations.api.conversations import ConversationListView, ConversationRestoreView, ConversationView
from apps.conversations.api.messages import MessageListView, MessageView
from apps.conversations.api.summaries import SummarizeView, SummaryView
from apps.conversations.consumers import ChatConsumer

CONVERSATION = "api/v3/conversations/<str:cid>"

urlpatterns: list[URLPattern] = [
    path("", views.home, name="home"),
    path("chat", views.chat, name="chat"),
    path("chat/<str:conversation_id>", views.chat, name="chat_conversation"),
    path("api/v3/conversations", ConversationListView.as_view(), name="conversation-list"),
    path(CONVERSATION, ConversationView.as_view(), name="conversation"),
    path(f"{CONVERSATION}/restore", ConversationRestoreView.as_view(), name="conversation-restore"),
    path(f"{CONVERSATION}/summarize", SummarizeView.as_view(), name="conversation-summarize"),
    path(f"{CONVERSATION}/summary", SummaryView.as_view(), name="conversation-summary"),
    path(f"{CONVERSATION}/messages", MessageListView.as_view(), name="message-list"),
    path(f"{CONVERSATION}/messages/<str:mid>", MessageView.as_view(), name="message"),
    path(f"{CONVERSATION}/messages/<str:mid>/regenerate", RegenerateView.as_view(), name="message-regenerate"),
    path("api/v3/chat", ChatView.as_view(), name="chat-wait"),
    path("api/v3/chat/stream", ChatStreamView.as_view(), name="chat-stream"),
    path("api/v3/chat/<str:run_id>/stream", RunStreamView.as_view(), name="run-stream"),
    path("api/v3/chat/<str:run_id>/cancel", RunCancelView.as_view(), name="run-cancel"),
]
websocket_urlpatterns = [path("api/v3/chat/ws", ChatConsumer.as_asgi())]
