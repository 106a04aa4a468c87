-- Notifications that are old can be deleted: cleanup.notifications. Its schedule is off, because a deleted message_id
-- can be sent again, and because your application may show old notifications. To have them deleted each night:
--
--     update schedules set enabled = true where name = 'cleanup.notifications';
--
-- Locks: SHARE on notifications and notification_events while the indexes are built. Undo: drop the indexes, delete the
-- row.

create index on notifications (created_at);
create index on notification_events (received_at) where delivery_id is null;

insert into schedules (name, cron, queue, kind, overlap, enabled)
values ('cleanup.notifications', '55 3 * * *', 'cleanup', 'notifications', 'skip', false);
