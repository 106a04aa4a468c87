import { once } from 'node:events';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startStandIn } from '../../worker/cli/demo/raid.ts';
import { heldByGroup } from '../support/group-memory.ts';
import { codedItem, gridOf, hevcItem } from '../support/heif.ts';
import { measure, optimised, thumbnails, variants } from '../support/picture-memory.ts';
import { picture, type PictureOptions } from '../support/pictures.ts';
import { spawnRowmill } from '../support/processes.ts';
import { limitGroup } from './limit-group.ts';
import { openServer, type Database } from './server.ts';

// Pictures of the sizes that phones make, three at a time, by a worker for 512 MB that is started as a user starts it:
//
//   node test/bench/phones.ts --megapixels 12,24,48 --rounds 2 --only HEIC
//
// Prints for each kind of job the estimate of each picture and the peak of a fresh process that makes this one alone; then the
// most memory that the worker and its ffmpeg held together. Exit code 1 if that was more than 512 MB, if an estimate is below
// its peak, if the worker was killed, or if a job failed that should not. Takes some minutes. Linux only.

const { values } = parseArgs({
  options: {
    megapixels: { type: 'string', default: '12,24,48' },
    /** How often the worker makes each picture. */
    rounds: { type: 'string', default: '1' },
    /** Only pictures with this in their names. */
    only: { type: 'string', default: '' },
  },
});

const limitMb = 512;
const budgetMb = 280;
const atOnce = 3;
const kinds = { 'media.image': optimised(), 'media.thumbnails': thumbnails, 'publish.file': variants };
type Kind = keyof typeof kinds;

const sizes: Record<string, Size> = { 12: [4032, 3024], 24: [5712, 4284], 48: [8064, 6048] };
type Size = [width: number, height: number];
/** What the README says needs more than the budget. */
const tooLarge = ['48 MP JPEG, progressive, 4:4:4', '48 MP AVIF, 10 bits'];

const photo =
  (options: PictureOptions) =>
  ([width, height]: Size) =>
    picture({ width, height, photo: true, ...options });
const heic = (pixelFormat: string) => async (size: Size) =>
  gridOf('heic', await hevcItem(512, 512, pixelFormat), size, [512, 512]);
const avif = { format: 'avif', subsampling: '4:2:0' } as const;
const avifTile = async () => codedItem(await picture({ width: 512, height: 512, photo: true, ...avif }));

const pictures: Record<string, (size: Size) => Promise<Buffer>> = {
  JPEG: photo({}),
  'JPEG, on its side': photo({ orientation: 6 }),
  'JPEG, progressive': photo({ progressive: true }),
  'JPEG, progressive, 4:4:4': photo({ progressive: true, subsampling: '4:4:4' }),
  'HEIC, 8 bits': heic('yuv420p'),
  'HEIC, 10 bits': heic('yuv420p10le'),
  'AVIF, 8 bits': photo(avif),
  'AVIF, 10 bits': photo({ ...avif, deep: true }),
  'AVIF in tiles': async (size) => gridOf('avif', await avifTile(), size, [512, 512]),
  WebP: photo({ format: 'webp' }),
  'WebP, lossless': photo({ format: 'webp', lossless: true }),
  PNG: photo({ format: 'png' }),
  'PNG, see-through': photo({ format: 'png', alpha: true }),
  'PNG, on its side': photo({ format: 'png', orientation: 6 }),
  TIFF: photo({ format: 'tiff' }),
  'TIFF in tiles': photo({ format: 'tiff', tiled: 256 }),
  'TIFF, on its side': photo({ format: 'tiff', orientation: 6 }),
};

type Original = { name: string; path: string };

async function main(): Promise<boolean> {
  const server = await openServer();
  try {
    const originals = await makeOriginals(join(server.dir, 'originals'));
    const fits: boolean[] = [];
    for (const kind of Object.keys(kinds) as Kind[]) fits.push(await compare(kind, originals));
    const db = await server.create('rowmill');
    const holds = await crowd(db, originals, join(server.dir, 'data'));
    await db.drop();
    return holds && fits.every(Boolean);
  } finally {
    await server.stop();
  }
}

async function makeOriginals(dir: string): Promise<Original[]> {
  await mkdir(dir, { recursive: true });
  const originals: Original[] = [];
  for (const megapixels of values.megapixels.split(','))
    for (const [what, make] of Object.entries(pictures)) {
      const name = `${megapixels} MP ${what}`;
      if (!name.includes(values.only)) continue;
      const path = join(dir, name);
      const file = await make(sizes[megapixels]!).catch((error: Error) => error);
      if (file instanceof Error) {
        console.log(`skipped: ${name} cannot be made here (${file.message.split('\n')[0]})`);
        continue;
      }
      await writeFile(path, file);
      originals.push({ name, path });
    }
  return originals;
}

