import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { slow } from '../../support/everything.ts';
import { quietShare } from '../../support/quiet-time.ts';
import { eventually } from '../../support/eventually.ts';
import { each, field, noop, steps } from '../../support/field.ts';

// Jobs that are added by the clock, by fleets, and by fleets in trouble.

/** A process whose clock is wrong. */
const clockOff = (ms: number) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
    `const Right = Date; globalThis.Date = class Date extends Right {
       constructor(...given) { given.length > 0 ? super(...given) : super(Right.now() + ${ms}); }
       static now() { return Right.now() + ${ms}; } };`,
  )}`,
});

suite('a fleet in trouble', { concurrency: true }, () => {
  test(
    'makes up a tick that it missed once at the start, the latest only, however many workers start',
    field(async ({ db, worker, schedule, seededSome, status }) => {
      await schedule('minutes', '* * * * *');
      await schedule('hourly', '0 * * * *', { time_zone: 'Asia/Kathmandu' });
      await schedule('unseen', '*/7 * * * *');
      await db.query(
        `update schedules set since = now() - interval '3 days',
         next_tick = date_trunc('minute', now() - interval '3 days')`,
      );
      // No worker has seen it since it was made.
      await db.query(`update schedules set since = now() - interval '1 hour', next_tick = null where name = 'unseen'`);
      const share = quietShare();
      await Promise.all([worker(noop), worker(noop), worker(noop)]);
      for (const [name, seconds] of Object.entries({ minutes: 60, hourly: 3_600, unseen: 420 })) {
        const jobs = await seededSome(name, 1);
        // A minute may begin between a worker's look at the clock and the row that it adds.
        assert.ok(
          (jobs[0]!.late_ms - seconds * 1_000) * share() < 3_000,
          `${name}: not the latest, ${jobs[0]!.late_ms} ms late`,
        );
        await eventually(async () => assert.ok((await status(name))['next_tick'] > new Date()));
        assert.ok(jobs.length === 1 || jobs[1]!.late_ms * share() < 3_000);
      }
    }),
  );

  test(
    'makes up no tick from before its schedule was made or enabled',
    field(async ({ db, worker, schedule, seeded, status }) => {
      await schedule('made', '0 0 1 1 *');
      await schedule('enabled', '* * * * *', { enabled: false });
      const share = quietShare();
      await db.query(`update schedules set since = now() - interval '400 days'`);
      await db.query(`update schedules set enabled = true where name = 'enabled'`);
      await db.query(`update schedules set cron = '0 0 2 1 *' where name = 'made'`);
      await worker(noop);
      await eventually(async () => {
        for (const name of ['made', 'enabled']) assert.ok((await status(name))['next_tick'] > new Date());
      });
      assert.deepEqual(await seeded('made'), []);
      for (const { late_ms } of await seeded('enabled')) assert.ok(late_ms * share() < 3_000);
    }),
  );

  slow(
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

  slow(
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
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
           and pid <> pg_backend_pid()`,
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
