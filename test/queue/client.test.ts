import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { z } from 'zod';
import { transaction } from '../../worker/base/db.ts';
import { PermanentError } from '../../worker/base/errors.ts';
import publishFile from '../../worker/jobs/publish/file.ts';
import { createClient, NotCompleted, UsageError, type Client } from '../../worker/queue/client.ts';
import { archive } from '../../worker/queue/upkeep.ts';
import { eventually } from '../support/eventually.ts';
import { reads, rows } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// The typed client: jobs that come by it, and who waits for them. A worker serves media; cleanup is served by nobody.

const echo = { name: 'media.echo', payload: z.object({ name: z.string(), count: z.number().default(1) }) };
const slow = { name: 'media.slow', payload: z.object({ ms: z.number() }) };
const failing = { name: 'media.failing', payload: z.object({}) };
const idle = { name: 'cleanup.idle', payload: z.object({ n: z.number() }) };

let rig: Rig;
let client: Client;
before(async () => {
  rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 20; create table effects (job_id bigint)`);
  await rig.worker(
    {
      'media.echo': async ({ payload }) => payload,
      'media.slow': ({ payload, signal }) => sleep(Number(payload['ms']), 'slept', { signal }),
      'media.failing': () => Promise.reject(new PermanentError('no_such_thing', 'There is no such thing')),
      'media.flaky': async ({ job }) => {
        if (job.attempt < 3) throw new Error('not yet');
        return { attempts: job.attempt };
      },
      'media.effect': async ({ job, commit }) =>
        commit(async (tx) => void (await tx.query(`insert into effects values ($1)`, [job.id]))),
    },
    { QUEUES: 'media' },
  );
  client = createClient(rig.db.url);
});
after(async () => {
  await client.close();
  await rig.close();
});

const notCompleted = (because: NotCompleted['because']) => (error: unknown) => {
  assert.ok(error instanceof NotCompleted, String(error));
  assert.equal(error.because, because);
  return true;
};

suite('add', () => {
  test('a job of a kind of ours, by its definition, with its columns', async () => {
    const file = await rig.db.query<{ id: string }>(`insert into auction_files default values returning id`);
    const run_at = new Date('2100-01-01T00:00:00Z');
    const options = { file_id: file.rows[0]!.id, run_at, priority: -3, max_retries: 9, dedupe_key: 'one' };
    const { id, created } = await client.add(publishFile, {}, options);
    assert.equal(created, true);
    const [row] = await rows(rig.db, [id]);
    const { queue, kind, payload, status } = row!;
    assert.deepEqual([queue, kind, payload, status], ['publish', 'file', {}, 'pending']);
    assert.deepEqual({ ...row, ...options }, row);
  });

  test('payloads are typed by the kind', async () => {
    const refused = async () => {
      // @ts-expect-error: name is missing
      await client.add(echo, {});
      // @ts-expect-error: name is no number
      await client.add(echo, { name: 1 });
      // @ts-expect-error: publish.file takes nothing
      await client.add(publishFile, { fileId: 'x' });
      // @ts-expect-error: no such column
      await client.add(echo, { name: 'a' }, { runAt: new Date() });
      // @ts-expect-error: name is missing
      await client.addMany(echo, [{ payload: { count: 1 } }]);
    };
    await assert.rejects(refused(), UsageError);
    // What has a default may be left out: the type is that of the input.
    assert.equal((await client.add(echo, { name: 'a' })).created, true);
  });

  const refused: [string, () => Promise<unknown>, RegExp][] = [
    ['a payload', () => client.add(echo, { name: 1, count: 'x' } as never), /^payload\.name: .*; payload\.count: /],
    [
      'a payload that JSON makes another of',
      () => client.add({ name: 'media.echo', payload: z.object({ at: z.date() }) }, { at: new Date() }),
      /^payload\.at: /,
    ],
    ['a payload that JSON cannot say', () => client.add(echo, { name: 'a', count: 1n } as never), /BigInt/],
    ['a NUL in a payload', () => client.add(echo, { name: 'a\0' }), /^payload: /],
    ['a priority', () => client.add(echo, { name: 'a' }, { priority: 40_000 }), /^priority: /],
    ['a column', () => client.add(echo, { name: 'a' }, { runAt: 1 } as never), /"runAt"/],
    ['a dedupe key', () => client.add(echo, { name: 'a' }, { dedupe_key: 'a\0' }), /^dedupe_key: /],
    [
      'a file',
      () => client.add(publishFile, {}, { file_id: randomUUID() }),
      /^file_id: there is no such file, [0-9a-f-]{36}$/,
    ],
    ['a queue', () => client.add({ ...echo, name: 'nowhere.echo' }, { name: 'a' }), /^There is no queue nowhere$/],
    [
      'one payload of many',
      () => client.addMany(echo, [{ payload: { name: 'a' } }, { payload: { name: 2 } as never }]),
      /^job 2 of 2: payload\.name: /,
    ],
    [
      'one column of many',
      () => client.addMany(echo, [{ payload: { name: 'a' } }, { payload: { name: 'b' }, max_retries: -1 }]),
      /^job 2 of 2: max_retries: /,
    ],
  ];
  for (const [what, work, message] of refused)
    test(`${what} that does not fit is named`, () => assert.rejects(work(), { name: 'UsageError', message }));

  test('delay_ms counts by the clock of the database', async () => {
    const { id } = await client.add(idle, { n: 1 }, { delay_ms: 90_000 });
    const { rows: found } = await rig.db.query(
      `select run_at - created_at = interval '90 s' as exact from jobs where id = $1`,
      [id],
    );
    assert.deepEqual(found, [{ exact: true }]);
  });

  test('a taken dedupe key gives the job that has it', async () => {
    const first = await client.add(idle, { n: 1 }, { dedupe_key: 'k1' });
    const second = await client.add(idle, { n: 2 }, { dedupe_key: 'k1' });
    assert.deepEqual(second, { id: first.id, created: false });
    await rig.db.query(`delete from jobs where id = $1`, [first.id]);
    assert.equal((await client.add(idle, { n: 3 }, { dedupe_key: 'k1' })).created, true);
  });
});

suite("in the caller's transaction", () => {
  // As an application has it: not a connection of ours, and ids of bigint are strings on it.
  let pool: pg.Pool;
  before(() => {
    pool = new pg.Pool({ connectionString: rig.db.url });
  });
  after(() => pool.end());

  test('a job is there when it commits', async () => {
    const tx = await pool.connect();
    await tx.query('begin');
    const { id } = await client.add(echo, { name: 'a' }, {}, { tx });
    assert.equal(typeof id, 'number');
    assert.deepEqual(await rows(rig.db, [id]), []);
    await tx.query('commit');
    assert.deepEqual((await tx.query('select name from pg_prepared_statements')).rows, []);
    tx.release();
    assert.deepEqual((await client.wait(id)).result, { name: 'a' });
  });

  test('rolled back, there never was one', async () => {
    const tx = await pool.connect();
    await tx.query('begin');
    const one = await client.add(idle, { n: 1 }, { dedupe_key: 'ghost' }, { tx });
    const many = await client.addMany(idle, [{ payload: { n: 2 } }, { payload: { n: 3 }, dedupe_key: 'ghost' }], {
      tx,
    });
    assert.deepEqual(many[1], { id: one.id, created: false });
    await tx.query('rollback');
    tx.release();
    assert.deepEqual(await rows(rig.db, [one.id, ...many.map(({ id }) => id)]), []);
    assert.equal((await client.add(idle, { n: 1 }, { dedupe_key: 'ghost' })).created, true);
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
    const began = performance.now();
    const added = await client.addMany(idle, jobs);
    const took = performance.now() - began;
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
    const there = await client.add(idle, { n: 0 }, { dedupe_key: 'many-1' });
    const [a, b, c, d] = await client.addMany(idle, [
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

  test('none', async () => assert.deepEqual(await client.addMany(idle, []), []));
});

test('retry, cancel and show are those of the command line', async () => {
  const { id } = await client.add(idle, { n: 1 });
  assert.deepEqual(await client.cancel([id]), [{ id, queue: 'cleanup', kind: 'idle', was: 'pending', done: true }]);
  assert.equal((await client.cancel([id]))[0]!.done, false);
  assert.equal((await client.retry([id]))[0]!.was, 'cancelled');
  assert.deepEqual([(await client.show(id))?.status, await client.show(-1)], ['pending', undefined]);
});

suite('wait', () => {
  test('gives the job that completed, with its result', async () => {
    const { id } = await client.add(slow, { ms: 50 });
    const job = await client.wait(id);
    assert.deepEqual([job.id, job.status, job.result, job.payload], [id, 'completed', 'slept', { ms: 50 }]);
    // @ts-expect-error: the result may be anything
    assert.equal(job.result.length, 5);
  });

  test('goes on over retries', async () => {
    const { id } = await client.add({ name: 'media.flaky', payload: z.object({}) }, {});
    assert.deepEqual((await client.wait(id)).result, { attempts: 3 });
  });

  test('throws for a job that failed, with its code and the job', async () => {
    const { id } = await client.add(failing, {});
    await assert.rejects(client.wait(id), (error) => {
      assert.match(String(error), /Job \d+ failed: no_such_thing: There is no such thing/);
      assert.ok(notCompleted('failed')(error));
      const { job, error_code } = error as NotCompleted;
      assert.deepEqual([job?.id, error_code], [id, 'no_such_thing']);
      return true;
    });
  });

  test('throws for a job that is cancelled, waiting or running', async () => {
    const [waiting, running] = [await client.add(idle, { n: 1 }), await client.add(slow, { ms: 60_000 })];
    const waits = [waiting, running].map(({ id }) => assert.rejects(client.wait(id), notCompleted('cancelled')));
    await reads(rig.db, running.id, { status: 'processing' });
    await rig.db.query(`update jobs set status = 'cancelled' where id = any($1)`, [[waiting.id, running.id]]);
    await Promise.all(waits);
  });

  test('throws for a job that is deleted, or never was', async () => {
    const { id } = await client.add(idle, { n: 1 });
    const waiting = assert.rejects(client.wait(id), notCompleted('deleted'));
    await sleep(200);
    await rig.db.query(`delete from jobs where id = $1`, [id]);
    await waiting;
    await assert.rejects(client.wait(-1), notCompleted('deleted'));
  });

  test('throws when it takes too long, or its signal aborts; the job goes on', async () => {
    const { id } = await client.add(idle, { n: 1 });
    await assert.rejects(client.wait(id, { timeoutMs: 100 }), notCompleted('timeout'));
    await assert.rejects(client.wait(id, { signal: AbortSignal.abort(new Error('before')) }), { message: 'before' });
    const controller = new AbortController();
    const waiting = client.wait(id, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 100);
    await assert.rejects(waiting, { message: 'enough' });
    await reads(rig.db, id, { status: 'pending' });
  });

  test('is answered at once for a job that has ended already, archived or not', async () => {
    const { id } = await client.add(echo, { name: 'old' });
    await reads(rig.db, id, { status: 'completed' });
    assert.equal((await client.wait(id, { timeoutMs: 2_000 })).archived, false);
    await rig.db.query(`update jobs set completed_at = now() - interval '1 hour' where id = $1`, [id]);
    await transaction(rig.db, (tx) => archive(tx, 'media'));
    const job = await client.wait(id, { timeoutMs: 2_000 });
    assert.deepEqual([job.archived, job.result], [true, { name: 'old' }]);
  });

  test('200 at once, and twice for each, share the session', async () => {
    const added = await client.addMany(
      echo,
      Array.from({ length: 200 }, (_, count) => ({ payload: { name: 'w', count } })),
    );
    const jobs = await Promise.all([...added, ...added].map(({ id }) => client.wait(id, { timeoutMs: 20_000 })));
    assert.deepEqual(
      jobs.map(({ result }) => (result as { count: number }).count),
      [...added.keys(), ...added.keys()],
    );
    assert.equal((await sessions()).length, 1);
  });

  test('hears of the end, and does not look for it', async () => {
    const { id } = await client.add(slow, { ms: 1_500 });
    const job = await client.wait(id);
    assert.ok(Date.now() - job.completed_at!.getTime() < 1_000);
  });

  test('survives the end of its session, and what ended meanwhile', async () => {
    const soon = await client.add(idle, { n: 1 });
    const late = await client.add(idle, { n: 2 });
    const waits = [soon, late].map(({ id }) => client.wait(id, { timeoutMs: 20_000 }));
    await sleep(1_000);
    const [killed] = await sessions();
    await rig.db.query(
      `with killed as (select pg_terminate_backend($1))
       update jobs set status = 'completed' where id = $2 and exists (select from killed)`,
      [killed, soon.id],
    );
    assert.equal((await waits[0])!.id, soon.id);
    await eventually(async () => assert.notDeepEqual([(await sessions())[0] ?? killed], [killed]));
    await sleep(700);
    await rig.db.query(`update jobs set status = 'completed' where id = $1`, [late.id]);
    const job = await waits[1]!;
    assert.ok(Date.now() - job.completed_at!.getTime() < 1_000);
  });

  test('finds what ended in a transaction that was under way when it came', async () => {
    const other = createClient(rig.db.url);
    const { id } = await other.add(idle, { n: 1 });
    await unheard(async () => {
      const tx = await rig.db.connect();
      await tx.query('begin');
      await tx.query(`update jobs set status = 'completed' where id = $1`, [id]);
      const waiting = other.wait(id, { timeoutMs: 20_000 });
      await sleep(1_500);
      await tx.query('commit');
      tx.release();
      assert.equal((await waiting).id, id);
    });
    await other.close();
  });

  test('is told when Postgres will not have it', async () => {
    const elsewhere = new URL(rig.db.url);
    elsewhere.pathname = '/no_such_database';
    const other = createClient(elsewhere.href);
    await assert.rejects(other.wait(1), { code: '3D000' });
    await assert.rejects(
      other.on('failed', () => {}),
      { code: '3D000' },
    );
    await other.close();
  });

  test('ends with the client', async () => {
    const other = createClient(rig.db.url);
    const { id } = await other.add(idle, { n: 1 });
    const waiting = assert.rejects(other.wait(id), notCompleted('closed'));
    await sleep(300);
    await Promise.all([other.close(), other.close()]);
    await waiting;
    await assert.rejects(other.wait(id), notCompleted('closed'));
    await assert.rejects(
      other.on('failed', () => {}),
      notCompleted('closed'),
    );
  });
});

/** The process ids of the sessions that listen. */
async function sessions(): Promise<number[]> {
  const { rows: found } = await rig.db.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and application_name = 'rowmill client'`,
  );
  return found.map(({ pid }) => pid);
}

