import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
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
