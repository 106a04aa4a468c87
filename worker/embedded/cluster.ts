import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf, messageOf, UsageError } from '../base/errors.ts';
import { childOptions } from './child.ts';
import type { Place } from './place.ts';

/**
 * The worker's role owns its database and is no superuser: an SQL injection into the worker's connection gets no
 * further. The superuser is only for administration of the server.
 */
export type Role = 'rowmill' | 'postgres';

const passwordFile = (role: Role) => `${role}_password`;

/**
 * Creates the data directory unless it exists. It is completed elsewhere and then renamed, so a kill leaves nothing
 * half done. If two processes create one at the same time, the slower one throws its own away.
 * @throws UsageError with the end of initdb's output, or if the data is of another major version
 */
export async function initialise(place: Place): Promise<void> {
  const { data } = place;
  if (await isInitialised(place)) return;
  await removeLeftovers(data);
  const work = await mkdtemp(`${data}.new-`);
  try {
    await initdb(place, work);
    await rename(join(work, 'data'), data);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes(codeOf(error) ?? '')) throw error;
    if (!(await isInitialised(place)))
      throw new UsageError(`${data} contains something that is no Postgres database: move it away.`);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The password that was generated with the data directory. */
export async function passwordOf(role: Role, data: string): Promise<string> {
  const password = await readFile(join(data, passwordFile(role)), 'utf8').catch((error: unknown) => {
    throw new UsageError(
      `${data} has no readable ${passwordFile(role)} (${codeOf(error)}): rowmill did not create this database for ` +
        'this user. Move it away to start with an empty database, or set DATABASE_URL.',
    );
  });
  return password.trim();
}

async function isInitialised({ data, binaries }: Place): Promise<boolean> {
  const version = await readFile(join(data, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (version === undefined) return false;
  const [theirs, ours] = [Number.parseInt(version), Number.parseInt(binaries.version)];
  if (theirs !== ours) {
    throw new UsageError(
      `${data} was made by PostgreSQL ${theirs}, and this is PostgreSQL ${ours}. ` +
        'Move it away to start with an empty database, or start PostgreSQL ' +
        `${theirs} on it, dump it with pg_dumpall, and load the dump into the new one.`,
    );
  }
  // Postgres refuses a directory with wider rights, such as a copy made under another umask.
  await chmod(data, 0o700);
  return true;
}

async function initdb({ binaries, user }: Place, work: string): Promise<void> {
  const passwords = (['rowmill', 'postgres'] as const).map(passwordFile);
  for (const file of passwords)
    await writeFile(join(work, file), `${randomBytes(16).toString('hex')}\n`, { mode: 0o600 });
  if (user)
    for (const path of [work, ...passwords.map((file) => join(work, file))]) await chown(path, user.uid, user.gid);
  // prettier-ignore
  const options = [
    '-D', join(work, 'data'), '--no-sync', '--no-instructions',
    '--username=postgres', '--auth=scram-sha-256', `--pwfile=${join(work, passwordFile('postgres'))}`,
    // The built-in provider sorts alike on every system:
    // https://www.postgresql.org/docs/current/locale.html#LOCALE-PROVIDERS
    '--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8',
  ];
  await promisify(execFile)(binaries.initdb, options, childOptions(user)).catch((error: unknown) => {
    throw new UsageError(`The embedded Postgres could not make its data directory:\n${outputOf(error)}`, {
      cause: error,
    });
  });
  for (const file of passwords) await rename(join(work, file), join(work, 'data', file));
}

function outputOf(error: unknown): string {
  const { stdout, stderr } = error as { stdout?: string; stderr?: string };
  const output = `${stdout ?? ''}${stderr ?? ''}`.trimEnd();
  return output ? output.split('\n').slice(-8).join('\n') : messageOf(error);
}

/** Removes the directories of processes that were killed while they created one. */
async function removeLeftovers(data: string): Promise<void> {
  for (const name of await readdir(dirname(data))) {
    if (!name.startsWith(`${basename(data)}.new-`)) continue;
    const path = join(dirname(data), name);
    const made = await stat(path).catch(() => undefined);
    if (made && Date.now() - made.mtimeMs > 600_000) await rm(path, { recursive: true, force: true });
  }
}
