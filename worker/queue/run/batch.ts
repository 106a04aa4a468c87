import { RetryableError } from '../../base/errors.ts';
import type { BatchContext, BatchJob, JobDefinition } from '../job.ts';
import type { Registry } from '../registry.ts';
import { begin, conclude, prepare, type Answer } from './attempt.ts';
import type { Attempting, AttemptOptions } from './attempting.ts';
import { commitMany, type Member } from './commit.ts';
import { asCulprit } from './culprit.ts';
import { inTime } from './stop.ts';

type Asked = Member & { answered: (answer: Answer) => void };

/**
 * Runs the handler of a kind that runs many jobs with one call, and writes the outcome of each job as if it had run
 * alone: fenced, and retried one by one. Never throws.
 */
export async function runBatch(definition: BatchJob, batch: Attempting[], options: AttemptOptions): Promise<void> {
  const concluded: Promise<void>[] = [];
  const prepared = batch.map(async (attempting): Promise<Asked | undefined> => {
    const began = begin(attempting, options);
    const answered = (answer: Answer) => void concluded.push(conclude(attempting, answer, began, options));
    try {
      return { attempting, answered, context: (await prepare(attempting, options)).context };
    } catch (error) {
      answered({ error });
    }
  });
  const asked = (await Promise.all(prepared)).filter((each) => each !== undefined);
  const answers = await ask(definition, asked, options);
  asked.forEach(({ answered }, index) => answered(answers[index]!));
  await Promise.all(concluded);
}

async function ask(definition: BatchJob, jobs: Member[], options: AttemptOptions): Promise<Answer[]> {
  if (jobs.length === 0) return [];
  try {
    const stops = jobs.map(({ attempting }) => attempting.stop);
    const batch: BatchContext<unknown> = { commitMany: (work) => commitMany(jobs, work, options) };
    const culprits = jobs.map(({ attempting }) => attempting);
    const contexts = jobs.map(({ context }) => context);
    const rows = jobs.map(({ attempting }) => attempting.row);
    const work = asCulprit(culprits, () => options.observer.within(rows, () => definition.runBatch(contexts, batch)));
    const answers = await inTime(work, stops, options.timeoutMs() ?? definition.timeout);
    if (!Array.isArray(answers) || answers.length !== jobs.length)
      throw new RetryableError('bad_batch_answer', `runBatch must answer for each of its ${jobs.length} jobs`);
    return answers.map((answer: unknown) => (answer instanceof Error ? { error: answer } : { result: answer }));
  } catch (error) {
    return jobs.map(() => ({ error }));
  }
}

/** How many jobs of a kind run by one call. */
export const batchSizeOf = (definition: JobDefinition | undefined): number =>
  definition && 'runBatch' in definition ? definition.batchSize : 1;

/** The most jobs that one call runs, of any kind of the queue. */
export function largestBatch(registry: Registry, queue: string): number {
  const kinds = [...registry].filter(([name]) => name.startsWith(`${queue}.`));
  return Math.max(1, ...kinds.map(([, definition]) => batchSizeOf(definition)));
}
