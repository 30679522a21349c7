"""For templates: `{% load console %}`."""

from typing import Any

from django import template
from django.utils.safestring import SafeString

from gateway import hostile_text
from gateway.console import skin
from gateway.console.navigation import group_of

register = template.Library()


@register.filter
def visible(text: object) -> str:
    """What agents and upstreams wrote, with its unseen letters seen; the template still escapes it."""
    return hostile_text.visible(str(text))


@register.simple_tag
def copyable(key: object) -> SafeString:
    """An id with a button that copies all of it."""
    return skin.copyable(str(key), shown=f"{str(key)[:8]}…")


@register.simple_tag
def in_groups(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The way to a page as the sidebar has it: rows of an app begin with the group of their list, not with the app."""
    if len(parts) < 2 or "link" not in parts[1]:
        return parts
    group = group_of(str(parts[1]["link"]))
    return [{"title": group}, *parts[1:]] if group else parts[1:]
