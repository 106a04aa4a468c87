import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { picture, type PictureOptions } from '../../support/pictures.ts';
import { interleave, type Bench } from '../measure.ts';
import { runBare, runWorker, type Run } from '../programs.ts';
import { atLeast, atMost, information, median, type Result } from '../result.ts';

const originals: [file: string, options: PictureOptions][] = [
  ['24.jpg', { width: 6000, height: 4000 }],
  ['12.jpg', { width: 4000, height: 3000 }],
  ['12.png', { width: 4000, height: 3000, format: 'png' }],
  ['12.webp', { width: 4000, height: 3000, format: 'webp' }],
];
const atOnce = 2;
/** Of a worker in 512 MB. */
const memory = { MEDIA_MEMORY_MB: '280' };
const budgetMb = { peak: 330, idle: 190 };

/**
 * The work of media.image, and the whole job, against sharp alone (bare-image.ts), which makes the same outputs of one
 * decode, or of one decode each. The job also copies and hashes each original, and keeps its rows. Only the process at
 * work is counted, not Postgres. Linux only: it reads /proc.
 */
export async function image({ server, runs, pictures: wanted }: Bench): Promise<Result[]> {
  const rounds = Math.min(4, Math.ceil(wanted / originals.length));
  const pictures = originals.length * rounds;
  const db = await server.create('rowmill');
  const data = join(server.dir, 'media-image');
  const keys = await makeOriginals(join(data, 'storage'), rounds);
  const paths = keys.map((key) => join(data, 'storage', key));
  const jobs: (Run & { idleMb: number })[] = [];
  const work: Run[] = [];
  const once: Run[] = [];
  const again: Run[] = [];
  const insert = (some: string[]) =>
    db.query(
      `insert into media_jobs (kind, payload, max_retries) select 'image', jsonb_build_object('s3Key', key), 0
       from unnest($1::text[]) as key`,
      [some],
    );
  await interleave(runs, {
    'media.image': async () =>
      void jobs.push(
        await runWorker(db, 'media', { env: { DATA_DIR: data, CONCURRENCY: String(atOnce), ...memory }, keys, insert }),
      ),
    'optimise()': async () => void work.push(await runBare('media/optimise.ts', { atOnce, paths })),
    'sharp, one decode': async () => void once.push(await runBare('media/bare-image.ts', { atOnce, paths })),
    'sharp, a decode each': async () =>
      void again.push(await runBare('media/bare-image.ts', { atOnce, paths, env: { DECODE: 'again' } })),
  });
  await db.drop();

  const cpu = (all: Run[]) => median(all.map(({ cpuMs }) => cpuMs)) / pictures;
  const most = (what: 'peakMb' | 'idleMb') => Math.max(...jobs.map((run) => run[what]));
  const held = (name: string, mb: number, budget: number) => atMost(1, name, { ours: mb, anchor: budget, unit: 'MB' });
  return [
    atMost(1.1, 'image, CPU a picture, against one decode', { ours: cpu(work), anchor: cpu(once), unit: 'ms' }),
    atLeast(1, 'image, pictures a second of CPU, against a decode each', {
      ours: 1_000 / cpu(work),
      anchor: 1_000 / cpu(again),
      unit: '/s',
    }),
    information('image, CPU of the whole job, against one decode', { ours: cpu(jobs), anchor: cpu(once), unit: 'ms' }),
    held(`image, peak RSS of ${atOnce} at once, against a budget`, most('peakMb'), budgetMb.peak),
    held('image, RSS when idle again, against a budget', most('idleMb'), budgetMb.idle),
  ];
}

async function makeOriginals(dir: string, rounds: number): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  const keys: string[] = [];
  for (const [file, options] of originals) {
    await writeFile(join(dir, `0-${file}`), await picture({ ...options, photo: true }));
    for (let round = 1; round < rounds; round++) await copyFile(join(dir, `0-${file}`), join(dir, `${round}-${file}`));
  }
  for (let round = 0; round < rounds; round++) keys.push(...originals.map(([file]) => `${round}-${file}`));
  return keys;
}
