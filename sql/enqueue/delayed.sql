-- Adds a job that becomes due later. run_at is when it may start at the earliest; it starts in that second if a worker
-- has a free slot. The kind is an example: a job of a kind without a handler fails with unknown_kind.
insert into jobs (queue, kind, payload, run_at)
values ('notification', 'email',
        '{"userId": "user-123", "email": "user@example.com", "title": "Reminder", "body": "Your lot closes today."}',
        now() + interval '3 days')
returning id, run_at;
