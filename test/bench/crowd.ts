import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, rm } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { startStandIn } from '../../worker/cli/demo/raid.ts';
import { openFootage, picture, type Footage } from '../support/footage.ts';
import { heldByGroup } from '../support/group-memory.ts';
import { endsWithUs } from '../support/processes.ts';
import { openServer, type Database, type Server } from './server.ts';

// Pictures and short clips beside three long encodes of 4K AV1, by one worker that is started as a user starts it:
//
//   node test/bench/crowd.ts --memory 280,700 --jobs 50 --seconds 20
//
// For each budget of MEDIA_MEMORY_MB it tells how long the short jobs waited, whether any failed, how far the long ones
// came, and the most memory that the worker and its ffmpeg held together. Not on a busy machine: `load` says how many
// others wanted its cores. Exit code 1 when a job waited for more than 30 s, or failed. Linux only.

const { values } = parseArgs({
  options: {
    memory: { type: 'string', default: '280,700' },
    jobs: { type: 'string', default: '50' },
    /** Of each long video. */
    seconds: { type: 'string', default: '20' },
    /** Between two short jobs. */
    'every-ms': { type: 'string', default: '2000' },
    /** Whether the long ones are waited for, too. */
    all: { type: 'boolean', default: false },
    kind: { type: 'string', default: 'video' },
  },
});
const mostWaitS = 30;

type Verdict = {
  budget: number;
  longest_wait_s: number;
  longest_total_s: number;
  failed: number;
  peak_mb: number;
  long: string;
  load: number;
};

const originals = { photo: 'photo.jpg', long: 'long.mkv', clip: 'clip.mp4' };

async function main(): Promise<boolean> {
  const [server, footage] = await Promise.all([openServer(), openFootage()]);
  try {
    await makeOriginals(footage, server.dir);
    const verdicts: Verdict[] = [];
    for (const budget of values.memory.split(',').map(Number)) verdicts.push(await judge(server, budget));
    console.table(verdicts);
    return verdicts.every(({ longest_wait_s, failed }) => longest_wait_s <= mostWaitS && failed === 0);
  } finally {
    await footage.close();
    await server.stop();
  }
}

async function makeOriginals(footage: Footage, dir: string): Promise<void> {
  const folder = join(dir, 'originals');
  await mkdir(folder, { recursive: true });
  console.error('  making the originals');
  const noise = sharp({
    create: {
      width: 4000,
      height: 3000,
      channels: 3,
      background: '#888',
      noise: { type: 'gaussian', mean: 128, sigma: 40 },
    },
  });
  await noise.jpeg({ quality: 90 }).toFile(join(folder, originals.photo));
  const av1 = '-c:v libsvtav1 -preset 12 -crf 40 -g 150 -pix_fmt yuv420p';
  const long = await footage.make(originals.long, `${picture('3840x2160', Number(values.seconds), 60)} ${av1}`);
  const clip = await footage.make(originals.clip, `${picture('1280x720', 4)} -c:v mpeg4 -q:v 4`);
  await cp(long, join(folder, originals.long));
  await cp(clip, join(folder, originals.clip));
}

async function judge(server: Server, budget: number): Promise<Verdict> {
  const db = await server.create('rowmill');
  const data = join(server.dir, `data-${budget}`);
  const folder = join(server.dir, 'originals');
  await cp(folder, join(data, 'storage'), { recursive: true });
  const raid = await startStandIn(new Map([[originals.photo, join(folder, originals.photo)]]), 'sesame');
  const env = { MEDIA_MEMORY_MB: String(budget), DATA_DIR: data, TEMP_DIR: data, RAID_PUB_ENDPOINT: raid.endpoint };
  const worker = await startWorker(db, { ...env, RAID_PUBLISHER_SECRET: raid.secret });
  try {
    const long = await Promise.all([0, 1, 2].map(() => addMedia(db, values.kind, originals.long)));
    // Until they have begun.
    await sleep(5_000);
    const ids = await addShort(db, Number(values.jobs), Number(values['every-ms']));
    await ended(db, values.all ? [...ids, ...long] : ids);
    return await verdictOf(db, { budget, ids, long, worker });
  } finally {
    worker.child.kill('SIGKILL');
    await once(worker.child, 'exit');
    await raid.close();
    await db.drop();
    await rm(data, { recursive: true, force: true });
  }
}

