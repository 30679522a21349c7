"""Google's Sensitive Data Protection (DLP): `projects.content.inspect`, as a service account.

Places are told in code points and in bytes; the first are taken where they are there.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from connectors.base import UpstreamFailure
from connectors.detectors.base import (
    MOST_HITS,
    DetectorFailure,
    DetectorKind,
    Hit,
    Wire,
    bad_answer,
    characters,
    count,
    items,
    member,
    named,
    within,
)
from connectors.detectors.nightfall import SURENESS
from connectors.detectors.settings import Setting, check_settings, listed, read
from connectors.oauth_http import OAuthFailure, post_form

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_SECONDS: Final = 3600
RENEW_SECONDS: Final = 300
"""So long before its end a token is not used any more."""
MOST_TOLD: Final = 1_000
"""Findings that are asked for; should there be more, the answer is not whole."""
SETTINGS: Final = (
    Setting("project", "Project", text="Its id.", pattern="[a-z][a-z0-9:.-]{4,62}", must_be="the id of a project"),
    Setting("location", "Location", "global", "Where it is processed, e.g. europe-west3.", pattern="[a-z0-9-]{2,40}",
            must_be="e.g. europe-west3"),
    Setting("info_types", "Info types", "", "Separated by commas, e.g. PERSON_NAME, US_SOCIAL_SECURITY_NUMBER.",
            shape="list", pattern="[A-Za-z0-9_$-]{1,64}", must_be="names such as PERSON_NAME"),
    Setting("template", "Inspection template", "", "Its whole name: projects/…/inspectTemplates/….",
            pattern="(?:projects|organizations)/[A-Za-z0-9:._/-]{1,300}/inspectTemplates/[A-Za-z0-9_-]{1,100}",
            must_be="projects/…/inspectTemplates/…"),
    Setting("url", "Address", "https://dlp.googleapis.com", "Of a regional endpoint, if you use one.", shape="url"),
    Setting("token_url", "Address for tokens", "https://oauth2.googleapis.com/token", shape="url"),
)  # fmt: skip


def check(settings: Mapping[str, Any]) -> None:
    check_settings(SETTINGS, settings)
    told = read(SETTINGS, settings)
    if not told["info_types"] and not told["template"]:
        raise ValueError("info_types: name info types or an inspection template")


class GoogleDlp:
    model = ""

    def __init__(self, settings: Mapping[str, Any], secret: str) -> None:
        told = read(SETTINGS, settings)
        self._account, self._key = _service_account(secret)
        self._token_url = told["token_url"]
        self._url = (
            f"{told['url'].rstrip('/')}/v2/projects/{told['project']}/locations/{told['location']}/content:inspect"
        )
        wanted: dict[str, Any] = {"limits": {"maxFindingsPerRequest": MOST_TOLD}, "minLikelihood": "VERY_UNLIKELY"}
        if types := listed(told["info_types"]):
            wanted["infoTypes"] = [{"name": name} for name in types]
        self._about: dict[str, Any] = {"inspectConfig": wanted}
        if told["template"]:
            self._about["inspectTemplateName"] = told["template"]
        self._token, self._good_until = "", 0.0

    async def look(self, text: str, *, is_answer: bool, wire: Wire) -> Sequence[Hit]:
        headers = (("Authorization", f"Bearer {await self._token_now(wire)}"),)
        try:
            answer = await wire.post(self._url, orjson.dumps({**self._about, "item": {"value": text}}), headers)
        except DetectorFailure as failure:
            if failure.code == "access":
                self._token = ""
            raise
        result = member(answer, "result", dict, default={})
        if member(result, "findingsTruncated", bool, default=False):
            raise bad_answer(f"There are more than {MOST_HITS:,} findings; it did not tell all.")
        return within(text, (_hit(text, told) for told in items(result, "findings")))

    def close(self) -> None:
        return

    async def _token_now(self, wire: Wire) -> str:
        """Asked for once and kept; two questions that need one at the same time ask twice."""
        if self._token and time.monotonic() < self._good_until:
            return self._token
        try:
            reply = await post_form(
                wire.way(self._token_url), self._token_url, {"grant_type": GRANT, "assertion": self._assertion()}
            )
        except OAuthFailure as failure:
            raise DetectorFailure(failure.code, failure.message) from None
        except UpstreamFailure as failure:
            raise DetectorFailure(failure.code, failure.message) from None
        token, lasts = reply.body.get("access_token"), reply.body.get("expires_in")
        if reply.status != 200 or not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise DetectorFailure(
                "access", f"No token was given for the service account ({reply.error or reply.status})."
            )
        seconds = lasts if isinstance(lasts, int) and not isinstance(lasts, bool) else RENEW_SECONDS
        self._token, self._good_until = token, time.monotonic() + min(max(seconds, 0), TOKEN_SECONDS) - RENEW_SECONDS
        return token

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {"iss": self._account, "scope": SCOPE, "aud": self._token_url, "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, self._key)


def _service_account(secret: str) -> tuple[str, RSAKey]:
    """Raises DetectorFailure, without a word of the key."""
    try:
        told = orjson.loads(secret)
        account, key = told["client_email"], RSAKey.import_key(told["private_key"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, JoseError):
        raise DetectorFailure("secret", "Its secret is not the JSON key of a service account.") from None
    if not isinstance(account, str):
        raise DetectorFailure("secret", "Its secret is not the JSON key of a service account.")
    return account, key


def _hit(text: str, told: Any) -> Hit:
    sureness = SURENESS.get(member(told, "likelihood", str))
    if sureness is None:
        raise bad_answer()
    place = member(told, "location", dict)
    if (points := member(place, "codepointRange", dict, default={})) and "end" in points:
        start, end = count(points, "start", 0), count(points, "end")
    else:
        found = member(place, "byteRange", dict)
        start, end = characters(text, count(found, "start", 0), count(found, "end"))
    return Hit(named(member(member(told, "infoType", dict), "name", str)), start, end, sureness)


KIND: Final = DetectorKind(
    "Google Sensitive Data Protection (DLP)",
    SETTINGS,
    check,
    GoogleDlp,
    needs="The JSON key of a service account, on one line (bearer)",
)
