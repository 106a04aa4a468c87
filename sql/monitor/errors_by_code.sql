-- What went wrong in the last hour? Failed attempts by error_code, the most frequent first, with the newest message of
-- each. Many attempts of few jobs: these jobs are broken. Many jobs: something that they all need is broken.
select queue, error_code, count(*) as attempts, count(distinct job_id) as jobs, max(failed_at) as newest_at,
       (array_agg(error order by failed_at desc))[1] as newest_error
  from job_errors
 where failed_at > now() - interval '1 hour'
 group by queue, error_code
 order by attempts desc, queue, error_code;
