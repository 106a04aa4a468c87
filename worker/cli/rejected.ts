import { Argument, Command } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import { UsageError } from '../base/errors.ts';
import { sealerOf } from '../queue/client/add.ts';
import {
  deleteRejected,
  listRejected,
  resubmit,
  showRejected,
  type ListedMessage,
  type RejectedMessage,
} from '../queue/ingest/ingest.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, integer, jobId, jobIds, json, jobsDir } from './options.ts';
import { count, note, plain, print, printJson, relative, size, table, type Column } from './output.ts';

type Json = { json?: true };
type Filter = { source?: string; reason?: string };
const most = 100_000;

export const rejected = example(new Command('rejected'), 'rowmill rejected list').description(
  'messages of other queues that could not become jobs: list them, show, submit again, delete',
);

example(rejected.command('list'), 'rowmill rejected list --reason not_json')
  .description('list them, the newest first')
  .option('--source <source>', 'only of this way in, such as rabbitmq:media')
  .option('--reason <reason>', 'only those that were rejected for this')
  .option('--limit <n>', 'at most so many', integer(1, most), 20)
  .addOption(json())
  .action(async ({ json: asJson, ...filter }: Filter & Json & { limit: number }) => {
    const messages = await withDatabase((db) => listRejected(db, filter));
    if (asJson) return printJson({ messages });
    if (messages.length === 0) return note('No rejected messages');
    for (const line of table(messages, columns)) print(line);
    if (messages.length === filter.limit) note(`The newest ${filter.limit}: see more with --limit`);
  });

example(rejected.command('show'), 'rowmill rejected show 7')
  .description('print one as it came')
  .addArgument(new Argument('<id>', 'the id of a rejected message').argParser(jobId))
  .addOption(json())
  .action(async (id: number, options: Json) => {
    const message = await withDatabase((db) => showRejected(db, id));
    if (!message) throw new Failed(`There is no rejected message ${id}`);
    if (options.json) return printJson({ ...message, body: textOf(message), base64: message.body.toString('base64') });
    const { source, key, message_id, reason, error, created_at, headers } = message;
    print(`rejected message ${id} of ${source}, ${relative(created_at)}`);
    print(`key: ${plain(key)}`);
    if (message_id !== null) print(`message id: ${plain(message_id)}`);
    print(`${reason}: ${plain(error)}`);
    for (const [name, value] of Object.entries(headers))
      print(`header ${plain(name)}: ${plain(JSON.stringify(value))}`);
    print(`body, ${size(message.body.length)}:`);
    print(textOf(message).split('\n').map(plain).join('\n'));
  });

example(rejected.command('resubmit'), 'rowmill rejected resubmit 7 8')
  .description('try again, after what was wrong has been corrected; those that become jobs are deleted here')
  .addArgument(new Argument('[ids...]', 'ids of rejected messages').argParser(jobIds))
  .option('--all', 'all of them, or all with --source and --reason')
  .option('--source <source>', 'with --all: only of this way in')
  .option('--reason <reason>', 'with --all: only those that were rejected for this')
  .addOption(jobsDir())
  .addOption(json())
  .action(async (ids: number[] | undefined, options: Filter & Json & { all?: true; jobs?: string }) => {
    const { loadRegistry } = await import('../queue/registry.ts');
    const { jobsDir: ownDir, keyring } = loadConfig();
    const sealer = sealerOf(await loadRegistry(options.jobs ?? ownDir), keyring);
    const results = await withDatabase(async (db) => resubmit(db, await chosen(db, ids, options), sealer));
    if (options.json) printJson({ messages: results });
    else
      for (const each of results)
        if (each.outcome !== 'rejected')
          print(`message ${each.message} is job ${each.id}${each.outcome === 'known' ? ', which came before' : ''}`);
    const again = results.filter(({ outcome }) => outcome === 'rejected');
    if (!options.json) for (const { message } of again) note(`message ${message} was rejected again`);
    missing(
      ids,
      results.map(({ message }) => message),
    );
    if (again.length > 0) throw new Failed(`${count(again.length, 'message')} cannot become jobs yet`);
  });

example(rejected.command('delete'), 'rowmill rejected delete 7 8')
  .description('delete messages that nobody needs')
  .addArgument(new Argument('<ids...>', 'ids of rejected messages').argParser(jobIds))
  .addOption(json())
  .action(async (ids: number[], options: Json) => {
    const deleted = await withDatabase((db) => deleteRejected(db, ids));
    if (options.json) printJson({ deleted });
    else print(`deleted ${count(deleted.length, 'rejected message')}`);
    missing(ids, deleted);
  });

type Database = Parameters<typeof listRejected>[0];

async function chosen(db: Database, ids: number[] = [], { all, source, reason }: Filter & { all?: true }) {
  if (ids.length > 0 && !all && source === undefined && reason === undefined) return ids;
  if (ids.length > 0 || !all) throw new UsageError('resubmit needs either ids, or --all');
  const filter = { ...(source === undefined ? {} : { source }), ...(reason === undefined ? {} : { reason }) };
  return (await listRejected(db, { ...filter, limit: most })).map(({ id }) => id);
}

function missing(asked: number[] = [], found: number[]): void {
  const lost = [...new Set(asked).difference(new Set(found))];
  if (lost.length > 0) throw new Failed(`There is no rejected message ${lost.slice(0, 10).join(', ')}`);
}

const textOf = ({ body }: RejectedMessage) => body.toString('utf8');

const columns: Column<ListedMessage>[] = [
  { title: 'ID', value: ({ id }) => id, align: 'right' },
  { title: 'WHEN', value: ({ created_at }) => relative(created_at) },
  { title: 'SOURCE', value: ({ source }) => source },
  { title: 'KEY', value: ({ key }) => key },
  { title: 'SIZE', value: ({ bytes }) => size(bytes), align: 'right' },
  { title: 'REASON', value: ({ reason, error }) => `${reason}: ${error}` },
];
