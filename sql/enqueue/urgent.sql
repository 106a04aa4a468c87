-- Adds a job that goes before the others of its queue that have not started, such as a login code before a mailing: a smaller
-- priority starts first, 0 is usual.
-- The kind stands for one of yours: a job of a kind that has no handler fails with unknown_kind.
insert into jobs (queue, kind, payload, priority)
values ('notification', 'sms',
        '{"userId": "user-123", "phoneNumber": "+15555550100", "title": "Login", "body": "Your code is 123456."}', -10)
returning id;
