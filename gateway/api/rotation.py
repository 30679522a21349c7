"""What is to be replaced, and emergency rotation."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import rotations
from gateway.api.fields import Choice, Flag, Moment, Parameters, Reference, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Endpoint, Listed, Retrieved, act
from governance import emergency
from governance.agent_keys import NotIssuable
from governance.emergency import NoSuchTarget, Target
from governance.models import Agent, RotationTask, User
from governance.rotation import LONGEST_NOTE, confirm, drop

TARGETS = ("everything", "agent", "team", "connector")


class RotationTaskRow(Row):
    owner = Reference(User, by="email", read_only=True, allow_null=True, help_text="Who sees to it.")

    class Meta:
        model = RotationTask
        fields = (
            "id", "subject_kind", "subject_id", "subject_name", "reason", "note", "about", "owner", "created_at",
            "asked_by", "due_at", "state", "done_at", "done_by", "evidence",
        )  # fmt: skip
        read_only_fields = fields


class RotationTaskParameters(Parameters):
    state = Choice(choices=RotationTask.State.choices, required=False)
    reason = Choice(choices=RotationTask.Reason.choices, required=False)
    subject_kind = Choice(choices=RotationTask.Subject.choices, required=False)
    owner = Text(source="owner__email", required=False, max_length=254)


class Why(Strict):
    note = Text(max_length=LONGEST_NOTE, help_text="Goes into the evidence.")


class RotationTasks(Listed, Retrieved):
    """They close by themselves when their subject has a new value or has ended."""

    queryset = RotationTask.objects.select_related("owner")
    serializer_class = RotationTaskRow
    parameters = RotationTaskParameters
    order = ("due_at", "id")
    own = "owner"

    @act("governance.change_rotationtask", takes=Why)
    def confirm(self, request: Request, pk: Any) -> Response:
        """It was replaced where the gateway cannot see it."""
        return self.on_row(lambda task, act, wish: _settled(confirm(task, note=wish["note"], **_of(act))))

    @act("governance.change_rotationtask", takes=Why)
    def drop(self, request: Request, pk: Any) -> Response:
        """It will not be replaced."""
        return self.on_row(lambda task, act, wish: _settled(drop(task, note=wish["note"], **_of(act))))


def _of(act: Act) -> dict[str, Any]:
    return {"by": act.by, "record": act.record, "now": act.now}


def _settled(was_open: bool) -> None:
    if not was_open:
        raise Problem("conflict", "It was settled before.")


class EmergencyWish(Strict):
    """Exactly one of the four."""

    everything = Flag(required=False, default=False)
    agent = Text(required=False, max_length=63)
    team = Text(required=False, max_length=63)
    connector = Text(required=False, max_length=63)
    reason = Text(max_length=LONGEST_NOTE, help_text="Whoever has to replace something reads it.")
    dry_run = Flag(required=False, default=False, help_text="Only says what would end.")

    def validate(self, wish: dict[str, Any]) -> dict[str, Any]:
        if len([name for name in TARGETS if wish.get(name)]) != 1:
            raise serializers.ValidationError("Choose exactly one: everything, agent, team or connector.", "rule")
        return wish


class EmergencyResult(Strict):
    """What ended, or would. Lists are of the first hundred."""

    target = Text()
    dry_run = Flag()
    at = Moment(allow_null=True, help_text="Null for a dry run.")
    counts = serializers.DictField(child=serializers.IntegerField())
    agents = serializers.ListField(child=Text())
    agents_in_all = serializers.IntegerField()
    secrets = serializers.ListField(child=Text())
    connectors = serializers.ListField(child=Text(), help_text="Refused until the secret has a new value.")
    key = Text(allow_null=True, help_text="Of one live agent: it goes on with this key. Shown only now.")
    key_id = serializers.UUIDField(allow_null=True)


class EmergencyRotations(Endpoint):
    """Ends at once what somebody else may know. It cannot be undone."""

    serializer_class = EmergencyResult
    permissions = {"create": emergency.PERMISSION}

    @extend_schema(request=EmergencyWish, responses={201: EmergencyResult})
    def create(self, request: Request) -> Response:
        def work(act: Act) -> Response:
            wish = self.wish(EmergencyWish)
            try:
                shown = _looked(wish) if wish["dry_run"] else _cut(wish, act)
            except NoSuchTarget as problem:
                field = next(name for name in TARGETS if wish.get(name))
                raise of_fields([FieldError(field, "does_not_exist", str(problem))]) from None
            except NotIssuable as problem:
                raise Problem("conflict", str(problem)) from None
            return Response(EmergencyResult(shown).data, status=201)

        return self.governed(work, shown_once=("key",))


def _target(wish: Mapping[str, Any]) -> Target:
    return Target(**{name: wish[name] for name in TARGETS[1:] if wish.get(name)})


def _looked(wish: Mapping[str, Any]) -> dict[str, Any]:
    found = emergency.find(_target(wish), now=datetime.now(UTC))
    return {**found.as_json(), "dry_run": True, "at": None, "key": None, "key_id": None}


def _cut(wish: Mapping[str, Any], act: Act) -> dict[str, Any]:
    is_live = Agent.objects.filter(name=wish.get("agent", ""), status="live", owner__is_active=True).exists()
    done = rotations.cut(_target(wish), reason=wish["reason"], issues_key=is_live, **_of(act))
    key = (
        {"key": done.issued.key, "key_id": done.issued.credential.pk} if done.issued else {"key": None, "key_id": None}
    )
    return {**done.found.as_json(), "dry_run": False, "at": done.at, **key}
