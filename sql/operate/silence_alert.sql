-- Sends nothing about an alert for two hours, nor about the same condition if it opens again. To end that earlier: set
-- silenced_until = null. Edit the id, which sql/monitor/alerts.sql shows: unedited it changes nothing.
update alerts
   set silenced_until = now() + interval '2 hours', silenced_by = current_user
 where id = 0 and resolved_at is null
returning id, what, silenced_until;
