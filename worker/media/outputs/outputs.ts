import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { contentTypeOf } from '../../base/storage/content-type.ts';
import type { Storage } from '../../base/storage/storage.ts';
import { namesOthers, withAddresses } from './naming.ts';

/** The outputs of a media job for one original, and where they are in storage. */
export type Outputs = {
  /** The folder of all of them, such as `processed/uploads/user123/photo-1f3a...`. */
  readonly folder: string;
  /**
   * Stores one file under `name` in the folder. Names are ours: letters, digits, `-`, `_`, `.` and `/`. If the bucket
   * is private, a file that names others, which are stored already, gets signed addresses for them.
   */
  put(name: string, body: Uint8Array | { path: string }): Promise<Stored>;
};

/** `url` is public, or signed for a week if the bucket is private. */
export type Stored = { key: string; url: string; bytes: number };

const week = 604_800;

/**
 * Keys are derived from the original's key, its bytes, and the recipe. So a repeat overwrites its own objects, and
 * another original under the same key, or other options, get other keys.
 * @param source the original's key, and the SHA-256 of its bytes
 * @param recipe what else determines the bytes of the outputs: kind, options, settings
 */
export function outputsOf(
  storage: Storage,
  source: { key: string; sha256: string },
  recipe: unknown,
  { signal, presigned }: { signal: AbortSignal; presigned: boolean },
): Outputs {
  const hash = createHash('sha256')
    .update(`${source.sha256} ${JSON.stringify(recipe)}`)
    .digest('hex')
    .slice(0, 12);
  const folder = `${prefixOf(source.key)}${hash}`;
  const keyOf = (name: string) => `${folder}/${name}`;
  const sign = async (name: string) => {
    signal.throwIfAborted();
    return storage.presign(keyOf(name), week);
  };
  return {
    folder,
    async put(name, file) {
      const key = keyOf(name);
      const signs = presigned && namesOthers(name);
      const body = signs ? Buffer.from(await withAddresses(name, await textOf(file), sign)) : file;
      const cacheControl = signs ? revalidated : isManifest(name) ? brief : immutable;
      await storage.put(key, body, { contentType: contentTypeOf(key), cacheControl, signal });
      const url = presigned ? await sign(name) : storage.url(key);
      return { key, url, bytes: body instanceof Uint8Array ? body.length : (await stat(body.path)).size };
    },
  };
}

/** Nothing under these keys ever changes, except that a repeat of the job writes the same again. */
const immutable = 'public, max-age=31536000, immutable';
const brief = 'public, max-age=300';
/** Caches must not return signed addresses that have expired, or that a repeat of the job has renewed. */
const revalidated = 'private, no-cache';

const isManifest = (name: string) => /\.(m3u8|mpd)$/.test(name);

const textOf = async (file: Uint8Array | { path: string }) =>
  file instanceof Uint8Array ? Buffer.from(file).toString() : readFile(file.path, 'utf8');

/**
 * The beginning of the keys of all outputs of an original. It has a hash of the original's key, because different keys
 * may become the same when special characters are replaced, as all Cyrillic ones in a folder do. Whoever deletes the
 * outputs of one would delete those of the other.
 */
export const prefixOf = (key: string): string =>
  `processed/${tame(key)}-${createHash('sha256').update(key).digest('hex').slice(0, 8)}`;

const longestSegment = 80;

/** The key without its extension, in characters that need no escaping anywhere. */
function tame(key: string): string {
  const { dir, name } = posix.parse(key);
  const segments = [...dir.split('/').filter(Boolean).slice(-6), name];
  return segments
    .map((segment) => {
      const plain = segment
        .normalize('NFKD')
        .replace(/\p{M}/gu, '')
        .replace(/[^a-zA-Z0-9._-]+/g, '-')
        .replace(/^[.-]+/, '')
        .slice(0, longestSegment);
      return plain || 'file';
    })
    .join('/');
}
