import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { setPaused } from '../../../worker/queue/client/operate.ts';
import { readFleet, troubles, tryIncident } from '../../../worker/queue/client/trouble.ts';
import { nextTicks, runSchedule, scheduleHistory } from '../../../worker/queue/schedule/schedules.ts';
import { eventually } from '../../support/eventually.ts';
import { rolledBack } from '../../support/sql-files.ts';
import { createRig, type Rig } from '../../support/worker.ts';

// What needs a person, and what the pages and the command line tell of it.

let rig: Rig;
let finish = () => {};
before(async () => {
  rig = await createRig();
  const hold = async () => new Promise<void>((resolve) => (finish = resolve));
  await rig.worker(
    { 'media.hold': hold },
    // No check of an incident comes by itself while the test runs.
    { HEARTBEAT_INTERVAL: '100', INCIDENT_CHECK_INTERVAL: '600000' },
  );
});
after(() => rig.close());
afterEach(() =>
  rig.db.query(`
    update queues set paused = false; update incidents set resolved_at = now();
    delete from rejected_messages`),
);

const found = async () => troubles(await readFleet(rig.db));
const only = async <Which extends string>(which: Which) => {
  const [first, ...more] = await found();
  assert.deepEqual(more, []);
  assert.equal(first?.trouble, which);
  return first as Extract<Awaited<ReturnType<typeof found>>[number], { trouble: Which }>;
};

test('nothing needs a person while a worker is idle', async () => {
  assert.deepEqual(await found(), []);
});

test('a worker tells its memory, and how many jobs it runs', async () => {
  await rig.db.query(`insert into media_jobs (kind) values ('hold')`);
  const [worker] = await eventually(async () => {
    const { workers } = await readFleet(rig.db);
    assert.equal(workers[0]?.running, 1);
    return workers;
  });
  assert.ok(worker!.memory_bytes! > 10_000_000);
  finish();
  await eventually(async () => assert.equal((await readFleet(rig.db)).workers[0]?.running, 0));
});

test('a bridge that is off is told once, with all workers where it is so', async () => {
  const fleet = await readFleet(rig.db);
  const off = (pid: number, reason: string, minute: number) => ({
    ...fleet.workers[0]!,
    pid,
    bridges: [{ bridge: 'rabbitmq', connected: false, since: `2026-01-01T00:0${minute}:00Z`, reason }],
  });
  const workers = [off(1, 'refused', 3), off(2, 'denied', 2), off(3, 'refused', 1)];
  const told = troubles({ ...fleet, workers }).flatMap((each) => (each.trouble === 'bridge' ? [each] : []));
  assert.deepEqual(
    told.map(({ reason, since, workers: where }) => [reason, since.getUTCMinutes(), where.map(({ pid }) => pid)]),
    [
      ['refused', 1, [3, 1]],
      ['denied', 2, [2]],
    ],
  );
});

test('who paused a queue, and when: by a person of the dashboard, or by the role and its program', async () => {
  await setPaused(rig.db, 'media', true, 'ada');
  const first = await only('paused');
  assert.equal(first.paused_by, 'ada');
  assert.ok(Date.now() - first.paused_at!.getTime() < 600_000);
  // To pause it again changes neither.
  await setPaused(rig.db, 'media', true, 'bob');
  const second = await only('paused');
  assert.deepEqual([second.paused_by, second.paused_at], ['ada', first.paused_at]);

  await setPaused(rig.db, 'media', false, 'bob');
  assert.deepEqual(await found(), []);
  await rig.db.query(`set application_name = 'psql'; update queues set paused = true where name = 'social'`);
  assert.match((await only('paused')).paused_by!, / with psql$/);
});

test('an enabled schedule whose tick did not come is late', async () => {
  // Not committed: a worker would make up for the tick.
  const late = await rolledBack(rig.db, async (tx) => {
    await tx.query(`
      insert into schedules (name, cron, queue, kind) values ('late', '@hourly', 'cleanup', 'temp_files');
      update schedules set next_tick = now() - interval '6 seconds', error = 'cannot' where name = 'late'`);
    return troubles(await readFleet(tx));
  });
  assert.deepEqual(
    late.map((each) => each.trouble === 'schedule' && [each.name, each.error]),
    [['late', 'cannot']],
  );
});

test('rejected messages are told by way in and reason', async () => {
  await rig.db.query(`
    insert into rejected_messages (source, key, body, reason, error)
    select 'rabbitmq:media', 'nonsense', 'x', case when n < 4 then 'no_kind' else 'not_json' end, 'e'
      from generate_series(1, 4) n`);
  const told = await found();
  assert.deepEqual(
    told.map((each) => each.trouble === 'rejected' && [each.source, each.reason, each.messages, each.more]),
    [
      ['rabbitmq:media', 'no_kind', 3, false],
      ['rabbitmq:media', 'not_json', 1, false],
    ],
  );
});

test('an incident that somebody tries is checked, and its jobs run', async () => {
  const { rows } = await rig.db.query(`
    insert into incidents (dependency, code, message, kinds, probe_at, checked_at)
    values ('storage', 'access_denied', '401', '{media.hold}', now() + interval '1 day', now())
    returning id`);
  assert.equal((await only('incident')).id, rows[0].id);
  await rig.db.query(`insert into media_jobs (kind) values ('hold')`);
  assert.deepEqual(await tryIncident(rig.db, rows[0].id), { dependency: 'storage', host: null, code: 'access_denied' });
  await eventually(async () => {
    finish();
    assert.deepEqual(await found(), []);
  });
  assert.equal(await tryIncident(rig.db, rows[0].id), undefined);
});

test('the next ticks of a schedule are those of its time zone', () => {
  const ticks = nextTicks('30 3 * * *', 'Europe/Berlin', 3, new Date('2026-03-27T12:00:00Z'));
  assert.deepEqual(
    ticks.map((tick) => tick.toISOString().slice(0, 16)),
    ['2026-03-28T02:30', '2026-03-29T01:30', '2026-03-30T01:30'],
  );
});

test('a schedule has a history of its last hundred ticks', async () => {
  await rig.db.query(`
    insert into schedules (name, cron, queue, kind, enabled)
    values ('ticked', '@hourly', 'cleanup', 'temp_files', false);
    select note_tick('ticked', now() - n * interval '1 hour', null) from generate_series(110, 1, -1) n`);
  const id = await runSchedule(rig.db, 'ticked');
  const history = await scheduleHistory(rig.db, 'ticked', 1_000);
  assert.equal(history.length, 100);
  const [byHand, skipped] = history;
  assert.deepEqual([byHand!.tick, byHand!.job_id], [null, id]);
  assert.ok(byHand!.status);
  assert.deepEqual([skipped!.job_id, skipped!.status], [null, null]);
  assert.ok(Math.abs(Date.now() - 3_600_000 - skipped!.tick!.getTime()) < 600_000);
  await rig.db.query(`delete from schedules where name = 'ticked'`);
});
