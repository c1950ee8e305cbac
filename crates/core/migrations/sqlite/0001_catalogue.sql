-- Times are microseconds since 1970 in UTC. Identifiers that Dipper makes sort by time.

CREATE TABLE contracts (
    id      TEXT PRIMARY KEY,
    created BIGINT NOT NULL
);

CREATE TABLE clients (
    id          TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL, -- argon2id
    created     BIGINT NOT NULL,
    disabled    BIGINT         -- since when
);

CREATE TABLE client_grants (
    client_id   TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    contract_id TEXT NOT NULL REFERENCES contracts (id),
    role        TEXT NOT NULL,
    PRIMARY KEY (client_id, contract_id, role)
);

CREATE TABLE packages (
    id          TEXT PRIMARY KEY, -- derived from ocfl_id
    contract_id TEXT NOT NULL REFERENCES contracts (id),
    object_id   TEXT NOT NULL,
    ocfl_id     TEXT NOT NULL UNIQUE,
    location    TEXT NOT NULL,    -- object root inside the storage root
    state       TEXT NOT NULL,    -- preserved, damaged, missing, deleted
    reason      TEXT,             -- why it is not preserved
    head        BIGINT NOT NULL,
    size_bytes  BIGINT NOT NULL,  -- of the head version
    file_count  BIGINT NOT NULL,
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL,
    verified    BIGINT,           -- when all content last matched its digests
    UNIQUE (contract_id, object_id)
);
CREATE INDEX packages_by_contract ON packages (contract_id, id);
CREATE INDEX packages_by_location ON packages (location);

CREATE TABLE versions (
    package_id       TEXT NOT NULL REFERENCES packages (id),
    number           BIGINT NOT NULL,
    label            TEXT,        -- the depositor's own name for it
    size_bytes       BIGINT NOT NULL,
    file_count       BIGINT NOT NULL,
    created          BIGINT NOT NULL,
    PRIMARY KEY (package_id, number)
);

CREATE TABLE orders (
    id              TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    dialect         TEXT NOT NULL,   -- the contract's language in which it was asked for
    contract_id     TEXT NOT NULL,
    client_id       TEXT NOT NULL,
    client_stored   BIGINT NOT NULL, -- 1: its grants are looked up again when its turn comes
    package_id      TEXT NOT NULL,
    object_id       TEXT NOT NULL,
    version         BIGINT NOT NULL,
    size_bytes      BIGINT NOT NULL,
    state           TEXT NOT NULL,
    finished        BIGINT NOT NULL, -- 0 or 1, derived from state
    priority        BIGINT NOT NULL, -- as the client gave it
    rank            BIGINT NOT NULL, -- higher goes first
    created         BIGINT NOT NULL,
    updated         BIGINT NOT NULL,
    delivered       BIGINT,
    failure_code    TEXT,
    failure_message TEXT
);
-- One unfinished order of a kind for a client and package: the database is the judge of duplicates.
CREATE UNIQUE INDEX orders_unfinished ON orders (client_id, package_id, kind) WHERE finished = 0;
CREATE INDEX orders_by_contract ON orders (contract_id, id);
CREATE INDEX orders_by_package ON orders (package_id, id);

CREATE TABLE steps (
    id          TEXT PRIMARY KEY,
    order_id    TEXT NOT NULL REFERENCES orders (id),
    kind        TEXT NOT NULL,
    state       TEXT NOT NULL,   -- ready, waiting, leased, done, dead
    rank        BIGINT NOT NULL,
    run_after   BIGINT NOT NULL, -- of a waiting step
    lease_until BIGINT NOT NULL,
    holder      TEXT,            -- host, process and slot that has the lease
    fence       BIGINT NOT NULL, -- raised by every claim
    attempts    BIGINT NOT NULL,
    failure     TEXT,            -- the last attempt's
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);
-- Claiming reads the first entry of this index, however many are queued.
CREATE INDEX steps_ready ON steps (rank DESC, order_id, id) WHERE state = 'ready';
CREATE INDEX steps_waiting ON steps (run_after) WHERE state = 'waiting';
CREATE INDEX steps_leased ON steps (lease_until) WHERE state = 'leased';
CREATE INDEX steps_by_order ON steps (order_id);

CREATE TABLE deliveries (
    id           TEXT PRIMARY KEY,
    order_id     TEXT NOT NULL UNIQUE REFERENCES orders (id),
    created      BIGINT NOT NULL,
    expires      BIGINT NOT NULL, -- of the newest links
    kept_until   BIGINT NOT NULL, -- links are renewed until then
    released     BIGINT
);

CREATE TABLE delivery_files (
    delivery_id   TEXT NOT NULL REFERENCES deliveries (id),
    number        BIGINT NOT NULL,
    part          TEXT NOT NULL,   -- which files of the version; '' for all
    filename      TEXT NOT NULL,
    size_bytes    BIGINT NOT NULL,
    algorithm     TEXT NOT NULL,
    checksum      TEXT NOT NULL,
    layout_format BIGINT NOT NULL, -- of the rules by which the bytes are computed
    checkpoints   BLOB NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE events (
    id         TEXT PRIMARY KEY,
    at         BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    outcome    TEXT NOT NULL, -- success or failure
    agent      TEXT NOT NULL,
    order_id   TEXT,
    package_id TEXT,
    detail     TEXT NOT NULL
);
CREATE INDEX events_by_order ON events (order_id, id);
CREATE INDEX events_by_package ON events (package_id, id);

CREATE TABLE webhooks (
    id               TEXT PRIMARY KEY,
    client_id        TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    url              TEXT NOT NULL,
    secret           BLOB NOT NULL, -- encrypted
    previous_secret  BLOB,          -- encrypted, signs as well until it expires
    previous_expires BIGINT,
    created          BIGINT NOT NULL,
    disabled         BIGINT,
    disabled_reason  TEXT
);
CREATE INDEX webhooks_by_client ON webhooks (client_id);

CREATE TABLE notices (
    id          TEXT NOT NULL,   -- the webhook-id, the same for every endpoint and every attempt
    webhook_id  TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    order_id    TEXT NOT NULL REFERENCES orders (id),
    state       TEXT NOT NULL,   -- pending, accepted, abandoned
    due         BIGINT NOT NULL, -- of the next attempt; of a claimed one, when its lease runs out
    fence       BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    failures    BIGINT NOT NULL, -- since it was made or replayed: the exponent of the backoff
    give_up     BIGINT NOT NULL,
    created     BIGINT NOT NULL,
    finished    BIGINT,
    PRIMARY KEY (id, webhook_id)
);
CREATE INDEX notices_due ON notices (due) WHERE state = 'pending';
CREATE INDEX notices_by_order ON notices (order_id);
CREATE INDEX notices_by_webhook ON notices (webhook_id, id);

CREATE TABLE notice_attempts (
    notice_id       TEXT NOT NULL,
    webhook_id      TEXT NOT NULL,
    number          BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    duration_micros BIGINT NOT NULL,
    status          BIGINT, -- of HTTP, where there was an answer
    failure         TEXT,
    PRIMARY KEY (notice_id, webhook_id, number),
    FOREIGN KEY (notice_id, webhook_id) REFERENCES notices (id, webhook_id) ON DELETE CASCADE
);

CREATE TABLE ingests (
    ocfl_id TEXT PRIMARY KEY,
    started BIGINT NOT NULL
);
