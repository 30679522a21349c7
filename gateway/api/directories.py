"""Identity providers that keep people here: their connections, what groups give, and what the brake keeps waiting."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Flag, Moment, Parameters, QueryFlag, Reference, References, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Changed, Created, Deleted, Listed, Retrieved, Under, act, changed_columns
from gateway.directories import losses_of, sync_of
from governance import directories, directory_losses, group_mappings
from governance.directories import MOST_NETWORKS, checked_networks
from governance.directory_gifts import reshaped
from governance.directory_pulls import pull_faults
from governance.models import Directory, DirectoryLoss, DirectoryToken, GroupMapping, Secret, Team, User
from governance.offboarding import CannotOffboard

MOST_DECIDED = 200
PULLED = ("pull_url", "pull_secret")


class LiveToken(Row):
    class Meta:
        model = DirectoryToken
        fields = ("id", "hint", "created_at", "created_by", "last_used_at")
        read_only_fields = fields


class DirectoryRow(Row):
    enabled = Flag(source="is_enabled", required=False)
    networks = serializers.ListField(
        child=Text(max_length=50), required=False, max_length=MOST_NETWORKS, help_text="As 203.0.113.0/24; [] is any."
    )
    pull_secret = Reference(Secret, required=False, allow_null=True)
    tokens = serializers.SerializerMethodField(help_text="Those that work, without their text.")

    class Meta:
        model = Directory
        fields = (
            "id", "name", "title", "enabled", "networks", "brake_number", "brake_share", "ends_without_groups",
            "agents_to_manager", "pull_url", "pull_secret", "pull_minutes", "pull_applies", "manages_agents",
            "tokens", "created_at", "created_by", "last_seen_at",
        )  # fmt: skip
        read_only_fields = ("id", "tokens", "created_at", "created_by", "last_seen_at")

    @extend_schema_field(LiveToken(many=True))
    def get_tokens(self, directory: Directory) -> Any:
        return LiveToken([token for token in directory.tokens.all() if token.revoked_at is None], many=True).data

    def validate_networks(self, networks: list[str]) -> list[str]:
        return checked_networks(networks)


class NewDirectoryToken(Strict):
    id = serializers.UUIDField(read_only=True)
    hint = Text(read_only=True)
    token = Text(read_only=True, help_text="Shown only now.")


class EndedToken(Strict):
    token = serializers.UUIDField(help_text="Its id.")


class LossDecision(Strict):
    decision = Choice(choices=("release", "drop"), help_text="Let it happen, or keep them as they are.")
    losses = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), min_length=1, max_length=MOST_DECIDED
    )


class DirectoryParameters(Parameters):
    name = Text(required=False, max_length=63)
    enabled = QueryFlag(source="is_enabled", required=False)


class Directories(Listed, Retrieved, Created, Changed):
    """Connections of identity providers. They are switched off, not deleted: people and evidence hang on them."""

    queryset = Directory.objects.select_related("pull_secret").prefetch_related("tokens")
    serializer_class = DirectoryRow
    parameters = DirectoryParameters
    fixed = ("name",)

    def store(self, serializer: Row, act: Act) -> Any:
        said = {name: _wanted(serializer, name) for name in PULLED}
        changed = not changed_columns(serializer).isdisjoint(PULLED)
        faults = pull_faults(said["pull_url"] or "", said["pull_secret"], person=act.person, changed=changed)
        if errors := [FieldError(field, "rule", message) for field, message in faults]:
            raise of_fields(errors)
        return serializer.save(**({"created_by": act.by} if serializer.instance is None else {}))

    @act("governance.connect_directory", gives=NewDirectoryToken, status=201)
    def issue_token(self, request: Request, pk: Any) -> Response:
        """What the identity provider shows. Two may be live, so that one can be replaced without a gap."""

        def work(act: Act) -> Response:
            issued = directories.issue_token(self.locked(), by=act.by, record=act.record, now=act.now)
            shown = {"id": issued.row.pk, "hint": issued.row.hint, "token": issued.token}
            return Response(NewDirectoryToken(shown).data, status=201)

        return self.governed(work, shown_once=("token",))

    @act("governance.connect_directory", takes=EndedToken)
    def revoke_token(self, request: Request, pk: Any) -> Response:
        """Whatever shows it is refused from now on."""

        def work(directory: Directory, act: Act, wish: dict[str, Any]) -> None:
            token = get_object_or_404(DirectoryToken.objects.select_related("directory"), **_one_of(directory, wish))
            if not directories.revoke_token(token, by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It was revoked before.")

        return self.on_row(work)

    @act("governance.release_directory", takes=LossDecision)
    def decide_losses(self, request: Request, pk: Any) -> Response:
        """About what the brake keeps waiting; what was decided in the meantime is left alone."""

        def work(directory: Directory, act: Act, wish: dict[str, Any]) -> None:
            losses = losses_of(directory, wish["losses"])
            sync = sync_of(directory, by=act.by, record=act.record, now=act.now)
            try:
                if wish["decision"] == "drop":
                    directory_losses.drop(losses, sync)
                else:
                    directory_losses.release(losses, acting=act.person, sync=sync)
            except CannotOffboard as reason:
                raise Problem("conflict", str(reason)) from None

        return self.on_row(work)


class LossRow(Row):
    user = serializers.CharField(source="user.user_name", read_only=True, help_text="As the directory calls her.")
    person = Reference(User, by="email", source="user.person", read_only=True, allow_null=True)
    group = serializers.CharField(source="group.display_name", read_only=True, allow_null=True, default=None)

    class Meta:
        model = DirectoryLoss
        fields = ("id", "kind", "state", "user", "person", "group", "at", "why", "decided_by", "decided_at")
        read_only_fields = fields


class LossParameters(Parameters):
    state = Choice(choices=DirectoryLoss.State.choices, required=False)


class DirectoryLosses(Listed):
    """Who lost something because the directory said so, or will once somebody agrees."""

    queryset = DirectoryLoss.objects.select_related("user__person", "group")
    serializer_class = LossRow
    parameters = LossParameters
    order = ("-id",)
    permissions = {"list": "governance.release_directory"}
    under = Under("directory_id", "directory", Directory.objects.all())

    def get_queryset(self) -> QuerySet[Any]:
        """Whoever may decide about them sees them; they have no right of their own."""
        return self.queryset.filter(directory=self.above)


class MappingRow(Row):
    directory = Reference(Directory, required=False, allow_null=True, help_text="null: groups that sign-on names.")
    group = Text(source="group_name", max_length=300)
    teams = References(Team, required=False)
    duties = serializers.ListField(child=Choice(choices=User.Duty.choices), required=False, max_length=len(User.Duty))
    enabled = Flag(source="is_enabled", required=False)
    proposed_by = Reference(User, by="email", read_only=True, allow_null=True)
    approved_by = Reference(User, by="email", read_only=True, allow_null=True)
    approved_at = Moment(read_only=True, allow_null=True)

    class Meta:
        model = GroupMapping
        fields = (
            "id", "directory", "group", "teams", "duties", "admin_access", "enabled", "proposed_by", "approved_by",
            "approved_at", "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "created_at")

    def validate_duties(self, duties: list[str]) -> list[str]:
        return [duty for duty in User.Duty.values if duty in duties]


class MappingParameters(Parameters):
    directory = Text(source="directory__name", required=False, max_length=63)
    group = Text(source="group_name", required=False, max_length=300)
    enabled = QueryFlag(source="is_enabled", required=False)


class GroupMappings(Listed, Retrieved, Created, Changed, Deleted):
    """What being in a group gives: teams at once; duties and the admin when a second human has agreed."""

    queryset = GroupMapping.objects.select_related("directory", "proposed_by", "approved_by").prefetch_related("teams")
    serializer_class = MappingRow
    parameters = MappingParameters
    order = ("-created_at", "id")
    fixed = ("directory", "group_name")

    def store(self, serializer: Row, act: Act) -> Any:
        mapping = serializer.instance or _new_mapping(serializer.validated_data)
        group_mappings.proposed(mapping, changed_columns(serializer), acting=act.person)
        if "teams" in serializer.validated_data:
            group_mappings.check_teams(mapping, serializer.validated_data["teams"], acting=act.person)
        asked = {name: getattr(mapping, name) for name in ("group", "proposed_by", "approved_by", "approved_at")}
        with reshaped(mapping):
            return serializer.save(**asked)

    def remove(self, row: GroupMapping, act: Act) -> None:
        with reshaped(row):
            row.delete()

    @act("governance.approve_groupmapping")
    def approve(self, request: Request, pk: Any) -> Response:
        """The second human's: it is in force from now on, for all who are in the group."""

        def work(mapping: GroupMapping, act: Act, _: Any) -> None:
            group_mappings.approve(mapping, acting=act.person, record=act.record, now=act.now)

        return self.on_row(work)


def _new_mapping(wanted: Mapping[str, Any]) -> GroupMapping:
    return GroupMapping(directory=wanted.get("directory"), group_name=wanted["group_name"])


def _wanted(serializer: Row, name: str) -> Any:
    return serializer.validated_data.get(name, getattr(serializer.instance or Directory(), name))


def _one_of(directory: Directory, wish: Mapping[str, Any]) -> dict[str, Any]:
    return {"directory": directory, "pk": wish["token"]}
