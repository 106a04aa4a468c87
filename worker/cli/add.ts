import { Argument, Command, InvalidArgumentError } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import { UsageError } from '../base/errors.ts';
import { addJob } from '../queue/client/add.ts';
import type { Job } from '../queue/client/operate.ts';
import type { JobDefinition } from '../queue/job.ts';
import { parsePayload } from '../queue/payload.ts';
import type { Registry } from '../queue/registry.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, integer, jobsDir, json, kindOf, payloadOf, runAt, type Kind } from './options.ts';
import { note, plain, print, printJson } from './output.ts';
import { follow } from './wait.ts';

type Options = {
  runAt?: { run_at: Date } | { delay_ms: number };
  priority?: number;
  dedupeKey?: string;
  fileId?: string;
  maxRetries?: number;
  wait?: true;
  dryRun?: true;
  jobs?: string;
  json?: true;
};

export const add = example(
  new Command('add'),
  'rowmill add publish.file --file-id 0b6f8a52-6a0c-4b63-9a53-0d1c7a2f4e11 --run-at +5m --wait',
)
  .description('add a job, and print its id')
  .addArgument(new Argument('<queue.kind>', 'what sort of job').argParser(kindOf))
  .addArgument(new Argument('[payload]', 'JSON that the kind understands').default({}, '{}').argParser(payloadOf))
  .option('--run-at <time>', "when it becomes due: a time, or such as '+5m' (default: now)", runAt)
  .option('--priority <n>', 'smaller starts first (default: 0)', integer(-32_768, 32_767))
  .option('--dedupe-key <key>', 'add nothing where a job of the queue has this key already', text)
  .option('--file-id <id>', 'the stored file that the job is about', text)
  .option('--max-retries <n>', "retries after the first attempt (default: the queue's)", integer(0, 1_000_000))
  .option('--dry-run', 'change nothing and say what would be done, with --wait: for cleanup jobs')
  .option('--wait', 'follow the job until it ends; exit code 1 if it fails or is cancelled')
  .addOption(jobsDir())
  .addOption(json())
  .action(async (kind: Kind, payload: unknown, options: Options) => {
    const { loadRegistry } = await import('../queue/registry.ts');
    const { jobsDir: ownDir, keyring } = loadConfig();
    const registry = await loadRegistry(options.jobs ?? ownDir);
    const asked = options.dryRun ? dryRun(registry, kind, payload) : payload;
    await withDatabase(async (db) => {
      const job = { ...kind, payload: asked, ...columnsOf(options) };
      const { id, created } = await addJob(db, registry, job, keyring);
      if (!options.json) say(id, created, options);
      const ended = options.wait ? await follow(db, id, { quiet: options.json === true }) : undefined;
      if (options.json) printJson({ id, created, ...(ended ? { job: ended } : {}) });
      if (ended) end(ended, options);
    });
  });

function text(value: string): string {
  if (value === '') throw new InvalidArgumentError('It must not be empty.');
  return value;
}

/** A kind without a dry run would ignore the key in its payload, and do the work. */
function dryRun(registry: Registry, { queue, kind }: Kind, payload: unknown): unknown {
  const dry = { ...(payload as object), dryRun: true };
  const definition = registry.get(`${queue}.${kind}`);
  if (definition && !understandsDryRun(definition, dry)) throw new UsageError(`${queue}.${kind} has no dry run`);
  return dry;
}

function understandsDryRun(definition: JobDefinition, dry: object): boolean {
  try {
    return (parsePayload(definition, dry) as { dryRun?: boolean }).dryRun === true;
  } catch {
    return true; // addJob says what is wrong with the payload.
  }
}

function columnsOf({ runAt: due, priority, dedupeKey, fileId, maxRetries }: Options) {
  return {
    ...due,
    ...(priority === undefined ? {} : { priority }),
    ...(dedupeKey === undefined ? {} : { dedupe_key: dedupeKey }),
    ...(fileId === undefined ? {} : { file_id: fileId }),
    ...(maxRetries === undefined ? {} : { max_retries: maxRetries }),
  };
}

function say(id: number, created: boolean, { dedupeKey }: Options): void {
  print(String(id));
  if (!created) note(`Nothing was added: job ${id} has the dedupe key ${plain(dedupeKey ?? '')}`);
}

/** @throws Failed unless the job completed */
function end(job: Job, options: Options): void {
  if (job.status === 'completed') {
    if (!options.json && job.result !== null) printJson(job.result);
    return;
  }
  const reason = job.status === 'failed' ? `${job.error_code}: ${plain(job.error ?? '')}` : 'it will not run';
  throw new Failed(`Job ${job.id} ${job.status === 'failed' ? 'failed' : 'was cancelled'}: ${reason}`);
}
