import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

// Data alone, restored by the command in sql/operate/README.md into tables that the migrations have just made. The embedded Postgres comes without pg_dump:
// what its command does is done here by SQL, a table after the other in its order, with the options that the command has.

const readme = readFileSync(join(import.meta.dirname, '../../../sql/operate/README.md'), 'utf8');
const [, first, command] = /echo '(.*?)'[^]*?(pg_dump .*--data-only.*)/.exec(readme)!;
const excluded = Array.from(command!.matchAll(/-T (\w+)/g), (match) => match[1]!);

let from: TestDatabase;
let to: TestDatabase;
before(async () => {
  [from, to] = await Promise.all([createDatabase(), createDatabase()]);
  await from.query(`
    update queues set max_retries = 9, paused = name = 'social', rate_limit = 5, keep_completed = '7 days' where name in ('media', 'social');
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
    insert into media_jobs (kind, dedupe_key, run_at) values ('image', 'later', now() + interval '1 hour'), ('image', 'now', now());
    insert into analytics_jobs (kind, dedupe_key, status, archived) values ('x', 'done', 'completed', true);
    insert into analytics_jobs (kind, status) values ('x', 'processing');
    insert into workers (id, host, pid, version, queues) values (gen_random_uuid(), 'h', 1, '1', '{media}');
    insert into storage_deletions (key, reason) values ('a', 'stories')`);
});
after(() => Promise.all([from.drop(), to.drop()]));

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
  const untold = `select j.id from jobs j where j.status = 'pending'
                     and not exists (select from rowmill_tickets._private_jobs t where t.payload::jsonb -> 'ids' @> to_jsonb(j.id) and t.run_at = j.run_at)`;
  assert.deepEqual((await to.query(untold)).rows, []);
});

/** Each table that holds rows, by name, and the sequences. With --load-via-partition-root rows of partitions go into the table on top. */
async function copyData(): Promise<void> {
  assert.match(command!, /--load-via-partition-root/);
  const { rows: tables } = await from.query<{ name: string; root: string }>(
    `select c.relname as name, coalesce(pg_partition_root(c.oid)::regclass, c.oid::regclass)::text as root
       from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> all($1) order by 1`,
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
