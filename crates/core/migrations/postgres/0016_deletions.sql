-- What is to be removed for good, and what was.
CREATE TABLE deletions (
    order_id      TEXT COLLATE "C" PRIMARY KEY REFERENCES orders (id),
    contract_id   TEXT COLLATE "C" NOT NULL,
    checksum_type TEXT COLLATE "C" NOT NULL,   -- of the checksums that are told again
    policy        TEXT COLLATE "C" NOT NULL,   -- immediate, grace, approval
    due           BIGINT,          -- when the time is over in which it can be withdrawn
    reason        TEXT COLLATE "C",            -- why it was asked for
    file_count    BIGINT NOT NULL,
    size_bytes    BIGINT NOT NULL,
    approved_by   TEXT COLLATE "C",
    approved      BIGINT
);
CREATE INDEX deletions_by_contract ON deletions (contract_id, order_id);

CREATE TABLE deletion_entries (
    order_id   TEXT COLLATE "C" NOT NULL REFERENCES deletions (order_id),
    number     BIGINT NOT NULL,
    package_id TEXT COLLATE "C" NOT NULL,
    object_id  TEXT COLLATE "C" NOT NULL,
    ocfl_id    TEXT COLLATE "C" NOT NULL,
    label      TEXT COLLATE "C",               -- the version as it was asked for
    scope      TEXT COLLATE "C" NOT NULL,      -- package, version, files
    file_count BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,      -- pending, deleted, error
    reason     TEXT COLLATE "C",
    ended      BIGINT,
    PRIMARY KEY (order_id, number)
);
CREATE INDEX deletion_entries_by_package ON deletion_entries (package_id, order_id);
CREATE INDEX deletion_entries_by_object ON deletion_entries (object_id, order_id);

-- A row for each file of each version; once it is deleted, what is remembered of it.
CREATE TABLE deletion_files (
    order_id   TEXT COLLATE "C" NOT NULL,
    entry      BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    label      TEXT COLLATE "C" NOT NULL,      -- the depositor's name for the version, '' without one
    path       TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    algorithm  TEXT COLLATE "C" NOT NULL,      -- that of the content digest
    md5        TEXT COLLATE "C",
    sha256     TEXT COLLATE "C",
    sha512     TEXT COLLATE "C",
    state      TEXT COLLATE "C" NOT NULL,      -- pending, deleted, error
    reason     TEXT COLLATE "C",
    PRIMARY KEY (order_id, entry, number),
    FOREIGN KEY (order_id, entry) REFERENCES deletion_entries (order_id, number)
);

-- What must not be deleted.
CREATE TABLE holds (
    id          TEXT COLLATE "C" PRIMARY KEY,
    contract_id TEXT COLLATE "C" NOT NULL REFERENCES contracts (id),
    object_id   TEXT COLLATE "C",              -- null: every package of the contract
    reason      TEXT COLLATE "C" NOT NULL,
    set_by      TEXT COLLATE "C" NOT NULL,
    created     BIGINT NOT NULL,
    lifted      BIGINT,
    lifted_by   TEXT COLLATE "C",
    lift_reason TEXT COLLATE "C"
);
CREATE INDEX holds_in_force ON holds (contract_id, object_id) WHERE lifted IS NULL;
