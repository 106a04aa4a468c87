-- Lets a paused queue go on, within two seconds. Takes effect as it stands, for media: edit the name.
update queues set paused = false where name = 'media'
returning name, paused;
