-- The names by which people know packages. They are reserved before a version that records them is committed, so a package
-- need not exist yet.
CREATE TABLE identifiers (
    ocfl_id    TEXT PRIMARY KEY,
    identifier TEXT NOT NULL UNIQUE,
    urn        TEXT,        -- as it was given or made
    urn_key    TEXT UNIQUE  -- in lower case
);

-- The last serial number that was given out for a node and day.
CREATE TABLE serials (
    series TEXT PRIMARY KEY,
    last   BIGINT NOT NULL
);

-- The file name of what was handed in.
ALTER TABLE versions ADD COLUMN container_name TEXT;
CREATE INDEX versions_by_container ON versions (container_name, package_id) WHERE container_name IS NOT NULL;

-- Where an order is delivered: by link, or into the area of the contract.
ALTER TABLE orders ADD COLUMN channel TEXT NOT NULL DEFAULT 'link';
ALTER TABLE orders ADD COLUMN view TEXT NOT NULL DEFAULT 'version'; -- version or surface
ALTER TABLE orders ADD COLUMN area_name TEXT;                       -- its file name in the area
-- One unfinished order of a client for a package and by link; in an area, of anybody for the same content.
DROP INDEX orders_unfinished;
CREATE UNIQUE INDEX orders_unfinished ON orders (client_id, package_id, kind) WHERE finished = 0 AND channel = 'link';
CREATE UNIQUE INDEX orders_retrieving ON orders (package_id, version, view) WHERE finished = 0 AND channel = 'area';
CREATE INDEX orders_open ON orders (package_id) WHERE finished = 0;

ALTER TABLE contracts ADD COLUMN quota_bytes BIGINT; -- of its area; null: as it is set for all

-- Files in the outgoing directories of areas, from the moment at which room is reserved for them.
CREATE TABLE area_files (
    order_id    TEXT PRIMARY KEY REFERENCES orders (id),
    contract_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    version     BIGINT NOT NULL, -- of the package, that an older one does not replace a newer one
    size_bytes  BIGINT NOT NULL,
    reserved    BIGINT NOT NULL,
    placed      BIGINT,
    fetched     BIGINT,          -- whole, for the first time
    removed     BIGINT
);
CREATE INDEX area_files_held ON area_files (contract_id, name) WHERE removed IS NULL;
CREATE UNIQUE INDEX area_files_placed ON area_files (contract_id, name) WHERE placed IS NOT NULL AND removed IS NULL;

INSERT INTO chores (name, holder, lease_until, listed) VALUES ('sweep areas', '', 0, 0);
