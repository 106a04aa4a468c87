import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, posix, sep } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import type { LocalConfig } from '../config/storage.ts';
import { codeOf, DeploymentError, messageOf, PermanentError, RetryableError } from '../errors.ts';
import { withRetries } from '../retry.ts';
import { checkByDoing } from './check.ts';
import { contentTypeOf } from './content-type.ts';
import { addressOf, checkKey, INCOMING } from './key.ts';
import {
  checkSeconds,
  type DeleteFailure,
  type GetOptions,
  type PutOptions,
  type Storage,
  type StoredObject,
} from './storage.ts';

type Options = { signal?: AbortSignal };

/** Writing a file into a folder that is being removed fails: then it is tried again. */
const placings = 5;

/**
 * Storage in a folder: the object `a/b.webp` is the file `<dir>/a/b.webp`, and nothing else is stored about it. So the
 * content type follows from the key's extension, and `cacheControl` is lost. `a` and `a/b` cannot both be objects, and
 * a file outside the folder, reached by a symbolic link, is never read or written: both fail with
 * `invalid_storage_key`.
 */
export class LocalStorage implements Storage {
  readonly #dir: string;
  readonly #baseUrl: string;

  constructor({ dir, publicBaseUrl }: LocalConfig & { publicBaseUrl?: string }) {
    this.#dir = dir;
    this.#baseUrl = publicBaseUrl ?? pathToFileURL(dir).href;
  }

