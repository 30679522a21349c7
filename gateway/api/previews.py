"""Who would gain or lose what by a change, before it is made. Nothing is written and no lock is taken."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Strict
from gateway.api.publishing import bundle_draft, policy_draft
from gateway.api.resource import Endpoint
from gateway.api.serializers.agents import RoleRow
from gateway.api.serializers.named import Name
from gateway.api.serializers.rules import BundleContent, PolicyContent
from gateway.hostile_text import visible
from gateway.reach.current import current_snapshot
from governance.models import Bundle, Policy, Role
from governance.proposals import with_role
from governance.reach import TooMuchToTell
from governance.shifts import Danger, Difference, Kind, Shift, difference
from governance.snapshot import Snapshot
from governance.snapshot_builder import revised_snapshot
from governance.snapshot_rows.common import keys
from governance.snapshot_rows.who import role_of_row

MOST_SHIFTS = 100
MOST_NAMES = 100
TOO_MUCH = "It looks at so many agents and tools together that it cannot be listed."
CHANGES = tuple(kind.name.lower() for kind in Kind)
DANGERS = tuple(danger.name.lower() for danger in Danger)


class ShiftShown(Strict):
    """The same change for each of these agents in each of these tools."""

    text = serializers.CharField()
    change = serializers.ChoiceField(choices=CHANGES)
    widens = serializers.BooleanField()
    danger = serializers.ChoiceField(choices=DANGERS, help_text="Of what is gained; a loss counts as `reads`.")
    agents = serializers.ListField(child=serializers.CharField(), help_text=f"The first {MOST_NAMES}.")
    agent_count = serializers.IntegerField()
    tools = serializers.ListField(child=serializers.CharField(), help_text=f"The first {MOST_NAMES}.")
    tool_count = serializers.IntegerField()


class ImpactShown(Strict):
    epoch = serializers.IntegerField(help_text="Of the configuration it was compared with.")
    shifts = ShiftShown(many=True, help_text="The dangerous first, then what widens.")
    more = serializers.IntegerField(help_text="So many were left out.")
    problem = serializers.CharField(help_text="Why it cannot be told; else empty.")


def impact(proposal: Callable[[Snapshot], Snapshot]) -> dict[str, Any]:
    before = current_snapshot()
    after = proposal(before)
    try:
        found = difference(before, after, now=datetime.now(UTC))
    except TooMuchToTell:
        return {"epoch": before.epoch, "shifts": [], "more": 0, "problem": TOO_MUCH}
    return {"epoch": before.epoch, **_told(found), "problem": ""}


def _told(found: Difference) -> dict[str, Any]:
    shown = [_shift(shift) for shift in found.shifts[:MOST_SHIFTS]]
    return {"shifts": shown, "more": max(0, len(found.shifts) - MOST_SHIFTS)}


def _shift(shift: Shift) -> dict[str, Any]:
    tools = [f"{tool.connector.name}/{tool.name}" for tool in shift.tools[:MOST_NAMES]]
    return {
        "text": visible(str(shift)),
        "change": shift.kind.name.lower(),
        "widens": shift.kind.widens,
        "danger": shift.danger.name.lower(),
        "agents": list(shift.agents[:MOST_NAMES]),
        "agent_count": len(shift.agents),
        "tools": tools,
        "tool_count": len(shift.tools),
    }


class BundlePreview(Endpoint):
    queryset = Bundle.objects.all()
    permissions = {"create": "governance.change_bundle"}
    writes = False

    @extend_schema(request=BundleContent, responses={200: ImpactShown})
    def create(self, request: Request, bundle_id: UUID) -> Response:
        """What publishing this would do. To see what withdrawing it would, send no tools."""
        draft = bundle_draft(get_object_or_404(Bundle, pk=bundle_id), self.wish(BundleContent))
        return Response(impact(lambda snapshot: revised_snapshot(snapshot, draft)))


class PolicyPreview(Endpoint):
    queryset = Policy.objects.all()
    permissions = {"create": "governance.change_policy"}
    writes = False

    @extend_schema(request=PolicyContent, responses={200: ImpactShown})
    def create(self, request: Request, policy_id: UUID) -> Response:
        """What putting these rules into force would do. To see what withdrawing them would, send no rules."""
        draft = policy_draft(get_object_or_404(Policy, pk=policy_id), self.wish(PolicyContent))
        return Response(impact(lambda snapshot: revised_snapshot(snapshot, draft)))


class RoleProposal(RoleRow):
    name = Name(required=False)


class NewRolePreview(Endpoint):
    queryset = Role.objects.all()
    permissions = {"create": "governance.add_role"}
    writes = False

    @extend_schema(request=RoleRow, responses={200: ImpactShown}, operation_id="roles_preview_new")
    def create(self, request: Request) -> Response:
        """What adding this role would do."""
        return Response(_impact_of_role(Role(), self.wish(RoleRow)))


class RolePreview(Endpoint):
    queryset = Role.objects.all()
    permissions = {"create": "governance.change_role"}
    writes = False

    @extend_schema(request=RoleProposal, responses={200: ImpactShown})
    def create(self, request: Request, role_id: UUID) -> Response:
        """What this change would do; members left out stay. To see what removing it would, send no bundles."""
        row = get_object_or_404(Role, pk=role_id)
        serializer = RoleProposal(row, data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return Response(_impact_of_role(row, serializer.validated_data))


def _impact_of_role(row: Role, wish: dict[str, Any]) -> dict[str, Any]:
    def members(relation: str) -> Any:
        is_new = row._state.adding
        return wish[relation] if relation in wish else () if is_new else getattr(row, relation).all()

    for column in ("name", "starts_at", "ends_at", "schedule", "scopes"):
        setattr(row, column, wish.get(column, getattr(row, column)))
    role = role_of_row(
        row,
        bundle_ids=keys(members("bundles")),
        team_ids=keys(members("teams")),
        person_ids=keys(members("people")),
    )
    holders = {agent.pk.hex for agent in members("agents")}
    return impact(lambda snapshot: with_role(snapshot, role, holders=holders))
