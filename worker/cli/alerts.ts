import { Argument, Command, InvalidArgumentError } from 'commander';
import { listAlerts, silenceAlerts, unsilenceAlerts, type Alert, type Silenced } from '../queue/client/alerts.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, integer, jobIds, json } from './options.ts';
import { count, note, paint, plain, print, printJson, relative } from './output.ts';
import { person } from './person.ts';

type Json = { json?: true };

export const alerts = example(new Command('alerts'), 'rowmill alerts list').description(
  'what needs a person: list the alerts, silence them for a while',
);

example(alerts.command('list'), 'rowmill alerts list')
  .description('list open alerts, the newest first')
  .option('--resolved', 'also those that have passed')
  .option('--limit <n>', 'at most so many', integer(1, 10_000), 50)
  .addOption(json())
  .action(async ({ json: asJson, ...filter }: Json & { resolved?: true; limit: number }) => {
    const found = await withDatabase((db) => listAlerts(db, filter));
    if (asJson) return printJson({ alerts: found });
    if (found.length === 0) return note(filter.resolved ? 'No alerts' : 'No open alerts');
    for (const alert of found) show(alert);
    if (found.length === filter.limit) note(`The newest ${filter.limit}: see more with --limit`);
  });

example(alerts.command('silence'), 'rowmill alerts silence 12 --for 2h')
  .description('send nothing about these alerts for a while, nor if they open again')
  .addArgument(new Argument('<ids...>', 'the ids of open alerts').argParser(jobIds))
  .option('--for <time>', 'for how long, such as 30m, 2h, 7d', seconds, 3_600)
  .option('--by <name>', 'who silences them', person())
  .addOption(json())
  .action(async (ids: number[], options: Json & { for: number; by: string }) => {
    const silenced = await withDatabase((db) => silenceAlerts(db, ids, { seconds: options.for, by: options.by }));
    report(ids, silenced, options, (alert) => `silenced until ${alert.silenced_until!.toISOString()}`);
  });

example(alerts.command('unsilence'), 'rowmill alerts unsilence 12')
  .description('tell people of these alerts again')
  .addArgument(new Argument('<ids...>', 'the ids of open alerts').argParser(jobIds))
  .addOption(json())
  .action(async (ids: number[], options: Json) => {
    const unsilenced = await withDatabase((db) => unsilenceAlerts(db, ids));
    report(ids, unsilenced, options, () => 'not silenced any more');
  });

function show({ id, what, cause, solution, query, ...alert }: Alert): void {
  const { opened_at, resolved_at, last_sent_at, silenced_until, silenced_by } = alert;
  const state = resolved_at ? `resolved ${relative(resolved_at)}` : `open since ${relative(opened_at)}`;
  const told = last_sent_at ? `last sent ${relative(last_sent_at)}` : 'nobody was told';
  const silence = silenced_until ? `; silenced ${relative(silenced_until)} by ${plain(silenced_by ?? '?')}` : '';
  print(paint(resolved_at ? 'dim' : 'bold', `${id}  ${plain(what)}`));
  print(`    ${state}; ${told}${silence}`);
  if (resolved_at) return;
  if (cause) print(`    ${plain(cause)}`);
  print(`    ${plain(solution)}`);
  print(paint('dim', `    ${plain(query)}`));
}

function report(asked: number[], changed: Silenced[], { json: asJson }: Json, say: (alert: Silenced) => string): void {
  if (asJson) printJson({ alerts: changed });
  else for (const alert of changed) print(`alert ${alert.id} is ${say(alert)}: ${plain(alert.what)}`);
  const lost = [...new Set(asked).difference(new Set(changed.map(({ id }) => id)))];
  if (lost.length > 0) throw new Failed(`There is no open alert ${lost.slice(0, 10).join(', ')}`);
  if (!asJson) note(count(changed.length, 'alert'));
}

const units: Record<string, number> = { m: 60, h: 3_600, d: 86_400 };

/** At most a year: `30m`, `2h`, `7d`. */
function seconds(text: string): number {
  const [, many, unit] = /^([1-9]\d{0,5})([mhd])$/.exec(text) ?? [];
  const value = Number(many) * (units[unit ?? ''] ?? NaN);
  if (!(value <= 365 * 86_400)) throw new InvalidArgumentError('It must be such as 30m, 2h or 7d: at most a year.');
  return value;
}
