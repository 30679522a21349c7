"""Whether clients of people can sign in here."""

from django.urls import Resolver404, resolve

AUTHORIZATION_PATH = "/oauth/authorize"


def people_can_sign_in() -> bool:
    """Whether this installation has an authorization server for them."""
    for path in (AUTHORIZATION_PATH, f"{AUTHORIZATION_PATH}/"):
        try:
            resolve(path)
        except Resolver404:
            continue
        return True
    return False
