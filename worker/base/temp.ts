import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstat, mkdir, readdir, readFile, realpath, rm, statfs, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { codeOf, DeploymentError } from './errors.ts';

/**
 * Folders for temporary files. Beside each folder is a socket of its name, on which its process listens. So others see
 * whether the process is alive, also from another container on the same machine.
 */

const prefix = 'rowmill-';
const suffix = '.alive';
/** The longest path that a socket may have: 104 bytes on macOS, 108 on Linux, including a zero at its end. */
const longestSocketPath = 103;
const dayMs = 86_400_000;

/**
 * Runs `work` with a private folder that is removed afterwards, however it ends. Its path has no symbolic links.
 * @throws DeploymentError `temp_dir_unusable`, `disk_full`; what `work` throws
 */
export async function withTempDir<T>(parent: string, work: (dir: string) => Promise<T>): Promise<T> {
  const path = join(await placeFor(parent), prefix);
  const unique = randomBytes(8).toString('hex');
  const shown = `${path}${await machine()}-${unique}`;
  // The socket listens before the folder exists, so that no folder is without one.
  const socket = await listenAt(shown + suffix);
  const dir = socket ? shown : path + unique;
  try {
    await mkdir(dir, { mode: 0o700 }).catch((error: unknown) => unusable(parent, error));
    return await work(dir);
  } catch (error) {
    throw tempError(error);
  } finally {
    await rm(dir, { recursive: true, force: true }).finally(() => socket?.close());
  }
}

async function placeFor(parent: string): Promise<string> {
  try {
    await mkdir(parent, { recursive: true });
    return await realpath(parent);
  } catch (error) {
    return unusable(parent, error);
  }
}

/** Nothing can be created there: the setting is wrong, or a mount is missing. */
function unusable(parent: string, error: unknown): never {
  const cause = tempError(error);
  if (cause instanceof DeploymentError) throw cause;
  const fix = 'set it to a folder where this user may write';
  const words = `TEMP_DIR ${parent} cannot be written to (${codeOf(error)}): ${fix}`;
  throw new DeploymentError('temp_space', 'temp_dir_unusable', words, { cause: error });
}

/** With less than this, the disk counts as full: the rest would not hold the file of a job. */
const leastFreeBytes = 16_000_000;

/** Whether temporary files can be written. @throws DeploymentError `disk_full`; what the file system says */
export async function checkTempSpace(parent: string): Promise<void> {
  try {
    await withTempDir(parent, (dir) => writeFile(join(dir, 'probe'), 'x'));
    const { bavail, blocks, bsize } = await statfs(parent);
    if (bavail * bsize < Math.min(leastFreeBytes, (blocks * bsize) / 4)) throw noSpace();
  } catch (error) {
    throw tempError(error);
  }
}

/**
 * The error for a failed write of a temporary file: a fault of the deployment if the disk is full; otherwise unchanged.
 */
export const tempError = (error: unknown): unknown =>
  ['ENOSPC', 'EDQUOT'].includes(codeOf(error) ?? '') ? noSpace(error) : error;

const noSpace = (cause?: unknown) =>
  new DeploymentError(
    'temp_space',
    'disk_full',
    'The disk of the temporary files is full: make room, or set TEMP_DIR',
    {
      cause,
    },
  );

/** Undefined if there can be no socket: the path is too long, or the file system has no sockets. */
async function listenAt(path: string): Promise<Server | undefined> {
  if (Buffer.byteLength(path) > longestSocketPath) return undefined;
  const server = createServer((visitor) => visitor.destroy());
  // An error on an accepted connection.
  server.on('error', () => {});
  try {
    server.listen(path);
    await once(server, 'listening');
    return server.unref();
  } catch {
    return undefined;
  }
}

/**
 * The same for all processes between two starts of a machine, in containers, too.
 * https://docs.kernel.org/admin-guide/sysctl/kernel.html#random
 */
async function machine(): Promise<string> {
  const name = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => hostname());
  return createHash('sha256').update(name).digest('hex').slice(0, 8);
}

/** Removes the folders of processes that are dead; if that cannot be seen, those untouched for a day. */
export async function removeDeadTempDirs(parent: string, now = Date.now()): Promise<void> {
  const ours = `${prefix}${await machine()}-`;
  const names = await readdir(parent).catch((): string[] => []);
  for (const name of names.filter((one) => one.startsWith(prefix))) {
    const path = join(parent, name);
    const info = await lstat(path).catch(() => undefined);
    // Another user could replace its own folder by something else while we remove it.
    if (!info || info.uid !== process.getuid?.()) continue;
    const strayed = name.endsWith(suffix) && !names.includes(name.slice(0, -suffix.length));
    if (!info.isDirectory() && !strayed) continue;
    const alive = name.startsWith(ours) && !strayed ? await isAlive(path + suffix) : undefined;
    if (alive ?? now - info.mtimeMs < dayMs) continue;
    await rm(path, { recursive: true, force: true }).catch(() => {});
    await rm(path + suffix, { force: true }).catch(() => {});
  }
}

/** Whether a process listens there, as a frozen one still does; undefined if there is no socket. */
async function isAlive(path: string): Promise<boolean | undefined> {
  if (Buffer.byteLength(path) > longestSocketPath) return undefined;
  const visit = connect(path);
  try {
    await once(visit, 'connect');
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    return codeOf(error) !== 'ECONNREFUSED';
  } finally {
    visit.destroy();
  }
}
