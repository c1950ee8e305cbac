-- E-mail to the people of a contract.
ALTER TABLE contracts ADD COLUMN mail_address TEXT;
ALTER TABLE contracts ADD COLUMN language TEXT NOT NULL DEFAULT 'en';

-- One e-mail for each delivery that was laid into an area.
CREATE TABLE mails (
    order_id TEXT PRIMARY KEY REFERENCES orders (id),
    address  TEXT NOT NULL,
    language TEXT NOT NULL,
    state    TEXT NOT NULL,   -- pending, accepted, abandoned
    due      BIGINT NOT NULL, -- of the next attempt; of a claimed one, when its lease runs out
    fence    BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    give_up  BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    finished BIGINT,
    failure  TEXT             -- the last attempt's
);
CREATE INDEX mails_due ON mails (due) WHERE state = 'pending';
