import { once } from 'node:events';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startStandIn } from '../../../worker/cli/demo/raid.ts';
import { heldByGroup, type Held } from '../../support/group-memory.ts';
import { spawnRowmill } from '../../support/processes.ts';
import { limitGroup } from '../limit-group.ts';
import type { Database } from '../server.ts';
import { isExpected, type Original } from './pictures.ts';

const limitMb = 512;
export const budgetMb = 280;
const atOnce = 3;

/** Whether a worker made all of them, three at a time, in 512 MB. */
export async function threeAtATime(
  db: Database,
  originals: Original[],
  data: string,
  rounds: number,
): Promise<boolean> {
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
    // On a busy machine the stand-in is slow.
    RAID_TIMEOUT: '600000',
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(asIfOnFourCores)}`,
  });
  group?.leave();
  const worker = await starting;
  const ended = () => worker.exitCode !== null || worker.signalCode !== null;
  let most: Held = { all: 0, pinned: 0 };
  const note = async () => {
    const { all, pinned } = await heldByGroup(worker.pid!);
    most = { all: Math.max(most.all, all), pinned: Math.max(most.pinned, pinned) };
  };
  const look = setInterval(() => {
    void note();
  }, 50);
  try {
    await addJobs(db, originals, rounds);
    while (!ended() && (await countOpen(db)) > 0) await sleep(500);
    const kills = (group?.kills() ?? 0) + (ended() ? 1 : 0);
    const done = await tellOutcomes(db);
    console.log(
      `the most that the group held: ${Math.round(most.pinned)} MB, ` +
        `and ${Math.round(most.all)} MB with pages of files, which the kernel can drop; kills: ${kills}`,
    );
    return done && kills === 0 && most.pinned <= limitMb;
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
async function addJobs(db: Database, originals: Original[], rounds: number): Promise<void> {
  const names = originals.map(({ name }) => name);
  for (let round = 0; round < rounds; round++) {
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
