import json
import sys
from typing import Any

from django.core.management.base import BaseCommand

from gateway.management.options import CHECKS
from governance.inspection.verdicts import verdict


class Command(BaseCommand):
    help = 'Inspects texts: JSON lines {"id", "task", "text"} on standard input, one verdict a line on standard output.'
    requires_system_checks = CHECKS

    def handle(self, **options: Any) -> None:
        for line in sys.stdin:
            if line.strip():
                self.stdout.write(json.dumps(verdict(json.loads(line))))
                self.stdout.flush()
