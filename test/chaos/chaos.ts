import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../worker/base/errors.ts';
import { control } from './controls.ts';
import { dealFaults } from './faults.ts';
import { feed } from './feed.ts';
import { raiseFleet } from './fleet.ts';
import { persist, prepareGround, type Ground } from './ground.ts';
import { makePlan, type Fault, type Plan } from './plan.ts';
import { report, tellCounts } from './report.ts';
import { judge, type Verdict } from './verdict.ts';

// npm run chaos -- --jobs 20000 --faults 200 --seed 1 [--minutes M] Four workers do jobs while they are killed, frozen,
// cut off and stopped, Postgres crashes, and people change jobs by SQL. Then every job must have ended as it may, once,
// with its effects. The same seed makes the same plan. The last line is the verdict; exit code 1 unless all is well.

const fleetSize = 4;
/**
 * So long nothing may happen before what is left counts as stuck: more than the reconciler, which comes each half
 * minute, can need.
 */
const drainPatienceMs = 100_000;

const options = readOptions();
const plan = makePlan(options);
console.log(
  `seed ${options.seed}: ${options.jobs} jobs, ${options.faults} faults in ${Math.round(plan.overMs / 1_000)} s`,
);
const ground = await prepareGround();
const { lost, doubled, stuck } = await run(plan, ground, options.seed);
console.log(`lost ${lost}, doubled ${doubled}, stuck ${stuck}`);
process.exit(lost + doubled + stuck > 0 ? 1 : 0);

async function run({ faults, batches }: Plan, on: Ground, seed: number): Promise<Verdict> {
  const logFile = join(on.dir, 'workers.log');
  const fleet = raiseFleet({ url: on.url, seed, size: fleetSize, logFile });
  process.once('exit', fleet.destroy);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

  const ids: number[] = [];
  const dealt: Fault['kind'][] = [];
  const calm = new AbortController();
  const telling = tellCounts(on.db, () => `${dealt.length}/${faults.length} faults, ${ids.length} jobs inserted`);
  await fleet.complete(60_000);
  const controlled = control(on, seed, ids, calm.signal);
  await Promise.all([
    feed(batches, on, ids),
    dealFaults(faults, { ground: on, fleet, dealt: ({ kind }) => void dealt.push(kind) }),
  ]);
  calm.abort();
  const changes = await controlled;

  const drained = await drain(on);
  await fleet.complete(60_000);
  await fleet.disband();
  await fleet.reap(on.db);
  telling.stop();

  const verdict = await judge(on, { told: ids, faults: fleet.faults });
  await report(on.db, { verdict, dealt, changes, drained, logFile });
  if (verdict.violations.length > 0) {
    const kept = join(tmpdir(), `rowmill-chaos-${seed}-${process.pid}.log`);
    await copyFile(logFile, kept);
    console.log(`the workers' log is ${kept}`);
  }
  await on.close().catch((error: unknown) => console.error(messageOf(error)));
  return verdict;
}

/** Waits until nothing is left to do, or nothing more gets done. @returns how many seconds it took */
async function drain({ db }: Ground): Promise<number> {
  const began = performance.now();
  let fewest = Infinity;
  for (let since = began; fewest > 0 && performance.now() - since < drainPatienceMs; await sleep(250)) {
    const { rows } = await persist(() =>
      db.query<{ left: number }>(
        `select (select count(*) from jobs where status in ('pending', 'processing'))
              + (select count(*) from rowmill_tickets._private_jobs) as left`,
      ),
    );
    if (rows[0]!.left >= fewest) continue;
    fewest = rows[0]!.left;
    since = performance.now();
  }
  return (performance.now() - began) / 1_000;
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        jobs: { type: 'string', default: '20000' },
        faults: { type: 'string', default: '200' },
        seed: { type: 'string', default: String(Date.now() % 100_000) },
        minutes: { type: 'string' },
      },
    });
    const number = (name: keyof typeof values, pattern = /^\d{1,7}$/) => {
      const value = values[name];
      if (value !== undefined && !pattern.test(value)) throw new Error(`--${name} ${value}: must be a number`);
      return Number(value);
    };
    return {
      jobs: number('jobs'),
      faults: number('faults'),
      seed: number('seed'),
      ...(values.minutes === undefined ? {} : { minutes: number('minutes', /^\d{1,3}(\.\d+)?$/) }),
    };
  } catch (error) {
    console.error(`${messageOf(error)}\nnpm run chaos -- [--jobs N] [--faults N] [--seed N] [--minutes M]`);
    process.exit(2);
  }
}
