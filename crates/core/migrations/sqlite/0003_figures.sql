-- What the metrics count is in an index alone, however many rows there are.
CREATE INDEX steps_open ON steps (kind, state, rank, created) WHERE state IN ('ready', 'waiting', 'leased', 'dead');
CREATE INDEX packages_by_state ON packages (state, verified);
CREATE INDEX notices_pending ON notices (created) WHERE state = 'pending';
