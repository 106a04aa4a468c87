-- Faults of the deployment, such as a wrong key or a full bucket, open ones first. Their jobs wait and use no retry.
select i.dependency, i.host, i.code, i.message, i.since, i.resolved_at, i.resolved_at is null as open,
       coalesce(i.resolved_at, now()) - i.since as lasted, i.jobs_held, i.kinds, e.cause, e.solution
  from incidents i
  left join error_codes e on e.code = i.code
 order by i.resolved_at is not null, i.since desc
 limit 50;
