-- Errors of other services, such as weather_timeout: one row for each way to fail explains it for all services.
--
-- worker/base/http/fetch.ts judges the answers of every service in the same way, and makes the code of the service's
-- name and a word. *_timeout is for all codes that end with _timeout and have no row of their own, as raid_timeout has.
-- So a new service needs no rows here, but for codes that only it has.
--
-- Locks: exclusive on the view, for a moment. Undo: make the view as in 0008, and delete the rows.

create or replace view dead_letters as
select j.*, j.queue || '.dead' as dead_queue,
       coalesce(e.cause, others.cause, service.cause) as cause,
       coalesce(e.solution, others.solution, service.solution) as solution
  from jobs j
  left join error_codes e on e.code = j.error_code
  left join error_codes others on others.code = split_part(j.error_code, '_', 1) || '_*'
  left join error_codes service on service.code = '*' || substr(j.error_code, strpos(j.error_code, '_'))
 where j.status = 'failed';
select close_objects();

comment on column error_codes.code is
  'postgres_* is for all codes that begin so, *_timeout for all that end so, if they have no row of their own.';

insert into error_codes (code, family, what, cause, solution) values

('*_unauthorized', 'ServiceError',
 'The service answered 401 or 403.',
 'Its key is wrong, has expired, or may not do this.',
 'Correct the key in the settings and restart the worker; rowmill doctor asks the service.'),

('*_not_found', 'ServiceError',
 'The service answered 404 or 410: what was asked for is not there.',
 'It was deleted, or the job names something that the service never had.',
 'Correct what the job asks for. Then retry it.'),

('*_unavailable', 'ServiceError',
 'The service could not be reached, or answered with a server error.',
 'It is down or overloaded, or its address is wrong.',
 'Check that it is up and that its address is right; rowmill doctor asks it. Then retry what failed.'),

('*_rate_limited', 'ServiceError',
 'The service answered 429: too many requests.',
 'All workers together asked it more often than it allows.',
 'Set rate_limit of the queue, or lower WORKER_CONCURRENCY. Then retry what failed.'),

('*_refused', 'ServiceError',
 'The service did not take the request.',
 'Its address is that of something else, or it does not know such a request. The message has what it answered.',
 'Check its address and its version. Then retry the job.'),

('*_redirected', 'ServiceError',
 'The service redirected to another server, to nowhere, or too often.',
 'Its address is an old one, or has http where a proxy has https.',
 'Set the address to the one that it redirects to and restart the worker.'),

('*_too_large', 'ServiceError',
 'What the service sent is larger than a worker reads.',
 'Its address is that of something else, or the limit is too low. The message names the limit.',
 'Raise the limit, or correct the address. Then retry the job.'),

('*_truncated', 'ServiceError',
 'The connection to the service broke off in the middle of its answer.',
 'The service or a proxy in front of it closed the connection, or the network is unstable.',
 'Look at the log of the service and of the proxy. Then retry the job.'),

('*_timeout', 'ServiceError',
 'The service did not send its whole answer in time.',
 'It is overloaded, or the time limit is too short. The message names the limit.',
 'Look at the load of the service, or raise the limit. Then retry the job.');
