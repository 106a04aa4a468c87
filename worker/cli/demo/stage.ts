import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withSchema } from '../../base/address.ts';
import { loadConfig, type Config } from '../../base/config/config.ts';
import { createPool, type Db } from '../../base/db/db.ts';
import { createLog } from '../../base/log.ts';
import { onStop } from '../../base/signals.ts';
import { loadStatements, query, type Statement } from '../../base/db/sql.ts';
import { withTempDir } from '../../base/temp.ts';
import { psqlLine } from '../../embedded/connection.ts';
import { openEmbeddedPostgres } from '../../embedded/postgres.ts';
import { startService } from '../../main.ts';
import { install } from '../../queue/install/install.ts';
import { cancelJobs, fleetStatus } from '../../queue/client/operate.ts';
import { Failed } from '../faults.ts';
import { note, paint, plain, print, table, type Column } from '../output.ts';
import { createView, type Shown, type View } from './view.ts';

const sql = loadStatements(import.meta.dirname, 'stage.sql', ['others_jobs', 'cancel_leftovers', 'jobs']);

/** What a demo plays on: queues in the embedded Postgres, and a worker of them in this process. */
export type Stage = {
  db: Db;
  config: Config;
  /** For temporary files. */
  dir: string;
  /** What is opened for the demo, and closed with it. */
  open: AsyncDisposableStack;
  /** Aborts when the demo is stopped. */
  signal: AbortSignal;
  /** Says what the demo does next. @throws Failed if the demo was stopped */
  step(text: string): Promise<void>;
  startWorker(env: Record<string, string>): Promise<{ port: number }>;
  /** Polls until all jobs have ended, and shows each change. `queue`: theirs; default: the first of the demo. */
  watch(jobs: Shown[], queue?: string): Promise<void>;
};

/**
 * Everything that the demo opens is closed again, however it ends.
 * @param title of the column that has the jobs' names
 * @returns the exit code
 */
