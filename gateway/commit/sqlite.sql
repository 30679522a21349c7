CREATE TRIGGER record_changes AFTER INSERT ON governance_change BEGIN
  INSERT INTO audit_event (id, kind, at, actor, header)
  SELECT event_id, 'governance.changed', NEW.at, substr(NEW.actor, 1, 255), CAST(json_object(
    'actor', NEW.actor, 'agent', '', 'at', replace(NEW.at, ' ', 'T') || 'Z', 'call_id', NULL, 'connector', '',
    'decided_epoch', 0, 'decision', '',
    'details', json_object('change', NEW.id, 'kind', NEW.kind, 'object_id', NEW.object_id, 'relation', NEW.relation,
      'operation', NEW.operation, 'before', json(NEW.before), 'after', json(NEW.after)),
    'id', substr(event_id, 1, 8) || '-' || substr(event_id, 9, 4) || '-' || substr(event_id, 13, 4) || '-'
      || substr(event_id, 17, 4) || '-' || substr(event_id, 21),
    'kind', 'governance.changed', 'outcome', '', 'payload_commitment', '', 'person', '', 'process_id', NULL,
    'tool', '') AS BLOB)
  FROM (SELECT lower(printf('%012x', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)) || '7'
    || substr(hex(randomblob(2)), 1, 3) || '8' || substr(hex(randomblob(8)), 1, 15)) AS event_id);
  INSERT INTO audit_pending (event_id) SELECT id FROM audit_event WHERE rowid = last_insert_rowid();
END;
