import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { cancelJobs } from '../../worker/queue/client/operate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

// What Postgres answers to SQL that is written by hand and wrong: refused, under a name, with the right word.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());
beforeEach(() =>
  db.query('delete from jobs; delete from storage_deletions; update queues set max_payload_bytes = default'),
);

const sql = async (text: string) => (await db.query<Record<string, any>>(text)).rows;
const media = (columns: string, values: string) =>
  `insert into media_jobs (kind, ${columns}) values ('image', ${values})`;
const text = (length: number) => `jsonb_build_object('a', repeat('x', ${length}))`;

const refusals: [string, string, { constraint: string; message: RegExp; hint: RegExp }][] = [
  [
    'a queue that is not there',
    `insert into jobs (queue, kind, dedupe_key) values ('medai', 'image', 'k')`,
    {
      constraint: 'unknown_queue',
      message: /^there is no queue "medai"$/,
      hint: /^The queues are analytics, .*media, /,
    },
  ],
  [
    'a kind with its queue in it',
    `insert into media_jobs (kind) values ('media.image')`,
    { constraint: 'kind_with_dot', message: /media\.image/, hint: /write kind = 'image'$/ },
  ],
  [
    'a kind of another queue',
    `insert into jobs (queue, kind) values ('publish', 'media.image')`,
    { constraint: 'kind_with_dot', message: /queue publish/, hint: /^Insert into media_jobs, with kind = 'image'$/ },
  ],
  [
    'a kind that is too long',
    `insert into media_jobs (kind) values (repeat('k', 101))`,
    { constraint: 'kind_too_long', message: /101 characters/, hint: /payload/ },
  ],
  [
    'a dedupe_key that is too long',
    media('dedupe_key', `(select string_agg(md5(n::text), '') from generate_series(1, 100) n)`),
    { constraint: 'dedupe_key_too_long', message: /3200 characters/, hint: /hash/ },
  ],
  [
    'a payload that is too large',
    media('payload', text(1_000_000)),
    { constraint: 'payload_too_large', message: /1000009 bytes as text: 1000000/, hint: /storage.*max_payload_bytes/ },
  ],
  [
    'a payload that is many times too large',
    media('payload', text(9_000_000)),
    { constraint: 'payload_too_large', message: /many times too long as text: 1000000/, hint: /max_payload_bytes/ },
  ],
  [
    'a payload that prints as six times its size',
    media('payload', `jsonb_build_object('a', repeat(E'\\x01', 170000))`),
    { constraint: 'payload_too_large', message: /1020009 bytes/, hint: /max_payload_bytes/ },
  ],
  [
    'a payload of 130 bytes that prints as a megabyte',
    media('payload', `'[${Array(8).fill('1e131071').join()}]'`),
    { constraint: 'payload_too_large', message: /1048\d\d\d bytes/, hint: /max_payload_bytes/ },
  ],
  [
    'a compressed payload from another table',
    `with wide as materialized (select ${text(1_100_000)} as p) ${media('payload', '(select p from wide)')}`,
    { constraint: 'payload_too_large', message: /bytes/, hint: /max_payload_bytes/ },
  ],
  [
    'a result that is too large',
    media('status, result', `'completed', ${text(1_000_000)}`),
    { constraint: 'result_too_large', message: /bytes/, hint: /storage/ },
  ],
  [
    'an error that is too long',
    media('status, error', `'failed', repeat('x', 2001)`),
    { constraint: 'error_too_long', message: /2000/, hint: /left/ },
  ],
];
for (const [what, statement, fault] of refusals)
  test(`${what} is refused at insert: ${fault.constraint}`, async () => {
    await assert.rejects(db.query(statement), { code: '23514', ...fault });
    assert.deepEqual(await sql('select id from jobs'), []);
  });

