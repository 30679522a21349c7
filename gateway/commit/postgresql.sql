-- Evidence of every governed change, written by the database so that no door can leave it out.
CREATE FUNCTION gatehouse_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
          || substr(replace(gen_random_uuid()::text, '-', ''), 1, 3) || '8'
          || substr(replace(gen_random_uuid()::text, '-', ''), 17, 15))::uuid
$$;

CREATE FUNCTION gatehouse_record_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WITH told AS MATERIALIZED (
    SELECT gatehouse_uuid7() AS event_id, n.* FROM new_rows n
  ), events AS (
    INSERT INTO audit_event (id, kind, at, actor, header)
    SELECT t.event_id, 'governance.changed', t.at, left(t.actor, 255), convert_to(jsonb_build_object(
      'actor', t.actor, 'agent', '', 'call_id', NULL, 'connector', '', 'decided_epoch', 0, 'decision', '',
      'at', to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'details', jsonb_build_object('change', t.id, 'kind', t.kind, 'object_id', t.object_id, 'relation', t.relation,
        'operation', t.operation, 'before', t.before::jsonb, 'after', t.after::jsonb),
      'id', t.event_id, 'kind', 'governance.changed', 'outcome', '', 'payload_commitment', '', 'person', '',
      'process_id', NULL, 'tool', '')::text, 'UTF8')
    FROM told t
    RETURNING id
  )
  INSERT INTO audit_pending (event_id) SELECT id FROM events;
  RETURN NULL;
END $$;

CREATE TRIGGER record_changes AFTER INSERT ON governance_change REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION gatehouse_record_changes();
ALTER TABLE governance_change ENABLE ALWAYS TRIGGER record_changes;

-- One group of records in one autocommitted call. Returns the epoch and, for each record in order, '0' committed,
-- '1' stale: decide again, '2' a record of this kind exists for this call.
-- The fence is held from the lock to the end of this call, inside the server only; no row lock is taken after it.
CREATE FUNCTION gatehouse_commit(
  process uuid, ids text[], kinds text[], ats text[], call_ids text[], actors text[], agents text[], persons text[],
  connectors text[], tools text[], decisions text[], outcomes text[], decided text[], headers bytea[],
  payload_keys text[], payloads bytea[], deadlines text[], read_sets text[],
  OUT current_epoch bigint, OUT verdicts text
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  wanted text := repeat('0', cardinality(ids));
  oldest bigint;
  trimmed bigint;
  changed jsonb;
  stale boolean[];
  stored text[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'gatehouse_commit needs read committed: any other isolation reads the epoch of before the fence';
  END IF;
  SELECT min(d::bigint) INTO oldest FROM unnest(decided, read_sets) AS f(d, read_set) WHERE f.read_set IS NOT NULL;

  IF oldest IS NOT NULL AND EXISTS (SELECT FROM gateway_gatewayprocess WHERE id = process AND ended_at IS NOT NULL) THEN
    RAISE EXCEPTION 'this process was declared dead: nobody would close what it opens now';
  END IF;

  -- Payloads are too bulky to be written behind the fence. When a record fails there, its payload must not stay
  -- behind without it: the round is undone and done again without that payload.
  LOOP
    BEGIN
      INSERT INTO audit_payload (event_id, key_id, sealed)
      SELECT p.id::uuid, p.key_id, p.sealed
      FROM unnest(ids, payload_keys, payloads) WITH ORDINALITY AS p(id, key_id, sealed, position)
      WHERE p.key_id IS NOT NULL AND substr(wanted, p.position::int, 1) = '0';

      PERFORM pg_advisory_xact_lock_shared({fence_key});
      SELECT number INTO STRICT current_epoch FROM governance_epoch;
      changed := '{}';
      trimmed := 0;
      IF oldest < current_epoch THEN
        -- The log before the mark: trimming moves the mark first, so what is missing here is covered there.
        -- OFFSET 0: always by index from the few new epochs, even where the planner knows nothing of the tables yet.
        SELECT coalesce(jsonb_object_agg(touched.key, touched.epoch), '{}') INTO changed
        FROM (
          SELECT CASE c.object_id WHEN '*' THEN '*' ELSE c.kind || ':' || c.object_id END AS key, max(a.epoch) AS epoch
          FROM governance_advance a
          CROSS JOIN LATERAL (SELECT kind, object_id FROM governance_change WHERE txid = a.txid OFFSET 0) AS c
          WHERE a.epoch > oldest GROUP BY 1
        ) AS touched;
        SELECT trimmed_to INTO STRICT trimmed FROM governance_epoch;
      END IF;
      SELECT array_agg(f.read_set IS NOT NULL AND (
          f.d::bigint > current_epoch OR f.d::bigint < trimmed OR f.deadline::timestamptz <= clock_timestamp()
          OR changed <> '{}' AND EXISTS (
            SELECT FROM unnest(array_append(f.read_set::text[], '*')) AS key
            WHERE (changed ->> key)::bigint > f.d::bigint)
        ) IS TRUE ORDER BY f.position)
      INTO stale
      FROM unnest(decided, read_sets, deadlines) WITH ORDINALITY AS f(d, read_set, deadline, position);

      WITH written AS (
        INSERT INTO audit_event (id, kind, at, call_id, actor, agent, person, connector, tool, decision, outcome,
                                 process_id, epoch, decided_epoch, header)
        SELECT e.id::uuid, e.kind, e.at::timestamptz, e.call_id::uuid, e.actor, e.agent, e.person, e.connector, e.tool,
               e.decision, e.outcome, process, current_epoch, e.decided::bigint, e.header
        FROM unnest(ids, kinds, ats, call_ids, actors, agents, persons, connectors, tools, decisions, outcomes,
                    decided, headers, stale)
          AS e(id, kind, at, call_id, actor, agent, person, connector, tool, decision, outcome, decided, header, stale)
        WHERE NOT e.stale
        ON CONFLICT (call_id, kind) WHERE call_id IS NOT NULL DO NOTHING
        RETURNING id
      ), queued AS (
        INSERT INTO audit_pending (event_id) SELECT id FROM written
      )
      SELECT coalesce(array_agg(replace(id::text, '-', '')), '{}') INTO stored FROM written;

      SELECT string_agg(CASE WHEN v.stale THEN '1' WHEN v.id = ANY (stored) THEN '0' ELSE '2' END, ''
                        ORDER BY v.position)
      INTO verdicts
      FROM unnest(ids, stale) WITH ORDINALITY AS v(id, stale, position);

      EXIT WHEN NOT EXISTS (
        SELECT FROM unnest(payload_keys) WITH ORDINALITY AS p(key_id, position)
        WHERE p.key_id IS NOT NULL AND substr(wanted, p.position::int, 1) = '0'
          AND substr(verdicts, p.position::int, 1) <> '0');
      RAISE SQLSTATE 'GH001';
    EXCEPTION WHEN SQLSTATE 'GH001' THEN
      wanted := verdicts;
    END;
  END LOOP;
END $$;
