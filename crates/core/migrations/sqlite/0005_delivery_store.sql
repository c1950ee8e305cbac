-- Deliveries that lie in a bucket.
ALTER TABLE deliveries ADD COLUMN store TEXT;      -- the bucket and prefix; null when it is computed from the archive
ALTER TABLE deliveries ADD COLUMN removed BIGINT;  -- when its objects were deleted
ALTER TABLE delivery_files ADD COLUMN object_key TEXT; -- below the prefix of the store
CREATE INDEX deliveries_stored ON deliveries (store, kept_until) WHERE removed IS NULL AND store IS NOT NULL;
CREATE INDEX delivery_files_stored ON delivery_files (object_key) WHERE object_key IS NOT NULL;

-- Uploads under way: noted before they begin, forgotten in the transaction that publishes what they made.
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    store      TEXT NOT NULL,
    object_key TEXT NOT NULL,
    upload_id  TEXT,            -- what the server calls it, once it is known
    order_id   TEXT NOT NULL,
    step_id    TEXT NOT NULL,
    fence      BIGINT NOT NULL, -- of the lease under which it was begun
    condemned  BIGINT NOT NULL, -- 1: it is being cleared away, and nothing may be published from it any more
    created    BIGINT NOT NULL
);
CREATE INDEX uploads_by_step ON uploads (step_id);
CREATE INDEX uploads_by_key ON uploads (object_key);

-- What one process at a time does for all.
CREATE TABLE chores (
    name        TEXT PRIMARY KEY,
    holder      TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    listed      BIGINT NOT NULL -- when the store was last looked through as a whole
);
INSERT INTO chores (name, holder, lease_until, listed) VALUES ('sweep deliveries', '', 0, 0);
