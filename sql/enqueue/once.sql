-- Adds a job at most once, however often this is run: a second one with the same queue and dedupe_key is skipped, with no row
-- back and no error. The key is kept as long as the job is, finished or not.
-- The kind stands for one of yours: a job of a kind that has no handler fails with unknown_kind.
insert into jobs (queue, kind, payload, dedupe_key)
values ('notification', 'email',
        '{"userId": "user-123", "email": "user@example.com", "title": "Invoice 4711", "body": "Thank you."}',
        'invoice-4711')
returning id;
