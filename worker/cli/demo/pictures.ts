import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { transaction, type Db } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { UsageError } from '../../base/errors.ts';
import { makeSamples } from '../../media/image/samples.ts';
import { count } from '../output.ts';
import { startStandIn } from './raid.ts';
import { onStage } from './stage.ts';
import { tell, type Picture } from './tell.ts';

const sql = loadStatements(import.meta.dirname, 'pictures.sql', ['add_file', 'add_job']);

type Original = { path: string; name: string; about: string; broken: boolean };

/**
 * Publishes pictures from end to end: originals on a stand-in RAID, rows in the embedded Postgres, the worker in this
 * process, pictures in local storage.
 * @returns the exit code: 0 if everything came out as expected
 */
export async function demoPictures(files: string[], { json }: { json: boolean }): Promise<number> {
  const own = await Promise.all(files.map(ownFile));
  return onStage({ queues: ['publish'], title: 'FILE', json }, async (stage) => {
    const { db, config, dir, open, step } = stage;
    await step(own.length > 0 ? 'Taking your files' : 'Making sample pictures');
    const originals = keyed(own.length > 0 ? own : await samples(dir));
    const raid = await startStandIn(new Map(originals.map(({ key, path }) => [key, path])), randomUUID());
    open.defer(raid.close);

    await step(`Starting a stand-in for RAID at ${raid.endpoint}, and a worker`);
    await stage.startWorker({
      MEDIA_MEMORY_MB: String(config.mediaMemoryBytes / 1e6),
      RAID_PUB_ENDPOINT: raid.endpoint,
      RAID_PUBLISHER_SECRET: raid.secret,
      RAID_MAX_MB: '100000',
    });

    await step(
      `Inserting ${count(originals.length, 'row')} into auction_files and into publish_jobs, in one transaction`,
    );
    const pictures = await insert(db, originals);
    await stage.watch(pictures);
    return tell(stage, pictures, { own: own.length > 0, json });
  });
}

async function ownFile(file: string): Promise<Original> {
  const path = resolve(file);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) throw new UsageError(`${file}: there is no such file`);
  return { path, name: basename(path), about: path, broken: false };
}

async function samples(dir: string): Promise<Original[]> {
  return (await makeSamples(dir)).map((sample) => ({ ...sample, path: join(dir, sample.name) }));
}

/** Two files may have the same name. */
function keyed(originals: Original[]) {
  const run = new Date().toISOString();
  return originals.map((original, index) => ({ ...original, key: `demo/${run}/${index + 1}/${original.name}` }));
}

async function insert(db: Db, originals: (Original & { key: string })[]): Promise<Picture[]> {
  return transaction(db, async (tx) => {
    const pictures: Picture[] = [];
    for (const { key, name, about, broken } of originals) {
      const [file] = await query<{ id: string }>(tx, sql.add_file, { source_key: key });
      const [job] = await query<{ id: number }>(tx, sql.add_job, { file_id: file!.id, source_key: key });
      pictures.push({ id: job!.id, name, about, broken, status: 'pending' });
    }
    return pictures;
  });
}
