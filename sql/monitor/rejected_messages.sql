-- Messages of other queues that could not become jobs, by why. `rowmill rejected resubmit` tries them again.
select source, reason, count(*) as messages, min(created_at) as first, max(created_at) as last,
       (array_agg(id order by id desc))[1:5] as newest_ids
  from rejected_messages
 group by source, reason
 order by messages desc;
