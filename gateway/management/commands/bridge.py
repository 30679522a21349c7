import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gatehouse_bridge import program
from gateway.bridge_file import bridge_digest, bridge_file


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

    def handle(self, *, url: str, key_file: str, write: Path | None, **_: Any) -> None:
        if bool(url) == (write is not None):
            raise CommandError("Name either an endpoint or, with --write, a file.", returncode=2)
        if write is None:
            sys.exit(program.run(url, key_file=key_file))
        write.write_bytes(bridge_file())
        write.chmod(0o755)
        self.stdout.write(f"{write}: SHA-256 {bridge_digest()}")
