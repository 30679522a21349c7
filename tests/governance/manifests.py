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
  - {name: slack-token}
connectors:
  - name: helpdesk
    kind: mcp
    url: http://127.0.0.1:9100/mcp
    secret: helpdesk-token
    new_tools: review
    timeout_seconds: 30
retention:
  - {name: short, payload_days: 30, header_days: 365}
bundles:
  - name: support
    title: Support desk
    retention: short
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
reactions:
  - {name: many-denials, trigger: denials, count: 20, minutes: 5, action: freeze_agent, lasting_minutes: 30}
issuers:
  - {name: github, kind: workload, issuer: https://token.actions.githubusercontent.com}
notifications:
  - {name: on-call, kind: slack, target: C0123456789, secret: slack-token, teams: [support-leads]}
"""  # noqa: E501
"""The documented example; its sinks stand below."""

WHOLE = """\
organization:
  name: Example Corp
  timezone: America/New_York
  business_hours: {days: [mon, tue, wed, thu], from: "08:30", to: "18:00"}
  holidays: [{date: 2026-12-25, name: Christmas}, {date: 2027-01-01}]
  networks: {office: [192.0.2.0/24, "2001:db8::/32"]}
  review: required
  agents_may_ask: true
  rotation: {after_days: 45, overlap_hours: 24, overdue: ended, unused_after_days: 30, unused: ended}
  client_hosts: [claude.ai]
  policies: [careful]
teams:
  - name: support
    attributes: {repos: [web, api]}
    on_call:
      - {person: lee@example.com, starts_at: 2026-11-20T08:00:00Z, ends_at: 2026-11-27T08:00:00Z}
  - {name: leads, parent: support}
people:
  - {email: lee@example.com, teams: [leads]}
  - {email: lee@partner.example, same_as: lee@example.com}
secrets:
  - {name: bot}
  - {name: signing}
connectors:
  - name: helpdesk
    url: http://127.0.0.1:9100/mcp
    owner: lee@example.com
    stage: production
    tools:
      - {name: billing_refund, risk: high, egress: true, undo: Refunds cannot be taken back.}
      - {name: ticket_search, risk: low, read_only: true, untrusted: true, data_classes: [customer]}
bundles:
  - {name: support, tools: [{connector: helpdesk}], policies: [refunds], retention: short}
retention:
  - {name: short, payload_days: 30, header_days: 90}
  - {name: standard, payload_days: 365, default: true}
policies:
  - name: refunds
    rules:
      - effect: ask
        connectors: [help*]
        tools: [billing_refund]
        data_classes: []
        risks: [high]
        access: write
        when: args.amount > 100
        approvers:
          teams: [leads, support]
          people: [lee@example.com]
          on_call: [support]
          manager: true
          resource_owner: true
          count: 2
          reason: required
          ticket: "INC[0-9]+"
          pending: 30m
          use_within: 10m
          longest_grant: 1h
          step_up: 5m
          escalate: {after: 10m, to: [leads]}
          in_chat: true
        reason: Refunds over 100 need two humans.
    tests:
      - {name: A small one, tool: billing_refund, args: {amount: 99}, expect: permit}
      - {tool: billing_refund, connector: helpdesk, args: {amount: 101, lines: [{id: 1}]}, expect: ask, rule: 1}
  - name: careful
    rules:
      - {effect: mask, on: result, data_classes: [customer], fields: ["*.iban"]}
      - {effect: deny, access: write, when: "'untrusted' in session.labels && tool.egress", reason: Untrusted.}
roles:
  - name: agents
    bundles: [support]
    schedule: {days: [mon], from: "08:00", to: "19:00", holidays: false}
    scopes:
      - {tools: [billing_refund], when: args.amount < 500, text: only up to 500}
data_classes:
  - name: patients
    title: Patient numbers
    patterns: ['\\bP-(?P<value>[0-9]{6,8})\\b']
    words: [Project Falcon]
    context: [patient]
    severity: high
    tests: [{text: "patient P-123456"}, {text: "part P-123456", found: false}]
detectors:
  - name: presidio
    kind: presidio
    settings: {url: "http://presidio:5002", entities: PERSON}
    side: result
    timeout_ms: 800
    least_confidence: 0.6
    enabled: false
canaries:
  - {name: hr-share, kind: url, place: "https://files.example.com/hr/", planted_in: The share of human resources}
detection_off:
  - {rule: us_medicare, reason: Nobody here is insured there.}
reactions:
  - {name: secrets, trigger: finding, findings: [secret], action: hold_run, approvers: {team: leads}}
  - {name: drift, trigger: drift, action: quarantine_tool, enabled: false}
notifications:
  - {name: chat, kind: slack, target: C01, secret: bot, signing_secret: signing, teams: [leads], allows_decisions: true}
  - {name: hook, kind: webhook, url: "https://hooks.example.com/x", secret: signing}
"""
"""Everything about rules and humans that a manifest can say."""

SINKS = "sinks:\n  - {name: soc, kind: splunk, url: https://splunk.example.com:8088, secret: splunk-token}\n"


def manifest(text: str) -> Manifest:
    """`text` goes without the version line."""
    return parse([Source("org.yaml", (HEADER + dedent(text)).encode())], kinds=KINDS)


def stored(text: str) -> Manifest:
    """As the database would tell it: entries that stand in no file."""
    sections = manifest(text).sections
    return Manifest({kind: tuple(replace(entry, node=None) for entry in entries) for kind, entries in sections.items()})
