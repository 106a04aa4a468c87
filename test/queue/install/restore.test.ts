import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { transaction, type Db } from '../../../worker/base/db/db.ts';
import { reconcile } from '../../../worker/queue/fleet/upkeep.ts';
import { install } from '../../../worker/queue/install/install.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/log.ts';

// The commands of sql/README.md. The embedded Postgres comes without pg_dump, so SQL stands in for it: a database
// without the schema that was left out; or one table after the other, in pg_dump's order and with the options of the
// command.

const readme = readFileSync(join(import.meta.dirname, '../../../sql/README.md'), 'utf8');
const [, first, command] = /echo '(.*?)'[^]*?(pg_dump [^)]*--data-only[^)]*)/.exec(readme)!;
const excluded = Array.from(command!.matchAll(/-T (\w+)/g), (match) => match[1]!);

let from: TestDatabase;
let to: TestDatabase;
before(async () => {
  [from, to] = await Promise.all([createDatabase(), createDatabase()]);
  await from.query(`
    update queues set max_retries = 9, paused = name = 'social', rate_limit = 5, keep_completed = '7 days'
      where name in ('media', 'social');
    insert into schedules (name, cron, queue, kind) values ('mine', '*/5 * * * *', 'media', 'image');
    update schedules set enabled = true, cron = '1 2 3 * *' where name = 'cleanup.stories';
    update schedules set next_tick = '2030-01-01', last_tick = '2026-01-01' where name = 'cleanup.stories';
    delete from schedules where name = 'cleanup.prekeys';
    insert into auction_files (source_key) select 'k' || n from generate_series(1, 3) n;
    insert into media (source_key) values ('m');
    insert into publish_jobs (file_id) select id from auction_files;
    update publish_jobs set status = 'completed' where id = 1;
    update publish_jobs set archived = true where id = 1;
    update publish_jobs set status = 'failed', error_code = 'x' where id = 2;
    insert into job_errors (queue, job_id, attempt, error_code, error) values ('publish', 2, 1, 'x', 'y');
    insert into media_jobs (kind, file_id) select 'image', id from media;
    insert into media_jobs (kind, dedupe_key, run_at)
      values ('image', 'later', now() + interval '1 hour'), ('image', 'now', now());
    insert into analytics_jobs (kind, dedupe_key, status, archived) values ('x', 'done', 'completed', true);
    insert into analytics_jobs (kind, status) values ('x', 'processing');
    insert into workers (id, host, pid, version, queues) values (gen_random_uuid(), 'h', 1, '1', '{media}');
    insert into storage_deletions (key, reason) values ('a', 'stories')`);
});
after(() => Promise.all([from.drop(), to.drop()]));

test('without the schema of the tickets, migrate makes it again and the reconciler makes the tickets', async (t) => {
  assert.match(readme, /pg_dump "\$OLD" -N rowmill_tickets \|/);
  const restored = await createDatabase();
  t.after(() => restored.drop());
  await restored.query(`insert into media_jobs (kind, run_at) values ('image', now() - interval '1 hour')`);
  await restored.query(`insert into media_jobs (kind, run_at) values ('image', now() + interval '1 hour')`);
  const objects = await objectsOf(restored);

  await restored.query('drop schema rowmill_tickets cascade');
  assert.deepEqual(await objectsOf(restored), objects, 'nothing of ours is in that schema, or depends on it');
  await assert.rejects(restored.query(`insert into media_jobs (kind) values ('image')`), /rowmill_tickets/);

  assert.deepEqual(await install(restored.url), []);
  await transaction(restored, (tx) => reconcile(tx, 'rowmill_tickets', 'media', silent));
  await restored.query(`insert into media_jobs (kind) values ('image')`);
  // The job of the next hour gets its ticket when it is due.
  const { rows } = await restored.query(
    `select payload::jsonb -> 'ids' as ids from rowmill_tickets._private_jobs order by id`,
  );
  assert.deepEqual(rows, [{ ids: [1] }, { ids: [4] }]);
});

test('jobs, settings, schedules and keys are as they were, and what waits has its tickets', async () => {
  await to.query(first!);
  await copyData();

  const same = [
    `select * from queues order by name`,
    `select * from schedules order by name`,
    `select * from jobs order by id`,
    `select * from job_keys order by 1, 2`,
    `select * from job_errors`,
    `select * from auction_files order by source_key`,
    `select * from media`,
    `select * from storage_deletions`,
    `select last_value from job_ids`,
  ];
  for (const sql of same) assert.deepEqual((await to.query(sql)).rows, (await from.query(sql)).rows, sql);
  const untold = `
    select j.id from jobs j
     where j.status = 'pending'
       and not exists (select from rowmill_tickets._private_jobs t
                        where t.payload::jsonb -> 'ids' @> to_jsonb(j.id) and t.run_at = j.run_at)`;
  assert.deepEqual((await to.query(untold)).rows, []);
});

const objectsOf = async (db: Db) =>
  (
    await db.query(`
      select oid::regclass::text as name from pg_class where relnamespace = 'public'::regnamespace
      union all select oid::regprocedure::text from pg_proc where pronamespace = 'public'::regnamespace order by 1`)
  ).rows;

/**
 * Each table that holds rows, by name, and the sequences. With --load-via-partition-root rows of partitions go into the
 * table on top.
 */
async function copyData(): Promise<void> {
  assert.match(command!, /--load-via-partition-root/);
  const { rows: tables } = await from.query<{ name: string; root: string }>(
    `select c.relname as name, coalesce(pg_partition_root(c.oid)::regclass, c.oid::regclass)::text as root
       from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> all($1)
         order by 1`,
    [excluded],
  );
  for (const { name, root } of tables) {
    const { rows } = await from.query<{ data: string }>(
      `select coalesce(json_agg(t), '[]')::text as data from ${name} t`,
    );
    await to.query(`insert into ${root} select * from json_populate_recordset(null::${root}, $1)`, [rows[0]!.data]);
  }
  const { rows: sequences } = await from.query<{ name: string; last: number | null }>(
    `select sequencename as name, last_value as last from pg_sequences where schemaname = 'public'`,
  );
  for (const { name, last } of sequences) if (last) await to.query(`select setval($1, $2)`, [name, last]);
}
