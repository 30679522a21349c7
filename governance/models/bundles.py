"""Bundles: which tools under which rules, as one versioned object."""

from django.db import models

from governance.models.agents import Agent
from governance.models.base import Governed, NameField
from governance.models.policies import Policy, match_all
from governance.models.registry import Connector
from governance.models.retention import RetentionClass
from governance.models.versions import OPEN, Reviewed, State


class Bundle(Governed):
    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    retention = models.ForeignKey(
        RetentionClass, null=True, blank=True, on_delete=models.PROTECT, related_name="bundles"
    )

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title or self.name


class BundleVersion(Reviewed, Governed):
    """A state of a bundle, frozen once published; at most one is published, and only a published one gives anything.

    A staged version takes the place of the published one for `staged_agents` only.
    """

    State = State

    class Names(models.TextChoices):
        AUTO = "", "Plain while all tools come from one connector"
        PLAIN = "plain", "As the upstream names them"
        PREFIXED = "prefixed", "connector__tool"

    class Recording(models.TextChoices):
        FULL = "full", "Arguments and results"
        METADATA = "metadata", "No arguments, no results"

    bundle = models.ForeignKey(Bundle, on_delete=models.CASCADE, related_name="versions")
    names = models.CharField(max_length=8, choices=Names, default=Names.AUTO, blank=True)
    recording = models.CharField(max_length=8, choices=Recording, default=Recording.FULL)
    parents = models.ManyToManyField(Bundle, blank=True, related_name="child_versions")
    policies = models.ManyToManyField(Policy, blank=True, related_name="bundle_versions")
    staged_agents = models.ManyToManyField(Agent, blank=True, related_name="staged_versions")

    class Meta:
        ordering = ("bundle__name", "-number")
        constraints = (
            models.UniqueConstraint(fields=("bundle", "number"), name="bundle_version_number_unique"),
            models.UniqueConstraint(
                fields=("bundle",),
                condition=models.Q(state="published"),
                name="one_published_version_per_bundle",
            ),
            models.UniqueConstraint(
                fields=("bundle",), condition=models.Q(state__in=OPEN), name="one_open_version_per_bundle"
            ),
        )

    def __str__(self) -> str:
        return f"{self.bundle.name} v{self.number}"


class BundleTool(Governed):
    """Tools of one connector by glob: what `allow` names and `deny` does not."""

    version = models.ForeignKey(BundleVersion, on_delete=models.CASCADE, related_name="tools")
    connector = models.ForeignKey(Connector, on_delete=models.PROTECT, related_name="bundle_tools")
    allow = models.JSONField(default=match_all)
    deny = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ("version", "connector__name")
        constraints = (models.UniqueConstraint(fields=("version", "connector"), name="bundle_names_connector_once"),)

    def __str__(self) -> str:
        return f"{self.version}: {self.connector.name}"


class BundleSelection(Governed):
    """Resources (by URI) or prompts of one connector by glob; a bundle without any gives none.

    Not rows of BundleTool: an older process would take their globs for those of tools.
    """

    class Kind(models.TextChoices):
        RESOURCE = "resource", "Resources"
        PROMPT = "prompt", "Prompts"

    version = models.ForeignKey(BundleVersion, on_delete=models.CASCADE, related_name="selections")
    connector = models.ForeignKey(Connector, on_delete=models.PROTECT, related_name="bundle_selections")
    kind = models.CharField("of what", max_length=8, choices=Kind)
    allow = models.JSONField(default=match_all)
    deny = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ("version", "kind", "connector__name")
        constraints = (
            models.UniqueConstraint(fields=("version", "connector", "kind"), name="bundle_selects_kind_once"),
        )

    def __str__(self) -> str:
        return f"{self.version}: {self.get_kind_display()} of {self.connector.name}"
