"""Indexes for the evidence list: by person, by what went wrong, and by the rarer kinds and actors.

Every call pays for its entries, so an intent gets none here: its outcome stands for the call. The index by tool is
made anew without intents, which pays for the one by person. PostgreSQL builds them while the gateway serves.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class AddIndexWhileServing(migrations.AddIndex):
    """A build that was interrupted leaves an invalid index behind, which must make room first."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}")
        operation = AddIndexConcurrently(self.model_name, self.index)
        operation.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        operation = AddIndexConcurrently(self.model_name, self.index)
        operation.database_backwards(app_label, schema_editor, from_state, to_state)


class RemoveIndexWhileServing(migrations.RemoveIndex):
    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._operation(schema_editor).database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._operation(schema_editor).database_backwards(app_label, schema_editor, from_state, to_state)

    def _operation(self, schema_editor: Any) -> migrations.RemoveIndex:
        chosen = RemoveIndexConcurrently if schema_editor.connection.vendor == "postgresql" else migrations.RemoveIndex
        return chosen(self.model_name, self.name)


SETTLED = ~models.Q(kind="call.intent")
NO_CALL = models.Q(call_id__isnull=True)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("audit", "0003_call_tallies")]

    operations = [
        AddIndexWhileServing(
            "eventrow", models.Index(fields=("tool", "id"), condition=SETTLED, name="audit_event_tool_settled")
        ),
        RemoveIndexWhileServing("eventrow", "audit_event_by_tool"),
        AddIndexWhileServing(
            "eventrow", models.Index(fields=("person", "id"), condition=SETTLED, name="audit_event_by_person")
        ),
        AddIndexWhileServing(
            "eventrow",
            models.Index(
                fields=("decision", "id"),
                condition=models.Q(decision__in=("deny", "ask")),
                name="audit_event_by_decision",
            ),
        ),
        AddIndexWhileServing(
            "eventrow",
            models.Index(
                fields=("outcome", "id"),
                condition=~models.Q(outcome__in=("", "ok")),
                name="audit_event_by_outcome",
            ),
        ),
        AddIndexWhileServing(
            "eventrow", models.Index(fields=("kind", "id"), condition=NO_CALL, name="audit_event_by_kind")
        ),
        AddIndexWhileServing(
            "eventrow", models.Index(fields=("actor", "id"), condition=NO_CALL, name="audit_event_by_actor")
        ),
    ]
