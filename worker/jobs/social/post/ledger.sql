-- The rows of social_posts and social_attempts. An execution that holds a post is its job_id and job_attempt: no other
-- changes it.

-- name: add_post
-- What a payload says, the first time its job runs.
insert into social_posts (account_id, platform, content, settings, scheduled_at, status, job_id)
values (:account_id, :platform, :content, :settings, clock_timestamp(), 'publishing', :job_id)
    on conflict (job_id) do nothing;

-- name: post_of_job
select id from social_posts where job_id = :job_id;

-- name: take_post
-- A post of which another job runs or waits is not taken. One whose job was retried goes on where it was.
update social_posts p
   set job_id = :job_id, job_attempt = :job_attempt, error_code = null, error = null,
       status = case when p.status in ('scheduled', 'failed', 'unconfirmed') then 'publishing' else p.status end
 where p.id = :id and p.status in ('scheduled', 'failed', 'unconfirmed', 'publishing', 'processing')
   and (p.job_id is null or p.job_id = :job_id
        or not exists (select from jobs j where j.id = p.job_id and j.queue = 'social' and not j.archived
                                            and j.status in ('pending', 'processing')))
returning p.id;

-- name: read_post
select p.id, p.account_id, p.platform, p.content, p.settings, p.status, p.step, p.state, p.upload_url, p.external_id,
       p.url, p.job_id
  from social_posts p where p.id = :id;

-- name: save_state
-- Also the next step.
update social_posts
   set step = :step, state = :state, upload_url = :upload_url, reason = null,
       status = case when :step = 'poll' then status else 'publishing' end
 where id = :id and job_id = :job_id and job_attempt = :job_attempt and status in ('publishing', 'processing')
returning id;

-- name: note_reason
update social_posts set reason = :reason
 where id = :id and job_id = :job_id and job_attempt = :job_attempt and reason is distinct from :reason;

-- name: open_attempt
select id, status, fingerprint, sent_at,
       extract(epoch from clock_timestamp() - sent_at)::float8 * 1000::float8 as age_ms
  from social_attempts
 where post_id = :post_id and operation = 'submit' and status <> 'definite_failure';

-- name: begin_attempt
-- Committed before the request goes out. The lock on the post lets a person cancel either before or never.
with holder as (
  select p.id from social_posts p
   where p.id = :post_id and p.job_id = :job_id and p.job_attempt = :job_attempt and p.status = 'publishing'
     for update
)
insert into social_attempts (post_id, status, fingerprint, job_id, job_attempt, sent_at)
select h.id, 'sending', :fingerprint, :job_id, :job_attempt, clock_timestamp() from holder h
    on conflict do nothing
returning id;

-- name: end_attempt
-- It was taken, it was not, or nobody knows.
update social_attempts
   set status = :status, error_code = :error_code, error = :error, ended_at = clock_timestamp()
 where id = :id and status in ('sending', 'ambiguous', 'accepted');

-- name: post_accepted
update social_posts
   set status = 'processing', step = 'poll', upload_url = null, reason = null,
       external_id = coalesce(:external_id::text, external_id), url = coalesce(:url::text, url)
 where id = :id and job_id = :job_id;

-- name: post_published
update social_posts
   set status = 'published', step = 'done', upload_url = null, reason = :reason, external_id = :external_id,
       url = coalesce(:url::text, url), published_at = clock_timestamp(), error_code = null, error = null
 where id = :id and job_id = :job_id;

-- name: post_failed
-- Nothing was published: what follows begins anew.
update social_posts
   set status = case when :final then 'failed' else 'publishing' end, step = 'prepare', state = '{}', upload_url = null,
       reason = null, external_id = null,
       url = null, error_code = case when :final then :error_code end, error = case when :final then :error end
 where id = :id and job_id = :job_id;

-- name: post_unconfirmed
update social_posts set status = 'unconfirmed', reason = null, error_code = :error_code, error = :error
 where id = :id and job_id = :job_id;

-- name: of_other_posts
select p.external_id from social_posts p
 where p.platform = :platform and p.external_id = any(:external_ids) and p.id <> :id;
