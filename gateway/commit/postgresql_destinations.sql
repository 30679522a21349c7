-- Whether nothing has become untrusted, of where a call would send something, since it was decided.
CREATE FUNCTION gatehouse_reaches(run jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT EXISTS (
    SELECT FROM gateway_rundestination d
    WHERE d.agent_id = (run ->> 'agent')::uuid AND NOT d.is_trusted
      AND d.digest IN (SELECT jsonb_array_elements_text(run #> '{reach,digests}'))
      AND (d.session = nullif(run ->> 'session', '') OR d.at > clock_timestamp() - interval '31 minutes')
      AND NOT (run #> '{reach,untrusted}') ? d.digest)
$$;

-- Whether a run still has exactly the labels under which a call was decided: its own, and all its agent met lately; and
-- whether the call still reaches no more that it knows from untrusted text.
CREATE OR REPLACE FUNCTION gatehouse_is_labelled(run jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
  found text[];
  seen text[];
BEGIN
  IF run IS NULL THEN
    RETURN true;
  END IF;
  IF run ? 'reach' AND NOT gatehouse_reaches(run) THEN
    RETURN false;
  END IF;
  SELECT coalesce(array_agg(label::text), '{}') INTO found FROM gateway_runlabel
  WHERE agent_id = (run ->> 'agent')::uuid
    AND (session = nullif(run ->> 'session', '') OR at > clock_timestamp() - interval '31 minutes'
      OR label = 'held');
  SELECT coalesce(array_agg(l.label), '{}') INTO seen FROM jsonb_array_elements_text(run -> 'labels') AS l(label);
  RETURN found <@ seen AND seen <@ found;
END $$;

-- Keeps what a run learned of destinations, by digest: the first that told it of one decides, whatever says it later.
-- What is more than is kept for a run is told by `*`, as untrusted. Agents are taken one after the other in their order,
-- so no two groups wait for each other.
CREATE FUNCTION gatehouse_add_mentions(run jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  whose uuid := (run ->> 'agent')::uuid;
  named text := run ->> 'session';
  since timestamptz := clock_timestamp() - interval '31 minutes';
  held bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('gatehouse destinations ' || whose, 0));
  INSERT INTO gateway_rundestination (agent_id, session, digest, is_trusted, at)
  SELECT whose, named, s.digest, true, clock_timestamp()
  FROM jsonb_array_elements_text(run #> '{mentions,sent}') AS s(digest) ORDER BY s.digest
  ON CONFLICT (agent_id, session, digest) DO UPDATE SET is_trusted = true, at = excluded.at;

  SELECT count(*) INTO held FROM gateway_rundestination WHERE agent_id = whose AND session = named;
  INSERT INTO gateway_rundestination (agent_id, session, digest, is_trusted, at)
  SELECT whose, named, m.digest, m.is_trusted, clock_timestamp()
  FROM (
    SELECT u.digest, false AS is_trusted
    FROM jsonb_array_elements_text(
      CASE WHEN held + jsonb_array_length(coalesce(run #> '{mentions,untrusted}', '[]')) > 5000
      THEN '["*"]' ELSE coalesce(run #> '{mentions,untrusted}', '[]') END) AS u(digest)
    UNION ALL
    SELECT t.digest, true FROM jsonb_array_elements_text(coalesce(run #> '{mentions,trusted}', '[]')) AS t(digest)
    WHERE held <= 5000
  ) AS m
  WHERE NOT EXISTS (
    SELECT FROM gateway_rundestination k
    WHERE k.agent_id = whose AND k.digest = m.digest AND k.is_trusted <> m.is_trusted
      AND (k.session = nullif(named, '') OR k.at > since))
  ORDER BY m.digest
  ON CONFLICT (agent_id, session, digest) DO UPDATE SET at = excluded.at
  WHERE gateway_rundestination.at < excluded.at - interval '1 minute';
END $$;

-- Keeps what runs met, of the records that are stored now. A label that was written a moment ago is not written again.
CREATE OR REPLACE FUNCTION gatehouse_add_labels(extras text[], ids text[], stored text[]) RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT gatehouse_add_mentions(s.met) FROM (
    SELECT e.extra::jsonb -> 'met' AS met FROM unnest(extras, ids) AS e(extra, id)
    WHERE e.id = ANY (stored) AND e.extra::jsonb #> '{met,mentions}' IS NOT NULL
    ORDER BY e.extra::jsonb #>> '{met,agent}' OFFSET 0
  ) AS s;

  INSERT INTO gateway_runlabel (agent_id, session, label, at)
  SELECT DISTINCT met.agent_id, met.session, met.label, statement_timestamp()
  FROM (
    SELECT (e.extra::jsonb #>> '{met,agent}')::uuid AS agent_id, e.extra::jsonb #>> '{met,session}' AS session, l.label
    FROM unnest(extras, ids) AS e(extra, id), jsonb_array_elements_text(e.extra::jsonb #> '{met,labels}') AS l(label)
    WHERE e.id = ANY (stored)
  ) AS met
  WHERE NOT EXISTS (
    SELECT FROM gateway_runlabel k WHERE k.agent_id = met.agent_id AND k.session = met.session AND k.label = met.label
      AND k.at > clock_timestamp() - interval '1 minute')
  ORDER BY 1, 2, 3
  ON CONFLICT (agent_id, session, label) DO UPDATE SET at = excluded.at
$$;
