import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  rmdir,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf, messageOf, UsageError } from '../base/errors.ts';
import { copyBinaries, faultOf, findBinaries, type Binaries } from './binaries.ts';
import { childOptions, type User } from './child.ts';
import { serverOn } from './server.ts';

/**
 * Where the server's files are, and which user runs it.
 *
 * An ordinary user runs the server as itself, with everything in `<dataDir>`. Postgres refuses to run as root, so for
 * root the server runs as `nobody`, or as the user who already owns the data. If that user cannot reach `<dataDir>` (a
 * checkout under a closed home directory), the data and a copy of the binaries are under /var/lib/rowmill, and
 * `<dataDir>/postgres` is a link to the data.
 */
export type Place = {
  /** As given, but absolute and without links. */
  dataDir: string;
  /** It may not exist yet. */
  data: string;
  user: User | undefined;
  binaries: Binaries;
};

export async function findPlace(dataDir: string, roots = stateRoots()): Promise<Place> {
  const binaries = await findBinaries();
  await mkdir(dataDir, { recursive: true });
  const real = await realpath(dataDir);
  return process.getuid?.() === 0 ? rootPlace(real, binaries, roots) : ownPlace(real, binaries);
}

/** The real path of the data, if there is any. @throws UsageError if we may not use it */
export async function existingData(dataDir: string): Promise<string | undefined> {
  const link = join(dataDir, 'postgres');
  if (!(await lstat(link).catch(() => undefined))) return undefined;
  const data = await realpath(link).catch((error: unknown) => {
    throw new UsageError(`${link} leads nowhere (${codeOf(error)}): remove it to start with an empty database.`);
  });
  const owner = (await stat(data)).uid;
  const us = process.getuid?.();
  if (us === 0 || us === owner) return data;
  throw new UsageError(
    `${data} belongs to user ${nameOf(owner)}, for example after a run as root. ` +
      `Run as root again, or remove ${link} as root to start with an empty database.`,
  );
}

async function ownPlace(dataDir: string, binaries: Binaries): Promise<Place> {
  const data = (await existingData(dataDir)) ?? join(dataDir, 'postgres');
  const fault = faultOf(binaries, undefined);
  if (fault) throw new UsageError(`The embedded Postgres does not run on this system: ${fault}. Set DATABASE_URL.`);
  return { dataDir, data, user: undefined, binaries };
}

async function rootPlace(dataDir: string, binaries: Binaries, roots: string[]): Promise<Place> {
  // An empty directory is removed; anything else stays.
  await rmdir(join(dataDir, 'postgres')).catch(() => {});
  const nobody = lookUp('nobody');
  const data = (await existingData(dataDir)) ?? (await roomFor(dataDir, nobody, roots));
  const user = await ownerOf(data, nobody);
  if (!faultOf(binaries, user)) return { dataDir, data, user, binaries };
  const copy = await copyBinaries(binaries, await stateRoot(roots, user));
  const fault = faultOf(copy, user);
  if (fault)
    throw new UsageError(`The embedded Postgres does not run as ${nameOf(user.uid)}: ${fault}. Set DATABASE_URL.`);
  return { dataDir, data, user, binaries: copy };
}

/**
 * Data of an ordinary user stays theirs, so that both root and they can run it. A directory that is no database keeps
 * its owner.
 */
async function ownerOf(data: string, nobody: User): Promise<User> {
  if (!existsSync(join(data, 'PG_VERSION'))) return nobody;
  const found = await stat(data);
  const user = found.uid === 0 ? nobody : { uid: found.uid, gid: found.gid };
  if (found.uid === 0) spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, data], childOptions(undefined));
  if (spawnSync('test', ['-w', data], childOptions(user)).status !== 0) {
    throw new UsageError(
      `Run by root, the embedded Postgres runs as ${nameOf(user.uid)}, who cannot write to ${data}. ` +
        'Open the directories above it to others (chmod o+x), or move it away to start with an empty database.',
    );
  }
  return user;
}