test('an UPDATE is refused whose payload is as large as before, but prints as many times as much', async () => {
  const numbers = `jsonb_build_object('a', '[${Array(60).fill('1e131071').join()}]'::jsonb)`;
  const [same] = await sql(
    `select ${text(1).replace('1)', 'n)')} as payload from generate_series(500, 2000) n
      where pg_column_size(${text(1).replace('1)', 'n)')}) = pg_column_size(${numbers}) limit 1`,
  );
  await db.query(media('payload', '$1'), [same!['payload']]);
  await assert.rejects(db.query(`update jobs set payload = ${numbers}`), { constraint: 'payload_too_large' });
  await db.query(`update jobs set payload = payload, status = 'cancelled'`);
});

test('the same is refused in an UPDATE, and what fits goes on to fit', async () => {
  await sql(media('payload', text(900_000)));
  const changes = [
    [`kind = 'media.image'`, 'kind_with_dot'],
    [`payload = ${text(1_000_000)}`, 'payload_too_large'],
    [`status = 'completed', result = ${text(1_000_000)}`, 'result_too_large'],
    [`status = 'failed', error = repeat('x', 2001)`, 'error_too_long'],
    [`queue = 'medai'`, 'unknown_queue'],
  ];
  for (const [change, constraint] of changes)
    await assert.rejects(db.query(`update jobs set ${change}`), { code: '23514', constraint }, change);
  await sql(`update jobs set payload = ${text(999_900)}, run_at = now()`);
  await sql(`update queues set max_payload_bytes = 2000000 where name = 'media'`);
  await sql(media('payload', text(1_500_000)));
  await assert.rejects(db.query('update queues set max_payload_bytes = 64000001'), { code: '23514' });
});

suite('a dead letter has used its retries', () => {
  const seeds = `select kind from media_jobs where status = 'failed' and retry_count >= max_retries order by kind`;
  test('however it became one, and none is left out of the query that every dashboard has', async () => {
    await sql(
      `insert into media_jobs (kind, status)
       values ('inserted', 'failed'), ('set', 'pending'), ('run', 'processing'), ('forgot', 'failed')`,
    );
    await sql(`update jobs set status = 'failed' where kind in ('set', 'run')`);
    await sql(`update media_jobs set retry_count = 0 where kind = 'forgot'`);
    assert.deepEqual(
      (await sql(seeds)).map(({ kind }) => kind),
      ['forgot', 'inserted', 'run', 'set'],
    );
    // And with more retries they run again.
    await sql(`update media_jobs set max_retries = 10 where status = 'failed'`);
    assert.deepEqual(await sql(`select distinct status, retry_count, max_retries from media_jobs`), [
      { status: 'pending', retry_count: 3, max_retries: 10 },
    ]);
  });
});

test('a completed job cannot be cancelled, by SQL as little as by a command', async () => {
  await sql(`insert into media_jobs (kind, status) values ('a', 'completed'), ('b', 'failed'), ('c', 'pending')`);
  await sql(`insert into media_jobs (kind, status, archived) values ('d', 'completed', true)`);
  for (const kind of ['a', 'd'])
    await assert.rejects(db.query(`update jobs set status = 'cancelled' where kind = $1`, [kind]), {
      constraint: 'completed_stays',
      hint: /run it again: set status = 'pending', archived = false/,
    });
  const [done] = await sql(`select id from jobs where kind = 'a'`);
  assert.deepEqual(
    (await cancelJobs(db, [done!['id']])).map((change) => change.done),
    [false],
  );
  await sql(`update jobs set status = 'cancelled' where kind in ('b', 'c')`);
});

test('a key that no storage can have keeps no other object from being deleted', async () => {
  await sql(`insert into storage_deletions (key, reason)
             select string_agg(md5(n::text), ''), 'test' from generate_series(1, 500) n union all
               select 'fine', 'test'`);
  assert.deepEqual(
    await sql(`select length(key) as length, error_code, isfinite(due_at) as due from storage_deletions order by 1`),
    [
      { length: 4, error_code: null, due: true },
      { length: 201, error_code: 'key_too_long', due: false },
    ],
  );
});
