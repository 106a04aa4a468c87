import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { messageOf } from '../../worker/base/errors.ts';
import { startRaid } from '../support/raid.ts';
import { s3Failures, startS3Server } from '../support/s3-server.ts';
import { prepareGround, type Ground } from './ground.ts';

// npm run chaos:incident -- --incident storage --minutes 60 [--jobs 5000] [--workers 3] --incident: storage (403, as of
// a cap that is reached), bucket (gone), raid (401), disk (full; needs root), or several with commas. Worker processes
// do jobs, the dependencies break, and are fixed after so many minutes. No retry may be used meanwhile, other kinds
// must go on, and a minute after the end all must be done. The last line is the verdict; exit code 1 unless all is
// well.

const run = promisify(execFile);
const kindOf = { storage: 'store', bucket: 'store', raid: 'fetch', disk: 'scratch' } as const;
type Incident = keyof typeof kindOf;
const doneWithinMs = 60_000;

const options = readOptions();
const ground = await prepareGround();
const s3 = await startS3Server();
const raid = await startRaid();
raid.files.set('original', Buffer.alloc(10_000, 'x'));
const tempDir = join(ground.dir, 'temp');
const cleanUp: (() => unknown)[] = [() => ground.close(), () => s3.close(), () => raid.close()];
let code = 1;
try {
  await mkdir(tempDir);
  if (options.incidents.includes('disk')) {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', tempDir]);
    cleanUp.unshift(() => run('umount', ['-l', tempDir]));
  }
  code = await scenario(ground);
} catch (error) {
  console.error(messageOf(error));
}
for (const work of cleanUp) await Promise.resolve(work()).catch((error: unknown) => console.error(messageOf(error)));
process.exit(code);

async function scenario({ db, dir }: Ground): Promise<number> {
  const workers = Array.from({ length: options.workers }, () => startOne(join(dir, 'workers.log')));
  cleanUp.unshift(() => Promise.all(workers.map(stopOne)));
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  // As shipped, and not as the other chaos runs have it.
  await db.query('update queues set backoff_ms = 5000, max_retries = 3');

  const kinds = [...new Set(options.incidents.map((incident) => kindOf[incident]))];
  for (const kind of kinds)
    await db.query(`insert into jobs (queue, kind) select 'media', $1 from generate_series(1, $2)`, [
      kind,
      Math.ceil(options.jobs / kinds.length),
    ]);
  await sleep(300);
  for (const incident of options.incidents) await breakIt(incident);
  const before = await seen(db);
  console.log(
    `broken: ${options.incidents.join(', ')}, with ${before.completed} jobs completed and ${before.left} left`,
  );

  const cpuBefore = await cpuOf(workers);
  const asked = s3.requests.length + raid.requests.length;
  const began = performance.now();
  const late = await wait(db, began + options.minutes * 60_000, options.otherWithinMs);
  const cpu = ((await cpuOf(workers)) - cpuBefore) / ((performance.now() - began) / 1_000);
  const held = await seen(db);
  const requests = s3.requests.length + raid.requests.length - asked;
  console.log(
    `fixed after ${options.minutes} minutes: ${tell(held)}; ` +
      `${requests} requests, ${(cpu * 100).toFixed(1)} % of a core`,
  );

  const end = performance.now();
  s3.heal();
  raid.lock(false);
  await rm(join(tempDir, 'fill'), { force: true });
  let now = await seen(db);
  while (now.left > 0 && performance.now() - end < doneWithinMs * 2) {
    await sleep(200);
    now = await seen(db);
  }
  const tookS = (performance.now() - end) / 1_000;
  const { rows } = await db.query(
    `select dependency, code, probes, kinds, resolved_at is not null as resolved from incidents order by since`,
  );
  for (const row of rows) console.log(JSON.stringify(row));
  const faults = [
    now.retries > 0 && `${now.retries} retries used`,
    now.dead > 0 && `${now.dead} dead letters`,
    now.errors > 0 && `${now.errors} failed attempts`,
    now.left > 0 && `${now.left} jobs not done`,
    tookS > doneWithinMs / 1_000 && `not done within a minute`,
    late > 0 && `${late} jobs of another kind were late`,
    rows.length === 0 && 'there was no incident',
  ].filter(Boolean);
  console.log(
    `retries ${now.retries}, dead letters ${now.dead}, failed attempts ${now.errors}, ` +
      `done ${tookS.toFixed(1)} s after its end${faults.length > 0 ? `: ${faults.join(', ')}` : ''}`,
  );
  return faults.length > 0 ? 1 : 0;
}

/**
 * Until `deadline`: tells each minute how it stands, and has a job of another kind done now and then.
 * @returns how many of these were late
 */
