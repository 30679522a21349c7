-- The PostgreSQL half of the fence. See docs/architecture.md, "The fence".
CREATE TABLE governance_ticket (txid bigint PRIMARY KEY, is_last boolean NOT NULL DEFAULT false);

-- Statement-level, on every watched table. Arguments: kind, column that holds the touched id (or *), sealed columns,
-- quiet columns.
CREATE FUNCTION gatehouse_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  this_txid bigint := pg_current_xact_id()::text::bigint;
  who text := coalesce(nullif(current_setting('gatehouse.actor', true), ''), 'database:' || session_user);
  id_column text := TG_ARGV[1];
  sealed text[] := TG_ARGV[2]::text[];
  quiet text[] := TG_ARGV[3]::text[];
  noted bigint := 1;
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    INSERT INTO governance_change (txid, kind, object_id, relation, operation, actor, at)
    VALUES (this_txid, TG_ARGV[0], '*', TG_TABLE_NAME, 'truncate', who, clock_timestamp());
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO governance_change (txid, kind, object_id, relation, operation, after, actor, at)
    SELECT this_txid, TG_ARGV[0],
           CASE id_column WHEN '*' THEN '*' ELSE replace(to_jsonb(n) ->> id_column, '-', '') END,
           TG_TABLE_NAME, 'insert', (to_jsonb(n) - sealed)::text, who, clock_timestamp()
    FROM new_rows n;
    GET DIAGNOSTICS noted = ROW_COUNT;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO governance_change (txid, kind, object_id, relation, operation, before, actor, at)
    SELECT this_txid, TG_ARGV[0],
           CASE id_column WHEN '*' THEN '*' ELSE replace(to_jsonb(o) ->> id_column, '-', '') END,
           TG_TABLE_NAME, 'delete', (to_jsonb(o) - sealed)::text, who, clock_timestamp()
    FROM old_rows o;
    GET DIAGNOSTICS noted = ROW_COUNT;
  ELSE
    -- A row that moves from one container to another touches both.
    INSERT INTO governance_change (txid, kind, object_id, relation, operation, before, after, actor, at)
    SELECT this_txid, TG_ARGV[0], touched.object_id, TG_TABLE_NAME, 'update',
           (pair.before - sealed)::text, (pair.after - sealed)::text, who, clock_timestamp()
    FROM (
      SELECT to_jsonb(o) AS before, to_jsonb(n) AS after FROM old_rows o FULL JOIN new_rows n USING (id) OFFSET 0
    ) AS pair
    CROSS JOIN LATERAL (
      SELECT DISTINCT CASE id_column WHEN '*' THEN '*' ELSE replace(side ->> id_column, '-', '') END AS object_id
      FROM unnest(ARRAY[pair.before, pair.after]) AS side
      WHERE side IS NOT NULL
    ) AS touched
    WHERE (pair.before - quiet) IS DISTINCT FROM (pair.after - quiet);
    GET DIAGNOSTICS noted = ROW_COUNT;
  END IF;
  IF noted > 0 THEN
    INSERT INTO governance_ticket (txid) VALUES (this_txid) ON CONFLICT DO NOTHING;
  END IF;
  RETURN NULL;
END $$;

-- Deferred triggers run in the order in which they were queued. The ticket's own insert was queued early; the update
-- made here is queued behind everything else the transaction deferred, foreign-key checks included.
CREATE FUNCTION gatehouse_queue_last_act() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE governance_ticket SET is_last = true WHERE txid = NEW.txid;
  RETURN NULL;
END $$;

-- The last act: from here to the end of COMMIT no group of calls can commit an intent.
CREATE FUNCTION gatehouse_last_act() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved bigint;
BEGIN
  PERFORM set_config('lock_timeout', '3s', true);
  PERFORM pg_advisory_xact_lock({fence_key});
  UPDATE governance_epoch SET number = number + 1 RETURNING number INTO STRICT moved;
  INSERT INTO governance_advance (epoch, txid, at) VALUES (moved, NEW.txid, clock_timestamp());
  DELETE FROM governance_ticket WHERE txid = NEW.txid;
  PERFORM pg_notify('{epoch_channel}', moved::text);
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ticket_queue AFTER INSERT ON governance_ticket DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION gatehouse_queue_last_act();
CREATE CONSTRAINT TRIGGER ticket_last AFTER UPDATE ON governance_ticket DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION gatehouse_last_act();
ALTER TABLE governance_ticket ENABLE ALWAYS TRIGGER ticket_queue;
ALTER TABLE governance_ticket ENABLE ALWAYS TRIGGER ticket_last;
