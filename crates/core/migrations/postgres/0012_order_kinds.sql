-- Orders of other kinds than disseminations: deposits, restores and deletions, whose package_id and object_id are empty
-- where they concern several packages. Of those the rules about duplicates do not hold.
DROP INDEX orders_unfinished;
DROP INDEX orders_retrieving;
CREATE UNIQUE INDEX orders_unfinished ON orders (client_id, package_id, kind)
    WHERE finished = 0 AND channel = 'link' AND kind = 'dissemination';
CREATE UNIQUE INDEX orders_retrieving ON orders (package_id, version, view)
    WHERE finished = 0 AND channel = 'area' AND kind = 'dissemination';
-- Each kind is listed for itself, newest first.
DROP INDEX orders_by_contract;
CREATE INDEX orders_by_contract ON orders (contract_id, kind, id);
CREATE INDEX orders_by_state ON orders (contract_id, kind, state, id) WHERE kind <> 'dissemination';

-- Where the files of a contract's deposits are fetched from.
CREATE TABLE gateways (
    contract_id TEXT COLLATE "C" PRIMARY KEY REFERENCES contracts (id),
    url         TEXT COLLATE "C" NOT NULL,
    username    TEXT COLLATE "C" NOT NULL,
    password    BYTEA NOT NULL,   -- encrypted
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);

-- What a deposit is to store, and how far it is.
CREATE TABLE deposits (
    order_id      TEXT COLLATE "C" PRIMARY KEY REFERENCES orders (id),
    contract_id   TEXT COLLATE "C" NOT NULL,
    object_id     TEXT COLLATE "C" NOT NULL,
    label         TEXT COLLATE "C" NOT NULL,   -- the depositor's name for the version; '' is one of its own
    checksum_type TEXT COLLATE "C" NOT NULL,   -- of the checksums that are told again
    fingerprint   TEXT COLLATE "C" NOT NULL,   -- of the files and what was said about them
    file_count    BIGINT NOT NULL,
    retrieved     BIGINT NOT NULL, -- files that were fetched
    existing      BIGINT NOT NULL, -- files that need not be
    done_bytes    BIGINT NOT NULL, -- of both
    counts        BIGINT NOT NULL, -- 1: nothing else may be deposited as this version; 0: it failed, or was deleted since
    version       BIGINT           -- its number, once it is stored
);
CREATE UNIQUE INDEX deposits_counting ON deposits (contract_id, object_id, label) WHERE counts = 1;
CREATE INDEX deposits_by_object ON deposits (contract_id, object_id, order_id);

CREATE TABLE deposit_files (
    order_id   TEXT COLLATE "C" NOT NULL REFERENCES deposits (order_id),
    number     BIGINT NOT NULL,   -- in the order of the paths
    path       TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT,            -- as it was declared; then as it is
    md5        TEXT COLLATE "C",              -- as they were declared
    sha256     TEXT COLLATE "C",
    sha512     TEXT COLLATE "C",
    state      TEXT COLLATE "C" NOT NULL,     -- pending, retrieved, existing
    PRIMARY KEY (order_id, number)
);
