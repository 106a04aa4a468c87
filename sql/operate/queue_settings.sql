-- Changes the settings of a queue for the whole fleet, within two seconds and with no restart. As it stands it sets media to
-- what it was installed with: edit the values, and leave out what is to stay. `\d+ queues` in psql explains each one.
-- max_retries is for new jobs; a worker that is started with MAX_RETRIES or BACKOFF_DELAY set writes these two again.
update queues
   set batch_size        = 1,
       max_retries       = 3,
       backoff_ms        = 5000,
       timeout_ms        = null,
       rate_limit        = null,
       max_payload_bytes = 1000000,
       snooze_limit      = '7 days',
       archive_after     = '30 seconds',
       keep_completed    = '90 days'
 where name = 'media'
returning *;
