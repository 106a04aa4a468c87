import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, suite, test } from 'node:test';
import pg from 'pg';
import { z } from 'zod';
import { createClient } from '../../../worker/queue/client/client.ts';
import { applicationOptions } from '../../support/hostile.ts';
import { eventually } from '../../support/eventually.ts';
import { reads, rows } from '../../support/jobs.ts';
import { createClientRig, echo, failing, idle, slow, type ClientRig } from '../../support/client.ts';

// The typed client: the ends of jobs that are announced, and to whom.

let rig: ClientRig;
before(async () => {
  rig = await createClientRig();
});
after(() => rig.close());

suite('what is announced', () => {
  let ear: pg.Client;
  let heard: string[] = [];
  before(async () => {
    ear = new pg.Client({ connectionString: rig.db.url, options: applicationOptions });
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
    const worked = await rig.client.addMany(
      echo,
      Array.from({ length: 60 }, () => ({ payload: { name: 'x' } })),
    );
    const effect = await rig.client.add({ name: 'media.effect', payload: z.object({}) }, {});
    const dead = await rig.client.add(failing, {});
    const unknown = await rig.client.add({ name: 'media.unheard_of', payload: z.object({}) }, {});
    const stopped = await rig.client.add(slow, { ms: 60_000 });
    const [lost, byHand, failedByHand] = await rig.client.addMany(
      idle,
      [1, 2, 3].map((n) => ({ payload: { n }, max_retries: 0 })),
    );
    await rig.db.query(`update cleanup_jobs set status = 'completed' where id = $1`, [byHand!.id]);
    await rig.db.query(`update jobs set status = 'failed' where id = $1`, [failedByHand!.id]);
    const retried = await rig.client.add({ name: 'media.flaky', payload: z.object({}) }, {});

    const worker = randomUUID();
    await rig.db.query(
      `insert into workers (id, host, pid, version, queues, heartbeat_at)
       values ($1, 'gone', 1, '0', '{cleanup}', now() - interval '1 day')`,
      [worker],
    );
    await rig.db.query(`update cleanup_jobs set status = 'processing', attempt = 1, locked_by = $2 where id = $1`, [
      lost!.id,
      worker,
    ]);
    await reads(rig.db, stopped.id, { status: 'processing' });
    await rig.client.cancel([stopped.id]);
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
    rig.unheard(async () => {
      await until(`now() - interval '1 second'`);
      await endAll();
      assert.deepEqual(await everything(), []);
    }));

  test('every end, on each way, once; and clients that listen hear of it', () =>
    rig.unheard(async () => {
      const events: { id: number; queue: string; status: string }[] = [];
      for (const status of ['completed', 'failed', 'cancelled'] as const)
        await rig.client.on(status, (job) => {
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
    rig.unheard(async () => {
      await until(`now() + interval '1 minute'`);
      const { id } = await rig.client.add(idle, { n: 1 });
      const tx = await rig.db.connect();
      await tx.query('begin');
      await tx.query(`update jobs set status = 'cancelled' where id = $1`, [id]);
      await tx.query('rollback');
      tx.release();
      assert.deepEqual(await everything(), []);
    }));

  test('5,000 that end in one statement, in payloads that Postgres takes', () =>
    rig.unheard(async () => {
      await until(`now() + interval '1 minute'`);
      await rig.db.query(
        `insert into jobs (id, queue, kind) select 9007199254740991 - n, 'cleanup', 'idle'
         from generate_series(1, 5000) n`,
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
    const off = await rig.client.on('cancelled', () => seen.push(-1));
    off();
    const uncaught: unknown[] = [];
    process.setUncaughtExceptionCaptureCallback((error) => uncaught.push(error.message));
    await rig.client.on('cancelled', () => {
      throw new Error('mine');
    });
    const last = await rig.client.on('cancelled', ({ id }) => seen.push(id));
    const { id } = await rig.client.add(idle, { n: 1 });
    await rig.client.cancel([id]);
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
