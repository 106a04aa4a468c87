-- Why did jobs fail for good? Dead letters by kind and error_code, the most frequent first, with what error_codes says
-- about each. Once the cause is corrected, run them again with operate/retry_by_error_code.sql.
select dead_queue, kind, error_code, count(*) as jobs, min(completed_at) as first_at, max(completed_at) as last_at,
       (array_agg(error order by completed_at desc))[1] as newest_error, cause, solution
  from dead_letters
 group by dead_queue, kind, error_code, cause, solution
 order by jobs desc, dead_queue, kind, error_code;
