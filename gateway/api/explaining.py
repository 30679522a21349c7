"""Why can, why can't: the pipeline's own decision, told whole. No call is made."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Moment, Strict, Text
from gateway.api.problems import FieldError, of_fields
from gateway.api.resource import Endpoint
from gateway.explain import Circumstances, NotExplainable, explain
from governance.models import Agent


class Question(Strict):
    agent = Text(max_length=63)
    tool = Text(
        max_length=2100,
        help_text="Its name, or connector/tool; resource:<uri> or prompt:<name>, also behind connector/.",
    )
    arguments = serializers.DictField(required=False, help_text="The call's arguments; leave out what is not known.")
    at = Moment(required=False, help_text="Now, if left out.")
    on_behalf_of = Text(required=False, max_length=254, help_text="The e-mail of the person for whom the agent acts.")
    labels = serializers.ListField(
        child=Text(max_length=63),
        max_length=50,
        required=False,
        help_text="What the run has met before: data classes, `untrusted`, `held`. A fresh run has met nothing.",
    )
    source_ip = Text(required=False, max_length=45, help_text="The address that the call comes from.")


class DetectionTold(serializers.Serializer):  # type: ignore[misc]
    pack = serializers.CharField(help_text="The digest of the detection rules; records with findings name it.")
    off = serializers.ListField(child=serializers.CharField(), help_text="Detection rules that are switched off.")
    exceptions = serializers.ListField(child=serializers.CharField(), help_text="In force for the tool, by name.")


class Explained(serializers.Serializer):  # type: ignore[misc]
    agent = serializers.CharField()
    tool = serializers.CharField()
    at = serializers.DateTimeField()
    epoch = serializers.IntegerField()
    decision = serializers.CharField(help_text="permit, ask or deny")
    code = serializers.CharField()
    reason = serializers.CharField()
    paths = serializers.ListField(
        child=serializers.DictField(),
        help_text="The bundles that give it, or would: roles and grants with their data scopes, every rule with what"
        " became of it, who would be asked, masks, freezes, and until when the clock leaves it as it is.",
    )
    remedies = serializers.ListField(child=serializers.DictField(), help_text="What would change a no.")
    on_behalf_of = serializers.CharField(help_text="As asked; empty if the agent acts for nobody.")
    labels = serializers.ListField(child=serializers.CharField())
    source_ip = serializers.CharField()
    detection = DetectionTold(help_text="By what content is looked at.")
    words = serializers.ListField(child=serializers.CharField(), help_text="All of it in sentences, the answer first.")
    depends_on_arguments = serializers.BooleanField(help_text="A rule or data scope waits for what was not given.")
    valid_until = serializers.DateTimeField(allow_null=True, help_text="When the clock alone could make it another.")


class ExplainView(Endpoint):
    queryset = Agent.objects.all()
    permissions = {"create": "governance.explain_agent"}
    writes = False

    @extend_schema(request=Question, responses={200: Explained})
    def create(self, request: Request) -> Response:
        """Asks for the decision on a call, with every rule that takes part and where it comes from."""
        wish = self.wish(Question)
        try:
            told = explain(wish["agent"], wish["tool"], _around(wish), at=wish.get("at") or datetime.now(UTC))
        except NotExplainable as reason:
            raise of_fields([FieldError("", "does_not_exist", str(reason))]) from None
        return Response(told.as_json())


def _around(wish: Mapping[str, Any]) -> Circumstances:
    return Circumstances(
        arguments=wish.get("arguments"),
        on_behalf_of=wish.get("on_behalf_of", ""),
        labels=frozenset(wish.get("labels", ())),
        source_ip=wish.get("source_ip", ""),
    )
