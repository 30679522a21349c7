"""The demo organisation: applied once like any manifest, then left to whoever plays with it."""

import io
import json
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from django.core.management import call_command

from gateway import actions
from gateway.demo.helpdesk import Helpdesk, write_private
from governance.agent_keys import NotIssuable, key_digest
from governance.classification import suggest
from governance.facts import Recorder
from governance.models import Agent, AgentCredential, Connector, Tool, ToolDefinition

MANIFEST = Path(__file__).with_name("organization.yaml")
AGENT = "triage-bot"
APPROVER = "lee@example.com"
LARGE_REFUND = {
    "method": "tools/call",
    "params": {
        "name": "billing_refund",
        "arguments": {"order_id": "O-5004", "amount": 399, "reason": "One of four cameras was dead on arrival."},
        "_meta": {"com.gatehouse/reason": "Ticket T-1005: camera 88-2047 does not power up; a quarter of the price."},
    },
}
"""A call that waits for the approver."""
BY = "command:up"
PEOPLE = {
    "ira@example.com": "IT admin",
    "noor@example.com": "security",
    "lee@example.com": "approver",
    "ana@example.com": "person",
}
EXAMPLE_URL = "http://127.0.0.1:9100/mcp"
EXAMPLE_SOURCE = "{env: HELPDESK_TOKEN}"


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}/mcp"


def _classify() -> None:
    """As somebody does who accepts what the wizard suggests."""
    for definition in ToolDefinition.objects.filter(tool__connector__name="helpdesk", status="pinned"):
        found = json.loads(bytes(definition.body))
        said = suggest(found["name"], found.get("annotations", {}))
        Tool.objects.filter(pk=definition.tool_id).update(risk=said.risk, is_read_only=said.is_read_only)


@dataclass(frozen=True, slots=True)
class Demo:
    helpdesk: Helpdesk
    networks: tuple[Any, ...] = (ip_network("127.0.0.0/8"),)

    def load(self, port: int) -> None:
        """Discovers the helpdesk's tools and applies the organisation."""
        manifest = self.helpdesk.folder / "organization.yaml"
        text = MANIFEST.read_text().replace(EXAMPLE_URL, address(port))
        manifest.write_text(text.replace(EXAMPLE_SOURCE, f"{{file: {json.dumps(str(self.helpdesk.token_file))}}}"))
        with self.helpdesk.running(port):
            call_command("apply", str(manifest), stdout=io.StringIO())
        actions.act(lambda record, now: _classify(), by=BY)

    def follow_port(self, port: int, *, by: str) -> None:
        """The port may have been taken since the last start; the connector follows."""
        urls = [address(port)]

        def move(record: Recorder, now: datetime) -> None:
            Connector.objects.filter(name="helpdesk").exclude(urls=urls).update(urls=urls)

        actions.act(move, by=by)

    def agent_key(self, *, by: str) -> str | None:
        """The demo agent's key, in a private file so that a restart shows the same; None if it has no right to one."""
        file = self.helpdesk.folder / "agent.key"
        if file.exists() and self._is_live(key := file.read_text().strip()):
            return key
        agent = Agent.objects.filter(name=AGENT).first()
        if agent is None:
            return None
        try:
            issued = actions.issue_key(agent, by=by, expires_in=None)
        except NotIssuable:
            return None
        write_private(file, issued.key)
        return issued.key

    def _is_live(self, key: str) -> bool:
        live = AgentCredential.objects.filter(digest=key_digest(key), revoked_at=None)
        return live.filter(agent__status=Agent.Status.LIVE, agent__owner__is_active=True).exists()