/** Runs `work` while nobody counts as a listener. */
async function unheard(work: () => Promise<void>): Promise<void> {
  await client.close();
  client = createClient(rig.db.url);
  await rig.db.query(`delete from listeners`);
  await work();
}

suite('what is announced', () => {
  let ear: pg.Client;
  let heard: string[] = [];
  before(async () => {
    ear = new pg.Client({ connectionString: rig.db.url });
    await ear.connect();
    ear.on('notification', ({ payload }) => heard.push(payload ?? ''));
    await ear.query('listen rowmill_ended');
  });
  after(() => ear.end());
  afterEach(() => {
    heard = [];
  });

  const until = (when: string) =>
    rig.db.query(`insert into listeners (id, until) values ($1, ${when})`, [randomUUID()]);
  /** After all that was announced before has been heard. */
  const everything = async () => {
    await rig.db.query(`notify rowmill_ended, 'mark'`);
    await eventually(() => assert.ok(heard.includes('mark')));
    return heard
      .filter((payload) => payload !== 'mark')
      .map((payload) => JSON.parse(payload) as { queue: string; status: string; ids: number[] });
  };

  /** Ends jobs in all the ways there are, and gives their ids by status. */
  async function endAll(): Promise<Record<string, number[]>> {
    const worked = await client.addMany(
      echo,
      Array.from({ length: 60 }, () => ({ payload: { name: 'x' } })),
    );
    const effect = await client.add({ name: 'media.effect', payload: z.object({}) }, {});
    const dead = await client.add(failing, {});
    const unknown = await client.add({ name: 'media.unheard_of', payload: z.object({}) }, {});
    const stopped = await client.add(slow, { ms: 60_000 });
    const [lost, byHand, failedByHand] = await client.addMany(
      idle,
      [1, 2, 3].map((n) => ({ payload: { n }, max_retries: 0 })),
    );
    await rig.db.query(`update cleanup_jobs set status = 'completed' where id = $1`, [byHand!.id]);
    await rig.db.query(`update jobs set status = 'failed' where id = $1`, [failedByHand!.id]);
    const retried = await client.add({ name: 'media.flaky', payload: z.object({}) }, {});

    const worker = randomUUID();
    await rig.db.query(
      `insert into workers (id, host, pid, version, queues, heartbeat_at) values ($1, 'gone', 1, '0', '{cleanup}', now() - interval '1 day')`,
      [worker],
    );
    await rig.db.query(`update cleanup_jobs set status = 'processing', attempt = 1, locked_by = $2 where id = $1`, [
      lost!.id,
      worker,
    ]);
    await reads(rig.db, stopped.id, { status: 'processing' });
    await client.cancel([stopped.id]);
    const status = {
      completed: [...worked.map(({ id }) => id), effect.id, byHand!.id, retried.id],
      failed: [dead.id, unknown.id, failedByHand!.id, lost!.id],
      cancelled: [stopped.id],
    };
    for (const [name, ids] of Object.entries(status))
      for (const id of ids) await reads(rig.db, id, { status: name }, 20_000);
    assert.equal((await rows(rig.db, [lost!.id]))[0]!['error_code'], 'worker_lost');
    return status;
  }

  test('nothing when nobody listens; rows that have expired do not count', () =>
    unheard(async () => {
      await until(`now() - interval '1 second'`);
      await endAll();
      assert.deepEqual(await everything(), []);
    }));

  test('every end, on each way, once; and clients that listen hear of it', () =>
    unheard(async () => {
      const events: { id: number; queue: string; status: string }[] = [];
      for (const status of ['completed', 'failed', 'cancelled'] as const)
        await client.on(status, (job) => {
          assert.equal(job.status, status);
          events.push(job);
        });
      heard = [];
      const ended = await endAll();
      const announced = await everything();
      const inOrder = (ids: number[]) => ids.toSorted((a, b) => a - b);
      for (const [status, ids] of Object.entries(ended)) {
        const told = announced.filter((one) => one.status === status).flatMap((one) => one.ids);
        assert.deepEqual(inOrder(told), inOrder(ids), status);
        await eventually(() =>
          assert.deepEqual(
            inOrder(events.filter((event) => event.status === status).map(({ id }) => id)),
            inOrder(ids),
          ),
        );
      }
      const queues = await rig.db.query<{ id: number; queue: string }>(
        `select id, queue from jobs where id = any($1)`,
        [events.map(({ id }) => id)],
      );
      for (const { id, queue } of queues.rows) assert.equal(events.find((event) => event.id === id)?.queue, queue);
    }));

  test('nothing of what is rolled back', () =>
    unheard(async () => {
      await until(`now() + interval '1 minute'`);
      const { id } = await client.add(idle, { n: 1 });
      const tx = await rig.db.connect();
      await tx.query('begin');
      await tx.query(`update jobs set status = 'cancelled' where id = $1`, [id]);
      await tx.query('rollback');
      tx.release();
      assert.deepEqual(await everything(), []);
    }));

  test('5,000 that end in one statement, in payloads that Postgres takes', () =>
    unheard(async () => {
      await until(`now() + interval '1 minute'`);
      await rig.db.query(
        `insert into jobs (id, queue, kind) select 9007199254740991 - n, 'cleanup', 'idle' from generate_series(1, 5000) n`,
      );
      await rig.db.query(`update jobs set status = 'cancelled' where id > 9007199254740991 - 5001`);
      const announced = await everything();
      assert.equal(new Set(announced.flatMap(({ ids }) => ids)).size, 5_000);
      assert.equal(announced.length, 13);
      // Archived, they have not ended again.
      heard = [];
      await rig.db.query(`update jobs set archived = true where id > 9007199254740991 - 5001`);
      assert.deepEqual(await everything(), []);
    }));

  test('a listener that was taken off hears nothing, and one that throws is no trouble to the others', async () => {
    const seen: number[] = [];
    const off = await client.on('cancelled', () => seen.push(-1));
    off();
    const uncaught: unknown[] = [];
    process.setUncaughtExceptionCaptureCallback((error) => uncaught.push(error.message));
    await client.on('cancelled', () => {
      throw new Error('mine');
    });
    const last = await client.on('cancelled', ({ id }) => seen.push(id));
    const { id } = await client.add(idle, { n: 1 });
    await client.cancel([id]);
    await eventually(() => assert.deepEqual([seen, uncaught], [[id], ['mine']]));
    process.setUncaughtExceptionCaptureCallback(null);
    last();
  });
});

