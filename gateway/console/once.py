"""A key is shown in the answer to the form that asked for it: sending that form again must not make another one.

Reloading the answer, going back and forth, or a double click sends it again.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import TypeVar

from django import forms
from django.core.cache import cache

KEPT_SECONDS = 24 * 60 * 60
LONGEST_TICKET = 64

Made = TypeVar("Made")


class ShownAlready(Exception):
    """The form was sent before, and nothing was made now; the message says what it made then."""


def new_ticket() -> str:
    return secrets.token_urlsafe(18)


class OnceForm(forms.Form):
    """Comes with a ticket that is good for one time."""

    once = forms.CharField(max_length=LONGEST_TICKET, widget=forms.HiddenInput, initial=new_ticket)


def make_once(make: Callable[[], Made], *, ticket: str, by: str, told: Callable[[Made], str]) -> Made:
    """`told` is kept for whoever comes with the ticket again, so it holds nothing secret. Raises ShownAlready."""
    place = f"once:{hashlib.sha256(f'{by}|{ticket}'.encode()).hexdigest()}"
    if not cache.add(place, "", KEPT_SECONDS):
        raise ShownAlready(_told_again(cache.get(place)))
    try:
        made = make()
    except Exception:
        cache.delete(place)
        raise
    cache.set(place, told(made), KEPT_SECONDS)
    return made


def _told_again(told: str | None) -> str:
    if not told:
        return "This was asked for a moment ago, in another tab or by a double click. Nothing else was made."
    return f"It was shown already, and nothing new was made: {told}. If you did not store it, end it and make another."
