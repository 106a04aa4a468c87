-- Starts nothing new in a queue, from within two seconds on; what runs is finished, and new jobs wait. Takes effect as it
-- stands, for media: edit the name.
update queues set paused = true where name = 'media'
returning name, paused;
