"""Every way of a version into force, told in any order, against a plain account of who wrote what."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from governance import lifecycle, publishing
from governance.bundles import BundleContent, publish_bundle
from governance.facts import Fact
from governance.lifecycle import Refused, open_version, save_draft, version_in_force
from governance.models import Agent, Bundle, BundleTool, BundleVersion, Connector, Organization, User
from governance.publishing import content_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HUMANS = {"ana": "ana", "ana-admin": "ana", "ana-old": "ana", "sam": "sam", "root": "root"}
"""Account -> human; root is an owner."""
ACCOUNTS = st.sampled_from(sorted(HUMANS))
GLOBS = st.sampled_from(("ticket_*", "ticket_get", "billing_*", "*"))
FROZEN = ("staged", "published", "superseded", "discarded")


@dataclass
class Account:
    """What we know of a version without asking it."""

    writers: set[str] = field(default_factory=set)
    based_on: int = 0
    frozen: Any = None
    """What it said when it was frozen."""


class Lives(RuleBasedStateMachine):
    @initialize(reviews=st.booleans())
    def begin(self, reviews: bool) -> None:
        self.undo = transaction.atomic()
        self.undo.__enter__()
        self.reviews = reviews
        Organization.objects.all().delete()
        Organization.objects.create(requires_review=reviews)
        self.connector = Connector.objects.create(name="helpdesk")
        self.support = Bundle.objects.create(name="support")
        ana = User.objects.create_user("ana@example.com")
        second = User.objects.create_user("ana-admin@example.com", same_as=ana)
        self.people = {
            "ana": ana,
            "ana-admin": second,
            "ana-old": User.objects.create_user("ana-old@example.com", same_as=second),
            "sam": User.objects.create_user("sam@example.com"),
            "root": User.objects.create_user("root@example.com", is_superuser=True),
        }
        self.agent = Agent.objects.create(name="triage-bot", owner=ana)
        self.known: dict[int, Account] = {}
        self.facts: list[Fact] = []

    def teardown(self) -> None:
        if hasattr(self, "undo"):
            transaction.set_rollback(True)
            self.undo.__exit__(None, None, None)

    # -- what people do

    @rule(who=ACCOUNTS, glob=GLOBS)
    def draft(self, who: str, glob: str) -> None:
        in_force = self._number_in_force()
        draft = self._try(lambda by: save_draft(self.support, self._content(glob), **by), who)
        if draft is not None:
            known = self.known.setdefault(draft.number, Account(based_on=in_force))
            known.writers.add(HUMANS[who])

    @rule(who=ACCOUNTS)
    def submit(self, who: str) -> None:
        version = open_version(self.support)
        if version is not None and self._did(lifecycle.submit, who, version, summary="More", seen=version.revision):
            self.known[version.number].writers.add(HUMANS[who])

    @rule(who=ACCOUNTS)
    def submit_what_was_changed_since(self, who: str) -> None:
        version = open_version(self.support)
        if version is not None:
            assert not self._did(lifecycle.submit, who, version, summary="More", seen=version.revision - 1)

    @rule(who=ACCOUNTS)
    def send_back(self, who: str) -> None:
        if (version := open_version(self.support)) is not None:
            self._did(lifecycle.send_back, who, version, note="Not yet")

    @rule(who=ACCOUNTS)
    def discard(self, who: str) -> None:
        if (version := open_version(self.support)) is not None:
            self._did(lifecycle.discard, who, version)

    @rule(who=ACCOUNTS)
    def stage(self, who: str) -> None:
        if (version := open_version(self.support)) is not None:
            self._forward(publishing.stage, who, version, agents=[self.agent])

    @rule(who=ACCOUNTS)
    def take_back(self, who: str) -> None:
        if (version := open_version(self.support)) is not None:
            self._did(lifecycle.take_back, who, version, note="")

    @rule(who=ACCOUNTS)
    def publish(self, who: str) -> None:
        version = open_version(self.support)
        if version is not None and self._forward(publishing.publish, who, version):
            assert version_in_force(self.support).number == version.number

    @rule(who=ACCOUNTS, pick=st.integers(0, 100))
    def roll_back(self, who: str, pick: int) -> None:
        versions = list(BundleVersion.objects.order_by("number"))
        if not versions:
            return
        version = versions[pick % len(versions)]
        in_force = self._number_in_force()
        draft = self._try(lambda by: publishing.roll_back(version, **by), who)
        if draft is not None:
            self.known[draft.number] = Account({HUMANS[who]}, in_force)
            assert content_of(draft).plain() == content_of(version).plain()

    @rule(who=ACCOUNTS)
    def take_over(self, who: str) -> None:
        version = open_version(self.support)
        if version is None:
            return
        in_force = self._number_in_force()
        draft = self._try(lambda by: publishing.take_over(version, **by), who)
        if draft is not None:
            writers = self.known[version.number].writers | {HUMANS[who]}
            self.known[draft.number] = Account(writers, in_force)
            assert content_of(draft).plain() == content_of(version).plain()

    @rule(glob=GLOBS)
    def apply(self, glob: str) -> None:
        in_force = self._number_in_force()
        content = self._content(glob)
        version = publish_bundle(
            self.support,
            tools=content.tools,
            parents=(),
            policies=(),
            names="",
            recording="full",
            by="command:root",
            record=self.facts.append,
            is_manifest=True,
        )
        self.known[version.number] = Account(based_on=in_force)
        assert self.facts[-1].details.get("unreviewed", False) is self.reviews

    @rule(who=ACCOUNTS, glob=GLOBS)
    def publish_at_once(self, who: str, glob: str) -> None:
        in_force, content = self._number_in_force(), self._content(glob)
        version = self._try(lambda by: lifecycle.publish_at_once(self.support, content, **by), who)
        assert (version is None) is self.reviews
        if version is not None:
            self.known[version.number] = Account({HUMANS[who]}, in_force)

    @rule()
    def withdraw(self) -> None:
        lifecycle.withdraw(self.support, record=self.facts.append)

    # -- what always holds

    @invariant()
    def one_is_in_force_and_one_is_open(self) -> None:
        if not hasattr(self, "support"):
            return
        states = list(self.support.versions.values_list("state", flat=True))
        assert states.count("published") <= 1
        assert sum(state in ("draft", "review", "staged") for state in states) <= 1

    @invariant()
    def what_is_frozen_never_changes(self) -> None:
        if not hasattr(self, "support"):
            return
        for version in self.support.versions.filter(state__in=FROZEN):
            known, says = self.known[version.number], content_of(version).plain()
            known.frozen = known.frozen or says
            assert known.frozen == says

    @invariant()
    def only_a_staged_version_has_agents_of_its_own(self) -> None:
        if hasattr(self, "support"):
            assert not BundleVersion.objects.filter(staged_agents=self.agent).exclude(state="staged").exists()

    # -- how

    def _content(self, glob: str) -> BundleContent:
        return BundleContent([BundleTool(connector=self.connector, allow=[glob])], [], [], [], "", "full")

    def _number_in_force(self) -> int:
        version = version_in_force(self.support)
        return version.number if version else 0

    def _by(self, who: str) -> dict[str, Any]:
        return {"by": f"person:{self.people[who].email}", "record": self.facts.append}

    def _try(self, verb: Any, who: str) -> Any:
        """What it made, None if it was refused; then nothing of it stays."""
        before, told = self._picture(), len(self.facts)
        try:
            with transaction.atomic():
                return verb(self._by(who))
        except Refused:
            del self.facts[told:]
            assert self._picture() == before
            return None

    def _did(self, verb: Any, who: str, version: Any, **wish: Any) -> bool:
        return self._try(lambda by: [verb(version, **wish, **by)], who) is not None

    def _forward(self, verb: Any, who: str, version: Any, **wish: Any) -> bool:
        """Into force: never with an author's own yes where another is needed, never on what is past."""
        state, in_force = version.state, self._number_in_force()
        did = self._did(verb, who, version, **wish, seen=version.revision, acknowledged=True)
        known = self.known[version.number]
        is_fit = known.based_on == in_force
        if self.reviews:
            is_fit = is_fit and HUMANS[who] not in known.writers and state in ("review", "staged")
        assert did is is_fit
        return did

    def _picture(self) -> list[tuple[Any, ...]]:
        return list(self.support.versions.order_by("number").values_list("number", "state", "revision", "authors"))


def test_versions_live_as_they_should() -> None:
    run_state_machine_as_test(Lives, settings=settings(max_examples=20, stateful_step_count=20, deadline=None))
