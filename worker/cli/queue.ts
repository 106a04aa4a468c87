import { Argument, Command, Option } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import { UsageError } from '../base/errors.ts';
import { addQueue, listQueues, setQueue, type Queue, type QueueSettings } from '../queue/install/queues.ts';
import { withDatabase, withDatabaseUrl } from './database.ts';
import { example, integer, json } from './options.ts';
import { note, print, printJson, table, type Column } from './output.ts';

type Json = { json?: true };
type SetOptions = {
  batchSize?: number;
  maxRetries?: number;
  backoffMs?: number;
  backoff?: 'exponential' | 'linear';
  timeoutMs?: number | 'none';
  rateLimit?: number | 'none';
  maxPayloadBytes?: number;
  snoozeLimit?: string;
  keepCompleted?: string;
  archiveAfter?: string;
  incidentPatience?: string;
  keepSensitive?: string;
};

export const queue = example(new Command('queue'), 'rowmill queue add thumbs --max-retries 5').description(
  'the queues: add one, list them, set what holds for all workers',
);

const argument = () => new Argument('<name>', 'the queue');
const largest = 2_147_483_647;
const orNone = (parse: (text: string) => number) => (text: string) => (text === 'none' ? text : parse(text));
const atCreation = () => [
  new Option('--batch-size <n>', 'jobs of one insert that a ticket holds').argParser(integer(1, 10_000)),
  new Option('--max-retries <n>', 'retries of new jobs').argParser(integer(0, largest)),
  new Option('--backoff-ms <ms>', 'before the first retry').argParser(integer(0, largest)),
];

example(queue.command('list'), 'rowmill queue list')
  .description('list the queues and their settings; --json shows all of them')
  .addOption(json())
  .action(async (options: Json) => {
    const queues = await withDatabase(listQueues);
    if (options.json) return printJson({ queues });
    for (const line of table(queues, columns)) print(line);
  });

const add = example(queue.command('add'), 'rowmill queue add thumbs --max-retries 5')
  .description('make a queue and its table, such as thumbs_jobs')
  .addArgument(argument());
for (const option of atCreation()) add.addOption(option);
add
  .option('--kind <kind>', 'of jobs whose insert names none')
  .addOption(json())
  .action(async (name: string, { json: asJson, kind, ...options }: SetOptions & Json & { kind?: string }) => {
    await withDatabaseUrl(loadConfig(), (url) =>
      addQueue(url, { name, ...(kind ? { kind } : {}), ...columnsOf(options) }),
    );
    if (asJson) return printJson({ name });
    print(`added queue ${name}: its jobs are in ${name}_jobs`);
    note('Workers serve it from their next start on');
  });

const set = example(queue.command('set'), 'rowmill queue set thumbs --rate-limit 10')
  .description('change what is given of a queue, for all workers; it takes effect within two seconds')
  .addArgument(argument());
for (const option of atCreation()) set.addOption(option);
set
  .addOption(new Option('--backoff <shape>', 'how it grows with each retry').choices(['exponential', 'linear']))
  .option(
    '--timeout-ms <ms>',
    'the longest that an attempt may take, or none: as the kind says',
    orNone(integer(1, largest)),
  )
  .option('--rate-limit <n>', 'jobs started a second over all workers, or none', orNone(integer(1, largest)))
  .option('--max-payload-bytes <n>', 'the largest payload', integer(1_000_000, 64_000_000))
  .option('--snooze-limit <interval>', "how long a job may only snooze, such as '7 days'")
  .option('--keep-completed <interval>', 'how long completed and cancelled jobs are kept')
  .option('--archive-after <interval>', 'how long they stay among the live ones')
  .option('--incident-patience <interval>', 'how long an incident holds jobs')
  .option('--keep-sensitive <interval>', 'without SEAL_KEYS: how long the sensitive values of ended jobs are kept')
  .addOption(json())
  .action(async (name: string, { json: asJson, ...options }: SetOptions & Json) => {
    const changes = columnsOf(options);
    if (Object.keys(changes).length === 0)
      throw new UsageError('Nothing to set: rowmill queue set --help lists what can be');
    const row = await withDatabase((db) => setQueue(db, name, changes));
    if (asJson) return printJson(row);
    for (const line of table([row], columns)) print(line);
  });

/** The names of options in JavaScript are those of columns in another case. A value of `none` is null. */
function columnsOf(options: SetOptions): Partial<QueueSettings> {
  const named = Object.entries(options).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value === 'none' ? null : value,
  ]);
  return Object.fromEntries(named) as Partial<QueueSettings>;
}

const columns: Column<Queue>[] = [
  { title: 'QUEUE', value: ({ name }) => name },
  {
    title: 'PAUSED',
    value: ({ paused }) => (paused ? 'yes' : 'no'),
    style: ({ paused }) => (paused ? 'yellow' : 'dim'),
  },
  { title: 'BATCH', value: ({ batch_size }) => batch_size, align: 'right' },
  { title: 'RETRIES', value: ({ max_retries }) => max_retries, align: 'right' },
  { title: 'BACKOFF MS', value: ({ backoff_ms }) => backoff_ms, align: 'right' },
  { title: 'TIMEOUT MS', value: ({ timeout_ms }) => timeout_ms, align: 'right' },
  { title: 'RATE LIMIT', value: ({ rate_limit }) => rate_limit, align: 'right' },
  { title: 'KEPT', value: ({ keep_completed }) => keep_completed },
];
