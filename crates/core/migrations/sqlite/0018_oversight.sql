-- Every name by which a package is looked for: identifier, URN, the depositor's name, file names of what was handed in;
-- the letters A to Z as small ones.
CREATE TABLE package_names (
    contract_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    package_id  TEXT NOT NULL,
    PRIMARY KEY (contract_id, name, package_id)
) WITHOUT ROWID;
CREATE INDEX package_names_by_package ON package_names (package_id, name);
INSERT INTO package_names (contract_id, name, package_id)
    SELECT contract_id, lower(object_id), id FROM packages
    UNION SELECT p.contract_id, lower(i.identifier), p.id FROM packages p JOIN identifiers i ON i.ocfl_id = p.ocfl_id
    UNION SELECT p.contract_id, i.urn_key, p.id FROM packages p JOIN identifiers i ON i.ocfl_id = p.ocfl_id
        WHERE i.urn_key IS NOT NULL
    UNION SELECT p.contract_id, lower(v.container_name), p.id FROM packages p JOIN versions v ON v.package_id = p.id
        WHERE v.container_name IS NOT NULL;

-- Lists of packages: newest first, or by name; of one state.
CREATE INDEX packages_by_age ON packages (contract_id, created, id);
CREATE INDEX packages_by_state_and_age ON packages (contract_id, state, created, id);
CREATE INDEX packages_by_state_and_name ON packages (contract_id, state, object_id);
-- Where the checks of a contract's packages stand.
CREATE INDEX packages_standing ON packages (contract_id, check_since, checked, stored_bytes, cold_files, state)
    WHERE state NOT IN ('missing', 'deleted');

-- What a waiting step waits for.
ALTER TABLE steps ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';
CREATE INDEX steps_of_contract ON steps (contract_id, kind, state, created, updated)
    WHERE state IN ('ready', 'waiting', 'leased', 'dead');
CREATE INDEX steps_waiting_of_contract ON steps (contract_id, run_after, waits_for) WHERE state = 'waiting';
CREATE INDEX steps_dead ON steps (contract_id, updated) WHERE state = 'dead';
CREATE INDEX orders_ended_badly ON orders (contract_id, updated, id) WHERE state IN ('failed', 'rejected');
CREATE INDEX notices_abandoned ON notices (finished, order_id) WHERE state = 'abandoned';

-- What was handed out, by the time at which it is kept no longer.
ALTER TABLE deliveries ADD COLUMN contract_id TEXT NOT NULL DEFAULT '';
UPDATE deliveries SET contract_id = (SELECT contract_id FROM orders WHERE orders.id = deliveries.order_id);
CREATE INDEX deliveries_kept ON deliveries (contract_id, kept_until, id) WHERE removed IS NULL AND released IS NULL;

-- The processes of the installation. One that stops takes its row away.
CREATE TABLE processes (
    name    TEXT PRIMARY KEY, -- host and number
    host    TEXT NOT NULL,
    kind    TEXT NOT NULL,    -- server, worker
    version TEXT NOT NULL,
    slots   BIGINT NOT NULL,  -- how many steps it works on at a time
    started BIGINT NOT NULL,
    seen    BIGINT NOT NULL
);

-- What was done in each hour and on each day (UTC). Hours are kept for some days, days for good.
CREATE TABLE tallies (
    contract_id      TEXT NOT NULL,
    unit             TEXT NOT NULL,   -- hour, day
    since            BIGINT NOT NULL, -- when it began
    checked_packages BIGINT NOT NULL, -- read whole
    checked_bytes    BIGINT NOT NULL, -- read and held against their digests
    failures         BIGINT NOT NULL, -- checks that found damage
    delivered_orders BIGINT NOT NULL,
    delivered_bytes  BIGINT NOT NULL,
    PRIMARY KEY (contract_id, unit, since)
) WITHOUT ROWID;
-- What the audit log tells of the days before.
INSERT INTO tallies (contract_id, unit, since, checked_packages, checked_bytes, failures, delivered_orders, delivered_bytes)
    SELECT contract_id, 'day', at / 86400000000 * 86400000000, SUM(CASE WHEN version IS NULL THEN 1 ELSE 0 END),
        COALESCE(SUM(size_bytes), 0), SUM(CASE WHEN outcome = 'failure' THEN 1 ELSE 0 END), 0, 0
    FROM audit WHERE kind = 'fixity' GROUP BY contract_id, at / 86400000000 * 86400000000;
