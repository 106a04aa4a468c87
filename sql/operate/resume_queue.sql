-- Resumes a paused queue, within two seconds. Unedited it works on media: edit the name.
update queues set paused = false where name = 'media'
returning name, paused;
