-- Least rights for a ledger in PostgreSQL. Run this once as the owner of the tables, after `collector db upgrade`, and
-- again after an upgrade that adds tables.
--
-- The owner is used by migrations only. `collector_writer` is the daemon's: it appends to the log, moves its end, and
-- keeps the derived tables. `collector_reader` exports and verifies. Give each a login of its own:
--   CREATE ROLE collector_daemon LOGIN PASSWORD '...' IN ROLE collector_writer;

DO $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'collector_writer') THEN CREATE ROLE collector_writer; END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'collector_reader') THEN CREATE ROLE collector_reader; END IF;
END $$;

GRANT USAGE ON SCHEMA public TO collector_writer, collector_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO collector_writer, collector_reader;

-- The log: appended to.
GRANT INSERT ON head, entry, tile, edge, blob, checkpoint, expired TO collector_writer;
GRANT UPDATE ON head, edge TO collector_writer;
GRANT INSERT, UPDATE ON lease TO collector_writer;
-- Payloads whose term is over are dropped, and what leaned on them is packed anew; triggers refuse anything else.
GRANT UPDATE (encoding, base, depth, data), DELETE ON blob TO collector_writer;

-- Derived or counted: emptied and made again from the log at will.
GRANT INSERT, UPDATE, DELETE ON
  check_name, scope_name, subject_name, reason_text, pair, run, state_interval, scope_interval, span, open_alert, told,
  outbox, given_up, payload, counted
  TO collector_writer;
