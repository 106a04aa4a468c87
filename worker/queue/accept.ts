import { PermanentError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { JobDefinition } from './job.ts';
import { parsePayload } from './payload.ts';
import type { Registry } from './registry.ts';

/**
 * The handler of a job, and its payload as that handler declares it.
 * @throws PermanentError `unknown_kind`; `invalid_payload`, which names every field at fault
 */
export function accept(
  registry: Registry,
  job: { queue: string; kind: string; payload: unknown },
): { definition: JobDefinition; payload: unknown } {
  const definition = kindOf(registry, job);
  return { definition, payload: parsePayload(definition, job.payload) };
}

/** @throws PermanentError `unknown_kind` */
export function kindOf(registry: Registry, { queue, kind }: { queue: string; kind: string }): JobDefinition {
  const definition = registry.get(`${queue}.${kind}`);
  if (!definition) throw unknownKind(registry, queue, kind);
  return definition;
}

function unknownKind(registry: Registry, queue: string, kind: string): PermanentError {
  const names = [...registry.keys()].map((known) => known.split('.') as [queue: string, kind: string]);
  const elsewhere = names.find(([, known]) => known === kind)?.join('.');
  const near = nearest(
    kind,
    names.filter(([known]) => known === queue).map(([, known]) => known),
  );
  const meant = elsewhere ?? (near && `${queue}.${near}`);
  return new PermanentError('unknown_kind', `No handler is named ${queue}.${kind}${meant ? `: is it ${meant}?` : ''}`);
}
