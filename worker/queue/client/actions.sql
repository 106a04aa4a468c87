-- name: log_action
insert into operator_actions (who, action, subject, settings, outcome, changed, ended_at)
values (:who, :action, :subject, :settings, :outcome, :changed, clock_timestamp())
returning id;

-- name: begin_action
insert into operator_actions (who, action, subject, settings, jobs, state, after_id, until_id, step_at)
select :who, :action, :subject, :settings, :jobs, 'running', '-9007199254740991',
       coalesce((select max(id) from jobs), 0), clock_timestamp()
returning id;

-- name: read_action
select * from operator_actions where id = :id;

-- name: list_actions
select * from operator_actions
 where :before::bigint is null or id < :before
 order by id desc
 limit :limit;

-- name: bound_step
select set_config('statement_timeout', :ms, true), set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: any_running
-- What is asked each second, mostly in vain: without a transaction.
select from operator_actions where state = 'running' limit 1;

-- name: claim_action
-- The lock lasts until the step is committed: another process takes another action, or waits for its next step.
select *
  from operator_actions
 where state = 'running'
 order by step_at
 limit 1
   for update skip locked;

-- name: write_step
update operator_actions
   set changed = changed + :changed, after_id = :after, step_at = clock_timestamp(),
       state = :state, outcome = :outcome,
       ended_at = case when :state <> 'running' then clock_timestamp() end
 where id = :id;

-- name: set_state
update operator_actions
   set state = :state, step_at = clock_timestamp(),
       ended_at = case when :state = 'stopped' then clock_timestamp() end
 where id = :id and after_id is not null
   and case :state when 'stopped' then state = 'running' else state in ('stopped', 'failed') end
returning id;
