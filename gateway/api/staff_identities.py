"""As whom people sign in by single sign-on, and the end of it."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import staff_identities
from gateway.api.fields import Choice, Parameters, Reference, Row, Text
from gateway.api.problems import Problem
from gateway.api.resource import Act, Listed, Retrieved, act
from governance.models import StaffIdentity, User


class StaffIdentityRow(Row):
    person = Reference(User, by="email", read_only=True)

    class Meta:
        model = StaffIdentity
        fields = (
            "id", "person", "protocol", "issuer", "subject", "groups", "created_at", "created_by", "last_used_at",
            "ended_at", "ended_by",
        )  # fmt: skip
        read_only_fields = fields


class StaffIdentityParameters(Parameters):
    person = Text(required=False, max_length=254, source="person__email")
    state = Choice(choices=("live", "ended"), required=False)


class StaffIdentities(Listed, Retrieved):
    """Your own, and with the duty for it everybody's. One that was ended is allowed again on its page only: a token
    that leaked must not open a way in."""

    queryset = StaffIdentity.objects.select_related("person")
    serializer_class = StaffIdentityRow
    parameters = StaffIdentityParameters
    order = ("-created_at", "id")
    own = "person"

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        wanted = dict(filters)
        state = wanted.pop("state", None)
        rows = rows.filter(**wanted)
        return rows if state is None else rows.filter(ended_at__isnull=state == "live")

    @act("governance.end_staffidentity")
    def end(self, request: Request, pk: Any) -> Response:
        """With what its groups gave. It signs her in no more, and sessions that rest on it are over."""

        def work(row: StaffIdentity, act: Act, _: Any) -> None:
            if not staff_identities.end(row, by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It had ended before.")

        return self.on_row(work)