async function roomFor(dataDir: string, nobody: User, roots: string[]): Promise<string> {
  const link = join(dataDir, 'postgres');
  if (await canHave(nobody, dataDir)) return link;
  const root = await stateRoot(roots, nobody);
  const room = await mkdtemp(join(root, 'data-'));
  await chmod(room, 0o755);
  await writeFile(join(room, 'origin'), dataDir);
  const data = join(room, 'postgres');
  await mkdir(data, { mode: 0o700 });
  await chown(data, nobody.uid, nobody.gid);
  try {
    await symlink(data, link);
  } catch (error) {
    await rm(room, { recursive: true, force: true });
    if (codeOf(error) !== 'EEXIST') throw error;
    return realpath(link);
  }
  await removeAbandoned(root, dataDir, data);
  return data;
}

/**
 * A user who removed `<dataDir>` wanted its data gone, too. That is certain if `<dataDir>` is being created anew, or
 * was a temporary directory. Any other may be on a disk that is not mounted now.
 */
async function removeAbandoned(root: string, dataDir: string, kept: string): Promise<void> {
  for (const name of await readdir(root)) {
    const room = join(root, name);
    const origin = await readFile(join(room, 'origin'), 'utf8').catch(() => '');
    const gone = origin === dataDir || (origin.startsWith(join(tmpdir(), '/')) && !existsSync(origin));
    const data = join(room, 'postgres');
    const state = (await serverOn(data))?.state;
    if (!gone || data === kept || state === 'ready' || state === 'busy') continue;
    await rm(room, { recursive: true, force: true });
  }
}

/** Whether `user` can use a directory of its own in `dir`. It is tried, because file modes do not decide everything. */
async function canHave(user: User, dir: string): Promise<boolean> {
  const probe = await mkdtemp(join(dir, '.probe-'));
  try {
    await chown(probe, user.uid, user.gid);
    return spawnSync('touch', [join(probe, 'file')], childOptions(user)).status === 0;
  } catch {
    return false;
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}

const stateRoots = () => ['/var/lib/rowmill', join(tmpdir(), 'rowmill')];

/** The first of `roots` that can be created, belongs to root alone, and that `user` can enter. */
async function stateRoot(roots: string[], user: User): Promise<string> {
  const faults: string[] = [];
  for (const root of roots) {
    try {
      if (await mkdir(root, { recursive: true })) await chmod(root, 0o755);
      const found = await lstat(root);
      if (!found.isDirectory() || found.uid !== 0 || found.mode & 0o022) faults.push(`${root}: is not root's alone`);
      else if (!(await canHave(user, root))) faults.push(`${root}: ${nameOf(user.uid)} cannot use it`);
      else return await realpath(root);
    } catch (error) {
      faults.push(`${root}: ${messageOf(error)}`);
    }
  }
  throw new UsageError(
    `Run by root, the embedded Postgres runs as ${nameOf(user.uid)}, who cannot use this directory, ` +
      `and there is no other place:\n  ${faults.join('\n  ')}\n` +
      'Set DATA_DIR to a place that is open to others, or set DATABASE_URL.',
  );
}

function lookUp(name: string): User {
  const [uid, gid] = ['-u', '-g'].map((flag) =>
    spawnSync('id', [flag, name], { ...childOptions(undefined), encoding: 'utf8' }),
  );
  const user = { uid: Number(uid?.stdout), gid: Number(gid?.stdout) };
  // In a container, root may lack the right, or there may be no such user.
  const { status, error } = spawnSync('true', childOptions(user));
  if (uid?.status === 0 && status === 0) return user;
  throw new UsageError(
    `Postgres refuses to run as root, and it cannot be run as ${name} here ` +
      `(${error ? messageOf(error) : uid?.stderr.trim()}). Run as an ordinary user, or set DATABASE_URL.`,
  );
}

function nameOf(uid: number): string {
  const run = spawnSync('id', ['-un', String(uid)], { ...childOptions(undefined), encoding: 'utf8' });
  return run.status === 0 ? run.stdout.trim() : String(uid);
}
