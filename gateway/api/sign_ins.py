"""Where you are signed in. Like its page, it shows nobody anybody else's sessions, owners included."""

from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Parameters, Row
from gateway.api.resource import Act, Deleted, Listed, Retrieved
from governance.facts import Fact
from governance.personal_tokens import ENDS_SESSIONS


class SessionRow(Row):
    class Meta:
        model = UserSession
        fields = ("id", "created_at", "last_seen_at", "ip", "user_agent")
        read_only_fields = fields


class Sessions(Listed, Retrieved, Deleted):
    """Your own sign-ins to the pages. Of others they end when the account is switched off, or by offboarding."""

    queryset = UserSession.objects.all()
    serializer_class = SessionRow
    parameters = Parameters
    order = ("-id",)
    lookup_value_converter = "int"
    permissions = {"destroy": ENDS_SESSIONS}
    own = "user"
    own_acts = frozenset({"destroy"})

    def get_queryset(self) -> QuerySet[Any]:
        """Those that still let her in; of others the row goes when she next opens the page."""
        open_now = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
        return super().get_queryset().filter(user=self.request.user.pk, session_key__in=open_now)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Ends it at once; the next page there asks for a sign-in."""
        return super().destroy(request, *args, **kwargs)

    def remove(self, row: UserSession, act: Act) -> None:
        row.end()
        act.record(Fact("person.session_ended", f"person:{act.person.email}", {"ended_address": row.ip}))