  async put(key: string, body: Uint8Array | { path: string }, { signal }: PutOptions): Promise<void> {
    await this.#try(`writing "${key}"`, signal, async () => {
      const path = await this.#pathOf(key);
      const incoming = join(this.#dir, INCOMING, randomUUID());
      await mkdir(dirname(incoming), { recursive: true });
      try {
        await write(incoming, body, signal);
        await place(incoming, path, key);
      } catch (error) {
        await rm(incoming, { force: true });
        throw error;
      }
    });
  }

  async get(key: string, { signal, range }: GetOptions = {}): Promise<Readable> {
    const file = await this.#try(`reading "${key}"`, signal, async () => openFile(await this.#pathOf(key)));
    if (!file) throw new PermanentError('object_not_found', `there is no object "${key}" in ${this.#dir}`);
    const stream = file.createReadStream(range);
    const onAbort = () => stream.destroy(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    stream.once('close', () => signal?.removeEventListener('abort', onAbort));
    return stream;
  }

  async head(key: string, { signal }: Options = {}): Promise<StoredObject | undefined> {
    return this.#try(`checking "${key}"`, signal, async () => {
      const found = await statFile(await this.#pathOf(key));
      return found && { key, ...found, content_type: contentTypeOf(key) };
    });
  }

  async delete(keys: string[], { signal }: Options = {}): Promise<DeleteFailure[]> {
    const failures: DeleteFailure[] = [];
    const folders = new Set<string>();
    for (const key of keys) {
      try {
        await this.#try(`deleting "${key}"`, signal, async () => {
          const path = await this.#pathOf(key);
          folders.add(posix.dirname(key));
          await unlink(path);
        });
      } catch (error) {
        signal?.throwIfAborted();
        if (!isAbsence(error))
          failures.push({ key, error_code: codeOf(error) ?? 'storage_refused', error: messageOf(error) });
      }
    }
    for (const folder of folders) await this.#removeEmpty(folder);
    return failures;
  }

  /**
   * Also removes the folders above it, up to the first that is not empty. A folder that cannot be removed does no harm.
   */
  async #removeEmpty(folder: string): Promise<void> {
    for (let empty = folder; empty !== '.'; empty = posix.dirname(empty))
      if (!(await rmdir(join(this.#dir, empty)).then(() => true, isAbsence))) return;
  }

  async *list(prefix: string, { signal }: Options = {}): AsyncGenerator<StoredObject> {
    yield* this.#walk('', prefix, signal);
  }

  /** A `file:` address if there is no public one. */
  url(key: string): string {
    return addressOf(this.#baseUrl, key);
  }

  /** The same as `url`: a folder has no access control, so the address does not expire. */
  async presign(key: string, seconds: number): Promise<string> {
    checkSeconds(seconds);
    return this.url(key);
  }

  async check(options: Options = {}): Promise<void> {
    await checkByDoing(this, options);
  }

  /** @param folder empty, or ending with a slash */
  async *#walk(folder: string, prefix: string, signal: AbortSignal | undefined): AsyncGenerator<StoredObject> {
    const within = prefix.startsWith(folder) ? prefix.slice(folder.length).split('/') : [];
    // Only the folder that the prefix names is searched; the others need not be read.
    const names = () => (within.length > 1 ? folderIn(this.#dir, folder, within[0]!) : namesIn(this.#dir, folder));
    for (const name of await this.#try(`listing "${prefix}"`, signal, names)) {
      signal?.throwIfAborted();
      if (name.endsWith('/')) {
        if (name !== `${INCOMING}/` && (name.startsWith(prefix) || prefix.startsWith(name)))
          yield* this.#walk(name, prefix, signal);
      } else if (name.startsWith(prefix)) {
        const found = await statFile(join(this.#dir, name));
        if (found) yield { key: name, ...found };
      }
    }
  }

  /**
   * The file of a key. The existing part of its path must be below the folder after all symbolic links are resolved.
   */
  async #pathOf(key: string): Promise<string> {
    checkKey(key);
    const path = join(this.#dir, ...key.split('/'));
    const [realPath, realDir] = await Promise.all([realPathOf(path), realPathOf(this.#dir)]);
    if (realPath !== realDir && !realPath.startsWith(realDir + sep))
      throw new PermanentError('invalid_storage_key', `"${key}" leads out of ${this.#dir} by a symbolic link`);
    return path;
  }

  async #try<T>(doing: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      signal?.throwIfAborted();
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#named(error, doing);
    }
  }

  #named(error: unknown, doing: string): unknown {
    const message = `${doing} in ${this.#dir}: ${messageOf(error)}`;
    switch (codeOf(error) ?? '') {
      case 'EACCES':
      case 'EPERM':
      case 'EROFS':
        return new DeploymentError('storage', 'storage_denied', message);
      case 'EDQUOT':
      case 'ENOSPC':
        return new DeploymentError('storage', 'storage_full', message);
      case 'EIO':
      case 'EMFILE':
      case 'ENFILE':
        return new RetryableError('storage_unavailable', message);
      default:
        return error;
    }
  }
}

/** Flushes to the disk, so that after a power cut the name does not stand for an empty file. */
async function write(path: string, body: Uint8Array | { path: string }, signal: AbortSignal | undefined) {
  const abort = signal ? { signal } : {};
  if (body instanceof Uint8Array) await writeFile(path, body, { flag: 'wx', flush: true, ...abort });
  else await pipeline(createReadStream(body.path), createWriteStream(path, { flags: 'wx', flush: true }), abort);
}

async function place(incoming: string, path: string, key: string): Promise<void> {
  try {
    const move = async () => {
      await mkdir(dirname(path), { recursive: true });
      await rename(incoming, path);
    };
    const passing = (error: unknown) => (codeOf(error) === 'ENOENT' ? {} : undefined);
    await withRetries(move, passing, undefined, { tries: placings, waitMs: 0 });
  } catch (error) {
    if (!['EEXIST', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY'].includes(codeOf(error) ?? '')) throw error;
    throw new PermanentError(
      'invalid_storage_key',
      `"${key}" cannot be a file: another object has it as its folder, or is a file where it needs a folder`,
    );
  }
}

/** The real path, or that of the nearest existing folder above it. */
async function realPathOf(path: string): Promise<string> {
  return (await ifThere(realpath(path))) ?? realPathOf(dirname(path));
}

/** Undefined for a folder, as for nothing. Pipes are not opened: that would block until somebody writes. */
async function openFile(path: string): Promise<FileHandle | undefined> {
  return (await statFile(path)) && ifThere(open(path));
}

async function statFile(path: string): Promise<{ bytes: number; modified_at: Date } | undefined> {
  const found = await ifThere(stat(path));
  return found?.isFile() ? { bytes: found.size, modified_at: found.mtime } : undefined;
}

/** Files, and folders with a slash at the end. Sorted so, whole keys come in the order in which S3 lists them. */
async function namesIn(dir: string, folder: string): Promise<string[]> {
  const entries = (await ifThere(readdir(join(dir, folder), { withFileTypes: true }))) ?? [];
  return entries
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : ''))
    .toSorted(compareBytes);
}

/** The folder of this name in a folder, if there is one. */
async function folderIn(dir: string, folder: string, name: string): Promise<string[]> {
  if (['', '.', '..'].includes(name)) return [];
  const found = await ifThere(lstat(join(dir, folder, name)));
  return found?.isDirectory() ? [`${folder}${name}/`] : [];
}

/** JavaScript would sort by UTF-16 units. */
const compareBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

const isAbsence = (error: unknown) => ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(codeOf(error) ?? '');
