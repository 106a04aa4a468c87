import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { createClient } from '../../worker/base/db.ts';
import { openEmbeddedPostgres } from '../../worker/embedded/postgres.ts';
import { install } from '../../worker/queue/install.ts';
import { startRaid } from '../support/raid.ts';
import { median, type Result } from './result.ts';

const rounds = 3;
const pictures = 24;
const concurrency = 3;
const budgetMb = 300;

type Run = { cpuMs: number; wallMs: number; peakMb: number };

/**
 * The publish job against the bare sharp pipeline (bare-publish.ts): the same 24-megapixel JPEGs, the same two WebP variants, three
 * at a time. The job downloads from RAID over a socket and keeps its rows; the anchor reads files. Only the worker's own process
 * is counted, not Postgres and RAID. Linux only: it reads /proc.
 */
export async function publish(): Promise<Result[]> {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-bench-'));
  const postgres = await openEmbeddedPostgres(join(dir, 'data'));
  const raid = await startRaid();
  try {
    await install(postgres.url);
    const photos = await makePhotos(join(dir, 'photos'));
    for (const [key, path] of photos) raid.files.set(key, await readFile(path));
    const ours: Run[] = [];
    const bare: Run[] = [];
    for (let round = 0; round < rounds; round++) {
      bare.push(await runBare([...photos.values()]));
      ours.push(await runOurs(postgres.url, raid, join(dir, 'data'), [...photos.keys()]));
    }
    const of = (runs: Run[], key: keyof Run) => median(runs.map((run) => run[key]));
    const compare = (name: string, key: 'cpuMs' | 'wallMs'): Result => {
      const [our, anchor] = [of(ours, key) / pictures, of(bare, key) / pictures];
      return { name, ratio: our / anchor, ours: our, anchor, unit: 'ms', goal: 1.1 };
    };
    const peak = Math.max(...ours.map((run) => run.peakMb));
    return [
      compare('publish, CPU a picture', 'cpuMs'),
      compare('publish, wall a picture', 'wallMs'),
      {
        name: `publish, peak RSS, budget ${budgetMb} MB`,
        ratio: peak / budgetMb,
        ours: peak,
        anchor: budgetMb,
        unit: 'MB',
        goal: 1,
      },
    ];
  } finally {
    await raid.close();
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** 6000 x 4000, with the detail and the noise of a camera's picture; some 8 MB each. */
async function makePhotos(dir: string): Promise<Map<string, string>> {
  await mkdir(dir);
  const photos = new Map<string, string>();
  for (let index = 0; index < 4; index++) {
    const noise = await sharp({
      create: {
        width: 1500,
        height: 1000,
        channels: 3,
        background: '#808080',
        noise: { type: 'gaussian', mean: 100 + index * 20, sigma: 40 },
      },
    })
      .png()
      .toBuffer();
    const path = join(dir, `${index}.jpg`);
    await sharp(noise).resize(6000, 4000, { kernel: 'cubic' }).jpeg({ quality: 92 }).toFile(path);
    for (let copy = index; copy < pictures; copy += 4) photos.set(`photo-${copy}`, path);
  }
  return photos;
}

async function runBare(paths: string[]): Promise<Run> {
  const child = launch(
    join(import.meta.dirname, '../../node_modules/.bin/node'),
    [join(import.meta.dirname, 'bare-publish.ts'), String(concurrency), ...paths],
    {},
  );
  await line(child, 'ready');
  const watch = await stopwatch(child);
  child.stdin!.write('go\n');
  await line(child, 'done');
  const run = await watch.stop();
  child.kill('SIGKILL');
  await once(child, 'exit');
  return run;
}

async function runOurs(
  databaseUrl: string,
  raid: { endpoint: string; secret: string },
  dataDir: string,
  keys: string[],
): Promise<Run> {
  const child = launch(join(import.meta.dirname, '../../worker/cli/rowmill'), ['start'], {
    DATABASE_URL: databaseUrl,
    DATA_DIR: dataDir,
    QUEUES: 'publish',
    CONCURRENCY: String(concurrency),
    PORT: '0',
    RAID_PUB_ENDPOINT: raid.endpoint,
    RAID_PUBLISHER_SECRET: raid.secret,
  });
  const client = createClient(databaseUrl);
  await client.connect();
  await line(child, '"listening"');
  const watch = await stopwatch(child);
  await client.query(
    `with files as (insert into auction_files (source_key) select unnest($1::text[]) returning id)
     insert into publish_jobs (file_id, max_retries) select id, 0 from files`,
    [keys],
  );
  for (;;) {
    const { rows } = await client.query<{ open: number; failed: number }>(
      `select count(*) filter (where status in ('pending', 'processing'))::int as open, count(*) filter (where status = 'failed')::int as failed from publish_jobs`,
    );
    if (rows[0]!.failed > 0) throw new Error('a publish job of the benchmark failed');
    if (rows[0]!.open === 0) break;
    await sleep(20);
  }
  const run = await watch.stop();
  await client.end();
  child.kill('SIGTERM');
  await once(child, 'exit');
  return run;
}

/** With the malloc settings that worker/cli/rowmill sets, on both sides. */
function launch(command: string, args: string[], env: Record<string, string>): ChildProcess {
  const malloc = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072', MALLOC_TRIM_THRESHOLD_: '131072' };
  return spawn(command, args, {
    env: { PATH: process.env['PATH'], ...malloc, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

async function line(child: ChildProcess, word: string): Promise<void> {
  let seen = '';
  for await (const [chunk] of events(child)) {
    seen += chunk;
    if (seen.includes(word)) return;
  }
  throw new Error(`ended before it said ${word}: ${seen}`);
}

async function* events(child: ChildProcess): AsyncGenerator<[string]> {
  for (;;) {
    const chunk = await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')]);
    if (child.exitCode !== null) return;
    yield [String(chunk[0])];
  }
}

/** CPU and wall time of a process from now on, and the most memory it held since it started. */
async function stopwatch(child: ChildProcess): Promise<{ stop(): Promise<Run> }> {
  const started = performance.now();
  const before = await cpuMsOf(child.pid!);
  return {
    async stop() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      const peakKb = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
      return {
        cpuMs: (await cpuMsOf(child.pid!)) - before,
        wallMs: performance.now() - started,
        peakMb: peakKb / 1024,
      };
    },
  };
}

/** User and system time, in clock ticks of 10 ms: fields 14 and 15 of proc(5). */
async function cpuMsOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
