"""Agents that were handed over before this was kept: since when their owner has them, from evidence."""

import json

from django.db import migrations

AT_A_TIME = 200


def forwards(apps, schema_editor):
    agents = apps.get_model("governance", "Agent").objects.filter(owned_since=None)
    for agent in agents.iterator(AT_A_TIME):
        if (since := _last_handed_over(apps, agent)) is not None:
            agents.filter(pk=agent.pk).update(owned_since=since)


def backwards(apps, schema_editor):
    """The column goes with what is in it."""


def _last_handed_over(apps, agent):
    events = apps.get_model("audit", "EventRow").objects
    mentions = apps.get_model("audit", "Mention").objects.filter(object_id=agent.pk.hex).order_by("-id")
    for event_id in mentions.values_list("event_id", flat=True).iterator(AT_A_TIME):
        row = events.filter(pk=event_id).first()
        told = json.loads(bytes(row.header))["details"] if row is not None else {}
        if told.get("relation") == "governance_agent" and _is_handed_over(told):
            return row.at
    return None


def _is_handed_over(told):
    before, after = told.get("before") or {}, told.get("after") or {}
    return "owner_id" in before and "owner_id" in after and before["owner_id"] != after["owner_id"]


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0016_saved_searches"),
        ("governance", "0024_owned_since"),
        ("audit", "0014_detection_pack"),
    ]
    operations = [migrations.RunPython(forwards, backwards)]
