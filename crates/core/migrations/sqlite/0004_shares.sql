-- Fair shares: whose turn it is, within a contract and between contracts.

ALTER TABLE steps ADD COLUMN contract_id TEXT NOT NULL DEFAULT '';
ALTER TABLE steps ADD COLUMN size_bytes BIGINT NOT NULL DEFAULT 0; -- of the content that it reads
ALTER TABLE steps ADD COLUMN turn_at BIGINT NOT NULL DEFAULT 0;    -- its place in the line of its contract

UPDATE steps SET
    contract_id = (SELECT contract_id FROM orders WHERE orders.id = steps.order_id),
    size_bytes = CASE kind WHEN 'prepare' THEN (SELECT size_bytes FROM orders WHERE orders.id = steps.order_id)
                           ELSE 0 END,
    turn_at = (SELECT created FROM orders WHERE orders.id = steps.order_id) - rank * 60000000
              - CASE kind WHEN 'admit' THEN 86400000000 ELSE 0 END;

-- Claiming jumps from contract to contract in this index, and takes the first entry of one.
DROP INDEX steps_ready;
CREATE INDEX steps_ready ON steps (contract_id, turn_at, order_id, id) WHERE state = 'ready';
CREATE INDEX steps_held ON steps (contract_id, size_bytes) WHERE state = 'leased';

CREATE TABLE shares (
    contract_id TEXT PRIMARY KEY,
    start_tag   BIGINT NOT NULL, -- where its last step started in virtual time
    finish_tag  BIGINT NOT NULL  -- where its next step may start at the earliest
);
