from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway import actions
from gateway.management.options import CHECKS, actor_of, add_actor, found
from governance.models import Agent

PERMISSION = "governance.retire_agent"


class Command(BaseCommand):
    help = "Ends an agent for good, with all its keys."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", help="the agent's name")
        add_actor(parser)

    def handle(self, *, agent: str, actor: str | None, **_: Any) -> None:
        by = actor_of(actor, permission=PERMISSION)
        keys = actions.retire_agent(found(Agent, name=agent), by=by)
        self.stdout.write(f"Agent {agent} is retired; {keys} key(s) revoked.")
