"""What the pages about one connector share: the row, how far it has come, and the list of steps."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from django.db.models import Q
from django.shortcuts import get_object_or_404
from django.urls import reverse

from gateway.console.pages import GovernedPage
from gateway.hostile_text import visible
from governance.bundles import holding
from governance.models import Bundle, BundleVersion, Connector, Tool, User

STEPS = (
    ("address", "Address and secret"),
    ("test", "Test and find tools"),
    ("classify", "Classify tools"),
    ("publish", "Publish"),
    ("done", "First call"),
)
FIRST_OF_PROGRAMS = "Program and secret"
SHOWN_PEOPLE = 5


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    url: str
    is_done: bool
    is_current: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a connector has come, read from what is there: nothing else remembers it."""

    is_seen: bool
    is_classified: bool
    bundles: tuple[Bundle, ...]

    @property
    def next_step(self) -> str:
        if not self.is_seen:
            return "test"
        if not self.bundles:
            return "publish" if self.is_classified else "classify"
        return "done"

    def is_done(self, step: str) -> bool:
        if step in ("address", "test"):
            return step == "address" or self.is_seen
        return self.is_classified if step == "classify" else bool(self.bundles) and step == "publish"


def progress_of(connector: Connector) -> Progress:
    published = BundleVersion.objects.filter(holding(connector), state=BundleVersion.State.PUBLISHED)
    bundles = Bundle.objects.filter(versions__in=published)
    touched = connector.tools.filter(~Q(risk=Tool.Risk.MEDIUM) | Q(is_read_only=True) | Q(classified_at__isnull=False))
    is_seen = connector.last_seen_at is not None
    return Progress(is_seen, touched.exists(), tuple(bundles.order_by("name").distinct()))


def step_url(step: str, connector: Connector) -> str:
    return reverse(f"connector_{step}", args=[connector.pk])


def steps_of(connector: Connector | None, current: str) -> list[Step]:
    progress = progress_of(connector) if connector else None
    is_program = connector is not None and bool(connector.command)
    return [
        Step(
            FIRST_OF_PROGRAMS if step == "address" and is_program else title,
            step_url(step, connector) if connector and progress and _is_open(step, progress) else "",
            bool(progress and progress.is_done(step)),
            step == current,
        )
        for step, title in STEPS
    ]


def _is_open(step: str, progress: Progress) -> bool:
    """Nothing to classify or publish before the tools are known."""
    return step in ("address", "test") or progress.is_seen


def people_with(duty: str) -> list[str]:
    """Who to ask, to be shown: those with the duty, or else the owners."""
    people = User.objects.filter(is_active=True, is_staff=True).order_by("email")
    named = [person.email for person in people.filter(is_superuser=False) if duty in person.duties]
    owners = people.filter(is_superuser=True).values_list("email", flat=True)
    return [visible(email) for email in (named or list(owners))[:SHOWN_PEOPLE]]


class ConnectorPage(GovernedPage):
    """A page about one connector; with `step`, one of the wizard's."""

    permission = "governance.view_connector"
    step: ClassVar[str] = ""

    @cached_property
    def connector(self) -> Connector:
        return get_object_or_404(Connector.objects.select_related("secret"), pk=self.kwargs["connector_id"])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        context |= {"connector": self.connector, "title": f"{self.title}: {self.connector.name}"}
        if self.step:
            context["steps"] = steps_of(self.connector, self.step)
        return context