/** Whether no estimate is below the peak of a picture that is made alone. */
async function compare(kind: Kind, originals: Original[]): Promise<boolean> {
  const rows: { picture: string; estimate_mb?: number; peak_mb?: number; ratio?: number; refused?: string }[] = [];
  for (const { name, path } of originals) {
    const copy = `${path}.alone`;
    await copyFile(path, copy);
    rows.push(
      await measure(copy, kinds[kind], { budgetMb }).then(
        ({ estimate, growth }) => ({
          picture: name,
          estimate_mb: Math.round(estimate),
          peak_mb: Math.round(growth),
          ratio: Math.round((estimate / growth) * 100) / 100,
        }),
        (error: Error) => ({ picture: name, refused: error.message }),
      ),
    );
    await rm(copy);
  }
  console.log(`\n${kind}`);
  console.table(rows);
  return rows.every(({ picture: name, ratio, refused }) => (refused ? isExpected(name, refused) : ratio! >= 1));
}

const isExpected = (name: string, code: string | null) => code === 'image_too_large' && tooLarge.includes(name);

/** Whether a worker made all of them, three at a time, in 512 MB. */
async function crowd(db: Database, originals: Original[], data: string): Promise<boolean> {
  const storage = join(data, 'storage');
  await mkdir(storage, { recursive: true });
  for (const { name, path } of originals) await copyFile(path, join(storage, name));
  const raid = await startStandIn(new Map(originals.map(({ name, path }) => [name, path])), 'sesame');
  const group = limitGroup(limitMb);
  console.log(`\n${atOnce} at a time, ${group ? `limited to ${limitMb} MB by a cgroup` : 'without a cgroup'}`);
  const starting = spawnRowmill(db.url, {
    DATA_DIR: data,
    TEMP_DIR: data,
    QUEUES: 'media,publish',
    MEDIA_MEMORY_MB: String(budgetMb),
    CONCURRENCY: String(atOnce),
    WORKER_CONCURRENCY: String(atOnce),
    RAID_PUB_ENDPOINT: raid.endpoint,
    RAID_PUBLISHER_SECRET: raid.secret,
    RAID_MAX_MB: '1000',
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(asIfOnFourCores)}`,
  });
  group?.leave();
  const worker = await starting;
  const ended = () => worker.exitCode !== null || worker.signalCode !== null;
  let peakMb = 0;
  const look = setInterval(() => {
    void heldByGroup(worker.pid!).then((mb) => (peakMb = Math.max(peakMb, mb)));
  }, 50);
  try {
    await addJobs(db, originals);
    while (!ended() && (await countOpen(db)) > 0) await sleep(500);
    const kills = (group?.kills() ?? 0) + (ended() ? 1 : 0);
    const done = await tellOutcomes(db);
    console.log(`the most that the group held: ${Math.round(peakMb)} MB; kills: ${kills}`);
    return done && kills === 0 && peakMb <= limitMb;
  } finally {
    clearInterval(look);
    if (worker.kill('SIGKILL')) await once(worker, 'exit');
    group?.remove();
    await raid.close();
  }
}

/** The memory gate lets one picture in for each core, and three at most. */
const asIfOnFourCores = `
  import os from 'node:os';
  import { syncBuiltinESMExports } from 'node:module';
  os.availableParallelism = () => 4;
  syncBuiltinESMExports();`;

/** Large pictures beside small ones. */
async function addJobs(db: Database, originals: Original[]): Promise<void> {
  const names = originals.map(({ name }) => name);
  for (let round = 0; round < Number(values.rounds); round++) {
    await db.query(
      `insert into media_jobs (kind, payload, max_retries)
       select 'image', jsonb_build_object('s3Key', name), 0 from unnest($1::text[]) as name order by hashtext(name)`,
      [names],
    );
    await db.query(
      `with file as (insert into media (source_key) select unnest($1::text[]) returning id)
       insert into media_jobs (kind, file_id, max_retries) select 'thumbnails', id, 0 from file`,
      [names],
    );
    await db.query(
      `with file as (insert into auction_files (source_key) select unnest($1::text[]) returning id)
       insert into publish_jobs (file_id, max_retries) select id, 0 from file`,
      [names],
    );
  }
}

async function countOpen(db: Database): Promise<number> {
  const { rows } = await db.query<{ open: number }>(
    `select count(*)::int as open from jobs where status in ('pending', 'processing')`,
  );
  return rows[0]!.open;
}

/** Whether no job failed that should not. */
async function tellOutcomes(db: Database): Promise<boolean> {
  const { rows } = await db.query<{ kind: string; name: string; status: string; error_code: string | null }>(
    `select kind, coalesce(payload ->> 's3Key', m.source_key, f.source_key) as name, j.status, error_code
       from jobs j left join media m on m.id::text = j.file_id left join auction_files f on f.id::text = j.file_id`,
  );
  const counts = Object.fromEntries(
    Map.groupBy(rows, ({ kind, status, error_code: code }) => `${kind}: ${code ?? status}`)
      .entries()
      .map(([outcome, all]) => [outcome, all.length]),
  );
  console.table(counts);
  const wrong = rows.filter(({ name, status, error_code: code }) => status !== 'completed' && !isExpected(name, code));
  for (const { kind, name, status, error_code: code } of wrong) console.log(`${kind} of ${name}: ${code ?? status}`);
  return wrong.length === 0;
}

process.exitCode = (await main()) ? 0 : 1;
