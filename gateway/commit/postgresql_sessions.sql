-- As `gatehouse_commit` of postgresql_claims.sql, whose helpers it uses; it keeps the session of each record, too.
--
-- One group of records in one autocommitted call. Returns the epoch and, for each record in order, '0' committed,
-- '1' stale: decide again, '2' a record of this kind exists for this call, '3' what it claims is gone, '4' its run has
-- other labels. `extras` is NULL when no record has any: {"claim": {"approval", "digest", "grants"}, "seen", "met"}.
-- The fence is held from the lock to the end of this call, inside the server only. What is consumed is locked before it;
-- of rows that somebody locks while he waits for the fence none is locked after it.
CREATE FUNCTION gatehouse_commit(
  process uuid, ids text[], kinds text[], ats text[], call_ids text[], actors text[], agents text[], persons text[],
  connectors text[], tools text[], decisions text[], outcomes text[], sessions text[], decided text[],
  headers bytea[], payload_keys text[], payloads bytea[], deadlines text[], read_sets text[],
  extras text[], OUT current_epoch bigint, OUT verdicts text
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  wanted text := repeat('0', cardinality(ids));
  oldest bigint;
  trimmed bigint;
  changed jsonb;
  refused text[];
  stored text[];
  mine bigint[];
  member record;
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

      IF extras IS NOT NULL THEN
        mine := gatehouse_lock_claimed(extras);
      END IF;

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
      SELECT array_agg(CASE WHEN f.read_set IS NOT NULL AND (
          f.d::bigint > current_epoch OR f.d::bigint < trimmed OR f.deadline::timestamptz <= clock_timestamp()
          OR changed <> '{}' AND EXISTS (
            SELECT FROM unnest(array_append(f.read_set::text[], '*')) AS key
            WHERE (changed ->> key)::bigint > f.d::bigint)
        ) IS TRUE THEN '1' ELSE substring(substr(wanted, f.position::int, 1) FROM '[34]') END ORDER BY f.position)
      INTO refused
      FROM unnest(decided, read_sets, deadlines) WITH ORDINALITY AS f(d, read_set, deadline, position);

      IF extras IS NOT NULL THEN
        FOR member IN
          SELECT e.extra::jsonb AS extra, e.call_id::uuid AS call_id, e.kind, e.position
          FROM unnest(extras, call_ids, kinds) WITH ORDINALITY AS e(extra, call_id, kind, position)
          WHERE e.extra IS NOT NULL AND refused[e.position] IS NULL ORDER BY e.position
        LOOP
          IF NOT gatehouse_is_labelled(member.extra -> 'seen') THEN
            refused[member.position] := '4';
          ELSIF member.extra ? 'claim'
            AND NOT EXISTS (SELECT FROM audit_event WHERE call_id = member.call_id AND kind = member.kind)
            AND NOT gatehouse_consume(member.extra -> 'claim', member.call_id, mine)
          THEN
            refused[member.position] := '3';
          END IF;
        END LOOP;
      END IF;

      WITH written AS (
        INSERT INTO audit_event (id, kind, at, call_id, actor, agent, person, connector, tool, decision, outcome,
                                 process_id, session, epoch, decided_epoch, header)
        SELECT e.id::uuid, e.kind, e.at::timestamptz, e.call_id::uuid, e.actor, e.agent, e.person, e.connector, e.tool,
               e.decision, e.outcome, process, e.session::uuid, current_epoch, e.decided::bigint, e.header
        FROM unnest(ids, kinds, ats, call_ids, actors, agents, persons, connectors, tools, decisions, outcomes,
                    sessions, decided, headers, refused)
          AS e(id, kind, at, call_id, actor, agent, person, connector, tool, decision, outcome, session, decided, header,
               refused)
        WHERE e.refused IS NULL
        ON CONFLICT (call_id, kind) WHERE call_id IS NOT NULL DO NOTHING
        RETURNING id
      ), queued AS (
        INSERT INTO audit_pending (event_id) SELECT id FROM written
      )
      SELECT coalesce(array_agg(replace(id::text, '-', '')), '{}') INTO stored FROM written;

      SELECT string_agg(coalesce(v.refused, CASE WHEN v.id = ANY (stored) THEN '0' ELSE '2' END), ''
                        ORDER BY v.position)
      INTO verdicts
      FROM unnest(ids, refused) WITH ORDINALITY AS v(id, refused, position);

      IF extras IS NOT NULL THEN
        PERFORM gatehouse_add_labels(extras, ids, stored);
      END IF;

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
