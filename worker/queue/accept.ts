import { PermanentError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { JobDefinition } from './job.ts';
import type { Registry } from './registry.ts';

/** The handler of a job. @throws PermanentError `unknown_kind` */
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
