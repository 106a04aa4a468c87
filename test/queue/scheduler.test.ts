import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, transaction } from '../../worker/base/db.ts';
import { loadStatements, query } from '../../worker/base/sql.ts';
import { archive } from '../../worker/queue/upkeep.ts';
import { eventually } from '../support/eventually.ts';
import { reads } from '../support/jobs.ts';
import { spawnWorker, type WorkerProcess } from '../support/processes.ts';
import { createRig } from '../support/worker.ts';

// Jobs that are added by the clock: by one worker, by fleets, and by fleets in trouble.

const sql = loadStatements(join(import.meta.dirname, '../../worker/queue'), 'scheduler.sql');
const each = '* * * * * *';
const never = '0 0 29 2 1';

type Seeded = { id: number; tick: Date; late_ms: number };
type Columns = Record<string, unknown>;

/** A database of the test's own, its workers, and what its schedules did. */
async function createField() {
  const rig = await createRig();
  const fleet: WorkerProcess[] = [];

  async function status(name: string): Promise<Record<string, any>> {
    const { rows } = await rig.db.query(`select * from schedule_status where name = $1`, [name]);
    return rows[0]!;
  }

  /** The jobs of a schedule, by their ticks. */
  async function seeded(name: string): Promise<Seeded[]> {
    const { rows } = await rig.db.query<Seeded>(
      `select id, tick, (extract(epoch from created_at - tick) * 1000)::float8 as late_ms
         from (select id, created_at, split_part(dedupe_key, '@', 2)::timestamptz as tick
                 from jobs where split_part(dedupe_key, '@', 1) = $1) j
        order by tick, id`,
      [name],
    );
    return rows;
  }

  return {
    db: rig.db,
    worker: rig.worker,
    status,
    seeded,

    async schedule(name: string, cron: string, columns: Columns = {}): Promise<void> {
      const row = { name, cron, queue: 'media', kind: 'slow', ...columns };
      const names = Object.keys(row);
      await rig.db.query(
        `insert into schedules (${names.join(', ')}) values (${names.map((_, n) => `$${n + 1}`).join(', ')})`,
        Object.values(row),
      );
    },

    /** The jobs of a schedule, once there are so many. */
    seededSome: (name: string, some: number) =>
      eventually(async () => {
        const jobs = await seeded(name);
        assert.ok(jobs.length >= some, `${jobs.length} jobs of ${name}`);
        return jobs;
      }, 30_000),

    async spawn(env?: Record<string, string>): Promise<WorkerProcess> {
      const worker = await spawnWorker(rig.db.url, env);
      fleet.push(worker);
      return worker;
    },

    async close(): Promise<void> {
      for (const { child } of fleet) child.kill('SIGCONT');
      await Promise.all(fleet.map((worker) => worker.end('SIGKILL')));
      await rig.close();
    },
  };
}

const field = (work: (field: Awaited<ReturnType<typeof createField>>) => Promise<void>) => async () => {
  const made = await createField();
  try {
    await work(made);
  } finally {
    await made.close();
  }
};

/** Seconds from each tick to the next. */
const steps = (jobs: Seeded[]) =>
  jobs.slice(1).map(({ tick }, n) => (tick.getTime() - jobs[n]!.tick.getTime()) / 1_000);

const noop = { 'media.slow': async () => ({ done: true }) };

