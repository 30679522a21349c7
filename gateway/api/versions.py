"""Versions of bundles and policies, and the steps that bring one into force."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import reviewing
from gateway.api.etags import etag_of
from gateway.api.fields import Flag, References, Strict, Text, WholeNumber
from gateway.api.permissions import may
from gateway.api.previews import ImpactShown, impact
from gateway.api.problems import Problem
from gateway.api.publishing import bundle_content, policy_content, publish
from gateway.api.resource import Act, Endpoint, Listed, Retrieved, Under, act
from gateway.api.serializers.rules import BundleContent, BundleVersionRow, PolicyContent, PolicyVersionRow
from gateway.reach.current import current_snapshot
from gateway.trying import Flip, Trial, begin, go_on
from gateway.versions import changes_between, compared_with, under
from governance import lifecycle, publishing
from governance.lifecycle import Content, review_is_required, save_draft
from governance.models import Agent, Bundle, BundleVersion, Policy, PolicyVersion, Rule
from governance.personal_tokens import scopes_allow

TRY_SECONDS = 25.0
MOST_DAYS = 90


class Submission(Strict):
    summary = Text(max_length=500, help_text="What changes, and why.")


class Note(Strict):
    note = Text(max_length=500, help_text="What has to change.")


class Agreement(Strict):
    acknowledged = Flag(required=False, default=False, help_text="The warnings have been read.")


class Staging(Agreement):
    agents = References(Agent, help_text="Those that get it first.")


class BundleDraftContent(BundleContent):
    summary = Text(required=False, max_length=500, default="")


class PolicyDraftContent(PolicyContent):
    summary = Text(required=False, max_length=500, default="")


class TrialWish(Strict):
    days = WholeNumber(min_value=1, max_value=MOST_DAYS, required=False, default=7)


class FlippedCalls(serializers.Serializer):  # type: ignore[misc]
    flip = serializers.ChoiceField(choices=[flip.name.lower() for flip in Flip])
    agent = serializers.CharField()
    tool = serializers.CharField()
    calls = serializers.IntegerField()


class FlippedCall(serializers.Serializer):  # type: ignore[misc]
    flip = serializers.ChoiceField(choices=[flip.name.lower() for flip in Flip])
    call = serializers.UUIDField()
    at = serializers.DateTimeField()
    agent = serializers.CharField()
    tool = serializers.CharField()
    because = serializers.CharField()
    arguments = serializers.CharField(help_text="Their names; the values are masked.")


class TrialShown(serializers.Serializer):  # type: ignore[misc]
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    epoch = serializers.IntegerField()
    calls = serializers.IntegerField(help_text="So many were looked at, newest first.")
    unknown_arguments = serializers.IntegerField(help_text="Tried as if they matched whatever rules read of them.")
    unknown_subjects = serializers.IntegerField(help_text="Not tried: the agent or the tool is gone.")
    left_out = serializers.CharField(help_text="Why older calls were not looked at; else empty.")
    flips = serializers.DictField(child=serializers.IntegerField())
    by_tool = FlippedCalls(many=True)
    examples = FlippedCall(many=True)


class ChangeShown(serializers.Serializer):  # type: ignore[misc]
    change = serializers.ChoiceField(choices=("added", "removed", "changed"))
    part = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()
    note = serializers.CharField()


class DiffShown(serializers.Serializer):  # type: ignore[misc]
    number = serializers.IntegerField()
    against = serializers.IntegerField(allow_null=True, help_text="The number of the other version.")
    changes = ChangeShown(many=True)
    refusals = serializers.ListField(child=serializers.CharField(), help_text="What stands against publishing it.")
    warnings = serializers.ListField(child=serializers.CharField())
    impact = ImpactShown()


class Versions(Listed, Retrieved):
    """A draft is edited, sent for review and published; what was in force is never edited again.

    Permissions are written with `{noun}`: bundle or policy.
    """

    order = ("-number",)
    section: ClassVar[str]
    noun: ClassVar[str]
    content: ClassVar[type[Strict]]
    permissions = {"create": "governance.publish_{noun}", "draft": "governance.change_{noun}"}

    @property
    def permission(self) -> str | None:
        asked = super().permission
        return asked and asked.format(noun=self.noun)

    def publish_at_once(self) -> Response:
        name, title = self.above.name, self.above.title
        entry = {"name": name, **({"title": title} if title else {}), **self.wish(self.content)}
        return publish(self.section, entry, governed=self.governed, answer=self._published)

    def _published(self, is_new: bool) -> Response:
        shown = self.shown(self.get_queryset().get(state="published"))
        headers = {"ETag": etag_of(shown), "Location": f"{self.request.path}/{shown['id']}"}
        return Response(shown, status=201 if is_new else 200, headers=headers)

    def keep_draft(self, wanted: type[Strict], content_from: Callable[[Any, dict[str, Any]], Content]) -> Response:
        wish = self.wish(wanted)
        summary = wish.pop("summary")
        content = content_from(self.above, wish)

        def work(act: Act) -> Response:
            return self.answered(save_draft(self.above, content, summary=summary, by=act.by, record=act.record))

        return self.governed(work)

    @act("governance.change_{noun}", takes=Submission)
    def submit(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Sends the draft for review."""

        def work(row: Any, act: Act, wish: dict[str, Any]) -> None:
            reviewing.submit(row, **wish, seen=row.revision, by=act.by, record=act.record)

        return self.on_row(work)

    @act("governance.review_{noun}", takes=Note)
    def send_back(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Makes it a draft again."""
        return self.on_row(lambda row, act, wish: lifecycle.send_back(row, **wish, by=act.by, record=act.record))

    @act("governance.change_{noun}")
    def discard(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """It goes no further."""
        return self.on_row(lambda row, act, _: lifecycle.discard(row, by=act.by, record=act.record))

    @act("governance.publish_{noun}", takes=Agreement)
    def publish(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Into force for all. Where changes are reviewed, it takes the right to review them as well."""
        return self._into_force(publishing.publish)

    @act("governance.change_{noun}", status=201)
    def roll_back(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Begins a draft equal to this version."""
        return self._into_a_draft(publishing.roll_back)

    @act("governance.change_{noun}", status=201)
    def take_over(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Begins the draft anew on what is in force by now."""
        return self._into_a_draft(publishing.take_over)

    @act("governance.change_{noun}", takes=TrialWish, gives=TrialShown, writes=False)
    def try_(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What it would have said to the calls of the last days. Nothing is called and nothing changes."""
        wish, version = self.wish(TrialWish), self.get_object()
        before = current_snapshot()
        trial = begin(before, now=datetime.now(UTC), days=wish["days"])
        go_on(trial, before, under(version, before), seconds=TRY_SECONDS)
        return Response(_told(trial))

    def _into_force(self, verb: Callable[..., None]) -> Response:
        if review_is_required():
            self._check_may_review()

        def work(row: Any, act: Act, wish: dict[str, Any]) -> None:
            verb(row, **wish, seen=row.revision, by=act.by, record=act.record)

        return self.on_row(work)

    def _check_may_review(self) -> None:
        permission = f"governance.review_{self.noun}"
        if not scopes_allow(self.request.auth.scopes, permission):
            raise Problem("missing_scope", f"Changes are reviewed here; this takes the scope {self.section}:review.")
        if not may(self.request.user, permission):
            raise Problem("permission_denied", "Your duties do not include it.")

    def _into_a_draft(self, verb: Callable[..., Any]) -> Response:
        def work(act: Act) -> Response:
            return self.answered(verb(self.locked(), by=act.by, record=act.record), status=201)

        return self.governed(work)


def _told(trial: Trial) -> dict[str, Any]:
    told = trial.as_json()
    if not trial.is_over:
        told["left_out"] = "There was no time for older calls; the command try_draft takes longer."
    return told


class BundleVersions(Versions):
    queryset = BundleVersion.objects.select_related("bundle").prefetch_related(
        "parents", "policies", "staged_agents", "tools__connector", "selections__connector"
    )
    serializer_class = BundleVersionRow
    under = Under("bundle_id", "bundle", Bundle.objects.all())
    section, noun, content = "bundles", "bundle", BundleContent

    @extend_schema(request=BundleContent, responses={200: BundleVersionRow, 201: BundleVersionRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Publishes at once. 200 instead of 201 when the version in force says just this already."""
        return self.publish_at_once()

    @extend_schema(request=BundleDraftContent, responses={200: BundleVersionRow})
    @action(detail=False, methods=["post"])  # type: ignore[untyped-decorator]
    def draft(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Begins a draft, or replaces what the open one says."""
        return self.keep_draft(BundleDraftContent, bundle_content)

    @act("governance.publish_{noun}", takes=Staging)
    def stage(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Into force for some agents. Takes the same rights as `publish`."""
        return self._into_force(publishing.stage)

    @act("governance.publish_{noun}", takes=Note)
    def take_back(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Its agents get the published version again."""
        return self.on_row(lambda row, act, wish: lifecycle.take_back(row, **wish, by=act.by, record=act.record))


class PolicyVersions(Versions):
    queryset = PolicyVersion.objects.select_related("policy").prefetch_related(
        Prefetch("rules", Rule.objects.order_by("position"))
    )
    serializer_class = PolicyVersionRow
    under = Under("policy_id", "policy", Policy.objects.all())
    section, noun, content = "policies", "policy", PolicyContent

    @extend_schema(request=PolicyContent, responses={200: PolicyVersionRow, 201: PolicyVersionRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Puts the rules into force at once. 200 instead of 201 when the version in force says just this already."""
        return self.publish_at_once()

    @extend_schema(request=PolicyDraftContent, responses={200: PolicyVersionRow})
    @action(detail=False, methods=["post"])  # type: ignore[untyped-decorator]
    def draft(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Begins a draft, or replaces what the open one says."""
        return self.keep_draft(PolicyDraftContent, policy_content)


class Diff(Endpoint):
    """What a version changes, what stands against publishing it, and who would gain or lose what."""

    def shown(self, version: Any) -> Response:
        other = compared_with(version)
        gate = publishing.gate_of(lifecycle.subject_of(version), publishing.content_of(version))
        return Response(
            {
                "number": version.number,
                "against": other.number if other else None,
                "changes": [change.as_json() for change in changes_between(other, version)],
                "refusals": gate.refusals,
                "warnings": gate.warnings,
                "impact": impact(lambda snapshot: under(version, snapshot)),
            }
        )


class BundleDiff(Diff):
    queryset = BundleVersion.objects.select_related("bundle")
    permissions = {"retrieve": "governance.view_bundleversion"}

    @extend_schema(responses={200: DiffShown}, operation_id="bundles_versions_diff")
    def retrieve(self, request: Request, bundle_id: UUID, version_id: UUID) -> Response:
        """Against what is in force; of what was in force, against the version before."""
        return self.shown(get_object_or_404(self.queryset, pk=version_id, bundle=bundle_id))


class PolicyDiff(Diff):
    queryset = PolicyVersion.objects.select_related("policy")
    permissions = {"retrieve": "governance.view_policyversion"}

    @extend_schema(responses={200: DiffShown}, operation_id="policies_versions_diff")
    def retrieve(self, request: Request, policy_id: UUID, version_id: UUID) -> Response:
        """Against what is in force; of what was in force, against the version before."""
        return self.shown(get_object_or_404(self.queryset, pk=version_id, policy=policy_id))
