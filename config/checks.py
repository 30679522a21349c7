"""System checks: values that can be read one by one and are still wrong together, or on this machine."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DEFAULT_DB_ALIAS, connection

from config.keys import AUDIT_SIGNING_KEY_FILE, KEK_FILE, SECRET_KEY_FILE
from gateway.runtime_role import changeable_evidence

READABLE_BY_OTHERS = 0o077


@register(Tags.files)
def data_dir_is_ours(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    folder = Path(settings.DATA_DIR)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return [Error(f"DATA_DIR: {folder} is not a folder we can write to.", id="gatehouse.E001")]
    return list(_open_keys(folder))


def _open_keys(folder: Path) -> Iterator[CheckMessage]:
    for name in (SECRET_KEY_FILE, KEK_FILE, AUDIT_SIGNING_KEY_FILE):
        path = folder / name
        if path.exists() and path.stat().st_mode & READABLE_BY_OTHERS:
            yield Error(f"{path} can be read by others.", hint=f"chmod 600 {path}", id="gatehouse.E002")


@register(Tags.security)
def addresses_fit(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        return [
            checks.Warning(
                "PUBLIC_URL is https, but no proxy is trusted to say that a request came by https.",
                hint="Set TRUSTED_PROXIES to the network of the proxy that ends TLS.",
                id="gatehouse.W001",
            )
        ]
    return []


@register(Tags.security)
def sign_on_is_whole(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.OIDC_ISSUER and not (settings.OIDC_CLIENT_ID and settings.OIDC_CLIENT_SECRET):
        hint = "Set OIDC_CLIENT_ID and OIDC_CLIENT_SECRET (or OIDC_CLIENT_SECRET_FILE) as the provider gave them."
        return [Error("OIDC_ISSUER names a provider, but not who we are to it.", hint=hint, id="gatehouse.E004")]
    if settings.SAML_IDP_ENTITY_ID and not (settings.SAML_IDP_SSO_URL and settings.SAML_IDP_CERTIFICATE):
        hint = "Set SAML_IDP_SSO_URL and SAML_IDP_CERTIFICATE (or SAML_IDP_CERTIFICATE_FILE) as its metadata have them."
        return [Error("SAML_IDP_ENTITY_ID names a provider, but not how to know it.", hint=hint, id="gatehouse.E006")]
    if settings.LOCAL_SIGN_IN == "break-glass" and not (settings.OIDC_ISSUER or settings.SAML_IDP_ENTITY_ID):
        hint = "Set OIDC_ISSUER or SAML_IDP_ENTITY_ID, or leave LOCAL_SIGN_IN at everybody."
        return [Error("LOCAL_SIGN_IN lets nobody in without single sign-on.", hint=hint, id="gatehouse.E005")]
    return []


@register(Tags.security)
def old_kek_is_old(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.KEK in settings.KEK_PREVIOUS:
        return [
            Error(
                "GATEHOUSE_KEK_PREVIOUS holds the current key; it lists only earlier ones.",
                id="gatehouse.E003",
            )
        ]
    return []


@register(Tags.database, deploy=True)
def evidence_is_out_of_reach(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """With `--database default`: whether the role that serves could change evidence or lift its guards."""
    if DEFAULT_DB_ALIAS not in (databases or ()) or connection.vendor != "postgresql" or settings.DATABASE_OWNER_URL:
        return []
    if not (held := changeable_evidence(connection)):
        return []
    return [
        checks.Warning(
            f"The role of DATABASE_URL could change {', '.join(held)}, or disable the triggers that refuse it.",
            hint="Serve as a role that owns nothing: manage.py grant_runtime, or DATABASE_OWNER_URL where you migrate.",
            id="gatehouse.W002",
        )
    ]
