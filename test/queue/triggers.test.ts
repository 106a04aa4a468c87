import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createDatabase, type TestDatabase } from '../support/database.ts';

// Postgres fires the triggers that a table has for one moment in the order of their names. Wherever there are several,
// this list says whether the order matters: whoever adds a trigger has to say it, too.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

const insert = 'job_new';
const expected = {
  // hand-written.test.ts inserts jobs of a queue that is not there.
  [`before insert: job_astray, ${insert}`]: 'it matters: job_new would complain of something else',
  [`before insert: job_archived, ${insert}`]: 'job_archived only refuses rows',
  [`before insert: ${insert}, publish_file_id`]: 'no other reads file_id',
  [`before insert: job_archived, ${insert}, publish_file_id`]: 'the same',
  [`before insert: ${insert}, media_file_id, media_job_file`]: 'one is for rows with file_id, one for rows without',
  [`before insert: job_archived, ${insert}, media_file_id, media_job_file`]: 'the same',
  [`before insert: ${insert}, notification_terms`]: 'it matters: job_new has set created_at, from which a ttl counts',
  [`before insert: job_archived, ${insert}, notification_terms`]: 'the same',
  'after update: jobs_mended, jobs_updated':
    'jobs_mended makes a statement of its own, for which jobs_updated is called again',
  'after update: file_recovered, file_renamed': 'file_renamed only refuses a change',
  'after truncate: jobs_truncated, media_status_truncate': 'they write to different tables',
  'after truncate: jobs_truncated, publish_status_truncate': 'the same',
};

test('wherever several triggers of a table have the same moment, it is known whether their order matters', async () => {
  const { rows } = await db.query<{ triggers: string }>(`
    select distinct m.moment || ': ' || string_agg(m.name, ', ' order by m.name) as triggers
      from (select t.tgrelid, t.tgname::text as name, t.tgtype & 1 as level,
                   case when t.tgtype & 2 = 2 then 'before ' else 'after ' end || e.event as moment
              from pg_trigger t
             cross join (values (4, 'insert'), (8, 'delete'), (16, 'update'), (32, 'truncate')) e (bit, event)
             where t.tgconstraint = 0 and t.tgtype & e.bit = e.bit) m
      join pg_class c on c.oid = m.tgrelid
     -- The row triggers of a partitioned table are those of its leaves.
     where c.relkind = 'r' or m.level = 0
     group by m.tgrelid, m.level, m.moment
    having count(*) > 1`);
  assert.deepEqual(rows.map(({ triggers }) => triggers).toSorted(), Object.keys(expected).toSorted());
});
