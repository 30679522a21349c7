"""Rules by which a workload is an agent: what they match, and which are too wide to be saved."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.workloads import GITHUB, claim_faults, matches

KUBERNETES = "https://kubernetes.default.svc.cluster.local"
JOB = {
    "sub": "repo:octo/app:ref:refs/heads/main",
    "repository": "octo/app",
    "repository_owner": "octo",
    "ref": "refs/heads/main",
    "environment": "production",
    "run_attempt": 1,
}


@pytest.mark.parametrize(
    ("rule", "is_agent"),
    [
        ({"repository": "octo/app"}, True),
        ({"repository": "octo/app", "ref": "refs/heads/main", "environment": "production"}, True),
        ({"repository": "octo/app", "ref": "refs/heads/*"}, True),
        ({"sub": "repo:octo/app:*"}, True),
        ({"repository": "octo/ap"}, False),
        ({"repository": "octo/app", "ref": "refs/heads/release"}, False),
        ({"repository": "octo/app", "ref": "refs/tags/*"}, False),
        ({"repository": "octo/app", "actor": "*"}, False),
        ({"repository": "OCTO/APP"}, False),
        ({"run_attempt": "1"}, False),
        ({}, False),
    ],
)
def test_a_workload_is_the_agent_when_all_is_as_said(rule: dict[str, Any], is_agent: bool) -> None:
    assert matches(rule, JOB) is is_agent


@pytest.mark.parametrize(
    ("issuer", "rule"),
    [
        (GITHUB, {"repository": "octo/app"}),
        (GITHUB + "/", {"repository": "octo/app", "ref": "refs/heads/release-*"}),
        (GITHUB, {"repository_id": "74"}),
        (GITHUB, {"sub": "repo:octo/app:environment:production"}),
        (GITHUB, {"sub": "repo:octo/app:*"}),
        (KUBERNETES, {"sub": "system:serviceaccount:payments:reporter"}),
        (KUBERNETES, {"sub": "system:serviceaccount:payments:*"}),
    ],
)
def test_a_rule_for_one_place_may_be_saved(issuer: str, rule: dict[str, Any]) -> None:
    assert [*claim_faults(issuer, rule)] == []


@pytest.mark.parametrize(
    ("issuer", "rule", "why"),
    [
        (GITHUB, {}, "name 1 to"),
        (GITHUB, [], "name 1 to"),
        (GITHUB, {"sub": "*"}, "anything"),
        (GITHUB, {"sub": "repo:*"}, "everybody on GitHub"),
        (GITHUB, {"sub": "repo:octo/*"}, "everybody on GitHub"),
        (GITHUB, {"sub": "repo:octo/app*"}, "everybody on GitHub"),
        (GITHUB, {"repository": "octo/*"}, "everybody on GitHub"),
        (GITHUB, {"repository_owner": "octo"}, "everybody on GitHub"),
        (GITHUB, {"ref": "refs/heads/main"}, "everybody on GitHub"),
        (GITHUB, {"repository": "octo/app", "aud": "x"}, "about the token"),
        (GITHUB, {"repository": "octo/app", "ref": "a*b*c*d"}, "at most"),
        (GITHUB, {"repository": "octo/app", "ref": "v[0-9]"}, "only \\*"),
        (GITHUB, {"repository": "octo/app", "ref": 7}, "must be"),
        (GITHUB, {"repository": "octo/app", "re f": "x"}, "name has"),
        (GITHUB, {"repository": "octo/app", "ref": "x" * 301}, "must be"),
        (KUBERNETES, {"sub": "system:*"}, "everybody on the platform"),
        (KUBERNETES, {"namespace": "payments"}, "everybody on the platform"),
        (KUBERNETES, {"sub": "*:payments:reporter"}, "everybody on the platform"),
    ],
)
def test_a_rule_for_everybody_is_refused_with_the_reason(issuer: str, rule: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        raise ValueError("; ".join(claim_faults(issuer, rule)))


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_a_star_is_any_text_and_nothing_else_is_special(pattern: str, text: str) -> None:
    assert matches({"sub": pattern}, {"sub": text}) is fnmatchcase(text, pattern)