/** A process whose clock is wrong. */
const clockOff = (ms: number) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
    `const Right = Date; globalThis.Date = class Date extends Right {
       constructor(...given) { given.length > 0 ? super(...given) : super(Right.now() + ${ms}); }
       static now() { return Right.now() + ${ms}; } };`,
  )}`,
});

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

  test(
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

      await db.query(`update schedules set cron = '* * * * * *', time_zone = 'UTC', kind = 'mended'`);
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
      await client.query('listen rowmill');
      await schedule('told', never);
      await db.query(`update schedules set last_tick = now(), next_tick = now()`);
      await db.query(`update schedules set enabled = false`);
      await db.query(`notify rowmill, 'end'`);
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
        query(db, sql['tick']!, {
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

suite('a fleet in trouble', { concurrency: true }, () => {
  test(
    'makes up a tick that it missed once at the start, the latest only, however many workers start',
    field(async ({ db, worker, schedule, seededSome, status }) => {
      await schedule('minutes', '* * * * *');
      await schedule('hourly', '0 * * * *', { time_zone: 'Asia/Kathmandu' });
      await schedule('unseen', '*/7 * * * *');
      await db.query(
        `update schedules set since = now() - interval '3 days', next_tick = date_trunc('minute', now() - interval '3 days')`,
      );
      // No worker has seen it since it was made.
      await db.query(`update schedules set since = now() - interval '1 hour', next_tick = null where name = 'unseen'`);
      await Promise.all([worker(noop), worker(noop), worker(noop)]);
      for (const [name, seconds] of Object.entries({ minutes: 60, hourly: 3_600, unseen: 420 })) {
        const jobs = await seededSome(name, 1);
        // A minute may begin between a worker's look at the clock and the row that it adds.
        assert.ok(jobs[0]!.late_ms < seconds * 1_000 + 3_000, `${name}: not the latest, ${jobs[0]!.late_ms} ms late`);
        await eventually(async () => assert.ok((await status(name))['next_tick'] > new Date()));
        assert.ok(jobs.length === 1 || jobs[1]!.late_ms < 3_000);
      }
    }),
  );

  test(
    'makes up no tick from before its schedule was made or enabled',
    field(async ({ db, worker, schedule, seeded, status }) => {
      await schedule('made', '0 0 1 1 *');
      await schedule('enabled', '* * * * *', { enabled: false });
      await db.query(`update schedules set since = now() - interval '400 days'`);
      await db.query(`update schedules set enabled = true where name = 'enabled'`);
      await db.query(`update schedules set cron = '0 0 2 1 *' where name = 'made'`);
      await worker(noop);
      await eventually(async () => {
        for (const name of ['made', 'enabled']) assert.ok((await status(name))['next_tick'] > new Date());
      });
      assert.deepEqual(await seeded('made'), []);
      for (const { late_ms } of await seeded('enabled')) assert.ok(late_ms < 3_000);
    }),
  );

  test(
    'makes up one tick after it was frozen, and repeats none, not even of jobs that are gone',
    field(async ({ db, schedule, seeded, seededSome, spawn }) => {
      const { child } = await spawn();
      await schedule('frozen', each);
      await seededSome('frozen', 2);
      child.kill('SIGSTOP');
      await sleep(500);
      const before = await seeded('frozen');
      await db.query(`delete from jobs`);
      await sleep(5_500);
      child.kill('SIGCONT');
      const after = await seededSome('frozen', 4);
      const all = steps([...before, ...after]);
      assert.ok(
        all.every((step) => step >= 1),
        `a tick came twice: ${all.join(' ')}`,
      );
      const gaps = all.filter((step) => step > 1);
      assert.equal(gaps.length, 1, `what was missed was made up once: ${all.join(' ')}`);
      assert.ok(gaps[0]! >= 4, `of what was missed only the latest was made up: ${all.join(' ')}`);
    }),
  );

  test(
    'has exactly one job for each tick, though one process is killed, one frozen, and their clocks are wrong',
    field(async ({ schedule, seededSome, status, spawn }) => {
      const [killed, frozen] = await Promise.all([
        spawn(clockOff(600_000)),
        spawn(clockOff(-600_000)),
        spawn(clockOff(1_300)),
      ]);
      await schedule('fleet', each);
      await seededSome('fleet', 3);
      await killed.end('SIGKILL');
      await seededSome('fleet', 5);
      frozen.child.kill('SIGSTOP');
      await seededSome('fleet', 9);
      frozen.child.kill('SIGCONT');
      const jobs = await seededSome('fleet', 12);
      const all = steps(jobs);
      assert.ok(
        all.every((step) => step === 1),
        all.join(' '),
      );
      for (const { late_ms } of jobs) assert.ok(late_ms >= 0, `${late_ms} ms late`);
      assert.equal((await status('fleet'))['skipped'], 0);
    }),
  );

  test(
    'goes on after its connections were cut',
    field(async ({ db, schedule, seeded, seededSome, spawn }) => {
      await spawn();
      await schedule('cut', each);
      await seededSome('cut', 1);
      for (let cut = 0; cut < 3; cut++) {
        await db.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
        );
        await sleep(300);
      }
      const many = (await seeded('cut')).length;
      const all = steps(await seededSome('cut', many + 2));
      assert.ok(
        all.every((step) => step >= 1),
        all.join(' '),
      );
    }),
  );
});
