"""The runs of agents: which there were, each as a timeline, and as a signed bundle for somebody outside."""

from tempfile import TemporaryFile
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import FileResponse, Http404
from django.utils.timezone import now
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from audit.bundle import CannotExport
from audit.checkpoint import BadKey
from audit.event import first_id_at
from audit.models import AgentSession, EventRow
from gateway.api.bodies import JsonRenderer, ZipAccepted
from gateway.api.calls import LONGEST_REASON, SHORTEST_REASON
from gateway.api.evidence import EventShown
from gateway.api.fields import Empty, Moment, Parameters, Row, Strict, Text
from gateway.api.permissions import may
from gateway.api.problems import Problem
from gateway.api.resource import NO_ARGUMENTS, Endpoint, Listed, Retrieved
from gateway.session_bundles import MOST_LINES, leaving, write_bundle
from gateway.session_story import ends_of, events_from, lines_of

SEES_EVENTS, SEES_PROOFS, OPENS_PAYLOADS = "audit.view_eventrow", "audit.view_leaf", "audit.view_payload"
ZIP = {(200, "application/zip"): OpenApiTypes.BINARY}


class AgentSessionShown(Row):
    began_at = serializers.DateTimeField(read_only=True)

    class Meta:
        model: type[Model] = AgentSession
        fields = ("id", "agent", "person", "began_at", "last_at", "calls", "refused", "failed")
        read_only_fields = fields


class SessionParameters(Parameters):
    agent = Text(required=False, max_length=63)
    person = Text(required=False, max_length=254)
    since = Moment(source="began__gte", required=False)
    until = Moment(source="began__lt", required=False)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A session is named by its first call, whose id is of its time."""
        places: dict[str, Any] = {
            name: first_id_at(asked[name]) for name in ("began__gte", "began__lt") if name in asked
        }
        return {**asked, **places}


class AgentSessions(Listed, Retrieved):
    """Summed up a moment after their calls end. Newest first."""

    queryset = AgentSession.objects.all()
    serializer_class = AgentSessionShown
    parameters = SessionParameters
    order = ("-began",)


class LineShown(EventShown):
    end = serializers.SerializerMethodField(help_text="How the call ended; null while it is under way, or for no call.")

    class Meta(EventShown.Meta):
        fields = (*EventShown.Meta.fields, "end")
        read_only_fields = fields

    @extend_schema_field(EventShown)
    def get_end(self, line: EventRow) -> Any:
        end = self.context["ends"].get(line.call_id)
        return EventShown(end).data if end is not None else None


class SessionLines(Listed):
    """The timeline of one session, in the order of time: what began, each call with its end."""

    queryset = EventRow.objects.defer("header")
    serializer_class = LineShown
    parameters = Parameters
    order = ("id",)

    def get_queryset(self) -> QuerySet[Any]:
        lines = lines_of(self.kwargs["run_id"]).defer("header")
        if not may(self.request.user, SEES_EVENTS) or not lines.exists():
            raise Http404
        return lines

    def paginate_queryset(self, rows: QuerySet[Any]) -> Any:
        self._page = super().paginate_queryset(rows)
        return self._page

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "ends": ends_of(getattr(self, "_page", ()))}


class BundleWish(Strict):
    reason = Text(min_length=SHORTEST_REASON, max_length=LONGEST_REASON, help_text="Recorded with your name.")


class SessionBundle(Endpoint):
    """A .zip that `auditverify.py bundle`, which lies in it, checks alone: up to a thousand lines of the session."""

    queryset = EventRow.objects.all()
    permissions = {"create": SEES_PROOFS}
    renderer_classes = (JsonRenderer, ZipAccepted)

    @extend_schema(request=NO_ARGUMENTS, responses=ZIP)
    def create(self, request: Request, run_id: UUID) -> FileResponse:
        """The signed events and a proof of each, without what was asked and answered. Recorded first."""
        self.wish(Empty)
        return self._bundle(run_id, reason="")

    def _bundle(self, session: UUID, *, reason: str) -> FileResponse:
        events = events_from(session, None, MOST_LINES) if may(self.request.user, SEES_EVENTS) else []
        if not events:
            raise Http404
        for fact in leaving(events, session=session, reason=reason):
            self.note(fact)
        file = TemporaryFile()  # noqa: SIM115  (the response closes it)
        try:
            write_bundle(file, session, events, with_payloads=bool(reason), at=now())
        except (CannotExport, BadKey) as error:
            file.close()
            raise Problem("conflict", str(error)) from None
        file.seek(0)
        return FileResponse(
            file, as_attachment=True, filename=f"session-{session}.zip", content_type=ZipAccepted.media_type
        )


class SessionBundleWithPayloads(SessionBundle):
    permissions = {"create": OPENS_PAYLOADS}

    @extend_schema(request=BundleWish, responses=ZIP)
    def create(self, request: Request, run_id: UUID) -> FileResponse:
        """The same with the payloads that can be opened. Your name, the token and the reason are recorded first."""
        return self._bundle(run_id, reason=self.wish(BundleWish)["reason"])
