import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import pg from 'pg';
import { z } from 'zod';
import publishFile from '../../../worker/jobs/publish/file.ts';
import { createClient, InvalidJob } from '../../../worker/queue/client/client.ts';
import { applicationOptions } from '../../support/hostile.ts';
import { rows } from '../../support/jobs.ts';
import { createClientRig, echo, idle, type ClientRig } from '../../support/client.ts';
import { quietNow } from '../../support/quiet-time.ts';

// The typed client: jobs that come by it.

let rig: ClientRig;
before(async () => {
  rig = await createClientRig();
});
after(() => rig.close());

const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as unknown;

suite('add', () => {
  test('a job of a kind of ours, by its definition, with its columns', async () => {
    const file = await rig.db.query<{ id: string }>(`insert into auction_files default values returning id`);
    const run_at = new Date('2100-01-01T00:00:00Z');
    const expires_at = new Date('2100-01-02T00:00:00Z');
    const options = { file_id: file.rows[0]!.id, run_at, expires_at, priority: -3, max_retries: 9, dedupe_key: 'one' };
    const { id, created } = await rig.client.add(publishFile, {}, options);
    assert.equal(created, true);
    const [row] = await rows(rig.db, [id]);
    const { queue, kind, payload, status } = row!;
    assert.deepEqual([queue, kind, payload, status], ['publish', 'file', {}, 'pending']);
    assert.deepEqual({ ...row, ...options }, row);
  });

  test('payloads are typed by the kind', async () => {
    const refused = async () => {
      // @ts-expect-error: name is missing
      await rig.client.add(echo, {});
      // @ts-expect-error: name is no number
      await rig.client.add(echo, { name: 1 });
      // @ts-expect-error: publish.file takes nothing
      await rig.client.add(publishFile, { fileId: 'x' });
      // @ts-expect-error: no such column
      await rig.client.add(echo, { name: 'a' }, { runAt: new Date() });
      // @ts-expect-error: name is missing
      await rig.client.addMany(echo, [{ payload: { count: 1 } }]);
    };
    await assert.rejects(refused(), InvalidJob);
    // What has a default may be left out: the type is that of the input.
    assert.equal((await rig.client.add(echo, { name: 'a' })).created, true);
  });

  const refused: [string, () => Promise<unknown>, RegExp][] = [
    ['a payload', () => rig.client.add(echo, { name: 1, count: 'x' } as never), /^payload\.name: .*; payload\.count: /],
    [
      'a key of a payload',
      () => rig.client.add(echo, { name: 'a', cuont: 1 } as never),
      /^media\.echo knows no key "cuont" \(is it count\?\)$/,
    ],
    [
      'a payload that JSON makes another of',
      () => rig.client.add({ name: 'media.echo', payload: z.object({ at: z.date() }) }, { at: new Date() }),
      /^payload\.at: /,
    ],
    ['a payload that JSON cannot say', () => rig.client.add(echo, { name: 'a', count: 1n } as never), /BigInt/],
    ['a NUL in a payload', () => rig.client.add(echo, { name: 'a\0' }), /^payload: /],
    ['a priority', () => rig.client.add(echo, { name: 'a' }, { priority: 40_000 }), /^priority: /],
    [
      'a column',
      () => rig.client.add(echo, { name: 'a' }, { runAt: 1 } as never),
      /^runAt: is no column of a new job: is it run_at\?$/,
    ],
    ['a time', () => rig.client.add(echo, { name: 'a' }, { run_at: new Date(8.64e15) }), /^run_at: /],
    ['a delay', () => rig.client.add(echo, { name: 'a' }, { delay_ms: Infinity }), /^delay_ms: /],
    [
      'a payload that is nested too deep for JSON',
      () => rig.client.add({ name: 'media.echo', payload: z.unknown() }, { deep: nested(99_000) }),
      /^payload: Maximum call stack/,
    ],
    [
      'a payload that is nested too deep for a worker',
      () => rig.client.add({ name: 'media.echo', payload: z.unknown() }, { deep: nested(500) }),
      /^payload: is nested more than 100 deep$/,
    ],
    ['a dedupe key', () => rig.client.add(echo, { name: 'a' }, { dedupe_key: 'a\0' }), /^dedupe_key: /],
    [
      'a file',
      () => rig.client.add(publishFile, {}, { file_id: randomUUID() }),
      /^file_id: there is no such file, [0-9a-f-]{36}$/,
    ],
    [
      'a queue',
      () => rig.client.add({ ...echo, name: 'nowhere.echo' }, { name: 'a' }),
      /^there is no queue "nowhere"\. The queues are analytics, cleanup/,
    ],
    [
      'one payload of many',
      () => rig.client.addMany(echo, [{ payload: { name: 'a' } }, { payload: { name: 2 } as never }]),
      /^job 2 of 2: payload\.name: /,
    ],
    [
      'one column of many',
      () => rig.client.addMany(echo, [{ payload: { name: 'a' } }, { payload: { name: 'b' }, max_retries: -1 }]),
      /^job 2 of 2: max_retries: /,
    ],
  ];
  for (const [what, work, message] of refused)
    test(`${what} that does not fit is named`, () => assert.rejects(work(), { name: 'InvalidJob', message }));

  test('delay_ms counts by the clock of the database', async () => {
    const { id } = await rig.client.add(idle, { n: 1 }, { delay_ms: 90_000 });
    const { rows: found } = await rig.db.query(
      `select run_at - created_at = interval '90 s' as exact from jobs where id = $1`,
      [id],
    );
    assert.deepEqual(found, [{ exact: true }]);
  });

  test('a taken dedupe key gives the job that has it', async () => {
    const first = await rig.client.add(idle, { n: 1 }, { dedupe_key: 'k1' });
    const second = await rig.client.add(idle, { n: 2 }, { dedupe_key: 'k1' });
    assert.deepEqual(second, { id: first.id, created: false });
    await rig.db.query(`delete from jobs where id = $1`, [first.id]);
    assert.equal((await rig.client.add(idle, { n: 3 }, { dedupe_key: 'k1' })).created, true);
  });
});

