-- Corrects the key of rejected messages. Then they become jobs by: npx rowmill rejected resubmit --all
-- Edit both keys: unedited it changes nothing, because there is no such key.
update rejected_messages
   set key = 'media.image'
 where key = 'no.such.key'
returning id, source, key;
