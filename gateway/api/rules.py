"""Bundles and policies: named rows, and the frozen versions that are published under them. And rate limits."""

from typing import Any

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.etags import etag_of
from gateway.api.fields import Parameters, Strict, Text
from gateway.api.problems import Problem
from gateway.api.publishing import publish
from gateway.api.resource import Act, Changed, Created, Deleted, Listed, Retrieved, Under, act
from gateway.api.serializers import (
    BundleContent,
    BundleRow,
    BundleVersionRow,
    LimitRow,
    PolicyContent,
    PolicyRow,
    PolicyVersionRow,
)
from governance.bundles import is_in_use, withdraw_bundle
from governance.models import Bundle, BundleVersion, Policy, PolicyVersion, RateLimit, Rule
from governance.policies import binds, counts, withdraw_policy


class NameParameters(Parameters):
    name = Text(required=False, max_length=63)


class Bundles(Listed, Retrieved, Created, Changed, Deleted):
    """Which tools under which rules. What a bundle gives is in its published version."""

    queryset = Bundle.objects.prefetch_related(
        Prefetch("versions", BundleVersion.objects.filter(state="published"), "in_force")
    )
    serializer_class = BundleRow
    parameters = NameParameters
    fixed = ("name",)

    def remove(self, row: Bundle, act: Act) -> None:
        if is_in_use(row):
            raise Problem("conflict", "Roles give it, or other bundles build on it. Take it off there first.")
        row.delete()

    @act("governance.publish_bundle")
    def withdraw(self, request: Request, pk: Any) -> Response:
        """The bundle gives nothing any more; its history stays."""

        def work(bundle: Bundle, act: Act, _: Any) -> None:
            if is_in_use(bundle):
                raise Problem("conflict", "Roles give it, or other bundles build on it. Take it off there first.")
            if not withdraw_bundle(bundle, record=act.record):
                raise Problem("conflict", f"{bundle.name} has no published version.")

        return self.on_row(work)


class Policies(Listed, Retrieved, Created, Changed, Deleted):
    """Named rules. They count from the version in force, where a bundle, a team or the organization names them."""

    queryset = Policy.objects.prefetch_related(
        Prefetch("versions", PolicyVersion.objects.filter(state="published"), "in_force")
    )
    serializer_class = PolicyRow
    parameters = NameParameters
    fixed = ("name",)

    def remove(self, row: Policy, act: Act) -> None:
        if binds(row):
            raise Problem("conflict", "It binds a bundle, a team or the organization. Take it off there first.")
        row.delete()

    @act("governance.publish_policy")
    def withdraw(self, request: Request, pk: Any) -> Response:
        """None of its rules counts any more; the history stays."""

        def work(policy: Policy, act: Act, _: Any) -> None:
            if counts(policy):
                raise Problem("conflict", "It binds a bundle, a team or the organization. Take it off there first.")
            if not withdraw_policy(policy, record=act.record):
                raise Problem("conflict", f"{policy.name} has no version in force.")

        return self.on_row(work)


class Limits(Listed, Retrieved, Created, Changed, Deleted):
    """How much agents, teams and tools may use: requests and bytes in a window, calls at once."""

    queryset = RateLimit.objects.all()
    serializer_class = LimitRow
    parameters = NameParameters
    fixed = ("name",)


class Versions(Listed, Retrieved):
    """Frozen; publishing makes the next one."""

    order = ("-number",)
    section: str
    content: type[Strict]

    def publish(self, request: Request) -> Response:
        name, title = self.above.name, self.above.title
        entry = {"name": name, **({"title": title} if title else {}), **self.wish(self.content)}
        return publish(self.section, entry, governed=self.governed, answer=self._published)

    def _published(self, is_new: bool) -> Response:
        shown = self.shown(self.get_queryset().get(state="published"))
        headers = {"ETag": etag_of(shown), "Location": f"{self.request.path}/{shown['id']}"}
        return Response(shown, status=201 if is_new else 200, headers=headers)


class BundleVersions(Versions):
    queryset = BundleVersion.objects.select_related("bundle").prefetch_related(
        "parents", "policies", "tools__connector", "selections__connector"
    )
    serializer_class = BundleVersionRow
    under = Under("bundle_id", "bundle", Bundle.objects.all())
    permissions = {"create": "governance.publish_bundle"}
    section, content = "bundles", BundleContent

    @extend_schema(request=BundleContent, responses={200: BundleVersionRow, 201: BundleVersionRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Publishes. 200 instead of 201 when the version in force says just this already."""
        return self.publish(request)


class PolicyVersions(Versions):
    queryset = PolicyVersion.objects.select_related("policy").prefetch_related(
        Prefetch("rules", Rule.objects.order_by("position"))
    )
    serializer_class = PolicyVersionRow
    under = Under("policy_id", "policy", Policy.objects.all())
    permissions = {"create": "governance.publish_policy"}
    section, content = "policies", PolicyContent

    @extend_schema(request=PolicyContent, responses={200: PolicyVersionRow, 201: PolicyVersionRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Puts the rules into force. 200 instead of 201 when the version in force says just this already."""
        return self.publish(request)
