-- E-mail tells of damage too: then there is no order.
CREATE TABLE new_mails (
    order_id   TEXT PRIMARY KEY, -- the order of a delivery; of damage, a number of its own
    package_id TEXT,             -- the damaged package
    reason     TEXT,             -- what was found
    address    TEXT NOT NULL,    -- empty: the operators'
    language   TEXT NOT NULL,
    state      TEXT NOT NULL,    -- pending, accepted, abandoned
    due        BIGINT NOT NULL,  -- of the next attempt; of a claimed one, when its lease runs out
    fence      BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    give_up    BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    finished   BIGINT,
    failure    TEXT              -- the last attempt's
);
INSERT INTO new_mails (order_id, address, language, state, due, fence, attempts, give_up, created, finished, failure)
    SELECT order_id, address, language, state, due, fence, attempts, give_up, created, finished, failure FROM mails;
DROP TABLE mails;
ALTER TABLE new_mails RENAME TO mails;
CREATE INDEX mails_due ON mails (due) WHERE state = 'pending';
