-- Faults of the deployment, such as a wrong key or a full bucket: open ones first. Their jobs wait and use no retry.
select dependency, host, code, message, since, resolved_at, resolved_at is null as open,
       coalesce(resolved_at, now()) - since as lasted, jobs_held, kinds
  from incidents
 order by resolved_at is not null, since desc
 limit 50;
