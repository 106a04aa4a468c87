import { RetryableError } from '../../base/errors.ts';
import { conclude, contextOf, loadPayload, type Answer, type Attempting, type AttemptOptions } from './attempt.ts';
import { asCulprit } from './culprit.ts';
import type { BatchJob, JobContext } from '../job.ts';
import { accept } from '../accept.ts';
import { inTime, type Stop } from './stop.ts';

type Asked = { context: JobContext<unknown>; stop: Stop; answered: (answer: Answer) => void };

/**
 * Runs the handler of a kind that does many jobs by one call, and writes down the outcome of each as if it had run alone: fenced, and
 * retried one by one. Never throws.
 */
export async function runBatch(definition: BatchJob, batch: Attempting[], options: AttemptOptions): Promise<void> {
  const began = performance.now();
  const writes: Promise<void>[] = [];
  const asked: Asked[] = [];
  for (const attempting of batch) {
    const answered = (answer: Answer) => void writes.push(conclude(attempting, answer, options, began));
    try {
      if (attempting.row.large) await loadPayload(attempting.row, options.ledger);
      const { payload } = accept(options.registry, attempting.row);
      asked.push({ context: contextOf(attempting, payload, options), stop: attempting.stop, answered });
    } catch (error) {
      answered({ error });
    }
  }
  const answers = await ask(definition, asked, options.timeoutMs() ?? definition.timeout);
  asked.forEach(({ answered }, index) => answered(answers[index]!));
  await Promise.all(writes);
}

async function ask(definition: BatchJob, jobs: Asked[], limit: number | undefined): Promise<Answer[]> {
  if (jobs.length === 0) return [];
  try {
    const stops = jobs.map(({ stop }) => stop);
    const work = asCulprit(stops, () => definition.runBatch(jobs.map(({ context }) => context)));
    const answers = await inTime(work, stops, limit);
    if (!Array.isArray(answers) || answers.length !== jobs.length)
      throw new RetryableError('bad_batch_answer', `runBatch must answer for each of its ${jobs.length} jobs`);
    return answers.map((answer: unknown) => (answer instanceof Error ? { error: answer } : { result: answer }));
  } catch (error) {
    return jobs.map(() => ({ error }));
  }
}
