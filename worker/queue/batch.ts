import { RetryableError } from '../base/errors.ts';
import { inTime, prepare, record, type Answer, type Attempting, type AttemptOptions } from './attempt.ts';
import type { BatchJob, JobContext } from './job.ts';
import { accept } from './registry.ts';

type Accepted = { context: JobContext<unknown>; controller: AbortController };

/**
 * Runs the handler of a kind that does many jobs by one call, and writes down the outcome of each as if it had run alone: fenced, and
 * retried one by one. Never throws.
 */
export async function runBatch(definition: BatchJob, batch: Attempting[], options: AttemptOptions): Promise<void> {
  const began = performance.now();
  const writes: Promise<void>[] = [];
  const asked: (Accepted & { answered: (answer: Answer) => void })[] = [];
  for (const attempting of batch) {
    const { row, controller } = attempting;
    const { context, conclude } = prepare(attempting, options);
    const answered = (answer: Answer) => void writes.push(record(row, conclude(answer), options, began));
    try {
      asked.push({ answered, controller, context: context(accept(options.registry, row).payload) });
    } catch (error) {
      answered({ error });
    }
  }
  const answers = await ask(definition, asked, options.timeoutMs() ?? definition.timeout);
  asked.forEach(({ answered }, index) => answered(answers[index]!));
  await Promise.all(writes);
}

async function ask(definition: BatchJob, jobs: Accepted[], limit: number | undefined): Promise<Answer[]> {
  if (jobs.length === 0) return [];
  try {
    const answers = await inTime(
      definition.runBatch(jobs.map(({ context }) => context)),
      jobs.map(({ controller }) => controller),
      limit,
    );
    if (!Array.isArray(answers) || answers.length !== jobs.length)
      throw new RetryableError('bad_batch_answer', `runBatch must answer for each of its ${jobs.length} jobs`);
    return answers.map((answer: unknown) => (answer instanceof Error ? { error: answer } : { result: answer }));
  } catch (error) {
    return jobs.map(() => ({ error }));
  }
}
