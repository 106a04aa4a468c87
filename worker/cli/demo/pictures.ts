import { randomUUID } from 'node:crypto';
import { constants } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { withSchema } from '../../base/address.ts';
import { loadConfig, type Config } from '../../base/config/config.ts';
import { createPool, transaction, type Db } from '../../base/db/db.ts';
import { UsageError } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import { onStop } from '../../base/signals.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { withTempDir } from '../../base/temp.ts';
import { openEmbeddedPostgres } from '../../embedded/postgres.ts';
import { startService } from '../../main.ts';
import { makeSamples } from '../../media/image/samples.ts';
import { install } from '../../queue/install/install.ts';
import { cancelJobs, fleetStatus } from '../../queue/client/operate.ts';
import { Failed } from '../faults.ts';
import { count, note, print } from '../output.ts';
import { startStandIn, type StandIn } from './raid.ts';
import { tell, type Picture } from './tell.ts';
import { createView } from './view.ts';

const sql = loadStatements(import.meta.dirname, 'run.sql', [
  'others_jobs',
  'cancel_leftovers',
  'add_file',
  'add_job',
  'pictures',
]);

type Original = { path: string; name: string; about: string; broken: boolean };

/**
 * Publishes pictures from end to end: originals on a stand-in RAID, rows in the embedded Postgres, the worker in this
 * process, pictures in local storage. Everything that it opens is closed again, however it ends.
 * @returns the exit code: 0 if everything came out as expected
 */
export async function runDemo(files: string[], options: { json: boolean }): Promise<number> {
  const config = loadConfig();
  const own = await Promise.all(files.map(ownFile));
  const stopping = onSignal();
  try {
    return await withTempDir(config.tempDir, async (dir) => {
      await using open = new AsyncDisposableStack();
      const step = stepper(stopping.signal, options.json);

      await step(`Starting Postgres in ${config.dataDir}`);
      const postgres = await openEmbeddedPostgres(config.dataDir);
      open.defer(postgres.stop);
      const url = withSchema(postgres.url, config.schema);
      await install(url);
      const db = createPool(url, { max: 2, log: createLog({ logLevel: 'silent', secrets: [] }) });
      open.defer(() => db.end());
      await checkFree(db, config);

      await step(own.length > 0 ? 'Taking your files' : 'Making sample pictures');
      const originals = keyed(own.length > 0 ? own : await samples(dir));
      const raid = await startStandIn(new Map(originals.map(({ key, path }) => [key, path])), randomUUID());
      open.defer(raid.close);

      await step(`Starting a stand-in for RAID at ${raid.endpoint}, and a worker`);
      const demoConfig = configOf(config, url, raid);
      const service = await startService(demoConfig, createLog(demoConfig));
      open.defer(service.stop);

      await step(
        `Inserting ${count(originals.length, 'row')} into auction_files and into publish_jobs, in one transaction`,
      );
      const pictures = await insert(db, originals);
      open.defer(() => cancelUnended(db, pictures));
      await watch(db, pictures, stopping.signal, options.json);
      return await tell(db, pictures, config, { own: own.length > 0, json: options.json });
    });
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    return stopping.exitCode();
  } finally {
    stopping.release();
  }
}

async function ownFile(file: string): Promise<Original> {
  const path = resolve(file);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) throw new UsageError(`${file}: there is no such file`);
  return { path, name: basename(path), about: path, broken: false };
}

/**
 * The first Ctrl-C ends the demo in order, one that follows after two seconds ends it at once. The embedded Postgres
 * ends with this process in both cases.
 */
function onSignal() {
  const controller = new AbortController();
  let code = 0;
  const release = onStop(['SIGINT', 'SIGTERM', 'SIGHUP'], {
    first(signal) {
      code = 128 + constants.signals[signal];
      note(`\n${signal}: stopping`);
      controller.abort(new Failed('The demo was stopped'));
    },
    again: () => process.exit(code),
  });
  return { signal: controller.signal, exitCode: () => code, release };
}

function stepper(signal: AbortSignal, quiet: boolean) {
  return async (text: string) => {
    signal.throwIfAborted();
    if (!quiet) print(text);
  };
}

