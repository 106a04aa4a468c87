-- Sends a webhook for each job of queue media that fails. Edit the id of the endpoint, a row of webhook_endpoints:
-- unedited it changes nothing, because there is no such endpoint. Null for queue, kind or status: all of them.
-- To end it: delete from event_subscriptions where id = ...
insert into event_subscriptions (queue, kind, status, endpoint_id)
select 'media', null, 'failed', id from webhook_endpoints where id = 'no-such-endpoint'
returning id, queue, kind, status, endpoint_id;
