"""Bundles: which tools under which rules, as one versioned object."""

from django.db import models

from governance.models.base import Governed, NameField
from governance.models.policies import Policy, match_all
from governance.models.registry import Connector


class Bundle(Governed):
    name = NameField()
    title = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title or self.name


class BundleVersion(Governed):
    """A frozen state of a bundle; at most one is published, and only a published one gives anything."""

    class State(models.TextChoices):
        PUBLISHED = "published", "Published"
        SUPERSEDED = "superseded", "Superseded"

    class Names(models.TextChoices):
        AUTO = "", "Plain while all tools come from one connector"
        PLAIN = "plain", "As the upstream names them"
        PREFIXED = "prefixed", "connector__tool"

    class Recording(models.TextChoices):
        FULL = "full", "Arguments and results"
        METADATA = "metadata", "No arguments, no results"

    bundle = models.ForeignKey(Bundle, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=12, choices=State, default=State.PUBLISHED)
    names = models.CharField(max_length=8, choices=Names, default=Names.AUTO, blank=True)
    recording = models.CharField(max_length=8, choices=Recording, default=Recording.FULL)
    parents = models.ManyToManyField(Bundle, blank=True, related_name="child_versions")
    policies = models.ManyToManyField(Policy, blank=True, related_name="bundle_versions")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)

    class Meta:
        ordering = ("bundle__name", "-number")
        constraints = (
            models.UniqueConstraint(fields=("bundle", "number"), name="bundle_version_number_unique"),
            models.UniqueConstraint(
                fields=("bundle",),
                condition=models.Q(state="published"),
                name="one_published_version_per_bundle",
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
