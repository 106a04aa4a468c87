import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { raiseFleet } from './fleet.ts';
import { prepareGround } from './ground.ts';
import { makePlan } from './plan.ts';
import { judge } from './verdict.ts';
import { slow } from '../support/everything.ts';

const chaos = join(import.meta.dirname, 'chaos.ts');

// Each kind of fault. A longer one is a step of .ci/run.
slow('killed, frozen and stopped workers, and crashes of Postgres, leave no job lost, doubled or stuck', async () => {
  const child = spawn(process.execPath, [chaos, '--jobs', '600', '--faults', '8', '--seed', '1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const said = await text(child.stdout);
  assert.equal(await ended, 0, said);
  assert.equal(said.trimEnd().split('\n').at(-1), 'lost 0, doubled 0, stuck 0');
});

slow('the row of a worker that is gone is reaped before the verdict; one that cannot be is stuck', async (t) => {
  const ground = await prepareGround();
  t.after(() => ground.close());
  const fleet = raiseFleet({ url: ground.url, seed: 1, size: 0, logFile: join(ground.dir, 'workers.log') });
  await ground.db.query(
    `insert into workers (id, host, pid, version, queues) select gen_random_uuid(), 'here', n, '0', '{media}'
       from generate_series(1, 2) n`,
  );
  const holder = await ground.db.connect();
  await holder.query(`begin; select from workers where pid = 2 for update`);
  await fleet.reap(ground.db, 5_000);
  const { stuck, violations } = await judge(ground, { told: [], faults: fleet.faults });
  assert.deepEqual([stuck, violations[0]?.rule, violations[0]?.['pid']], [1, 'stuck_workers', 2]);
  await holder.query('rollback');
  holder.release();
  await fleet.reap(ground.db);
  assert.deepEqual((await judge(ground, { told: [], faults: fleet.faults })).violations, []);
});

test('the same seed makes the same plan, and another another', () => {
  const plan = (seed: number) => makePlan({ seed, jobs: 500, faults: 50 });
  assert.deepEqual(plan(7), plan(7));
  assert.notDeepEqual(plan(7).faults, plan(8).faults);
  assert.equal(plan(7).faults.length, 50);
  assert.equal(plan(7).batches.flatMap(({ jobs }) => jobs).length, 500);
});

test('what is no number is a usage error', () => {
  for (const args of [['--jobs', 'many'], ['--what'], ['--minutes', '-1']]) {
    const { status, stderr } = spawnSync(process.execPath, [chaos, ...args], { encoding: 'utf8' });
    assert.equal(status, 2);
    assert.match(stderr, /npm run chaos -- /);
  }
});
