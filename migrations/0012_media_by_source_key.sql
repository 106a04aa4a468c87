-- Cleanups ask which rows of media have an object as their original, a thousand keys at a time.
--
-- Locks: writes to media wait while the index is built, which reads the table once. Undo: drop the index.

create index media_by_source_key on media (source_key);
