"""Others whose signed word counts here."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from governance.models.base import Governed, NameField
from governance.models.directories import Directory
from governance.models.secrets import Secret

ALGORITHMS = ("ES256", "EdDSA", "RS256")
"""How others may sign what we believe; nothing with a shared secret, and never \"none\"."""


def all_algorithms() -> list[str]:
    return list(ALGORITHMS)


class TrustedIssuer(Governed):
    """An identity provider that speaks for people, or a platform that speaks for the workloads on it.

    Its keys are those written here, or those it publishes: at `jwks_url`, or where its own metadata says.
    """

    class Kind(models.TextChoices):
        DIRECTORY = "directory", "Identity provider of people"
        WORKLOAD = "workload", "Platform of workloads"

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=9, choices=Kind)
    issuer = models.CharField(
        max_length=500, unique=True, help_text="Exactly as it stands in its tokens (iss), e.g. https://idp.example.com."
    )
    jwks_url = models.CharField(
        "address of its keys", max_length=500, blank=True, help_text="Empty: where its own metadata says."
    )
    jwks = models.JSONField(
        "its keys",
        default=dict,
        blank=True,
        help_text="A JSON Web Key Set, where it publishes none that Gatehouse can reach.",
    )
    algorithms = models.JSONField("signatures", default=all_algorithms)
    audiences = models.JSONField(
        default=list, blank=True, help_text="Accepted as meant for us, besides our own addresses."
    )
    longest_seconds = models.PositiveIntegerField(
        "longest life of a token (seconds)",
        default=3600,
        validators=[MinValueValidator(60), MaxValueValidator(86_400)],
    )
    grants_access = models.BooleanField(
        "lets people's clients in",
        default=False,
        help_text="Its identity assertions (ID-JAG) give tokens, within what the person may.",
    )
    ends_access = models.BooleanField(
        "ends access",
        default=False,
        help_text="Its logout and security events end sessions, and start offboardings.",
    )
    is_single_use = models.BooleanField(
        "each token counts once",
        default=True,
        help_text="Off for Kubernetes, whose pods show the same token until it is renewed.",
    )
    directory = models.ForeignKey(
        Directory,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="issuers",
        help_text="Whose external ids are the subjects (sub) it speaks of; besides those who signed in by it.",
    )
    poll_url = models.CharField(
        "address of its events",
        max_length=500,
        blank=True,
        help_text="Where its security events are fetched (RFC 8936), if it does not send them.",
    )
    poll_secret = models.ForeignKey(
        Secret,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="event_issuers",
        verbose_name="token for that",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(kind="directory")
                | models.Q(kind="workload", grants_access=False, ends_access=False),
                name="issuer_of_workloads_speaks_for_no_person",
            ),
            models.CheckConstraint(
                condition=models.Q(longest_seconds__gte=60, longest_seconds__lte=86_400), name="issuer_tokens_bounded"
            ),
        )

    def __str__(self) -> str:
        return self.title or self.name