suite("in the caller's transaction", () => {
  // As an application has it: not a connection of ours, and ids of bigint are strings on it.
  let pool: pg.Pool;
  before(() => {
    pool = new pg.Pool({ connectionString: rig.db.url, options: applicationOptions });
  });
  after(() => pool.end());

  test('a job is there when it commits', async () => {
    const tx = await pool.connect();
    await tx.query('begin');
    const { id } = await rig.client.add(echo, { name: 'a' }, {}, { tx });
    assert.equal(typeof id, 'number');
    assert.deepEqual(await rows(rig.db, [id]), []);
    await tx.query('commit');
    assert.deepEqual((await tx.query('select name from pg_prepared_statements')).rows, []);
    tx.release();
    assert.deepEqual((await rig.client.wait(id)).result, { name: 'a' });
  });

  test('rolled back, there never was one', async () => {
    const tx = await pool.connect();
    await tx.query('begin');
    const one = await rig.client.add(idle, { n: 1 }, { dedupe_key: 'ghost' }, { tx });
    const many = await rig.client.addMany(idle, [{ payload: { n: 2 } }, { payload: { n: 3 }, dedupe_key: 'ghost' }], {
      tx,
    });
    assert.deepEqual(many[1], { id: one.id, created: false });
    await tx.query('rollback');
    tx.release();
    assert.deepEqual(await rows(rig.db, [one.id, ...many.map(({ id }) => id)]), []);
    assert.equal((await rig.client.add(idle, { n: 1 }, { dedupe_key: 'ghost' })).created, true);
  });

  test('a client works on a pool of the application', async () => {
    const other = createClient(rig.db.url, { pool });
    const { id } = await other.add(echo, { name: 'b' });
    assert.equal((await other.wait(id)).id, id);
    assert.equal((await other.show(id))?.status, 'completed');
    await other.close();
    assert.equal((await pool.query(`select count(*) as n from pg_prepared_statements`)).rows[0].n, '0');
  });
});

suite('addMany', () => {
  test('10,000 jobs in one insert, their ids in order', async () => {
    const jobs = Array.from({ length: 10_000 }, (_, n) => ({ payload: { n } }));
    const began = quietNow();
    const added = await rig.client.addMany(idle, jobs);
    const took = quietNow() - began;
    assert.ok(took < 20_000, `took ${took} ms`);
    const found = await rig.db.query<{ id: number; n: number; xmin: string }>(
      `select id, (payload ->> 'n')::integer as n, xmin::text from cleanup_jobs where id = any($1) order by n`,
      [added.map(({ id }) => id)],
    );
    assert.deepEqual(
      found.rows.map(({ id, n }) => ({ id, n })),
      added.map(({ id }, n) => ({ id, n })),
    );
    assert.ok(added.every(({ created }) => created));
    assert.equal(new Set(found.rows.map(({ xmin }) => xmin)).size, 1);
    await rig.db.query(`delete from cleanup_jobs where id = any($1)`, [added.map(({ id }) => id)]);
  });

  test('taken keys give the jobs that have them, one within the call among them', async () => {
    const there = await rig.client.add(idle, { n: 0 }, { dedupe_key: 'many-1' });
    const [a, b, c, d] = await rig.client.addMany(idle, [
      { payload: { n: 1 }, dedupe_key: 'many-1' },
      { payload: { n: 2 } },
      { payload: { n: 3 }, dedupe_key: 'many-3', priority: 5 },
      { payload: { n: 4 }, dedupe_key: 'many-3' },
    ]);
    assert.deepEqual(a, { id: there.id, created: false });
    assert.deepEqual([b!.created, c!.created], [true, true]);
    assert.deepEqual(d, { id: c!.id, created: false });
    const found = await rows(rig.db, [b!.id, c!.id]);
    assert.deepEqual(
      found.map(({ payload, priority }) => [payload.n, priority]),
      [
        [2, 0],
        [3, 5],
      ],
    );
  });

  test('none', async () => assert.deepEqual(await rig.client.addMany(idle, []), []));
});

test('retry, cancel and show are those of the command line', async () => {
  const { id } = await rig.client.add(idle, { n: 1 });
  assert.deepEqual(await rig.client.cancel([id]), [{ id, queue: 'cleanup', kind: 'idle', was: 'pending', done: true }]);
  assert.equal((await rig.client.cancel([id]))[0]!.done, false);
  assert.equal((await rig.client.retry([id]))[0]!.was, 'cancelled');
  assert.deepEqual([(await rig.client.show(id))?.status, await rig.client.show(-1)], ['pending', undefined]);
});
