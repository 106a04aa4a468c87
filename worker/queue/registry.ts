import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PermanentError } from '../base/errors.ts';
import type { JobDefinition } from './job.ts';

/** The kinds there are, by name. The folder is the registry: worker/jobs/<queue>/<kind>.ts is the kind `<queue>.<kind>`. */
export type Registry = ReadonlyMap<string, JobDefinition>;

const jobsDir = join(import.meta.dirname, '../jobs');

/** @throws when a file exports no job, or one whose name is not its path */
export async function loadRegistry(dir = jobsDir): Promise<Registry> {
  const files = (await readdir(dir, { recursive: true }))
    .filter((file) => /^[a-z0-9_]+\/[a-z0-9_]+\.ts$/.test(file))
    .toSorted();
  const kinds = await Promise.all(files.map((file) => loadKind(dir, file)));
  return new Map(kinds.map((kind) => [kind.name, kind]));
}

async function loadKind(dir: string, file: string): Promise<JobDefinition> {
  const expected = file.replace(/\.ts$/, '').replace('/', '.');
  const module = (await import(pathToFileURL(join(dir, file)).href)) as { default?: JobDefinition };
  const definition = module.default;
  if (!definition || !('run' in definition || 'runBatch' in definition))
    throw new Error(`worker/jobs/${file} has no job as its default export`);
  if (definition.name !== expected)
    throw new Error(`worker/jobs/${file} names its job ${definition.name}, not ${expected}`);
  return definition;
}

/**
 * The handler of a job, and its payload as that handler declares it.
 * @throws PermanentError `unknown_kind`; `invalid_payload`, which names every field at fault
 */
export function accept(
  registry: Registry,
  job: { queue: string; kind: string; payload: unknown },
): { definition: JobDefinition; payload: unknown } {
  const name = `${job.queue}.${job.kind}`;
  const definition = registry.get(name);
  if (!definition) throw new PermanentError('unknown_kind', `No handler is named ${name}`);
  return { definition, payload: parsePayload(definition, job.payload) };
}

/**
 * A payload as its handler declares it.
 * @throws PermanentError `invalid_payload`, which names every field at fault
 */
export function parsePayload(definition: Pick<JobDefinition, 'payload'>, payload: unknown): unknown {
  const parsed = definition.payload.safeParse(payload);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${['payload', ...issue.path].join('.')}: ${issue.message}`);
  throw new PermanentError('invalid_payload', faults.join('; '));
}
