"""What was chosen on the page about one person, read back from the form."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.http import QueryDict

from governance.models import Organization, User
from governance.offboarding import Plan

LISTED_SUCCESSORS = 200
PASS, SUSPEND, SAME = "pass", "suspend", ""


@dataclass(frozen=True, slots=True)
class Choice:
    """For one agent, or for all: what becomes of it, and the successor's e-mail as typed."""

    fate: str
    to: str = ""


@dataclass(slots=True)
class PlanForm:
    """Kept as typed, so that a refused form comes back as it was left."""

    everyone: Choice
    agents: dict[str, Choice] = field(default_factory=dict)
    at: str = ""
    confirmed: bool = False
    seen: str = ""
    marks: frozenset[str] = frozenset()
    errors: list[str] = field(default_factory=list)

    @classmethod
    def first(cls, person: User) -> "PlanForm":
        manager = person.manager
        heir = manager.email if manager and manager.is_active else ""
        return cls(Choice(PASS if heir else SUSPEND, heir))

    @classmethod
    def read(cls, posted: QueryDict, agents: list[str]) -> "PlanForm":
        return cls(
            everyone=Choice(posted.get("all", SUSPEND), posted.get("all_to", "").strip()),
            agents={
                name: Choice(posted.get(f"fate-{name}", SAME), posted.get(f"to-{name}", "").strip()) for name in agents
            },
            at=posted.get("at", "").strip(),
            confirmed=posted.get("confirmed") == "yes",
            seen=posted.get("seen", ""),
            marks=frozenset(filter(None, posted.get("marks", "").split(","))),
        )

    def plan(self) -> Plan:
        """Adds to `errors` what cannot be done as typed."""
        everyone = self._successor(self.everyone, "all agents")
        chosen = {name: choice for name, choice in self.agents.items() if choice.fate != SAME}
        return Plan(everyone, {name: self._successor(choice, name) for name, choice in chosen.items()})

    def _successor(self, choice: Choice, about: str) -> str:
        if choice.fate != PASS:
            return ""
        person = User.objects.filter(email__iexact=choice.to, is_active=True).first() if choice.to else None
        if person is None:
            named = f"“{choice.to}” is nobody who works here" if choice.to else "nobody is named"
            self.errors.append(f"Who gets {about}? {named}. Write the e-mail address of an active person.")
            return ""
        return person.email

    def due_at(self, zone: ZoneInfo) -> datetime | None:
        """None means now. Adds to `errors`."""
        if not self.at:
            return None
        try:
            return datetime.fromisoformat(self.at).replace(tzinfo=zone).astimezone(UTC)
        except ValueError:
            self.errors.append("The date is none. Leave it empty to do it now.")
            return None

    def line(self, agent: str) -> Choice:
        return self.agents.get(agent, Choice(SAME))


def organization_zone() -> ZoneInfo:
    return ZoneInfo(Organization.objects.values_list("timezone", flat=True).first() or "UTC")


def likely_successors(person: User) -> list[User]:
    """Her manager first, then others; the list only helps typing."""
    others = User.objects.filter(is_active=True).exclude(id=person.id).only("email", "name").order_by("email")
    manager = [person.manager] if person.manager and person.manager.is_active else []
    return manager + [other for other in others[:LISTED_SUCCESSORS] if other not in manager]
