-- Times are microseconds since 1970 in UTC. Identifiers that Dipper makes sort by time.
-- Texts are compared byte by byte, as SQLite does and as identifiers sort, whatever the language of the server.

CREATE TABLE contracts (
    id      TEXT COLLATE "C" PRIMARY KEY,
    created BIGINT NOT NULL
);

CREATE TABLE clients (
    id          TEXT COLLATE "C" PRIMARY KEY,
    secret_hash TEXT COLLATE "C" NOT NULL, -- argon2id
    created     BIGINT NOT NULL,
    disabled    BIGINT         -- since when
);

CREATE TABLE client_grants (
    client_id   TEXT COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    contract_id TEXT COLLATE "C" NOT NULL REFERENCES contracts (id),
    role        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (client_id, contract_id, role)
);

CREATE TABLE packages (
    id          TEXT COLLATE "C" PRIMARY KEY, -- derived from ocfl_id
    contract_id TEXT COLLATE "C" NOT NULL REFERENCES contracts (id),
    object_id   TEXT COLLATE "C" NOT NULL,
    ocfl_id     TEXT COLLATE "C" NOT NULL UNIQUE,
    location    TEXT COLLATE "C" NOT NULL,    -- object root inside the storage root
    state       TEXT COLLATE "C" NOT NULL,    -- preserved, damaged, missing, deleted
    reason      TEXT COLLATE "C",             -- why it is not preserved
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
    package_id       TEXT COLLATE "C" NOT NULL REFERENCES packages (id),
    number           BIGINT NOT NULL,
    label            TEXT COLLATE "C",        -- the depositor's own name for it
    size_bytes       BIGINT NOT NULL,
    file_count       BIGINT NOT NULL,
    created          BIGINT NOT NULL,
    PRIMARY KEY (package_id, number)
);

CREATE TABLE orders (
    id              TEXT COLLATE "C" PRIMARY KEY,
    kind            TEXT COLLATE "C" NOT NULL,
    dialect         TEXT COLLATE "C" NOT NULL,   -- the contract's language in which it was asked for
    contract_id     TEXT COLLATE "C" NOT NULL,
    client_id       TEXT COLLATE "C" NOT NULL,
    client_stored   BIGINT NOT NULL, -- 1: its grants are looked up again when its turn comes
    package_id      TEXT COLLATE "C" NOT NULL,
    object_id       TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL,
    size_bytes      BIGINT NOT NULL,
    state           TEXT COLLATE "C" NOT NULL,
    finished        BIGINT NOT NULL, -- 0 or 1, derived from state
    priority        BIGINT NOT NULL, -- as the client gave it
    rank            BIGINT NOT NULL, -- higher goes first
    created         BIGINT NOT NULL,
    updated         BIGINT NOT NULL,
    delivered       BIGINT,
    failure_code    TEXT COLLATE "C",
    failure_message TEXT COLLATE "C"
);
-- One unfinished order of a kind for a client and package: the database is the judge of duplicates.
CREATE UNIQUE INDEX orders_unfinished ON orders (client_id, package_id, kind) WHERE finished = 0;
CREATE INDEX orders_by_contract ON orders (contract_id, id);
CREATE INDEX orders_by_package ON orders (package_id, id);

CREATE TABLE steps (
    id          TEXT COLLATE "C" PRIMARY KEY,
    order_id    TEXT COLLATE "C" NOT NULL REFERENCES orders (id),
    kind        TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,   -- ready, waiting, leased, done, dead
    rank        BIGINT NOT NULL,
    run_after   BIGINT NOT NULL, -- of a waiting step
    lease_until BIGINT NOT NULL,
    holder      TEXT COLLATE "C",            -- host, process and slot that has the lease
    fence       BIGINT NOT NULL, -- raised by every claim
    attempts    BIGINT NOT NULL,
    failure     TEXT COLLATE "C",            -- the last attempt's
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);
-- Claiming reads the first entry of this index, however many are queued.
CREATE INDEX steps_ready ON steps (rank DESC, order_id, id) WHERE state = 'ready';
CREATE INDEX steps_waiting ON steps (run_after) WHERE state = 'waiting';
CREATE INDEX steps_leased ON steps (lease_until) WHERE state = 'leased';
CREATE INDEX steps_by_order ON steps (order_id);

CREATE TABLE deliveries (
    id           TEXT COLLATE "C" PRIMARY KEY,
    order_id     TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES orders (id),
    created      BIGINT NOT NULL,
    expires      BIGINT NOT NULL, -- of the newest links
    kept_until   BIGINT NOT NULL, -- links are renewed until then
    released     BIGINT
);

CREATE TABLE delivery_files (
    delivery_id   TEXT COLLATE "C" NOT NULL REFERENCES deliveries (id),
    number        BIGINT NOT NULL,
    part          TEXT COLLATE "C" NOT NULL,   -- which files of the version; '' for all
    filename      TEXT COLLATE "C" NOT NULL,
    size_bytes    BIGINT NOT NULL,
    algorithm     TEXT COLLATE "C" NOT NULL,
    checksum      TEXT COLLATE "C" NOT NULL,
    layout_format BIGINT NOT NULL, -- of the rules by which the bytes are computed
    checkpoints   BYTEA NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE events (
    id         TEXT COLLATE "C" PRIMARY KEY,
    at         BIGINT NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    outcome    TEXT COLLATE "C" NOT NULL, -- success or failure
    agent      TEXT COLLATE "C" NOT NULL,
    order_id   TEXT COLLATE "C",
    package_id TEXT COLLATE "C",
    detail     TEXT COLLATE "C" NOT NULL
);
CREATE INDEX events_by_order ON events (order_id, id);
CREATE INDEX events_by_package ON events (package_id, id);

CREATE TABLE webhooks (
    id               TEXT COLLATE "C" PRIMARY KEY,
    client_id        TEXT COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    url              TEXT COLLATE "C" NOT NULL,
    secret           BYTEA NOT NULL, -- encrypted
    previous_secret  BYTEA,          -- encrypted, signs as well until it expires
    previous_expires BIGINT,
    created          BIGINT NOT NULL,
    disabled         BIGINT,
    disabled_reason  TEXT COLLATE "C"
);
CREATE INDEX webhooks_by_client ON webhooks (client_id);

CREATE TABLE notices (
    id          TEXT COLLATE "C" NOT NULL,   -- the webhook-id, the same for every endpoint and every attempt
    webhook_id  TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    order_id    TEXT COLLATE "C" NOT NULL REFERENCES orders (id),
    state       TEXT COLLATE "C" NOT NULL,   -- pending, accepted, abandoned
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
    notice_id       TEXT COLLATE "C" NOT NULL,
    webhook_id      TEXT COLLATE "C" NOT NULL,
    number          BIGINT NOT NULL,
    at              BIGINT NOT NULL,
    duration_micros BIGINT NOT NULL,
    status          BIGINT, -- of HTTP, where there was an answer
    failure         TEXT COLLATE "C",
    PRIMARY KEY (notice_id, webhook_id, number),
    FOREIGN KEY (notice_id, webhook_id) REFERENCES notices (id, webhook_id) ON DELETE CASCADE
);

CREATE TABLE ingests (
    ocfl_id TEXT COLLATE "C" PRIMARY KEY,
    started BIGINT NOT NULL
);

-- Rows of the two queues change often: what they leave behind is cleared away early, so that the first entry of an
-- index stays the first that is read.
ALTER TABLE steps SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
ALTER TABLE notices SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
