import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { describeSchema } from '../../support/schema.ts';
import { rolledBack } from '../../support/sql-files.ts';

// sql/schema.sql is the schema as people read it. Postgres 14 to 18 all describe it in the same words.

const snapshot = readFileSync(join(import.meta.dirname, '../../../sql/schema.sql'), 'utf8');

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

test('sql/schema.sql is what the migrations make; npm run schema writes it anew', async () => {
  assert.equal(await describeSchema(db), await forThisVersion(snapshot));
});

test('sql/schema.sql makes the same schema by itself', async () => {
  const empty = await createDatabase({ from: 'template0' });
  try {
    await empty.query(await forThisVersion(snapshot.replace(opening, `${opening}set search_path to public, pg_temp;`)));
    assert.equal(await describeSchema(empty), await forThisVersion(snapshot));
  } finally {
    await empty.drop();
  }
});

test('the columns of jobs have their comments on each partition, also of a queue that is made later', () =>
  rolledBack(db, async (tx) => {
    await tx.query(`select create_queue('thumbs', batch_size => 10, max_retries => 3, backoff_ms => 5000)`);
    const { rows } = await tx.query<{ tables: number; commented: number; otherwise: number }>(`
      select count(distinct p.relid)::integer as tables,
             count(col_description(j.attrelid, j.attnum))::integer as commented,
             count(*) filter (where col_description(a.attrelid, a.attnum)
                                    is distinct from col_description(j.attrelid, j.attnum))::integer as otherwise
        from pg_partition_tree('jobs') p
        join pg_attribute a on a.attrelid = p.relid and a.attnum > 0
        join pg_attribute j on j.attrelid = 'jobs'::regclass and j.attname = a.attname`);
    const [{ tables, commented, otherwise }] = rows as [(typeof rows)[0]];
    assert.ok(tables >= 1 + 7 * 3 && commented >= 12 * tables, `${tables} ${commented}`);
    assert.equal(otherwise, 0);
  }));

const changes = {
  'a column': `alter table jobs add column colour text`,
  'a type': `alter table workers alter column version type varchar(100)`,
  'a default': `alter table queues alter column batch_size set default 2`,
  'a default of one partition': `alter table media_jobs alter column kind set default 'image'`,
  'not null': `alter table job_errors alter column error drop not null`,
  'a check': `alter table jobs drop constraint jobs_progress_check`,
  'a foreign key': `alter table schedules drop constraint schedules_queue_fkey`,
  'an index': `create index on job_errors (failed_at)`,
  'an index of a leaf': `drop index media_jobs_done_completed_at_idx`,
  'a storage option': `alter table media_jobs_live set (fillfactor = 60)`,
  'a trigger': `drop trigger job_new on jobs`,
  'the body of a function': `create or replace function retry_delay(backoff_ms integer, retry_count integer)
    returns interval
                               language sql volatile as $$ select interval '1 second' $$`,
  'the search_path of a function': `alter function jobs_inserted() reset search_path`,
  'whose rights a function has': `alter function jobs_inserted() security invoker`,
  'a view': `drop view dead_letters`,
  'row level security': `alter table workers disable row level security`,
  'a policy': `create policy open on jobs for select to public using (true)`,
  'a comment': `comment on column jobs.kind is 'Other words.'`,
  'a sequence': `create sequence other_ids`,
  'a table': `create table other (id bigint)`,
};

for (const [what, change] of Object.entries(changes)) {
  test(`a difference in ${what} shows`, () =>
    rolledBack(db, async (tx) => {
      await tx.query(change);
      assert.notEqual(await describeSchema(tx), await forThisVersion(snapshot));
    }));
}

const opening = 'set check_function_bodies = off;\n';

/** Postgres 14 has no views that run with the rights of who reads them. */
async function forThisVersion(text: string): Promise<string> {
  const { rows } = await db.query<{ version: number }>(
    `select current_setting('server_version_num')::integer / 10000 as version`,
  );
  return rows[0]!.version < 15 ? text.replaceAll(' with (security_invoker=true)', '') : text;
}
