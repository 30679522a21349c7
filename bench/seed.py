"""Fills an empty, migrated database with one governed tool and prints the agent's key.

`python -m bench.seed UPSTREAM_URL AGENTS RULES [POLICY]`. All agents hold the tool; only the first one calls. The rules
are organisation-wide, read the arguments and never match: each costs its full evaluation in every decision. POLICY is a
ready one that binds everybody as well.
"""

import sys
from datetime import UTC, datetime

import django

django.setup()

from bench.upstream import TOOL  # noqa: E402
from gateway.recorder import recorder  # noqa: E402
from governance import agent_keys, canonical, ready_policies  # noqa: E402
from governance.fence.actor import governed_change  # noqa: E402
from governance.models import (  # noqa: E402
    Agent,
    Bundle,
    BundleTool,
    BundleVersion,
    Connector,
    Organization,
    Policy,
    PolicyVersion,
    Role,
    Rule,
    Secret,
    Tool,
    ToolDefinition,
    User,
)
from governance.vault import put_secret_value  # noqa: E402

BY = "command:bench"


def seed(upstream_url: str, *, agents: int, rules: int, policy: str = "") -> str:
    now = datetime.now(UTC)
    record = recorder(by=BY, now=now)
    with governed_change(by=BY):
        secret = Secret.objects.create(name="upstream", kind="bearer")
        put_secret_value(secret, value="a-token-of-the-bench-upstream", by=BY, record=record, now=now)
        connector = Connector.objects.create(name="bench", kind="mcp", urls=[upstream_url], secret=secret)
        bundle = published_bundle(connector)
        impose(rules)
        if policy:
            ready_policies.add(policy, by=BY, record=record)
            ready_policies.bind_everybody(policy)
        owner = User.objects.create_user("owner@example.com")
        held = [Agent.objects.create(name=f"agent-{number}", owner=owner) for number in range(agents)]
        role = Role.objects.create(name="bench")
        role.bundles.add(bundle)
        role.agents.add(*held)
        return agent_keys.issue_key(held[0], by=BY, record=record, now=now, expires_at=None).key


def published_bundle(connector: Connector) -> Bundle:
    tool = Tool.objects.create(connector=connector, name="echo")
    digest, body = canonical.definition_hash(TOOL), canonical.encode(TOOL)
    ToolDefinition.objects.create(tool=tool, digest=digest, body=body, status="pinned")
    bundle = Bundle.objects.create(name="bench")
    version = BundleVersion.objects.create(bundle=bundle, number=1, created_by=BY)
    BundleTool.objects.create(version=version, connector=connector)
    return bundle


def impose(rules: int) -> None:
    policy = Policy.objects.create(name="bench")
    version = PolicyVersion.objects.create(policy=policy, number=1, created_by=BY)
    organization = Organization.objects.create(name="Bench")
    organization.policies.add(policy)
    for position in range(1, rules + 1):
        condition = f'args.text == "never sent {position}"'
        Rule.objects.create(version=version, position=position, effect="deny", condition=condition)


if __name__ == "__main__":
    url, many, conditions, *ready = sys.argv[1:]
    print(seed(url, agents=int(many), rules=int(conditions), policy="".join(ready)))
