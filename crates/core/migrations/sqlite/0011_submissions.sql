-- Files in the incoming directories of areas, and what became of them.
CREATE TABLE submissions (
    id          TEXT PRIMARY KEY,
    contract_id TEXT NOT NULL REFERENCES contracts (id),
    path        TEXT NOT NULL,    -- below incoming
    name        TEXT NOT NULL,    -- the last part of it
    object_id   TEXT,             -- the depositor's name for the package; null of a list
    size_bytes  BIGINT NOT NULL,
    modified    BIGINT NOT NULL,  -- in nanoseconds
    inode       BIGINT NOT NULL,
    state       TEXT NOT NULL,    -- waiting, working, ingested, answered, refused
    taken       BIGINT NOT NULL,  -- 1: it does not lie in incoming any more
    holder      TEXT NOT NULL,    -- who works on it
    attempts    BIGINT NOT NULL,
    due         BIGINT NOT NULL,  -- when a waiting one may be worked on
    reason      TEXT,             -- why it was refused, or has to wait
    package_id  TEXT,
    version     BIGINT,
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);
CREATE UNIQUE INDEX submissions_lying ON submissions (contract_id, path) WHERE taken = 0 AND state IN ('waiting', 'refused');
CREATE INDEX submissions_waiting ON submissions (contract_id, due) WHERE state = 'waiting';
CREATE INDEX submissions_open ON submissions (state, created) WHERE state IN ('waiting', 'working');
CREATE INDEX submissions_taken ON submissions (id) WHERE taken = 1;
CREATE INDEX submissions_by_object ON submissions (contract_id, object_id) WHERE state IN ('waiting', 'working', 'refused');
CREATE INDEX submissions_by_name ON submissions (contract_id, name) WHERE state IN ('waiting', 'working', 'refused');
CREATE INDEX submissions_done ON submissions (updated) WHERE state IN ('ingested', 'answered');

-- The outgoing directories hold answers to lists too: then it is the submission that order_id names.
CREATE TABLE new_area_files (
    order_id    TEXT PRIMARY KEY,
    contract_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    version     BIGINT NOT NULL, -- of the package, that an older one does not replace a newer one
    size_bytes  BIGINT NOT NULL,
    reserved    BIGINT NOT NULL,
    placed      BIGINT,
    fetched     BIGINT,          -- whole, for the first time
    removed     BIGINT
);
INSERT INTO new_area_files SELECT order_id, contract_id, name, version, size_bytes, reserved, placed, fetched, removed FROM area_files;
DROP TABLE area_files;
ALTER TABLE new_area_files RENAME TO area_files;
CREATE INDEX area_files_held ON area_files (contract_id, name) WHERE removed IS NULL;
CREATE UNIQUE INDEX area_files_placed ON area_files (contract_id, name) WHERE placed IS NOT NULL AND removed IS NULL;

INSERT INTO chores (name, holder, lease_until, listed) VALUES ('pick up submissions', '', 0, 0);
