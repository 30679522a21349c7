import os
import sys
import threading
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from gateway.client_setup import clients, curl_command, endpoint_of
from gateway.demo.helpdesk import Helpdesk
from gateway.demo.organization import AGENT, APPROVER, BY, LARGE_REFUND, PEOPLE, Demo
from gateway.founding import make_owner
from gateway.management.commands.serve import KILL_AFTER_SECONDS, PARTS, overdue_writer, parts_of
from gateway.one_time_links import one_time_login_url
from gateway.readiness import wait_for_pages, wait_until_ready
from gateway.supervisor import Part, Supervisor
from governance.fence.lockfile import WriteLock, WriteLockTimeout
from governance.models import Connector, User

OWNER = "owner@example.com"


class Command(BaseCommand):
    help = "Starts everything on this machine with the embedded default, and the demo organisation (DEMO=0: without)."

    def handle(self, **_: Any) -> None:
        alone = WriteLock(settings.DATA_DIR / "up.lock")
        try:
            alone.acquire(timeout_seconds=0.5)
        except WriteLockTimeout:
            raise CommandError(f"DATA_DIR: another `make up` runs on {settings.DATA_DIR}; stop it first.") from None
        call_command("migrate", verbosity=0, interactive=False)
        owner = User.objects.filter(is_superuser=True, is_active=True).order_by("created_at").first()
        owner = owner or make_owner(OWNER, by=BY)
        parts: list[Part] = []
        lines = [f"  owner      {owner.email}  {one_time_login_url(owner)}"]
        if os.environ.get("DEMO", "1") != "0":
            demo = Demo(Helpdesk(settings.DATA_DIR / "demo", settings.BASE_DIR))
            parts.append(self._start_demo(demo))
            lines += self._demo_lines(demo)
        parts += [part for name in PARTS for part in parts_of(name, processes=settings.GATEWAY_PROCESSES)]
        connection.close()
        threading.Thread(target=self._announce, args=[lines], daemon=True).start()
        sys.exit(Supervisor(parts, drain_seconds=KILL_AFTER_SECONDS, overdue=overdue_writer()).run())

    def _start_demo(self, demo: Demo) -> Part:
        """Its helpdesk is on loopback, which connectors may not reach unless somebody says so; the demo does."""
        settings.UPSTREAM_ALLOWED_NETWORKS = (*settings.UPSTREAM_ALLOWED_NETWORKS, *demo.networks)
        os.environ["UPSTREAM_ALLOWED_NETWORKS"] = ",".join(map(str, settings.UPSTREAM_ALLOWED_NETWORKS))
        port = demo.helpdesk.prepare()
        if not Connector.objects.filter(name="helpdesk").exists():
            demo.load(port)
        demo.follow_port(port, by=BY)
        return demo.helpdesk.part(port)

    def _demo_lines(self, demo: Demo) -> list[str]:
        people = User.objects.filter(email__in=PEOPLE, is_active=True)
        logins = [f"  {PEOPLE[person.email]:<10} {person.email}  {one_time_login_url(person)}" for person in people]
        key = demo.agent_key(by=BY)
        if key is None:
            return [
                *logins,
                "",
                f"The demo agent {AGENT} is not live any more: its owner was offboarded or it was retired.",
            ]
        endpoint = endpoint_of(settings.PUBLIC_URL, "support")
        told = {client.id: client for client in clients(endpoint, key=key)}
        return [
            *logins,
            "",
            f"Agent {AGENT} may use {endpoint.url} with this key:",
            f"  {key}",
            "",
            "Claude Code:",
            f"  {told['claude-code'].steps[0].text}",
            "Any shell:",
            *(f"  {line}" for line in told["curl"].steps[0].text.splitlines()),
            "",
            f"A refund over 100 waits for {APPROVER}, who decides on {settings.PUBLIC_URL}/approvals/; to see it:",
            *(f"  {line}" for line in curl_command(endpoint, key, LARGE_REFUND).splitlines()),
        ]

    def _announce(self, lines: list[str]) -> None:
        address = (settings.HOST, settings.PORT)
        if not (wait_until_ready(*address) and wait_for_pages(*address)):
            self.stderr.write("The gateway did not become ready; its log above says why.")
            return
        head = [
            "",
            f"Gatehouse is ready: {settings.PUBLIC_URL}/admin/",
            "",
            "One-time logins, each works once within 24 hours:",
        ]
        self.stdout.write("\n".join([*head, *lines, "", "Ctrl-C stops everything."]))
        self.stdout.flush()
