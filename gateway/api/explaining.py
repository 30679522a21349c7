"""Why can, why can't: the pipeline's own decision, told whole. No call is made."""

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Moment, Strict, Text
from gateway.api.problems import FieldError, of_fields
from gateway.api.resource import Endpoint
from gateway.explain import NotExplainable, explain
from governance.models import Agent


class Question(Strict):
    agent = Text(max_length=63)
    tool = Text(
        max_length=2100,
        help_text="Its name, or connector/tool; resource:<uri> or prompt:<name>, also behind connector/.",
    )
    arguments = serializers.DictField(required=False, help_text="The call's arguments; leave out what is not known.")
    at = Moment(required=False, help_text="Now, if left out.")


class Explained(serializers.Serializer):  # type: ignore[misc]
    agent = serializers.CharField()
    tool = serializers.CharField()
    at = serializers.DateTimeField()
    epoch = serializers.IntegerField()
    decision = serializers.CharField(help_text="permit, ask or deny")
    code = serializers.CharField()
    reason = serializers.CharField()
    paths = serializers.ListField(child=serializers.DictField(), help_text="The bundles that give it, or would.")
    remedies = serializers.ListField(child=serializers.DictField(), help_text="What would change a no.")


class ExplainView(Endpoint):
    queryset = Agent.objects.all()
    permissions = {"create": "governance.explain_agent"}
    writes = False

    @extend_schema(request=Question, responses={200: Explained})
    def create(self, request: Request) -> Response:
        """Asks for the decision on a call, with every rule that takes part and where it comes from."""
        wish = self.wish(Question)
        try:
            told = explain(wish["agent"], wish["tool"], wish.get("arguments"), at=wish.get("at") or datetime.now(UTC))
        except NotExplainable as reason:
            raise of_fields([FieldError("", "does_not_exist", str(reason))]) from None
        return Response(told.as_json())
