"""For templates: `{% load console %}`."""

from django import template

from gateway.console import hostile_text

register = template.Library()


@register.filter
def visible(text: object) -> str:
    """What agents and upstreams wrote, with its unseen letters seen; the template still escapes it."""
    return hostile_text.visible(str(text))
