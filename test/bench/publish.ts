import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { startRaid } from '../support/raid.ts';
import type { Bench } from './measure.ts';
import { runBare, runWorker, type Run } from './programs.ts';
import { atMost, median, type Result } from './result.ts';
import type { Database } from './server.ts';

const concurrency = 3;
const budgetMb = 300;

/**
 * The publish job against the bare sharp pipeline (bare-publish.ts): the same 24-megapixel JPEGs, the same two WebP
 * variants, three at a time, after a first one that is not counted. The job downloads 8 MB from RAID over a socket,
 * hashes them, flushes what it makes to the disk and keeps its rows; the anchor reads files and writes files. Only the
 * CPU time of the worker's own process is counted, but Postgres and RAID share its cores, and so its wall time. Linux
 * only: it reads /proc.
 */
export async function publish({ server, runs, pictures, notes }: Bench): Promise<Result[]> {
  notes.push(`sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`);
  const database = await server.create('rowmill');
  const raid = await startRaid();
  try {
    const photos = await makePhotos(join(server.dir, 'photos'), pictures);
    for (const [key, path] of photos) raid.files.set(key, await readFile(path));
    const ours: Run[] = [];
    const bare: Run[] = [];
    for (let round = 0; round < runs; round++) {
      bare.push(await runBare('bare-publish.ts', { atOnce: concurrency, paths: [...photos.values()] }));
      ours.push(await runOurs(database, raid, join(server.dir, 'storage'), [...photos.keys()]));
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
async function makePhotos(dir: string, pictures: number): Promise<Map<string, string>> {
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

function runOurs(
  db: Database,
  raid: { endpoint: string; secret: string },
  dataDir: string,
  keys: string[],
): Promise<Run> {
  const env = {
    DATA_DIR: dataDir,
    CONCURRENCY: String(concurrency),
    RAID_PUB_ENDPOINT: raid.endpoint,
    RAID_PUBLISHER_SECRET: raid.secret,
  };
  const insert = (some: string[]) =>
    db.query(
      `with files as (insert into auction_files (source_key) select unnest($1::text[]) returning id)
       insert into publish_jobs (file_id, max_retries) select id, 0 from files`,
      [some],
    );
  return runWorker(db, 'publish', { env, keys, insert });
}
