-- Whoever sends pieces for an agent commits them one after the other, so that of calls side by side the last one is told
-- of the others'. Taken before the fence, agents in their order: so no two groups wait for each other.
CREATE FUNCTION gatehouse_lock_pieces(extras text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  whose text;
BEGIN
  FOR whose IN
    SELECT DISTINCT e.extra::jsonb #>> '{sent,agent}' FROM unnest(extras) AS e(extra)
    WHERE e.extra::jsonb ? 'sent' ORDER BY 1
  LOOP
    PERFORM pg_advisory_xact_lock(hashtextextended('gatehouse pieces ' || whose, 0));
  END LOOP;
END $$;

-- Keeps the pieces of the records that are stored now, in their order. '5' instead of '0' says that there are some of
-- other processes which were not looked at with them. Of an agent the newest 256 are kept; what somebody else deletes is
-- not waited for.
CREATE FUNCTION gatehouse_keep_pieces(extras text[], verdicts text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  told text := verdicts;
  member record;
BEGIN
  FOR member IN
    SELECT e.sent, (e.sent ->> 'agent')::uuid AS agent, (e.sent ->> 'process')::uuid AS process, e.position::int
    FROM (
      SELECT u.extra::jsonb -> 'sent' AS sent, u.position FROM unnest(extras) WITH ORDINALITY AS u(extra, position)
    ) AS e
    WHERE e.sent IS NOT NULL AND substr(verdicts, e.position::int, 1) = '0' ORDER BY e.position
  LOOP
    IF EXISTS (
      SELECT FROM gateway_sentpiece WHERE agent_id = member.agent AND id > (member.sent ->> 'read_to')::bigint
        AND process_id <> member.process AND at > clock_timestamp() - interval '30 minutes')
    THEN
      told := overlay(told PLACING '5' FROM member.position FOR 1);
    END IF;
    INSERT INTO gateway_sentpiece (agent_id, person_id, process_id, sealed, at)
    VALUES (member.agent, (member.sent ->> 'person')::uuid, member.process, decode(member.sent ->> 'sealed', 'hex'),
            clock_timestamp());
    IF (member.sent ->> 'is_pruning')::boolean THEN
      DELETE FROM gateway_sentpiece WHERE id IN (
        SELECT id FROM gateway_sentpiece WHERE agent_id = member.agent AND id <= (
          SELECT id FROM gateway_sentpiece WHERE agent_id = member.agent ORDER BY id DESC LIMIT 1 OFFSET 256)
        FOR UPDATE SKIP LOCKED);
    END IF;
  END LOOP;
  RETURN told;
END $$;

-- As `gatehouse_commit` of postgresql_sessions.sql; and it keeps the pieces that calls are about to send, `extras` may
-- have {"sent": {"agent", "person", "process", "read_to", "sealed", "is_pruning"}}, too.
CREATE OR REPLACE FUNCTION gatehouse_commit(
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
        PERFORM gatehouse_lock_pieces(extras);
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

  IF extras IS NOT NULL THEN
    verdicts := gatehouse_keep_pieces(extras, verdicts);
  END IF;
END $$;
