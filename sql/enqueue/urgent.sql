-- Adds a job that starts before the others of its queue that have not started, such as a login code before a mailing: a
-- smaller priority starts first, 0 is usual. The kind is an example: a job of a kind without a handler fails with
-- unknown_kind.
insert into jobs (queue, kind, payload, priority)
values ('notification', 'sms',
        '{"userId": "user-123", "phoneNumber": "+15555550100", "title": "Login", "body": "Your code is 123456."}', -10)
returning id;
