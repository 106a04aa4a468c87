-- Pauses a queue: within two seconds no job starts any more, running jobs finish, and new jobs wait. Unedited it works
-- on media: edit the name.
update queues set paused = true where name = 'media'
returning name, paused;
