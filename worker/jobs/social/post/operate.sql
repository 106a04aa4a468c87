-- What people do with posts.

-- name: list_posts
select p.id, p.account_id, p.platform,
       coalesce(p.content ->> 'title'::text, p.content ->> 'description'::text) as title, p.status, p.step,
       p.scheduled_at, p.published_at, p.url, p.reason, p.error_code
  from social_posts p
 where (:status::text is null or p.status = :status) and (:account_id::bigint is null or p.account_id = :account_id)
 order by p.id desc
 limit :limit;

-- name: calendar
-- What was and is to be published in a period: by the time when it was, or is due.
select p.id, p.account_id, p.platform,
       coalesce(p.content ->> 'title'::text, p.content ->> 'description'::text) as title, p.status, p.step,
       p.scheduled_at, p.published_at, p.url, p.reason, p.error_code
  from social_posts p
 where p.scheduled_at >= :since and p.scheduled_at < :until and p.status <> 'cancelled'
 order by p.scheduled_at, p.id
 limit 2000;

-- name: show_post
-- Without upload_url, which lets somebody upload.
select id, account_id, platform, content, settings, scheduled_at, status, step, state, job_id, external_id, url, reason,
       error_code, error, created_at, published_at
  from social_posts where id = :id;

-- name: steps_of_post
select status, step, reason, at from social_post_steps where post_id = :id order by id;

-- name: attempts_of_post
select id, status, sent_at, ended_at, error_code, error, resolved_by
  from social_attempts where post_id = :id order by id;

-- name: resolve_published
with resolved as (
  update social_posts
     set status = 'published', step = 'done', url = :url, external_id = coalesce(external_id, :url),
         published_at = clock_timestamp(), error_code = null, error = null,
         reason = 'a person says that it was published'
   where id = :id and status = 'unconfirmed'
  returning id, job_id
), attempt as (
  update social_attempts a set status = 'accepted', resolved_by = :by, ended_at = clock_timestamp()
    from resolved r where a.post_id = r.id and a.status <> 'definite_failure'
)
select job_id from resolved;

-- name: resolve_unpublished
-- It begins anew.
with resolved as (
  update social_posts
     set status = 'publishing', step = 'prepare', state = '{}', upload_url = null, external_id = null, url = null,
         error_code = null, error = null, reason = 'a person says that it was not published'
   where id = :id and status = 'unconfirmed'
  returning id, job_id
), attempt as (
  update social_attempts a set status = 'definite_failure', resolved_by = :by, ended_at = clock_timestamp()
    from resolved r where a.post_id = r.id and a.status <> 'definite_failure'
)
select job_id from resolved;

-- name: run_again
update social_jobs set status = 'pending', archived = false, retry_count = 0, run_at = clock_timestamp()
 where id = :job_id and status = 'failed';

-- name: cancel_post
update social_posts set status = 'cancelled' where id = :id and status <> 'cancelled' returning id;
