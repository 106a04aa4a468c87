-- Requests for prekeys go some time after they were fulfilled: found by their time, as all that cleanups delete.
--
-- Locks: writes to prekey_refill_requests wait while the index is built, which reads the table once. Undo: drop the index.

create index prekey_refill_requests_fulfilled on prekey_refill_requests (fulfilled_at) where fulfilled_at is not null;
