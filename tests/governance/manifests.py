"""Manifests for tests, and what they are compared with."""

from dataclasses import replace
from textwrap import dedent

from governance.manifest.schema import Manifest, Source, parse

KINDS = ("fake", "mcp")
HEADER = "apiVersion: gatehouse/v1\n"

EXAMPLE = """\
apiVersion: gatehouse/v1
organization: {name: Example Corp, timezone: America/New_York, policies: []}
teams:
  - {name: support, title: Support}
  - {name: support-leads, parent: support}
people:
  - {email: ana@example.com, name: Ana Lima, teams: [support], manager: lee@example.com}
  - {email: lee@example.com, name: Lee Wong, teams: [support-leads], staff: true}
secrets:
  - {name: splunk-token, kind: bearer, value_from: {file: SPLUNK_TOKEN_FILE}}
  - {name: helpdesk-token, kind: bearer, value_from: {env: HELPDESK_TOKEN}}
connectors:
  - name: helpdesk
    kind: mcp
    url: http://127.0.0.1:9100/mcp
    secret: helpdesk-token
    new_tools: review
    timeout_seconds: 30
bundles:
  - name: support
    title: Support desk
    inherits: [baseline]
    tools:
      - {connector: helpdesk, allow: ["ticket_*", "kb_search", "billing_refund"], deny: ["ticket_delete"]}
    resources:
      - {connector: helpdesk, allow: ["kb://articles/*"], deny: ["kb://articles/internal/*"]}
    prompts:
      - {connector: helpdesk, allow: ["summarize"]}
    names: plain
    policies: [refunds-need-a-human]
    recording: full
  - {name: baseline, tools: [], policies: [no-secrets-out]}
policies:
  - name: refunds-need-a-human
    rules:
      - {effect: ask, tools: ["billing_refund"], when: "args.amount > 100", approvers: {team: support-leads, count: 1}, reason: Refunds over 100 need a lead}
      - {effect: deny, tools: ["*"], when: "!time.businessHours", reason: Only in business hours}
  - name: no-secrets-out
    rules:
      - {effect: mask, on: result, findings: [secret, personal_data]}
      - {effect: deny, on: arguments, findings: [secret]}
roles:
  - {name: support-agent, bundles: [support], teams: [support], starts_at: null, ends_at: null, schedule: {days: [mon,tue,wed,thu,fri], from: "08:00", to: "19:00"}}
agents:
  - {name: triage-bot, title: Triage bot, owner: ana@example.com, roles: [support-agent], purpose: Sorts new tickets}
limits:
  - {name: not-too-many, per: agent, tools: ["*"], window_seconds: 60, requests: 600, running: 20}
"""  # noqa: E501
"""The documented example, without its sinks."""

SINKS = "sinks:\n  - {name: soc, kind: splunk, url: https://splunk.example.com:8088, secret: splunk-token}\n"


def manifest(text: str) -> Manifest:
    """`text` goes without the version line."""
    return parse([Source("org.yaml", (HEADER + dedent(text)).encode())], kinds=KINDS)


def stored(text: str) -> Manifest:
    """As the database would tell it: entries that stand in no file."""
    sections = manifest(text).sections
    return Manifest({kind: tuple(replace(entry, node=None) for entry in entries) for kind, entries in sections.items()})
