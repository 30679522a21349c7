"""Bundles and policies: named rows, whose content is in their versions. And rate limits."""

from typing import Any

from django.db.models import Prefetch
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Parameters, Text
from gateway.api.problems import Problem
from gateway.api.resource import Act, Changed, Created, Deleted, Listed, Retrieved, act
from gateway.api.serializers.rules import BundleRow, LimitRow, PolicyRow
from governance.bundles import is_in_use, withdraw_bundle
from governance.models import Bundle, BundleVersion, Policy, PolicyVersion, RateLimit
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
