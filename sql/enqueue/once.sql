-- Adds a job at most once, however often this is run: a second job with the same queue and dedupe_key is skipped, with
-- no row back and no error. The key is kept as long as the job, ended or not. The kind is an example: a job of a kind
-- without a handler fails with unknown_kind.
insert into jobs (queue, kind, payload, dedupe_key)
values ('notification', 'email',
        '{"userId": "user-123", "email": "user@example.com", "title": "Invoice 4711", "body": "Thank you."}',
        'invoice-4711')
returning id;
