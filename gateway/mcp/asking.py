"""Questions to a client up to 2025-11-25: requests of ours on its stream, whose answers are POSTs of their own.

Such an answer may reach any process. It finds the question by an id that only we can make, bound to the session.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from connectors.base import NotAnswered
from gateway.bus import topic_of
from gateway.mcp.context import Context
from gateway.mcp.exchange import Exchange
from gateway.mcp.revisions import LEGACY, OLDEST_LEGACY
from gateway.ports import Ports
from gateway.sealing import NotOurs, seal_text, unseal_text
from governance import canonical

PURPOSE = "question"
QUESTION_SECONDS = 600
REPLY_LIMIT = 1024 * 1024
ID_LIMIT = 200
POWERS = ("elicitation", "sampling", "roots")
TOO_LATE = "The caller's side did not answer in time."


def powers_of(context: Context) -> dict[str, Any]:
    """What this client can be asked, in the words of its revision."""
    powers = {name: context.capabilities[name] for name in POWERS if name in context.capabilities}
    if context.revision == OLDEST_LEGACY:
        powers.pop("elicitation", None)
    elif context.revision == LEGACY[1] and "elicitation" in powers:
        powers["elicitation"] = {}
    return powers


class AtPost:
    """The client at the open stream of its POST."""

    def __init__(self, exchange: Exchange, ports: Ports) -> None:
        self._exchange = exchange
        self._bus = ports.bus
        self._waiting = ports.waiting

    @property
    def can_ask(self) -> bool:
        return self._exchange.can_ask

    async def ask(
        self, requests: Mapping[str, dict[str, Any]], *, meta: Mapping[str, Any] | None = None
    ) -> dict[str, dict[str, Any]]:
        """All at once. Raises NotAnswered when one is not answered."""
        asked = {key: asyncio.create_task(self._ask(request, meta)) for key, request in requests.items()}
        try:
            async with self._waiting.at_most(QUESTION_SECONDS):
                return dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
        except TimeoutError:
            raise NotAnswered(self._waiting.why(TOO_LATE)) from None
        finally:
            for task in asked.values():
                task.cancel()

    async def _ask(self, request: dict[str, Any], meta: Mapping[str, Any] | None) -> dict[str, Any]:
        session = self._exchange.context.session
        if session is None or not self.can_ask:
            raise NotAnswered("The caller's side cannot be asked.")
        question_id = _new_id(session.digest)
        params = request.get("params", {})
        if meta:
            params = {**params, "_meta": {**params.get("_meta", {}), **meta}}
        message = {"jsonrpc": "2.0", "id": question_id, "method": request["method"], "params": params}
        with self._bus.mailbox(_topic(session.digest, question_id)) as box:
            await self._exchange.tell(message)
            reply = json.loads(await box.next() or b"{}")
        if not isinstance(reply.get("result"), dict):
            raise NotAnswered(_reason(reply))
        result: dict[str, Any] = reply["result"]
        return result


async def take_reply(context: Context, reply: dict[str, Any], ports: Ports) -> None:
    """Passes a client's answer on to whoever asked. What answers none of our questions of this session is dropped.

    Raises EvidenceUnavailable.
    """
    question_id, session = reply.get("id"), context.session
    if session is None or not isinstance(question_id, str) or not _is_ours(session.digest, question_id):
        return
    body = canonical.encode({key: reply[key] for key in ("result", "error") if key in reply})
    if len(body) > REPLY_LIMIT:
        body = canonical.encode({"error": {"message": "The answer was too long."}})
    await ports.bus.send(_topic(session.digest, question_id), body, sender=context.agent_id)


def _new_id(session: bytes) -> str:
    """Unguessable, and known as ours without asking anybody."""
    said = f"{int(time.time())} {secrets.token_hex(8)}".encode()
    return seal_text(PURPOSE, said, bound_to=session.hex())


def _is_ours(session: bytes, question_id: str) -> bool:
    if len(question_id) > ID_LIMIT:
        return False
    try:
        asked_at, _ = unseal_text(PURPOSE, question_id, bound_to=session.hex()).split()
    except NotOurs:
        return False
    return time.time() < int(asked_at) + QUESTION_SECONDS


def _topic(session: bytes, question_id: str) -> str:
    return topic_of("reply", session.hex(), question_id)


def _reason(reply: dict[str, Any]) -> str:
    error = reply.get("error")
    said = error.get("message") if isinstance(error, dict) else None
    return f"The caller's side refused: {str(said)[:200]}" if said else "The caller's side gave no answer."
