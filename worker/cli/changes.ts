import type { Change } from '../queue/client/operate.ts';
import { Failed } from './faults.ts';
import { print, printJson } from './output.ts';

type Words = { verb: 'retried' | 'cancelled' | 'rescheduled' | 'prioritised'; refusal: string; json: boolean };

/**
 * Prints what became of each job that was asked for.
 * @throws Failed if some could not be changed
 */
export function reportChanges(ids: number[], changes: Change[], { verb, refusal, json }: Words): void {
  const missing = [...new Set(ids).difference(new Set(changes.map(({ id }) => id)))];
  const done = changes.filter((change) => change.done).map(named);
  const refused = changes.filter((change) => !change.done).map(named);

  if (json) printJson({ [verb]: done, refused, missing });
  else for (const { id, queue, kind, was } of done) print(`${verb} job ${id}, ${queue}.${kind}, which was ${was}`);

  const faults = [...Map.groupBy(refused, ({ was }) => was)].map(
    ([was, jobs]) => `Job ${some(jobs.map(({ id }) => id))} is ${was}: ${refusal}`,
  );
  if (missing.length > 0) faults.push(`There is no job ${some(missing)}`);
  if (faults.length > 0) throw new Failed(faults.join('; '));
}

export const named = ({ id, queue, kind, was }: Change) => ({ id, queue, kind, was });

function some(ids: number[]): string {
  const most = 10;
  return `${ids.slice(0, most).join(', ')}${ids.length > most ? ` and ${ids.length - most} more` : ''}`;
}
