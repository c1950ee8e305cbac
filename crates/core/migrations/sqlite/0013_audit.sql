-- The audit log: what was done with stored content. Each contract has a chain of its own; docs/audit.md says what is hashed.
CREATE TABLE audit (
    contract_id TEXT NOT NULL,
    number      BIGINT NOT NULL,  -- in the chain of the contract, from 1
    at          BIGINT NOT NULL,
    kind        TEXT NOT NULL,    -- ingest, replication, fixity, deletion, repair, restoration
    outcome     TEXT NOT NULL,    -- success or failure
    agent       TEXT NOT NULL,
    package_id  TEXT,
    object_id   TEXT,             -- the depositor's name for the package
    version     BIGINT,           -- null: all versions
    label       TEXT,             -- the depositor's name for the version
    algorithm   TEXT,
    digest      TEXT,
    size_bytes  BIGINT,
    file_count  BIGINT,
    detail      TEXT NOT NULL,
    whole       BIGINT NOT NULL,  -- 1: it concerns every file, and listed are those that differ; 0: the listed alone
    file_list   TEXT,             -- the SHA-256 of the list in audit_files, if there is one
    previous    TEXT NOT NULL,    -- the hash of the entry before
    hash        TEXT NOT NULL,
    PRIMARY KEY (contract_id, number)
);
CREATE INDEX audit_by_time ON audit (at, contract_id, number);
CREATE INDEX audit_by_contract ON audit (contract_id, at, number);
CREATE INDEX audit_by_package ON audit (package_id, at, contract_id, number);

CREATE TABLE audit_files (
    contract_id TEXT NOT NULL,
    number      BIGINT NOT NULL,  -- of the entry
    position    BIGINT NOT NULL,  -- in its list, from 1
    path        TEXT NOT NULL,
    size_bytes  BIGINT,
    algorithm   TEXT,
    digest      TEXT,
    outcome     TEXT NOT NULL,
    detail      TEXT NOT NULL,
    PRIMARY KEY (contract_id, number, position)
);
CREATE INDEX audit_files_by_path ON audit_files (contract_id, number, path);

-- Where each chain ends: known in a second place, and sealed with the key of the installation.
CREATE TABLE audit_heads (
    contract_id TEXT PRIMARY KEY,
    number      BIGINT NOT NULL,
    hash        TEXT NOT NULL,
    seal        TEXT NOT NULL
);

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_files_are_not_changed BEFORE UPDATE ON audit_files
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_files_are_not_deleted BEFORE DELETE ON audit_files
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- When each package is to be read again.
ALTER TABLE packages ADD COLUMN checked BIGINT NOT NULL DEFAULT 0;      -- when all its stored content was last read, whatever was found; 0: never
ALTER TABLE packages ADD COLUMN check_since BIGINT NOT NULL DEFAULT 0;  -- the period runs from then: that time, or when it was taken in
ALTER TABLE packages ADD COLUMN check_until BIGINT NOT NULL DEFAULT 0;  -- it is being checked, or let alone, until then
ALTER TABLE packages ADD COLUMN check_holder TEXT NOT NULL DEFAULT '';  -- by whom
ALTER TABLE packages ADD COLUMN stored_bytes BIGINT NOT NULL DEFAULT 0; -- of all versions, as far as is known
ALTER TABLE packages ADD COLUMN cold_files BIGINT NOT NULL DEFAULT 0;   -- that could not be read then, in an archive class
UPDATE packages SET checked = COALESCE(verified, 0), stored_bytes = size_bytes,
    check_since = CAST(strftime('%s', 'now') AS BIGINT) * 1000000;
CREATE INDEX packages_to_check ON packages (check_since, checked, id, stored_bytes, check_until, state)
    WHERE state NOT IN ('missing', 'deleted');
CREATE INDEX packages_checked ON packages (checked, stored_bytes, cold_files, state) WHERE state NOT IN ('missing', 'deleted');
