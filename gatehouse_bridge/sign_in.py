"""Instead of a key: a person signs in at the gateway in her browser (RFC 8628), and the bridge keeps what comes of it.

Everything is asked of the one address that the bridge was told, whatever metadata says: no token goes elsewhere.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

from gatehouse_bridge.address import Address, BadSetting, address_of
from gatehouse_bridge.http import Broken, Connections, Exchange, NotSent
from gatehouse_bridge.keys import Key, checked
from gatehouse_bridge.messages import parsed
from gatehouse_bridge.saying import say
from gatehouse_bridge.token_file import Locked, TokenFile, Tokens

METADATA = "/.well-known/oauth-authorization-server"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SPARE_SECONDS = 30.0
"""A token that ends sooner is renewed before it is used."""
BODY_LIMIT = 64 * 1024
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
LONGEST_WAIT = 900.0


class Refused(Exception):
    """The authorization server said no; the text is its error code."""


class SignedIn(Key):
    """An access token, renewed when it has to be; the person is asked when nothing else helps."""

    def __init__(self, address: Address, *, url: str, client_id: str, file: TokenFile, opens_browser: bool) -> None:
        self._address = address
        self._connections = Connections(address)
        self._resource = url
        self._client_id = client_id
        self._file = file
        self._opens_browser = opens_browser
        self._turn = threading.Lock()
        self._tokens: Tokens | None = file.read()

    def current(self) -> str:
        """Raises NotSent when she did not sign in."""
        tokens = self._tokens
        if tokens is not None and tokens.lasts(SPARE_SECONDS):
            return tokens.access
        return self._other_than("").access

    def at_hand(self) -> str:
        tokens = self._tokens
        return tokens.access if tokens is not None and tokens.lasts(0) else ""

    def renew(self, refused: str) -> bool:
        try:
            return self._other_than(refused).access != refused
        except NotSent:
            return False

    def _other_than(self, refused: str) -> Tokens:
        try:
            with self._turn, self._file.held():
                kept = self._file.read()
                if kept is None or kept.access == refused or not kept.lasts(SPARE_SECONDS):
                    kept = self._renewed(kept)
                self._tokens = kept
                return kept
        except (OSError, Locked, Broken, Refused, BadSetting) as reason:
            raise NotSent(f"you are not signed in ({str(reason) or type(reason).__name__})") from None

    def _renewed(self, kept: Tokens | None) -> Tokens:
        endpoints = self._endpoints()
        if kept is not None and kept.refresh:
            asked = {"grant_type": "refresh_token", "refresh_token": kept.refresh, "resource": self._resource}
            try:
                return self._kept(self._post(endpoints["token_endpoint"], asked))
            except Refused:
                self._file.forget()
        return self._asked_in_browser(endpoints)

    def _asked_in_browser(self, endpoints: dict[str, str]) -> Tokens:
        codes = self._post(endpoints["device_authorization_endpoint"], {"resource": self._resource})
        page = str(codes.get("verification_uri_complete") or codes.get("verification_uri", ""))
        self._at_home(page)
        say(f"sign in at {page} and see that it shows the code {codes.get('user_code', '')}")
        if self._opens_browser:
            open_browser(page)
        pause = _seconds(codes.get("interval"), 5.0)
        deadline = time.monotonic() + min(_seconds(codes.get("expires_in"), 600.0, LONGEST_WAIT), LONGEST_WAIT)
        asked = {"grant_type": DEVICE_GRANT, "device_code": str(codes.get("device_code", ""))}
        while time.monotonic() < deadline:
            time.sleep(pause)
            try:
                tokens = self._kept(self._post(endpoints["token_endpoint"], asked))
            except Refused as reason:
                if str(reason) == "slow_down":
                    pause = min(pause + 5.0, LONGEST_PAUSE)
                elif str(reason) != "authorization_pending":
                    raise
                continue
            say("you are signed in")
            return tokens
        raise Refused("expired_token")

    def _kept(self, answer: dict[str, Any]) -> Tokens:
        """In the file before it is used: the old refresh token is spent."""
        access, refresh = (
            checked(str(answer.get(name, "")), "The answer") for name in ("access_token", "refresh_token")
        )
        tokens = Tokens(access, refresh, time.time() + _seconds(answer.get("expires_in"), 60.0, LONGEST_WAIT))
        self._file.write(tokens)
        return tokens

    def _endpoints(self) -> dict[str, str]:
        found = self._json(Exchange(self._connections).send("GET", METADATA, headers={"Accept": "application/json"}))
        names = ("token_endpoint", "device_authorization_endpoint")
        endpoints = {name: str(found.get(name, "")) for name in names}
        for url in (str(found.get("issuer", "")), *endpoints.values()):
            self._at_home(url)
        return endpoints

    def _at_home(self, url: str) -> None:
        """Raises BadSetting for an address that is not the gateway's own."""
        if address_of(url.partition("?")[0]).origin != self._address.origin:
            raise BadSetting("the gateway calls itself by another address; use that one")

    def _post(self, url: str, fields: dict[str, str]) -> dict[str, Any]:
        body = urlencode({**fields, "client_id": self._client_id}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        exchange = Exchange(self._connections).send("POST", urlsplit(url).path, headers=headers, body=body)
        return self._json(exchange)

    def _json(self, exchange: Exchange) -> dict[str, Any]:
        """Raises Refused for what is no success. Descriptions of errors are not shown: they may say anything."""
        status = exchange.status
        found = parsed(exchange.read(BODY_LIMIT))
        if not isinstance(found, dict):
            raise Refused(f"HTTP {status}")
        if status != 200:
            raise Refused(str(found.get("error", f"HTTP {status}"))[:40])
        return found


def open_browser(page: str) -> None:
    """In a process of its own: some browsers write to stdout, which belongs to the protocol."""
    command = [sys.executable, "-m", "webbrowser", "-t", page]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        subprocess.Popen(command, **quiet)  # type: ignore[call-overload]
    except OSError:
        return


def _seconds(told: Any, default: float, longest: float = LONGEST_PAUSE) -> float:
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        return default
    return max(SHORTEST_PAUSE, min(float(told), longest))
