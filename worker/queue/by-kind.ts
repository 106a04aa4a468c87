import type { JobRow } from './job.ts';
import { unknownKind, type Registry } from './registry.ts';

/**
 * What is counted of each kind of each queue. There are no more of them than kinds, and one for each queue, for all
 * kinds that nobody knows. They are looked up twice for each attempt, so no name is put together for that.
 */
export class ByKind<Count> {
  readonly #registry: Registry;
  readonly #first: (queue: string, kind: string) => Count;
  readonly #counts = new Map<string, Map<string, Count>>();

  constructor(registry: Registry, first: (queue: string, kind: string) => Count) {
    this.#registry = registry;
    this.#first = first;
  }

  of({ queue, kind }: Readonly<Pick<JobRow, 'queue' | 'kind'>>): Count {
    return this.#counts.get(queue)?.get(kind) ?? this.#start(queue, kind);
  }

  #start(queue: string, kind: string): Count {
    const name = this.#registry.has(`${queue}.${kind}`) ? kind : unknownKind;
    const counts = this.#counts.get(queue) ?? new Map<string, Count>();
    const count = counts.get(name) ?? this.#first(queue, name);
    this.#counts.set(queue, counts.set(name, count));
    return count;
  }

  *values(): Iterable<Count> {
    for (const counts of this.#counts.values()) yield* counts.values();
  }
}
