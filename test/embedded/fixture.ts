import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { createClient } from '../../worker/base/db/db.ts';
import { UsageError } from '../../worker/base/errors.ts';
import { findPlace } from '../../worker/embedded/place.ts';
import { openEmbeddedPostgres, type EmbeddedOptions } from '../../worker/embedded/postgres.ts';
import { useCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { scratch } from '../support/scratch.ts';

const undo = new WeakMap<TestContext, (() => unknown)[]>();

/** After the test, last things first: a server stops before its directory goes. */
export function finallyDo(t: TestContext, work: () => unknown): void {
  const works = undo.get(t) ?? [];
  if (works.length === 0) {
    t.after(async () => {
      for (const each of works.toReversed()) await each();
    });
  }
  works.push(work);
  undo.set(t, works);
}

/** A directory for one test. Others may pass through it unless it is closed. */
export async function dataDir(t: TestContext, { closed = false } = {}): Promise<string> {
  // What is hidden is known to be temporary by the system's own folder.
  const dir = realpathSync(await mkdtemp(join(closed ? tmpdir() : scratch, 'rowmill-embedded-')));
  await chmod(dir, closed ? 0o700 : 0o755);
  finallyDo(t, async () => {
    const data = existsSync(join(dir, 'postgres')) ? realpathSync(join(dir, 'postgres')) : dir;
    await eventually(() => assert.deepEqual(processesOn(data), []));
    if (!data.startsWith(dir)) await rm(dirname(data), { recursive: true, force: true });
    await rm(dir, { recursive: true, force: true });
  });
  return dir;
}

/** The same, used before: with the data of a server that has made and left it. */
export async function usedDir(t: TestContext, { closed = false } = {}): Promise<string> {
  const dir = await dataDir(t, { closed });
  // Then the place is elsewhere, behind a link.
  if (closed) await findPlace(dir);
  await useCluster(dir);
  return dir;
}

export async function open(t: TestContext, dir: string, options: EmbeddedOptions = { durable: false }) {
  const postgres = await openEmbeddedPostgres(dir, options);
  finallyDo(t, postgres.stop);
  return postgres;
}

type Opened = { url: string; started: boolean; dataPath: string };

/**
 * Another process that opens `dir`, prints what it got, and stays until killed or orphaned unless `script` says
 * otherwise.
 */
export async function ownerProcess(
  t: TestContext,
  dir: string,
  { script = 'process.stdin.resume();', ...options }: SpawnOptions & { script?: string } = {},
) {
  const source = `
    import { openEmbeddedPostgres }
      from ${JSON.stringify(new URL('../../worker/embedded/postgres.ts', import.meta.url).href)};
    const postgres = await openEmbeddedPostgres(process.argv[1], { durable: false });
    console.log(JSON.stringify(postgres));
    ${script}`;
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', source, dir], {
    cwd: '/',
    ...options,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  finallyDo(t, async () => {
    child.kill('SIGKILL');
    await eventually(() => assert.ok(child.exitCode !== null || child.signalCode !== null));
  });
  let errors = '';
  child.stderr!.on('data', (chunk) => (errors += chunk));
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const nextLine = async () => {
    const line = await lines.next();
    if (line.done) throw new Error(errors);
    return JSON.parse(line.value) as unknown;
  };
  return { child, nextLine, opened: nextLine() as Promise<Opened> };
}

/** The server on `dataPath` and the shell that keeps it. */
export function processesOn(dataPath: string): string[] {
  const server = `/postgres -D ${dataPath} `;
  return commands()
    .filter((command) => command.includes(server))
    .map((command) => command.slice(0, 20));
}

function commands(): string[] {
  if (!existsSync('/proc/self/cmdline')) {
    return spawnSync('ps', ['-axww', '-o', 'args='], { encoding: 'utf8' }).stdout.split('\n');
  }
  return readdirSync('/proc').flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')] : [];
    } catch {
      return [];
    }
  });
}

export async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = createClient(url);
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end().catch(() => {});
  }
}

export function usageError(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof UsageError, String(error));
    assert.match(error.message, message);
    return true;
  };
}
