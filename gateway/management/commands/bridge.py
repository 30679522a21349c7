import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gatehouse_bridge import program
from gateway.bridge_client import admit_bridge
from gateway.bridge_file import bridge_digest, bridge_file
from gateway.management.options import actor_of, add_actor

PERMISSION = "governance.approve_oauthclient"


class Command(BaseCommand):
    help = (
        "Connects a client that speaks only stdio with an endpoint, of this or any Gatehouse; or writes the program "
        "that does so as one file, for machines that have nothing of ours. The key comes from GATEHOUSE_KEY or a file."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", nargs="?", default="", help="as in https://gatehouse.example.com/mcp/support")
        parser.add_argument("--key-file", default="", metavar="PATH", help="a file that holds the key and nothing else")
        parser.add_argument("--write", type=Path, metavar="PATH", help="write the program there instead")

        parser.add_argument("--admit", action="store_true", help="let people sign in with it instead of a key")
        add_actor(parser)

    def handle(self, *, url: str, key_file: str, write: Path | None, admit: bool, actor: str | None, **_: Any) -> None:
        if bool(url) + (write is not None) + admit != 1:
            raise CommandError("Name an endpoint, or --write with a file, or --admit.", returncode=2)
        if url:
            sys.exit(program.run(url, key_file=key_file))
        if admit:
            is_news = admit_bridge(by=actor_of(actor, permission=PERMISSION))
            self.stdout.write(f"People {'can' if is_news else 'could already'} sign in with the bridge.")
        if write is not None:
            self._write(write)

    def _write(self, write: Path) -> None:
        write.write_bytes(bridge_file())
        write.chmod(0o755)
        self.stdout.write(f"{write}: SHA-256 {bridge_digest()}")
