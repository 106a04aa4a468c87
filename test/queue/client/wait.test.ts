import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { transaction } from '../../../worker/base/db/db.ts';
import { createClient, NotCompleted } from '../../../worker/queue/client/client.ts';
import { archive } from '../../../worker/queue/fleet/upkeep.ts';
import { quietShare } from '../../support/quiet-time.ts';
import { eventually } from '../../support/eventually.ts';
import { reads } from '../../support/jobs.ts';
import { createClientRig, echo, failing, idle, slow, type ClientRig } from '../../support/client.ts';

// The typed client: who waits for jobs.

let rig: ClientRig;
before(async () => {
  rig = await createClientRig();
});
after(() => rig.close());

const notCompleted = (because: NotCompleted['because']) => (error: unknown) => {
  assert.ok(error instanceof NotCompleted, String(error));
  assert.equal(error.because, because);
  return true;
};

suite('wait', () => {
  test('gives the job that completed, with its result', async () => {
    const { id } = await rig.client.add(slow, { ms: 50 });
    const job = await rig.client.wait(id);
    assert.deepEqual([job.id, job.status, job.result, job.payload], [id, 'completed', 'slept', { ms: 50 }]);
    // @ts-expect-error: the result may be anything
    assert.equal(job.result.length, 5);
  });

  test('goes on over retries', async () => {
    const { id } = await rig.client.add({ name: 'media.flaky', payload: z.object({}) }, {});
    assert.deepEqual((await rig.client.wait(id)).result, { attempts: 3 });
  });

  test('throws for a job that failed, with its code and the job', async () => {
    const { id } = await rig.client.add(failing, {});
    await assert.rejects(rig.client.wait(id), (error) => {
      assert.match(String(error), /Job \d+ failed: no_such_thing: There is no such thing/);
      assert.ok(notCompleted('failed')(error));
      const { job, error_code } = error as NotCompleted;
      assert.deepEqual([job?.id, error_code], [id, 'no_such_thing']);
      return true;
    });
  });

  test('throws for a job that is cancelled, waiting or running', async () => {
    const [waiting, running] = [await rig.client.add(idle, { n: 1 }), await rig.client.add(slow, { ms: 60_000 })];
    const waits = [waiting, running].map(({ id }) => assert.rejects(rig.client.wait(id), notCompleted('cancelled')));
    await reads(rig.db, running.id, { status: 'processing' });
    await rig.db.query(`update jobs set status = 'cancelled' where id = any($1)`, [[waiting.id, running.id]]);
    await Promise.all(waits);
  });

  test('throws for a job that is deleted, or never was', async () => {
    const { id } = await rig.client.add(idle, { n: 1 });
    const waiting = assert.rejects(rig.client.wait(id), notCompleted('deleted'));
    await sleep(200);
    await rig.db.query(`delete from jobs where id = $1`, [id]);
    await waiting;
    await assert.rejects(rig.client.wait(-1), notCompleted('deleted'));
  });

  test('throws when it takes too long, or its signal aborts; the job goes on', async () => {
    const { id } = await rig.client.add(idle, { n: 1 });
    await assert.rejects(rig.client.wait(id, { timeoutMs: 100 }), notCompleted('timeout'));
    await assert.rejects(rig.client.wait(id, { signal: AbortSignal.abort(new Error('before')) }), {
      message: 'before',
    });
    const controller = new AbortController();
    const waiting = rig.client.wait(id, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 100);
    await assert.rejects(waiting, { message: 'enough' });
    await reads(rig.db, id, { status: 'pending' });
  });

  test('is answered at once for a job that has ended already, archived or not', async () => {
    const { id } = await rig.client.add(echo, { name: 'old' });
    await reads(rig.db, id, { status: 'completed' });
    assert.equal((await rig.client.wait(id, { timeoutMs: 2_000 })).archived, false);
    await rig.db.query(`update jobs set completed_at = now() - interval '1 hour' where id = $1`, [id]);
    await transaction(rig.db, (tx) => archive(tx, 'media'));
    const job = await rig.client.wait(id, { timeoutMs: 2_000 });
    assert.deepEqual([job.archived, job.result], [true, { name: 'old' }]);
  });

  test('200 at once, and twice for each, share the session', async () => {
    const added = await rig.client.addMany(
      echo,
      Array.from({ length: 200 }, (_, count) => ({ payload: { name: 'w', count } })),
    );
    const jobs = await Promise.all([...added, ...added].map(({ id }) => rig.client.wait(id, { timeoutMs: 20_000 })));
    assert.deepEqual(
      jobs.map(({ result }) => (result as { count: number }).count),
      [...added.keys(), ...added.keys()],
    );
    assert.equal((await sessions()).length, 1);
  });

  test('hears of the end, and does not look for it', async () => {
    const share = quietShare();
    const { id } = await rig.client.add(slow, { ms: 1_500 });
    const job = await rig.client.wait(id);
    assert.ok((Date.now() - job.completed_at!.getTime()) * share() < 1_000);
  });

  test('survives the end of its session, and what ended meanwhile', async () => {
    const soon = await rig.client.add(idle, { n: 1 });
    const late = await rig.client.add(idle, { n: 2 });
    const waits = [soon, late].map(({ id }) => rig.client.wait(id, { timeoutMs: 20_000 }));
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
    const share = quietShare();
    await rig.db.query(`update jobs set status = 'completed' where id = $1`, [late.id]);
    const job = await waits[1]!;
    assert.ok((Date.now() - job.completed_at!.getTime()) * share() < 1_000);
  });

  test('finds what ended in a transaction that was under way when it came', async () => {
    const other = createClient(rig.db.url);
    const { id } = await other.add(idle, { n: 1 });
    await rig.unheard(async () => {
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
