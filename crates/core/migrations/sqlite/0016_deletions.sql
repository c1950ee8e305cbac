-- What is to be removed for good, and what was.
CREATE TABLE deletions (
    order_id      TEXT PRIMARY KEY REFERENCES orders (id),
    contract_id   TEXT NOT NULL,
    checksum_type TEXT NOT NULL,   -- of the checksums that are told again
    policy        TEXT NOT NULL,   -- immediate, grace, approval
    due           BIGINT,          -- when the time is over in which it can be withdrawn
    reason        TEXT,            -- why it was asked for
    file_count    BIGINT NOT NULL,
    size_bytes    BIGINT NOT NULL,
    approved_by   TEXT,
    approved      BIGINT
);
CREATE INDEX deletions_by_contract ON deletions (contract_id, order_id);

CREATE TABLE deletion_entries (
    order_id   TEXT NOT NULL REFERENCES deletions (order_id),
    number     BIGINT NOT NULL,
    package_id TEXT NOT NULL,
    object_id  TEXT NOT NULL,
    ocfl_id    TEXT NOT NULL,
    label      TEXT,               -- the version as it was asked for
    scope      TEXT NOT NULL,      -- package, version, files
    file_count BIGINT NOT NULL,
    state      TEXT NOT NULL,      -- pending, deleted, error
    reason     TEXT,
    ended      BIGINT,
    PRIMARY KEY (order_id, number)
);
CREATE INDEX deletion_entries_by_package ON deletion_entries (package_id, order_id);
CREATE INDEX deletion_entries_by_object ON deletion_entries (object_id, order_id);

-- A row for each file of each version; once it is deleted, what is remembered of it.
CREATE TABLE deletion_files (
    order_id   TEXT NOT NULL,
    entry      BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    label      TEXT NOT NULL,      -- the depositor's name for the version, '' without one
    path       TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    algorithm  TEXT NOT NULL,      -- that of the content digest
    md5        TEXT,
    sha256     TEXT,
    sha512     TEXT,
    state      TEXT NOT NULL,      -- pending, deleted, error
    reason     TEXT,
    PRIMARY KEY (order_id, entry, number),
    FOREIGN KEY (order_id, entry) REFERENCES deletion_entries (order_id, number)
);

-- What must not be deleted.
CREATE TABLE holds (
    id          TEXT PRIMARY KEY,
    contract_id TEXT NOT NULL REFERENCES contracts (id),
    object_id   TEXT,              -- null: every package of the contract
    reason      TEXT NOT NULL,
    set_by      TEXT NOT NULL,
    created     BIGINT NOT NULL,
    lifted      BIGINT,
    lifted_by   TEXT,
    lift_reason TEXT
);
CREATE INDEX holds_in_force ON holds (contract_id, object_id) WHERE lifted IS NULL;
