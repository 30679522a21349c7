import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from connectors.kinds import KINDS
from gateway.management.options import CHECKS
from governance.manifest.schema import dump, json_schema
from governance.manifest.state import stored_manifest
from governance.manifest.text import to_yaml
from governance.snapshot_builder import consistent_read


class Command(BaseCommand):
    help = "Prints the installation as a manifest, without any secret's value; applying it changes nothing."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="JSON instead of YAML")
        parser.add_argument("--schema", action="store_true", help="the JSON Schema of manifests instead")

    def handle(self, *, as_json: bool, schema: bool, **options: Any) -> None:
        if schema:
            self.stdout.write(json.dumps(json_schema(kinds=KINDS), indent=2))
            return
        with consistent_read():
            manifest = stored_manifest()
        plain = dump(manifest)
        self.stdout.write(
            json.dumps(plain, indent=2, ensure_ascii=False) if as_json else to_yaml(manifest),
            ending="\n" if as_json else "",
        )
