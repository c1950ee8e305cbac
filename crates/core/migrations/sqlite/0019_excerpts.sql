-- Orders of a part of a package: of a version that was named, of its surface, of files and folders that were chosen.
ALTER TABLE orders ADD COLUMN named_version BIGINT NOT NULL DEFAULT 0;  -- 0: the newest, whichever that was
ALTER TABLE orders ADD COLUMN excerpt       TEXT   NOT NULL DEFAULT ''; -- the fingerprint of what was chosen; '' is all
DROP INDEX orders_unfinished;
DROP INDEX orders_retrieving;
CREATE UNIQUE INDEX orders_unfinished ON orders (client_id, package_id, named_version, view, excerpt)
    WHERE finished = 0 AND channel = 'link' AND kind = 'dissemination';
CREATE UNIQUE INDEX orders_retrieving ON orders (package_id, version, view, excerpt)
    WHERE finished = 0 AND channel = 'area' AND kind = 'dissemination';

-- What was chosen.
CREATE TABLE excerpts (
    order_id TEXT PRIMARY KEY REFERENCES orders (id),
    entries  BLOB NOT NULL
);