/** Another worker would take our jobs, and ours would take its jobs, without the originals. */
async function checkFree(db: Db, { dataDir }: Config): Promise<void> {
  const elsewhere = 'or run the demo with another DATA_DIR';
  const { queues, workers } = await fleetStatus(db);
  const other = workers.find((worker) => worker.alive && worker.queues.includes('publish'));
  if (other) throw new Failed(`A worker (pid ${other.pid}) works on the database in ${dataDir}: stop it, ${elsewhere}`);
  if (queues.some(({ queue, paused }) => queue === 'publish' && paused))
    throw new Failed(`Queue publish is paused in ${dataDir}: rowmill resume publish, ${elsewhere}`);
  const [others] = await query<{ jobs: number }>(db, sql.others_jobs);
  if (others!.jobs > 0)
    throw new Failed(`Jobs that are not the demo's wait in queue publish in ${dataDir}: cancel them, ${elsewhere}`);
  await query(db, sql.cancel_leftovers);
}

async function samples(dir: string): Promise<Original[]> {
  return (await makeSamples(dir)).map((sample) => ({ ...sample, path: join(dir, sample.name) }));
}

/** Two files may have the same name. */
function keyed(originals: Original[]) {
  const run = new Date().toISOString();
  return originals.map((original, index) => ({ ...original, key: `demo/${run}/${index + 1}/${original.name}` }));
}

/** The settings for Postgres, RAID and storage are ignored, so that the demo never reaches anything real. */
function configOf({ dataDir, tempDir, mediaMemoryBytes }: Config, databaseUrl: string, raid: StandIn): Config {
  return loadConfig({
    DATABASE_URL: databaseUrl,
    DATA_DIR: dataDir,
    TEMP_DIR: tempDir,
    MEDIA_MEMORY_MB: String(mediaMemoryBytes / 1e6),
    RAID_PUB_ENDPOINT: raid.endpoint,
    RAID_PUBLISHER_SECRET: raid.secret,
    RAID_MAX_MB: '100000',
    QUEUES: 'publish',
    PORT: '0',
    LOG_LEVEL: 'silent',
    SHUTDOWN_TIMEOUT: '1000',
  });
}

async function insert(db: Db, originals: (Original & { key: string })[]): Promise<Picture[]> {
  return transaction(db, async (tx) => {
    const pictures: Picture[] = [];
    for (const { key, name, about, broken } of originals) {
      const [file] = await query<{ id: string }>(tx, sql.add_file, { source_key: key });
      const [job] = await query<{ id: number }>(tx, sql.add_job, { file_id: file!.id });
      pictures.push({ id: job!.id, name, about, broken, status: 'pending' });
    }
    return pictures;
  });
}

/** They cannot be done once the stand-in for RAID is gone. */
async function cancelUnended(db: Db, pictures: Picture[]): Promise<void> {
  const ids = pictures.flatMap(({ id, completed_at }) => (completed_at ? [] : [id]));
  if (ids.length > 0) await cancelJobs(db, ids).catch(() => {});
}

const patienceMs = 180_000;

/** Polls until all jobs have ended, and shows each change. */
async function watch(db: Db, pictures: Picture[], signal: AbortSignal, quiet: boolean): Promise<void> {
  const view = createView(quiet);
  // As they were when they were inserted: at the first poll, a fast worker may have started some.
  view.show(pictures);
  const ids = pictures.map(({ id }) => id);
  for (let before = '', moved = Date.now(); ;) {
    signal.throwIfAborted();
    const rows = await query<Pick<Picture, 'id'>>(db, sql.pictures, { ids });
    for (const picture of pictures)
      Object.assign(
        picture,
        rows.find(({ id }) => id === picture.id),
      );
    view.show(pictures);
    if (pictures.every(({ completed_at }) => completed_at)) return;

    const now = JSON.stringify(rows);
    if (now !== before) moved = Date.now();
    before = now;
    if (Date.now() - moved > patienceMs) throw new Failed(`No job has moved for ${patienceMs / 60_000} minutes`);
    await sleep(50);
  }
}
