-- Which kinds of job take longest? Seconds of the successful attempts of the last hour. `busy` is how many slots each
-- kind used on average. If p95 is far above p50, a few jobs are heavy, or wait for something.
select queue, kind, count(*) as jobs,
       round(percentile_cont(0.5)  within group (order by seconds)::numeric, 3) as p50,
       round(percentile_cont(0.95) within group (order by seconds)::numeric, 3) as p95,
       round(max(seconds), 3)                                                   as max,
       round(sum(seconds) / 3600, 2)                                            as busy
  from (select queue, kind, extract(epoch from completed_at - started_at) as seconds
          from jobs
         where status = 'completed' and completed_at > now() - interval '1 hour' and started_at is not null) finished
 group by queue, kind
 order by p95 desc, queue, kind;
