-- An order is a duplicate of one that was asked for in the same language of a contract alone: whoever asks there sees no other.
DROP INDEX orders_unfinished;
CREATE UNIQUE INDEX orders_unfinished ON orders (client_id, package_id, dialect, named_version, view, excerpt)
    WHERE finished = 0 AND channel = 'link' AND kind = 'dissemination';

-- How far the work on a step is, in bytes, as its worker noted it when it last renewed its lease; 0 of 0 is not known.
ALTER TABLE steps ADD COLUMN done_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN all_bytes  BIGINT NOT NULL DEFAULT 0;