suite('the table listeners', () => {
  test('has the client while it listens, and not when it is closed', async () => {
    await rig.db.query(`delete from listeners`);
    const other = createClient(rig.db.url);
    await rig.db.query(`insert into listeners (id, until) values ($1, now() - interval '1 second')`, [randomUUID()]);
    await other.on('failed', () => {});
    const { rows: found } = await rig.db.query(
      `select until between now() + interval '50 s' and now() + interval '1 min' as counts from listeners`,
    );
    assert.deepEqual(found, [{ counts: true }]);
    await other.close();
    assert.deepEqual((await rig.db.query(`select from listeners`)).rows, []);
  });

  test('is closed to other roles, whose changes are announced nonetheless', async () => {
    const tx = await rig.db.connect();
    try {
      await tx.query('begin');
      await tx.query(`
        create role a_stranger;
        grant select, insert, update, delete on listeners, jobs to a_stranger;
        create policy all_jobs on jobs to a_stranger using (true);
        insert into listeners (id, until) values (gen_random_uuid(), now() + interval '1 minute');
        set local role a_stranger`);
      assert.deepEqual((await tx.query(`select from listeners`)).rows, []);
      await tx.query('savepoint before');
      await assert.rejects(tx.query(`insert into listeners (id, until) values (gen_random_uuid(), now())`), {
        code: '42501',
      });
      await tx.query('rollback to before');
      await tx.query(`reset role; revoke all on listeners from a_stranger; set local role a_stranger`);
      await assert.rejects(tx.query(`select from listeners`), { code: '42501' });
      await tx.query('rollback to before');
      await tx.query(`reset role; revoke all on listeners from a_stranger; set local role a_stranger`);
      await tx.query(`update jobs set status = 'cancelled' where queue = 'cleanup' and status = 'pending'`);
    } finally {
      await tx.query('rollback');
      tx.release();
    }
  });
});