type Started = {
  child: ChildProcess;
  /** Milliseconds that each job has waited for memory, of waits that are told. */
  waited: Map<number, number>;
  peakMb: () => number;
};

async function startWorker(db: Database, env: Record<string, string>): Promise<Started> {
  const child = endsWithUs(
    spawn(process.execPath, [join(import.meta.dirname, '../../worker/cli/rowmill.js'), 'start'], {
      env: { PATH: process.env['PATH'], DATABASE_URL: db.url, QUEUES: 'media,publish', PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  const waited = new Map<number, number>();
  let peakMb = 0;
  const lines = createInterface({ input: child.stdout });
  const listening = new Promise<void>((resolve) => {
    lines.on('line', (line) => {
      const { message, context: said = {} } = JSON.parse(line) as {
        message: string;
        context?: Record<string, unknown>;
      };
      if (message === 'listening') resolve();
      if (message === 'the job goes on') {
        const id = Number(said['job_id']);
        waited.set(id, (waited.get(id) ?? 0) + Number(said['waited_ms']));
      }
      if (message === 'attempt ended' && said['outcome'] !== 'completed') console.error(line);
    });
  });
  await listening;
  const look = setInterval(() => {
    void heldByGroup(child.pid!).then(({ all }) => (peakMb = Math.max(peakMb, all)));
  }, 200);
  child.once('exit', () => clearInterval(look));
  return { child, waited, peakMb: () => Math.round(peakMb) };
}

async function addMedia(db: Database, kind: string, key: string): Promise<number> {
  const { rows } = await db.query<{ id: number }>(
    `insert into media_jobs (kind, payload) values ($1, $2) returning id`,
    [kind, JSON.stringify({ s3Key: key })],
  );
  return rows[0]!.id;
}

async function addPublish(db: Database): Promise<number> {
  const { rows } = await db.query<{ id: number }>(
    `with file as (insert into auction_files (source_key) values ($1) returning id)
     insert into publish_jobs (file_id) select id from file returning id`,
    [originals.photo],
  );
  return rows[0]!.id;
}

/** One after the other: a picture to publish, a picture of a message, a short clip. */
async function addShort(db: Database, jobs: number, everyMs: number): Promise<number[]> {
  const ids: number[] = [];
  for (let n = 0; n < jobs; n++) {
    if (n % 3 === 0) ids.push(await addPublish(db));
    else if (n % 3 === 1) ids.push(await addMedia(db, 'image', originals.photo));
    else ids.push(await addMedia(db, 'video', originals.clip));
    await sleep(everyMs);
  }
  return ids;
}

async function ended(db: Database, ids: number[]): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ open: number }>(
      `select count(*)::int as open from jobs where id = any($1) and status in ('pending', 'processing')`,
      [ids],
    );
    if (rows[0]!.open === 0) return;
    await sleep(500);
  }
}

type Measured = { budget: number; ids: number[]; long: number[]; worker: Started };
type Row = { id: number; status: string; progress: number | null; start_ms: number; total_ms: number };

async function verdictOf(db: Database, { budget, ids, long, worker }: Measured): Promise<Verdict> {
  const { rows } = await db.query<Row>(
    `select id, status, progress, extract(epoch from started_at - created_at)::float8 * 1000 as start_ms,
            extract(epoch from completed_at - created_at)::float8 * 1000 as total_ms
       from jobs where id = any($1) order by id`,
    [[...ids, ...long]],
  );
  const short = rows.filter(({ id }) => ids.includes(id));
  const seconds = (all: number[]) => Math.round(Math.max(0, ...all) / 100) / 10;
  return {
    budget,
    longest_wait_s: seconds(short.map(({ id, start_ms }) => start_ms + (worker.waited.get(id) ?? 0))),
    longest_total_s: seconds(short.map(({ total_ms }) => total_ms)),
    failed: rows.filter(({ status }) => status === 'failed').length,
    peak_mb: worker.peakMb(),
    long: rows
      .filter(({ id }) => long.includes(id))
      .map(({ status, progress }) => `${status} ${progress ?? 0} %`)
      .join(', '),
    load: Math.round(loadavg()[1]!),
  };
}

process.exitCode = (await main()) ? 0 : 1;
