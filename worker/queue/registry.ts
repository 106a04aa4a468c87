import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { codeOf, UsageError } from '../base/errors.ts';
import type { JobDefinition } from './job.ts';
import { faultOfSensitive } from './sensitive.ts';

/**
 * The kinds by name. The folders are the registry: `<queue>/<kind>.ts` in worker/jobs, or in JOBS_DIR, is the kind
 * `<queue>.<kind>`.
 */
export type Registry = ReadonlyMap<string, JobDefinition>;

/** In place of the name of a kind that is not known: anybody who may insert jobs can invent names. */
export const unknownKind = '(unknown)';

const boxDir = join(import.meta.dirname, '../jobs');

/**
 * Loads the kinds of Rowmill, and those in a folder of the user's.
 * @throws UsageError for a folder without kinds; for a file that does not load, exports no job, has another name than
 *   its job, or is a kind that exists already
 */
export async function loadRegistry(ownDir?: string): Promise<Registry> {
  const kinds = await loadFolder(boxDir);
  if (ownDir === undefined) return kinds;
  const own = await loadFolder(ownDir);
  if (own.size === 0)
    throw new UsageError(
      `There is no kind in ${ownDir}: a kind is a file such as ${join(ownDir, 'notification/hello.ts')}`,
    );
  for (const [name, definition] of own) {
    if (kinds.has(name))
      throw new UsageError(`${ownDir} has the kind ${name}, which comes with Rowmill: give it another name`);
    kinds.set(name, definition);
  }
  return kinds;
}

async function loadFolder(dir: string): Promise<Map<string, JobDefinition>> {
  const queues = (await entriesOf(dir)).filter((entry) => entry.isDirectory() && isWord(entry.name));
  const files = await Promise.all(
    queues.map(async ({ name }) => (await entriesOf(join(dir, name))).map((file) => `${name}/${file.name}`)),
  );
  const kinds = new Map<string, JobDefinition>();
  const loaded = await Promise.all(
    files
      .flat()
      .filter(isKind)
      .toSorted()
      .map((file) => loadKind(dir, file)),
  );
  for (const kind of loaded) {
    if (kinds.has(kind.name)) throw new UsageError(`${dir} has two files for the kind ${kind.name}: delete one`);
    kinds.set(kind.name, kind);
  }
  return kinds;
}

async function entriesOf(dir: string) {
  return readdir(dir, { withFileTypes: true }).catch((error: unknown) => {
    throw new UsageError(`The folder of kinds ${dir} cannot be read (${codeOf(error)})`, { cause: error });
  });
}

const isWord = (name: string) => /^[a-z0-9_]+$/.test(name);
/** A name with another dot is a test, a type declaration, or another file beside the kinds. */
const isKind = (file: string) => /^[^.]+\.(ts|js|mjs)$/.test(file);

async function loadKind(dir: string, file: string): Promise<JobDefinition> {
  const path = join(dir, file);
  const [queue, kind] = file.replace(/\.\w+$/, '').split('/') as [string, string];
  const expected = `${queue}.${kind}`;
  if (!isWord(kind))
    throw new UsageError(`${path} cannot be a kind: name the file with small letters, digits and _ only`);
  const { default: found } = await load(path);
  if (!isJob(found))
    throw new UsageError(
      `${path} has no job as its default export: it needs export default job({ name: '${expected}', ... }). ` +
        'Code that kinds share goes one folder deeper.',
    );
  if (found.name !== expected)
    throw new UsageError(`${path} names its job ${found.name}: name it ${expected}, or move the file`);
  if (!found.payload?.['~standard'])
    throw new UsageError(
      `${path} has no schema as payload: it needs one of zod or another library of standardschema.dev`,
    );
  const fault = faultOfSensitive(found.sensitive ?? []);
  if (fault) throw new UsageError(`${path}, sensitive: ${fault}`);
  return found;
}

async function load(path: string): Promise<{ default?: unknown }> {
  try {
    return (await import(pathToFileURL(path).href)) as { default?: unknown };
  } catch (error) {
    throw new UsageError(`${path} does not load:\n${error instanceof Error ? error.stack : String(error)}`, {
      cause: error,
    });
  }
}

function isJob(found: unknown): found is JobDefinition {
  if (typeof found !== 'object' || found === null) return false;
  const { run, runBatch } = found as { run?: unknown; runBatch?: unknown };
  return typeof run === 'function' || typeof runBatch === 'function';
}