async function wait(db: Ground['db'], deadline: number, otherWithinMs: number): Promise<number> {
  let late = 0;
  for (let told = performance.now(); performance.now() < deadline;) {
    const { rows } = await db.query<{ id: number }>(
      `insert into jobs (queue, kind) values ('media', 'other') returning id`,
    );
    const inserted = performance.now();
    for (;;) {
      const found = await db.query(`select from jobs where id = $1 and status = 'completed'`, [rows[0]!.id]);
      if (found.rowCount === 1) break;
      if (performance.now() - inserted > otherWithinMs) {
        late++;
        break;
      }
      await sleep(200);
    }
    if (performance.now() - told > 60_000) {
      told = performance.now();
      console.log(tell(await seen(db)));
    }
    await sleep(Math.max(0, Math.min(10_000, deadline - performance.now())));
  }
  return late;
}

type Seen = { completed: number; left: number; dead: number; retries: number; errors: number; tickets: number };
function tell({ completed, left, dead, retries, errors, tickets }: Seen): string {
  const jobs = `${completed} completed, ${left} left, ${dead} dead`;
  return `${jobs}, ${retries} retries, ${errors} failed attempts, ${tickets} tickets`;
}

async function seen(db: Ground['db']): Promise<Seen> {
  const { rows } = await db.query<Seen>(
    `select count(*) filter (where status = 'completed') as completed,
            count(*) filter (where status in ('pending', 'processing')) as left,
            count(*) filter (where status = 'failed') as dead,
            coalesce(sum(retry_count), 0) as retries,
            (select count(*) from job_errors) as errors,
            (select count(*) from rowmill_tickets._private_jobs) as tickets
       from jobs`,
  );
  return rows[0]!;
}

async function breakIt(incident: Incident): Promise<void> {
  switch (incident) {
    case 'storage':
      return s3.fail({
        ...s3Failures.denied,
        message: 'Cannot upload files, storage cap exceeded. See the Caps page.',
      });
    case 'bucket':
      return s3.fail({ status: 404, code: 'NoSuchBucket' });
    case 'raid':
      return raid.lock(true);
    case 'disk':
      await run('sh', ['-c', 'cat /dev/zero > fill || true'], { cwd: tempDir });
  }
}

function startOne(logFile: string): ChildProcess {
  const log = openSync(logFile, 'a');
  return fork(join(import.meta.dirname, 'incident-worker.ts'), [], {
    stdio: ['ignore', log, log, 'ipc'],
    env: {
      PATH: process.env['PATH'],
      LOG_LEVEL: 'info',
      QUEUES: 'media',
      WORKER_CONCURRENCY: '8',
      DATABASE_URL: ground.url,
      RAID_PUB_ENDPOINT: raid.endpoint,
      RAID_PUBLISHER_SECRET: raid.secret,
      TEMP_DIR: tempDir,
      INCIDENT_CHECK_INTERVAL: options.checkMs,
      ...s3.env,
    },
  });
}

async function stopOne(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return;
  const ended = once(worker, 'exit');
  worker.kill('SIGTERM');
  const killing = setTimeout(() => worker.kill('SIGKILL'), 30_000);
  await ended;
  clearTimeout(killing);
}

/** Seconds of CPU that the processes have used; 0 where the system does not tell. */
async function cpuOf(workers: ChildProcess[]): Promise<number> {
  const ticks = await Promise.all(
    workers.map(async ({ pid }) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
    }),
  );
  return ticks.reduce((sum, each) => sum + each, 0) / 100;
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        incident: { type: 'string', default: 'storage' },
        minutes: { type: 'string', default: '60' },
        jobs: { type: 'string', default: '5000' },
        workers: { type: 'string', default: '3' },
        'check-ms': { type: 'string', default: '10000' },
        'other-within-ms': { type: 'string', default: '15000' },
      },
    });
    const incidents = values.incident.split(',') as Incident[];
    const unknown = incidents.filter((name) => !(name in kindOf));
    if (unknown.length > 0)
      throw new Error(`--incident ${unknown.join()}: there are ${Object.keys(kindOf).join(', ')}`);
    const number = (name: Exclude<keyof typeof values, 'incident'>) => {
      if (!/^\d{1,7}(\.\d+)?$/.test(values[name])) throw new Error(`--${name} ${values[name]}: must be a number`);
      return Number(values[name]);
    };
    return {
      incidents,
      minutes: number('minutes'),
      jobs: number('jobs'),
      workers: number('workers'),
      checkMs: String(number('check-ms')),
      /** A job of another kind that has not ended by then is late. */
      otherWithinMs: number('other-within-ms'),
    };
  } catch (error) {
    console.error(
      `${messageOf(error)}\nnpm run chaos:incident -- [--incident NAMES] [--minutes M] [--jobs N] [--workers N]`,
    );
    process.exit(2);
  }
}
