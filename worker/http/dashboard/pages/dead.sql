-- name: dead_groups
-- The catalogue is asked once for a group, and not once for a job. Queues without dead letters are not read.
select g.*, left(s.error, 300) as sample,
       coalesce(c.cause, others.cause, service.cause) as cause,
       coalesce(c.solution, others.solution, service.solution) as solution
  from (select c.queue, d.*
          from queue_counts() c
         cross join lateral (select kind, error_code, count(*) as jobs, min(completed_at) as first_at,
                                    max(completed_at) as last_at, max(id) as newest
                               from jobs
                              where queue = c.queue and status = 'failed' and not archived
                              group by kind, error_code) d
         where c.failed > 0
         order by last_at desc nulls last
         limit :most) g
  left join jobs s on s.id = g.newest and s.queue = g.queue and not s.archived
  left join error_codes c on c.code = g.error_code
  left join error_codes others on others.code = split_part(g.error_code, '_', 1) || '_*'
  left join error_codes service on service.code = '*' || substr(g.error_code, strpos(g.error_code, '_'))
 order by g.last_at desc nulls last;
