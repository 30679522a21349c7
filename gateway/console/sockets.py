"""WebSockets of the screens. What they tell is always read from the database; they only say when to look."""

from typing import Any

websocket_urlpatterns: list[Any] = []
