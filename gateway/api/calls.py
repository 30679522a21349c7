"""One call: its story, its proof, and, for a reason on record, what was sealed of it."""

from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.models import EventRow
from audit.proof import prove
from gateway.api.fields import Strict, Text
from gateway.api.permissions import may
from gateway.api.resource import Act, Endpoint, read_answer
from gateway.call_story import CallEvents, RuleShown, Step, Story, events_of, story_of
from gateway.sealed_payloads import Opened, opened, opening, sealed_payloads

SEES_CALLS = "audit.view_eventrow"
SHORTEST_REASON, LONGEST_REASON = 8, 500


class FactOfStep(Strict):
    label = serializers.CharField()
    value = serializers.CharField()


class RuleOfStep(Strict):
    effect = serializers.CharField()
    name = serializers.CharField()
    origin = serializers.CharField()
    reason = serializers.CharField()
    condition = serializers.CharField()


class StepShown(Strict):
    title = serializers.CharField(
        help_text="Asked, Decided, Sent, Asked back, Told, Came back, Changed, Answered or Under way."
    )
    at = serializers.DateTimeField(allow_null=True)
    sentence = serializers.CharField()
    facts = FactOfStep(many=True)
    rules = RuleOfStep(many=True)


class CallShown(Strict):
    id = serializers.UUIDField()
    agent = serializers.CharField()
    person = serializers.CharField()
    connector = serializers.CharField()
    tool = serializers.CharField()
    decision = serializers.CharField()
    outcome = serializers.CharField(help_text="Empty while the call is under way.")
    milliseconds = serializers.IntegerField(allow_null=True, help_text="From the question to its answer.")
    steps = StepShown(many=True, help_text="In the order of time. What cannot be seen in a text is shown as ⟦U+202E⟧.")
    events = serializers.ListField(child=serializers.UUIDField(), help_text="Its evidence, to be read under events.")
    is_sealed = serializers.BooleanField(help_text="Its arguments or its answer are kept sealed.")


class ProofShown(Strict):
    """RFC 6962 inclusion in the tree that a checkpoint signs."""

    format = serializers.CharField()
    event = serializers.UUIDField()
    leaf_index = serializers.IntegerField()
    leaf_entry = serializers.CharField(help_text="Base64.")
    leaf_hash = serializers.CharField()
    tree_size = serializers.IntegerField()
    root_hash = serializers.CharField()
    path = serializers.ListField(child=serializers.CharField())
    checkpoint = serializers.CharField(help_text="A signed note (C2SP).")


class ProofsShown(Strict):
    call = serializers.UUIDField()
    proofs = ProofShown(many=True, help_text="Of each event that a checkpoint covers by now.")


class ReasonToOpen(Strict):
    reason = Text(min_length=SHORTEST_REASON, max_length=LONGEST_REASON, help_text="Recorded with your name.")


class PayloadShown(Strict):
    title = serializers.CharField()
    body = serializers.CharField(help_text="As it was sealed. Hostile: agents and upstreams wrote it.")
    problem = serializers.CharField(help_text="Why there is no body, or why it must not be believed; else empty.")


class PayloadsShown(Strict):
    call = serializers.UUIDField()
    payloads = PayloadShown(many=True, allow_null=True, help_text="Null when the answer is repeated.")


class OfCall(Endpoint):
    queryset = EventRow.objects.all()

    def events_of(self, call_id: UUID) -> CallEvents:
        events = events_of(call_id) if may(self.request.user, SEES_CALLS) else None
        if events is None:
            raise Http404
        return events


class Call(OfCall):
    """`call_id` is the call's id or, for a call that was refused at once, its event's."""

    permissions = {"retrieve": SEES_CALLS}

    @extend_schema(responses=CallShown)
    def retrieve(self, request: Request, call_id: UUID) -> Response:
        """The story of one call, told from its evidence."""
        events = self.events_of(call_id)
        return read_answer(request, _shown(story_of(events), events.in_order))


class CallProof(OfCall):
    permissions = {"retrieve": "audit.view_leaf"}

    @extend_schema(responses=ProofsShown)
    def retrieve(self, request: Request, call_id: UUID) -> Response:
        """That its evidence is in the signed log, to be checked elsewhere."""
        events = self.events_of(call_id)
        proofs = [proof.as_json() for event in events.in_order if (proof := prove(event))]
        return read_answer(request, {"call": story_of(events).id, "proofs": proofs})


class CallPayloads(OfCall):
    permissions = {"create": "audit.view_payload"}

    @extend_schema(request=ReasonToOpen, responses={200: PayloadsShown})
    def create(self, request: Request, call_id: UUID) -> Response:
        """Opens what was sealed. Your name, the token and the reason are recorded first; looking again is, too."""
        events = self.events_of(call_id)
        story, rows = story_of(events), events.in_order

        def work(act: Act) -> Response:
            act.record(opening(rows, call_id=story.id, reason=self.wish(ReasonToOpen)["reason"]))
            return Response({"call": story.id, "payloads": [_payload(each) for each in opened(rows)]})

        return self.governed(work, shown_once=("payloads",))


def _payload(each: Opened) -> dict[str, str]:
    return {"title": each.title, "body": each.body.decode(errors="backslashreplace"), "problem": each.problem}


def _shown(story: Story, events: list[EventRow]) -> dict[str, Any]:
    last = story.last.row
    return {
        "id": story.id,
        "agent": last.agent,
        "person": last.person,
        "connector": last.connector,
        "tool": last.tool,
        "decision": story.start.row.decision,
        "outcome": story.end.row.outcome if story.end else "",
        "milliseconds": story.milliseconds,
        "steps": [_step(step) for step in story.steps],
        "events": [event.pk for event in events],
        "is_sealed": sealed_payloads(events).exists(),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "title": step.title,
        "at": step.at,
        "sentence": step.sentence,
        "facts": [{"label": fact.label, "value": fact.value} for fact in step.facts],
        "rules": [_rule(rule) for rule in step.rules],
    }


def _rule(rule: RuleShown) -> dict[str, str]:
    return {
        "effect": rule.effect,
        "name": rule.name,
        "origin": rule.origin,
        "reason": rule.reason,
        "condition": rule.condition,
    }
