"""Where people are told that something waits for them."""

from django.db import models

from governance.models.base import Governed, NameField
from governance.models.people import Team, User
from governance.models.secrets import Secret


class NotificationChannel(Governed):
    """E-mail goes to people by itself; these are the ways beside it. `secret` is a webhook's signing key or Slack's bot
    token, `signing_secret` that by which Slack signs what it sends us."""

    class Kind(models.TextChoices):
        SLACK = "slack", "Slack"
        WEBHOOK = "webhook", "Signed webhook"

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=8, choices=Kind)
    url = models.URLField(max_length=500, blank=True, help_text="Of a webhook; of Slack only if not slack.com.")
    target = models.CharField("channel", max_length=100, blank=True, help_text="Of Slack, e.g. C0123456789.")
    secret = models.ForeignKey(Secret, null=True, blank=True, on_delete=models.PROTECT, related_name="channels")
    signing_secret = models.ForeignKey(
        Secret, null=True, blank=True, on_delete=models.PROTECT, related_name="signs_for_channels"
    )
    teams = models.ManyToManyField(Team, blank=True, related_name="channels")
    allows_decisions = models.BooleanField(
        "decisions in the chat", default=False, help_text="Otherwise its buttons only open the page."
    )
    is_enabled = models.BooleanField("enabled", default=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title or self.name


class ChatIdentity(Governed):
    """Which person a chat account is, as an administrator says: never by display name or e-mail."""

    channel = models.ForeignKey(NotificationChannel, on_delete=models.CASCADE, related_name="identities")
    workspace = models.CharField(max_length=64)
    account = models.CharField(max_length=64)
    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="chat_identities")

    class Meta:
        verbose_name_plural = "chat identities"
        ordering = ("channel", "account")
        constraints = (
            models.UniqueConstraint(fields=("channel", "workspace", "account"), name="chat_account_is_one_person"),
        )

    def __str__(self) -> str:
        return f"{self.account} is {self.person}"
