-- Changes the settings of a queue for the whole fleet, within two seconds and without a restart. Unedited it sets media
-- to its settings after installation: edit the values, and remove those that should not change. `\d+ queues` in psql
-- explains each one. max_retries is for new jobs. A worker that is started with MAX_RETRIES or BACKOFF_DELAY writes
-- these two again.
update queues
   set batch_size        = 1,
       max_retries       = 3,
       backoff_ms        = 5000,
       backoff           = 'exponential',
       timeout_ms        = null,
       rate_limit        = null,
       max_payload_bytes = 1000000,
       snooze_limit      = '7 days',
       archive_after     = '30 seconds',
       keep_completed    = '90 days',
       keep_sensitive    = '7 days'
 where name = 'media'
returning *;
