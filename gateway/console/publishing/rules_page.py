"""What a version comes to with all it inherits: every tool and every rule with the version that says so."""

from typing import Any

from gateway.console.publishing.pages import OfBundle, OfPolicy, VersionPage
from gateway.hostile_text import visible
from gateway.reach.current import current_snapshot
from gateway.reach.effective import given_by, rules_of_policy, rules_on
from gateway.versions import under
from governance.conditions import Condition
from governance.models.versions import State
from governance.snapshot import Rule, Snapshot

SHOWN = 500


class Rules(VersionPage):
    """Of what is in force as it is; of any other version as it would be."""

    template_name = "console/publishing/rules.html"

    @property
    def snapshot(self) -> Snapshot:
        snapshot = current_snapshot()
        return snapshot if self.version.state == State.PUBLISHED else under(self.version, snapshot)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        title = f"What {self.noun} {self.version} comes to"
        told = self.told(self.snapshot, self.subject.pk.hex)
        return {**super().get_context_data(**kwargs), "title": title, "shown": SHOWN, **told}

    def told(self, snapshot: Snapshot, key: str) -> dict[str, Any]:
        raise AssertionError("each kind of version tells its own")


class RulesOfBundle(OfBundle, Rules):
    def told(self, snapshot: Snapshot, key: str) -> dict[str, Any]:
        bundle = snapshot.bundles[key]
        given = given_by(bundle, snapshot)
        return {
            "given": [
                (f"{each.tool.connector.name}/{visible(each.tool.name)}", each.tool.variables["risk"], each)
                for each in given[:SHOWN]
            ],
            "more": max(0, len(given) - SHOWN),
            "rules": [_told(rule) for rule in rules_on(bundle, snapshot)[:SHOWN]],
        }


class RulesOfPolicy(OfPolicy, Rules):
    def told(self, snapshot: Snapshot, key: str) -> dict[str, Any]:
        return {"rules": [_told(rule) for rule in rules_of_policy(key, snapshot)[:SHOWN]]}


def _told(rule: Rule) -> tuple[Rule, str]:
    return rule, rule.condition.source if isinstance(rule.condition, Condition) else ""
