-- As `gatehouse_keep_pieces` of postgresql_pieces.sql, with one row for the pieces of several records: "row" is the place
-- of the record that has it, itself where it is missing. A row is kept if one of its records is stored now.
CREATE OR REPLACE FUNCTION gatehouse_keep_pieces(extras text[], verdicts text)
RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  told text := verdicts;
  kept record;
  newest bigint;
BEGIN
  FOR kept IN
    SELECT (head.sent ->> 'agent')::uuid AS agent, (head.sent ->> 'process')::uuid AS process, head.sent, its.positions,
           its.read_to, its.oldest
    FROM (
      SELECT coalesce((e.sent ->> 'row')::bigint, e.position) AS place, array_agg(e.position::int) AS positions,
             array_agg((e.sent ->> 'read_to')::bigint) AS read_to, min((e.sent ->> 'read_to')::bigint) AS oldest
      FROM (
        SELECT u.extra::jsonb -> 'sent' AS sent, u.position FROM unnest(extras) WITH ORDINALITY AS u(extra, position)
      ) AS e
      WHERE e.sent IS NOT NULL AND substr(verdicts, e.position::int, 1) = '0' GROUP BY 1
    ) AS its, LATERAL (SELECT extras[its.place]::jsonb -> 'sent' AS sent) AS head
    ORDER BY its.place
  LOOP
    SELECT max(id) INTO newest FROM gateway_sentpiece
    WHERE agent_id = kept.agent AND id > kept.oldest AND process_id <> kept.process
      AND at > clock_timestamp() - interval '30 minutes';
    FOR n IN 1 .. cardinality(kept.positions) LOOP
      IF newest > kept.read_to[n] THEN
        told := overlay(told PLACING '5' FROM kept.positions[n] FOR 1);
      END IF;
    END LOOP;
    INSERT INTO gateway_sentpiece (agent_id, person_id, process_id, sealed, at)
    VALUES (kept.agent, (kept.sent ->> 'person')::uuid, kept.process, decode(kept.sent ->> 'sealed', 'hex'),
            clock_timestamp());
    IF (kept.sent ->> 'is_pruning')::boolean THEN
      DELETE FROM gateway_sentpiece WHERE id IN (
        SELECT id FROM gateway_sentpiece WHERE agent_id = kept.agent AND id <= (
          SELECT id FROM gateway_sentpiece WHERE agent_id = kept.agent ORDER BY id DESC LIMIT 1 OFFSET 256)
        FOR UPDATE SKIP LOCKED);
    END IF;
  END LOOP;
  RETURN told;
END $$;