export async function onStage(
  { queues, title, json }: { queues: [string, ...string[]]; title: string; json: boolean },
  play: (stage: Stage) => Promise<number>,
): Promise<number> {
  const config = loadConfig();
  const stopping = onSignal();
  try {
    return await withTempDir(config.tempDir, async (dir) => {
      await using open = new AsyncDisposableStack();
      const step = stepper(stopping.signal, json);

      await step(`Starting Postgres in ${config.dataDir}`);
      const postgres = await openEmbeddedPostgres(config.dataDir);
      open.defer(postgres.stop);
      const url = withSchema(postgres.url, config.schema);
      await install(url);
      const db = createPool(url, { max: 2, log: createLog({ logLevel: 'silent', secrets: [] }) });
      open.defer(() => db.end());
      for (const queue of queues) await checkFree(db, queue, config);

      return await play({
        db,
        config,
        dir,
        open,
        signal: stopping.signal,
        step,
        async startWorker(env) {
          const own = loadConfig({ ...envOf(config, url), QUEUES: queues.join(), ...env });
          const service = await startService(own, createLog(own));
          open.defer(service.stop);
          return service;
        },
        async watch(jobs, queue = queues[0]) {
          open.defer(() => cancelUnended(db, jobs));
          await watch(db, queue, jobs, { view: createView(json, title), signal: stopping.signal });
        },
      });
    });
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    return stopping.exitCode();
  } finally {
    stopping.release();
  }
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

/** Another worker would take our jobs, and ours would take its jobs, without what they need. */
async function checkFree(db: Db, queue: string, { dataDir }: Config): Promise<void> {
  const elsewhere = 'or run the demo with another DATA_DIR';
  const { queues, workers } = await fleetStatus(db);
  const other = workers.find((worker) => worker.alive && worker.queues.includes(queue));
  if (other) throw new Failed(`A worker (pid ${other.pid}) works on the database in ${dataDir}: stop it, ${elsewhere}`);
  if (queues.some((row) => row.queue === queue && row.paused))
    throw new Failed(`Queue ${queue} is paused in ${dataDir}: rowmill resume ${queue}, ${elsewhere}`);
  const [others] = await query<{ jobs: number }>(db, sql.others_jobs, { queue });
  if (others!.jobs > 0)
    throw new Failed(`Jobs that are not the demo's wait in queue ${queue} in ${dataDir}: cancel them, ${elsewhere}`);
  await query(db, sql.cancel_leftovers, { queue });
}

/** The user's other settings are ignored, so that the demo never reaches anything real. */
const envOf = ({ dataDir, tempDir }: Config, databaseUrl: string) => ({
  DATABASE_URL: databaseUrl,
  DATA_DIR: dataDir,
  TEMP_DIR: tempDir,
  PORT: '0',
  LOG_LEVEL: 'silent',
  SHUTDOWN_TIMEOUT: '1000',
});

/** They cannot be done once the stand-ins are gone. */
async function cancelUnended(db: Db, jobs: Shown[]): Promise<void> {
  const ids = jobs.flatMap(({ id, completed_at }) => (completed_at ? [] : [id]));
  if (ids.length > 0) await cancelJobs(db, ids).catch(() => {});
}

const patienceMs = 180_000;

async function watch(
  db: Db,
  queue: string,
  jobs: Shown[],
  { view, signal }: { view: View; signal: AbortSignal },
): Promise<void> {
  // As they were when they were inserted: at the first poll, a fast worker may have started some.
  view.show(jobs);
  const ids = jobs.map(({ id }) => id);
  for (let before = '', moved = Date.now(); ;) {
    signal.throwIfAborted();
    const rows = await query<Shown>(db, sql.jobs, { queue, ids });
    for (const job of jobs)
      Object.assign(
        job,
        rows.find(({ id }) => id === job.id),
      );
    view.show(jobs);
    if (jobs.every(({ completed_at }) => completed_at)) return;

    const now = JSON.stringify(rows);
    if (now !== before) moved = Date.now();
    before = now;
    if (Date.now() - moved > patienceMs) throw new Failed(`No job has moved for ${patienceMs / 60_000} minutes`);
    await sleep(50);
  }
}

/** `3 completed, 1 failed` */
export function tellCounts(jobs: Shown[]): void {
  const counts = Object.entries(Object.groupBy(jobs, ({ status }) => status));
  print(counts.map(([status, rows]) => `${rows.length} ${status}`).join(', '));
}

export function tellFailure({ id, name, status, broken, error_code, error }: Shown): void {
  if (status === 'completed') {
    if (broken) print(`\nJob ${id}, ${name}, completed, and should have failed`);
    return;
  }
  print();
  print(`Job ${id}, ${name}, ${status}${broken ? ', as it should' : ''}:`);
  print(`  error_code  ${paint('red', error_code ?? '-')}`);
  print(`  error       ${plain(error ?? '-')}`);
}

/** Shows statements with what they answer now, and how to keep the Postgres. */
export async function tellWhatToTry(stage: Stage, statements: Statement[]) {
  await tellAnswers(stage, statements);
  const { dataDir, schema } = stage.config;
  const isDefault = dataDir === join(process.cwd(), '.data');
  print();
  print('The Postgres of the demo stops now. To keep one up on the same data:');
  print(`  ${schema ? `ROWMILL_SCHEMA=${schema} ` : ''}${isDefault ? '' : `DATA_DIR=${dataDir} `}npm start`);
  print(`  ${psqlLine({ dataDir, schema })}   # in another terminal`);
}

/** Shows statements with what they answer now. */
export async function tellAnswers({ db }: Stage, statements: Statement[]) {
  print();
  print('A job is a row, so SQL is how you look at it. With what they answer now:');
  for (const statement of statements) {
    const rows = await query<Record<string, unknown>>(db, statement);
    print();
    tellStatement(statement.text);
    for (const line of table(rows, Object.keys(rows[0] ?? {}).map(columnOf))) print(`    ${line}`);
  }
}

export function tellStatement(text: string): void {
  for (const line of `${text};`.split('\n')) print(`  ${paint('bold', line)}`);
}

const columnOf = (title: string): Column<Record<string, unknown>> => ({ title, value: (row) => cellOf(row[title]) });

function cellOf(value: unknown): string | number | null {
  if (value instanceof Date) return `${value.toISOString().slice(0, 19).replace('T', ' ')}+00`;
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as string | number | null);
}
