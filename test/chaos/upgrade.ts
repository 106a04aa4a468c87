import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { checkOut, removeCheckout } from '../bench/against.ts';
import { openServer, type Database } from '../bench/server.ts';
import { endsWithUs } from '../support/processes.ts';

// npm run chaos:upgrade -- --from REV [--jobs 10000] A fleet is upgraded while jobs are inserted. Two workers of the
// commit REV run; this checkout migrates; its worker joins; one old worker is stopped, the other killed. Each job must
// be completed, with its effect there once. The last line is the verdict; exit code 1 unless all is well.

const { values } = parseArgs({ options: { from: { type: 'string' }, jobs: { type: 'string', default: '10000' } } });
if (!values.from) {
  console.error('Name the commit to upgrade from: npm run chaos:upgrade -- --from REV');
  process.exit(2);
}
const jobs = Number(values.jobs);
const here = join(import.meta.dirname, '../..');
const nodeOf = (checkout: string) => join(checkout, 'node_modules/.bin/node');
const rowmillOf = (checkout: string) => join(checkout, 'worker/cli/rowmill.js');

const server = await openServer();
const old = await checkOut(values.from);
try {
  const db = await server.create('nothing');
  console.log(await migrate(old, db.url));
  await db.query(`select create_queue('load', batch_size => 1, max_retries => 10, backoff_ms => 100)`);
  await db.query('create table effects (job_id bigint, made_by text)');
  const [stopped, killed] = [await start(old, db.url), await start(old, db.url)];
  const fed = feed(db);
  await completed(db, jobs / 10);
  console.log(await migrate(here, db.url));
  const before = await madeBy(db, 'old');
  await completed(db, before + jobs / 20);
  console.log(`after the migration the old workers completed ${(await madeBy(db, 'old')) - before} jobs`);
  const joined = await start(here, db.url);
  await end(stopped, 'SIGTERM');
  await end(killed, 'SIGKILL');
  await fed;
  await completed(db, jobs);
  const faults = await verdict(db);
  await end(joined, 'SIGTERM');
  await db.drop();
  console.log(faults.length > 0 ? faults.join('; ') : 'all is well');
  process.exitCode = faults.length > 0 ? 1 : 0;
} finally {
  await removeCheckout(old);
  await server.stop();
}

/** Runs `rowmill migrate` of a checkout. @returns its last line */
async function migrate(checkout: string, url: string): Promise<string> {
  const { stdout } = await promisify(execFile)(nodeOf(checkout), [rowmillOf(checkout), 'migrate'], {
    cwd: checkout,
    env: { PATH: process.env['PATH'], DATABASE_URL: url },
  });
  return `${checkout === here ? 'this checkout' : values.from}: ${stdout.trim().split('\n').at(-1)}`;
}

/** A worker of a checkout, with one kind: some jobs fail at first, each writes its effect as it is completed. */
async function start(checkout: string, url: string): Promise<ChildProcess> {
  const name = checkout === here ? 'new' : 'old';
  const kinds = join(server.dir, name);
  await mkdir(join(kinds, 'load'), { recursive: true });
  await writeFile(join(kinds, 'load/tick.ts'), handler(checkout, name));
  const env = { PATH: process.env['PATH'], DATABASE_URL: url, PORT: '0', QUEUES: 'load', WORKER_CONCURRENCY: '10' };
  const child = endsWithUs(
    spawn(nodeOf(checkout), [rowmillOf(checkout), 'start', '--jobs', kinds], {
      cwd: checkout,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((listening, reject) => {
    lines.on('line', (line) => line.includes('listening') && listening());
    child.once('exit', (code) => reject(new Error(`a worker ended with ${code}`)));
  });
  return child;
}

function handler(checkout: string, name: string): string {
  return `
import { setTimeout as sleep } from 'node:timers/promises';
import { job } from '${checkout}/worker/queue/job.ts';
import { z } from '${checkout}/node_modules/zod/index.js';
export default job({
  name: 'load.tick',
  payload: z.object({ n: z.number() }),
  async run({ job: { id }, payload: { n }, commit }) {
    await sleep(n % 20);
    if (n % 10 === 0 && Math.random() < 0.3) throw new Error('again');
    return commit(async (tx) => void (await tx.query('insert into effects values ($1, $2)', [id, '${name}'])));
  },
});
`;
}

async function feed(db: Database): Promise<void> {
  for (let fed = 0; fed < jobs; fed += 25) {
    await db.query(`insert into load_jobs (kind, payload)
                    select 'tick', jsonb_build_object('n', n) from generate_series(1, 25) n`);
    await sleep(50);
  }
}

async function completed(db: Database, count: number): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ jobs: number }>(
      `select count(*)::int as jobs from load_jobs where status = 'completed'`,
    );
    if (rows[0]!.jobs >= count) return;
    await sleep(100);
  }
}

async function madeBy(db: Database, name: string): Promise<number> {
  const { rows } = await db.query<{ effects: number }>(
    'select count(*)::int as effects from effects where made_by = $1',
    [name],
  );
  return rows[0]!.effects;
}

async function verdict(db: Database): Promise<string[]> {
  const { rows } = await db.query<{ made: number; effects: number; distinct: number }>(
    `select (select count(*)::int from load_jobs where status = 'completed') as made,
            count(*)::int as effects, count(distinct job_id)::int as distinct from effects`,
  );
  const { made, effects, distinct } = rows[0]!;
  return [
    ...(made === jobs ? [] : [`${made} of ${jobs} jobs are completed`]),
    ...(effects === jobs && distinct === jobs ? [] : [`${effects} effects of ${distinct} jobs`]),
  ];
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  child.removeAllListeners('exit');
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}
