"""The trigger that writes evidence of governed changes also notes which rows each piece of it names."""

from pathlib import Path

from django.db import migrations

COMMIT = Path(__file__).parents[1] / "commit"

# A row's ids, before and after: every value of a column called id or *_id that is a UUID, without its dashes.
POSTGRESQL = r"""
CREATE FUNCTION gatehouse_mentioned(before jsonb, after jsonb) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
  SELECT DISTINCT replace(side.value, '-', '')
  FROM (
    SELECT * FROM jsonb_each_text(CASE jsonb_typeof(before) WHEN 'object' THEN before ELSE '{}' END)
    UNION ALL SELECT * FROM jsonb_each_text(CASE jsonb_typeof(after) WHEN 'object' THEN after ELSE '{}' END)
  ) AS side
  WHERE (side.key = 'id' OR side.key LIKE '%\_id') AND side.value LIKE '________-____-____-____-____________'
$$;

CREATE OR REPLACE FUNCTION gatehouse_record_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WITH told AS MATERIALIZED (
    SELECT gatehouse_uuid7() AS event_id, n.* FROM new_rows n
  ), mentions AS (
    INSERT INTO audit_mention (object_id, event_id)
    SELECT mentioned, t.event_id FROM told t, gatehouse_mentioned(t.before::jsonb, t.after::jsonb) AS mentioned
  ), events AS (
    INSERT INTO audit_event (id, kind, at, actor, header)
    SELECT t.event_id, 'governance.changed', t.at, left(t.actor, 255), convert_to(json_build_object(
      'actor', t.actor, 'agent', '', 'call_id', NULL, 'connector', '', 'decided_epoch', 0, 'decision', '',
      'at', to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'details', json_build_object('change', t.id, 'kind', t.kind, 'object_id', t.object_id, 'relation', t.relation,
        'operation', t.operation, 'before', t.before::json, 'after', t.after::json),
      'id', t.event_id, 'kind', 'governance.changed', 'outcome', '', 'payload_commitment', '', 'person', '',
      'process_id', NULL, 'tool', '')::text, 'UTF8')
    FROM told t
    RETURNING id
  )
  INSERT INTO audit_pending (event_id) SELECT id FROM events;
  RETURN NULL;
END $$;

INSERT INTO audit_mention (object_id, event_id)
SELECT mentioned, stored.id
FROM (
  SELECT id, convert_from(header, 'UTF8')::jsonb -> 'details' AS details FROM audit_event
  WHERE kind = 'governance.changed' ORDER BY id
) AS stored, gatehouse_mentioned(details -> 'before', details -> 'after') AS mentioned;
"""

SQLITE_MENTIONED = r"""
  INSERT INTO audit_mention (object_id, event_id)
  SELECT DISTINCT side.value, told.event_id
  FROM ({told}) AS told, json_each(told.before) AS side
  WHERE (side.key = 'id' OR side.key LIKE '%\_id' ESCAPE '\') AND length(side.value) = 32
  UNION
  SELECT side.value, told.event_id
  FROM ({told}) AS told, json_each(told.after) AS side
  WHERE (side.key = 'id' OR side.key LIKE '%\_id' ESCAPE '\') AND length(side.value) = 32;
"""
SQLITE_CHANGE = """
    SELECT event_id, coalesce(NEW.before, '{}') AS before, coalesce(NEW.after, '{}') AS after
    FROM audit_pending WHERE rowid = last_insert_rowid()
"""
NOTE_CHANGE = SQLITE_MENTIONED.format(told=SQLITE_CHANGE)
SQLITE_STORED = """
    SELECT id AS event_id, coalesce(CAST(header AS TEXT) -> '$.details.before', '{}') AS before,
      coalesce(CAST(header AS TEXT) -> '$.details.after', '{}') AS after
    FROM audit_event WHERE kind = 'governance.changed'
"""


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL)
            return
        replace_trigger(cursor, lambda trigger: trigger.removesuffix("END") + NOTE_CHANGE + "END")
        cursor.execute(SQLITE_MENTIONED.format(told=SQLITE_STORED))


def backwards(apps, schema_editor):
    """The mentions themselves go with their table."""
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute(function_before())
            cursor.execute("DROP FUNCTION gatehouse_mentioned(jsonb, jsonb)")
            return
        replace_trigger(cursor, lambda trigger: trigger.replace(NOTE_CHANGE, ""))


def replace_trigger(cursor, revise):
    cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'record_changes'")
    (trigger,) = cursor.fetchone()
    cursor.execute("DROP TRIGGER record_changes")
    cursor.execute(revise(trigger))


def function_before():
    text = (COMMIT / "postgresql.sql").read_text()
    start = text.index("CREATE FUNCTION gatehouse_record_changes()")
    end = text.index("END $$;", start) + len("END $$;")
    return text[start:end].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0003_idempotent_answers"), ("audit", "0005_mentions")]
    operations = [migrations.RunPython(forwards, backwards)]
