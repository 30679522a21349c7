"""What the pages of one version share: which version, of what, and who may do what with it."""

from functools import cached_property
from typing import Any, ClassVar

from django.db.models import Model
from django.shortcuts import get_object_or_404
from django.urls import reverse

from gateway.console.pages import GovernedPage
from governance.lifecycle import Subject, noun_of, review_is_required, subject_of
from governance.models import BundleVersion, PolicyVersion


class VersionPage(GovernedPage):
    """`noun` is bundle or policy."""

    noun: ClassVar[str]
    model: ClassVar[type[Model]]

    @cached_property
    def version(self) -> Any:
        rows = self.model._default_manager.select_related(self.noun)
        return get_object_or_404(rows, pk=self.kwargs["version_id"])

    @property
    def subject(self) -> Subject:
        return subject_of(self.version)

    @cached_property
    def needs_review(self) -> bool:
        return review_is_required()

    def right_to(self, verb: str) -> str:
        """E.g. `governance.change_bundle`."""
        return f"governance.{verb}_{self.noun}"

    @property
    def right_to_publish(self) -> str:
        """Where two are needed, the second one agrees: to review is to publish."""
        return self.right_to("review" if self.needs_review else "publish")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        version = self.version
        return {
            **super().get_context_data(**kwargs),
            "noun": self.noun,
            "version": version,
            "subject": self.subject,
            "edit_url": reverse(f"admin:governance_{self.noun}_change", args=[self.subject.pk]),
            "review_url": version_url(version),
            "try_url": version_url(version, "try"),
            "rules_url": version_url(version, "rules"),
        }


def version_url(version: Any, page: str = "review") -> str:
    return reverse(f"{noun_of(version)}_version_{page}", args=[version.pk])


class OfBundle(VersionPage):
    noun = "bundle"
    model = BundleVersion
    permission = "governance.view_bundleversion"


class OfPolicy(VersionPage):
    noun = "policy"
    model = PolicyVersion
    permission = "governance.view_policyversion"
