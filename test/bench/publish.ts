import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { createClient } from '../../worker/base/db.ts';
import { startRaid } from '../support/raid.ts';
import { cpuMs } from './cpu.ts';
import type { Bench } from './measure.ts';
import { atMost, median, type Result } from './result.ts';

const pictures = 24;
const concurrency = 3;
const budgetMb = 300;

type Run = { cpuMs: number; wallMs: number; peakMb: number };

/**
 * The publish job against the bare sharp pipeline (bare-publish.ts): the same 24-megapixel JPEGs, the same two WebP variants, three
 * at a time. The job downloads from RAID over a socket and keeps its rows; the anchor reads files. Only the worker's own process
 * is counted, not Postgres and RAID. Linux only: it reads /proc.
 */
export async function publish({ server, runs, notes }: Bench): Promise<Result[]> {
  notes.push(`sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`);
  const database = await server.create('rowmill');
  const raid = await startRaid();
  try {
    const photos = await makePhotos(join(server.dir, 'photos'));
    for (const [key, path] of photos) raid.files.set(key, await readFile(path));
    const ours: Run[] = [];
    const bare: Run[] = [];
    for (let round = 0; round < runs; round++) {
      bare.push(await runBare([...photos.values()]));
      ours.push(await runOurs(database.url, raid, join(server.dir, 'storage'), [...photos.keys()]));
    }
    const of = (all: Run[], key: keyof Run) => median(all.map((run) => run[key]));
    const compare = (name: string, key: 'cpuMs' | 'wallMs'): Result =>
      atMost(1.1, name, { ours: of(ours, key) / pictures, anchor: of(bare, key) / pictures, unit: 'ms' });
    const peakMb = Math.max(...ours.map((run) => run.peakMb));
    return [
      compare('publish, CPU a picture', 'cpuMs'),
      compare('publish, wall a picture', 'wallMs'),
      atMost(1, 'publish, peak RSS, against a budget', { ours: peakMb, anchor: budgetMb, unit: 'MB' }),
    ];
  } finally {
    await raid.close();
    await database.drop();
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
  const before = await cpuMs(child.pid!);
  return {
    async stop() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      const peakKb = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
      return {
        cpuMs: (await cpuMs(child.pid!)) - before,
        wallMs: performance.now() - started,
        peakMb: peakKb / 1024,
      };
    },
  };
}
