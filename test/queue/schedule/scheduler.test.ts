import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, transaction } from '../../../worker/base/db/db.ts';
import { query } from '../../../worker/base/db/sql.ts';
import { archive } from '../../../worker/queue/fleet/upkeep.ts';
import { eventually } from '../../support/eventually.ts';
import { slow } from '../../support/everything.ts';
import { each, field, never, noop, steps, type Columns } from '../../support/field.ts';
import { reads } from '../../support/jobs.ts';
import { statementOf } from '../../support/statement.ts';

// Jobs that are added by the clock, by one worker.

const tickStatement = statementOf('worker/queue/schedule/scheduler.sql', 'tick');

suite('one worker', { concurrency: true }, () => {
  test(
    'adds what the row says, at each tick, and not before',
    field(async ({ db, worker, schedule, seededSome }) => {
      await worker(noop, { QUEUES: 'publish' });
      await schedule('all', each, { payload: '{"a": 1}', priority: -3, max_retries: 7, kind: 'x' });
      const jobs = await seededSome('all', 3);
      assert.ok(steps(jobs).every((step) => step === 1));
      for (const { late_ms } of jobs) assert.ok(late_ms >= 0, `${late_ms} ms late`);
      const row = { queue: 'media', kind: 'x', payload: { a: 1 }, priority: -3, max_retries: 7 };
      const { dedupe_key } = await reads(db, jobs[0]!.id, row);
      assert.match(dedupe_key, /^all@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    }),
  );

  test(
    'shows the last tick, the next, and what became of the last job, also once it is archived',
    field(async ({ db, worker, schedule, seeded, seededSome, status }) => {
      await worker(noop);
      await schedule('shown', each);
      await seededSome('shown', 2);
      await db.query(`update schedules set cron = $1`, [never]);
      const shown = await eventually(async () => {
        const row = await status('shown');
        assert.equal(row['last_status'], 'completed');
        assert.ok(row['next_tick']);
        return row;
      });
      const last = (await seeded('shown')).at(-1)!;
      assert.deepEqual(
        [shown['last_job_id'], shown['last_tick'], shown['last_result'], shown['error']],
        [last.id, last.tick, { done: true }, null],
      );
      assert.equal(shown['next_tick'].toISOString(), '2044-02-29T00:00:00.000Z');

      await db.query(`update queues set archive_after = '0'`);
      await transaction(db, (tx) => archive(tx, 'media'));
      assert.equal((await status('shown'))['last_status'], 'completed');
      await db.query(`delete from jobs`);
      assert.equal((await status('shown'))['last_status'], null);
    }),
  );

  test(
    'takes changes by SQL at once, and makes up no tick from before them',
    field(async ({ db, worker, schedule, seeded, seededSome, status }) => {
      await worker(noop);
      await schedule('changed', never);
      await eventually(async () => assert.ok((await status('changed'))['next_tick']));
      assert.deepEqual(await seeded('changed'), []);

      await db.query(`update schedules set cron = $1`, [each]);
      await seededSome('changed', 2);
      await db.query(`update schedules set enabled = false`);
      const before = await seeded('changed');
      assert.equal((await status('changed'))['next_tick'], null);
      await sleep(2_500);
      assert.deepEqual(await seeded('changed'), before);

      await db.query(`update schedules set enabled = true`);
      const jobs = await seededSome('changed', before.length + 2);
      assert.ok(steps(jobs)[before.length - 1]! >= 3, 'no tick of the time in which it was disabled');

      await db.query(`delete from schedules`);
      const kept = (await seeded('changed')).length;
      await sleep(1_200);
      assert.equal((await seeded('changed')).length, kept);
    }),
  );

  slow(
    'counts the ticks that it skips while the last job has not ended, or adds another',
    field(async ({ db, worker, schedule, seeded, seededSome, status }) => {
      await worker({ 'media.slow': ({ signal }) => sleep(60_000, null, { signal }) });
      await schedule('skip', each, { overlap: 'skip' });
      await schedule('queue', each, { overlap: 'queue' });
      await seededSome('queue', 4);
      const [job, ...more] = await seeded('skip');
      assert.deepEqual(more, []);
      const shown = await status('skip');
      assert.ok(shown['skipped'] >= 2);
      assert.deepEqual([shown['last_job_id'], shown['skipped_tick']], [job!.id, shown['last_tick']]);
      assert.equal((await status('queue'))['skipped'], 0);

      await db.query(`update jobs set status = 'cancelled' where id = $1`, [job!.id]);
      await seededSome('skip', 2);
    }),
  );

  test(
    'says why a schedule cannot tick, and lets the others',
    field(async ({ db, worker, schedule, seededSome, status }) => {
      await worker(noop);
      await schedule('cron', '61 * * * *');
      await schedule('zone', each, { time_zone: 'CEST5' });
      await schedule('never', '0 0 30 2 *');
      await db.query(`alter table publish_jobs add check (kind <> 'refused')`);
      await schedule('job', each, { queue: 'publish', kind: 'refused' });
      await schedule('good', each);
      await seededSome('good', 3);
      for (const [name, said] of [
        ['cron', /^cron 61 \* \* \* \*: /],
        ['zone', /^time zone CEST5: /],
        ['never', /^cron 0 0 30 2 \*: /],
        ['job', /violates check constraint/],
      ] as const)
        assert.match((await status(name))['error'], said);

      await db.query(`update schedules set cron = '* * * * * *', time_zone = 'UTC', kind = 'fixed'`);
      for (const name of ['cron', 'zone', 'never', 'job']) {
        await seededSome(name, 1);
        await eventually(async () => assert.equal((await status(name))['error'], null));
      }
    }),
  );

  test(
    'is not asked for what Postgres refuses',
    field(async ({ schedule }) => {
      const refused: Columns[] = [
        { cron: '* * *' },
        { time_zone: 'Mars/Olympus' },
        { queue: 'nope' },
        { name: 'a@b' },
        { overlap: 'maybe' },
      ];
      for (const columns of refused)
        await assert.rejects(schedule('refused', each, columns), /violates|not recognized/, JSON.stringify(columns));
    }),
  );

  test(
    'is told of changes, and not of ticks',
    field(async ({ db, schedule }) => {
      const heard: unknown[] = [];
      const client = createClient(db.url);
      client.on('notification', ({ payload }) => heard.push(payload));
      await client.connect();
      await client.query('listen rowmill_workers');
      await schedule('told', never);
      await db.query(`update schedules set last_tick = now(), next_tick = now()`);
      await db.query(`update schedules set enabled = false`);
      await db.query(`notify rowmill_workers, 'end'`);
      await eventually(() => assert.equal(heard.at(-1), 'end'));
      await client.end();
      assert.deepEqual(heard, ['schedules', 'schedules', 'end']);
    }),
  );

  test(
    'changes nothing by a plan that is out of date',
    field(async ({ db, schedule, status, seeded }) => {
      await schedule('planned', each);
      const plan = (planned: string | null, tick: string | null, next: string) =>
        query(db, tickStatement, {
          ticks: JSON.stringify([{ name: 'planned', cron: each, time_zone: 'UTC', planned, tick, next }]),
        });
      const [one, two, three] = [1, 2, 3].map((second) => `2026-01-01T00:00:0${second}.000Z`) as [
        string,
        string,
        string,
      ];
      assert.equal((await plan(null, null, one)).length, 1);
      assert.equal((await plan(null, null, two)).length, 0);
      assert.equal((await plan(one, one, two)).length, 1);
      await db.query('delete from jobs');
      assert.equal((await plan(one, one, two)).length, 0);
      await db.query(`update schedules set enabled = false`);
      assert.equal((await plan(two, two, three)).length, 0);
      assert.deepEqual([(await status('planned'))['last_tick'], await seeded('planned')], [new Date(one), []]);
    }),
  );
});
