"""What should have ended, as it is at this moment."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, Strict
from gateway.api.pagination import page_of
from gateway.api.resource import Endpoint
from governance.models import Offboarding
from governance.zombies import SORTS, each

NAMES = tuple(sorted(SORTS))


class ZombieShown(Strict):
    sort = serializers.ChoiceField(choices=NAMES, help_text="What it is, and why nobody living stands behind it.")
    id = serializers.UUIDField()
    name = serializers.CharField()
    can_end = serializers.BooleanField(help_text="The page and the command end all of its sort; else a human decides.")


class ZombieParameters(Parameters):
    sort = Choice(choices=NAMES, required=False)


class Zombies(Endpoint):
    """Rights that nobody living stands behind: what the weekly sweep counts, one by one."""

    queryset = Offboarding.objects.none()
    parameters = ZombieParameters
    permissions = {"list": "governance.view_offboarding"}

    @extend_schema(responses=ZombieShown(many=True), operation_id="zombies_list")
    def list(self, request: Request) -> Response:
        chosen = self.asked.get("sort")
        found, link = page_of(
            self._found([chosen] if chosen else NAMES),
            key=lambda line: (line["sort"], line["id"].hex),
            request=request,
            asked=self.asked,
        )
        return Response({"results": found, "next": link})

    def _found(self, names: Any) -> Iterator[dict[str, Any]]:
        now = datetime.now(UTC)
        for name in names:
            for row in each(name, now):
                yield {"sort": name, "id": row.pk, "name": str(row), "can_end": SORTS[name].end is not None}
