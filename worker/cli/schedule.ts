import { Argument, Command, Option } from 'commander';
import {
  deleteSchedule,
  enableSchedule,
  listSchedules,
  overlaps,
  runSchedule,
  setSchedule,
  type Schedule,
  type ScheduleStatus,
} from '../queue/schedule/schedules.ts';
import { loadConfig } from '../base/config/config.ts';
import { surroundings } from '../base/surroundings.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, integer, jobsDir, json, kindOf, payloadOf, type Kind } from './options.ts';
import {
  count,
  cut,
  note,
  paint,
  plain,
  print,
  printJson,
  relative,
  statusStyle,
  table,
  type Column,
  type Style,
} from './output.ts';

type Json = { json?: true };
type SetOptions = Json & {
  cron?: string;
  kind?: Kind;
  timeZone?: string;
  payload?: unknown;
  priority?: number;
  maxRetries?: number;
  overlap?: Schedule['overlap'];
  disabled?: true;
  jobs?: string;
};

export const schedule = example(
  new Command('schedule'),
  "rowmill schedule set nightly --cron '30 3 * * *' --time-zone Europe/Berlin --kind cleanup.soft_deleted_files",
).description('jobs that are added by the clock: list, set, enable, disable, run, delete');

const argument = () => new Argument('<name>', 'the schedule');

example(schedule.command('list'), 'rowmill schedule list')
  .description('list all, with their last tick, their next, and what became of the last job')
  .addOption(json())
  .action(async (options: Json) => {
    const schedules = await withDatabase(listSchedules);
    if (options.json) return printJson({ schedules });
    if (schedules.length === 0) return note('No schedules');
    const [head, ...lines] = table(schedules, columns);
    print(head);
    for (const [at, line] of lines.entries()) {
      print(line);
      for (const more of detailsOf(schedules[at]!)) print(more);
    }
  });

example(
  schedule.command('set'),
  "rowmill schedule set often --cron '*/5 * * * *' --kind cleanup.temp_files --overlap skip",
)
  .description('make a schedule, or change what is given of one; it takes effect at once')
  .addArgument(argument())
  .option('--cron <expression>', 'five fields, or six with seconds, or such as @daily')
  .option('--kind <queue.kind>', 'what sort of job', kindOf)
  .option('--time-zone <zone>', 'in which the expression is read (default: UTC)')
  .option('--payload <json>', 'JSON that the kind understands (default: {})', payloadOf)
  .option('--priority <n>', 'smaller starts first (default: 0)', integer(-32_768, 32_767))
  .option('--max-retries <n>', "retries after the first attempt (default: the queue's)", integer(0, 1_000_000))
  .addOption(
    new Option('--overlap <what>', 'while the last job has not ended: add none, or another (default: queue)').choices(
      overlaps,
    ),
  )
  .option('--disabled', 'it does not tick')
  .addOption(jobsDir())
  .addOption(json())
  .action(async (name: string, options: SetOptions) => {
    const { loadRegistry } = await import('../queue/registry.ts');
    const registry = await loadRegistry(options.jobs ?? loadConfig().jobsDir);
    const set = await withDatabase((db) => setSchedule(db, registry, { name, ...changesOf(options) }));
    if (options.json) return printJson(set);
    const when = set.enabled ? `next ${set.next_tick.toISOString()}, ${relative(set.next_tick)}` : 'disabled';
    print(`schedule ${set.name}: ${set.queue}.${set.kind} at ${set.cron} ${set.time_zone}, ${when}`);
  });

for (const [verb, enabled, what] of [
  ['enable', true, 'let it tick, from now on'],
  ['disable', false, 'let it tick no more; ticks of that time are not made up'],
] as const)
  example(schedule.command(verb), `rowmill schedule ${verb} nightly`)
    .description(what)
    .addArgument(argument())
    .addOption(json())
    .action(async (name: string, options: Json) => {
      await withDatabase((db) => enableSchedule(db, name, enabled));
      if (options.json) printJson({ name, enabled });
      else print(`schedule ${name} is ${verb}d`);
    });

example(schedule.command('run'), 'rowmill schedule run nightly')
  .description('add a job of it now, and print its id; also of a disabled one')
  .addArgument(argument())
  .addOption(json())
  .action(async (name: string, options: Json) => {
    const id = await withDatabase((db) => runSchedule(db, name));
    if (id === undefined) throw new Failed(`The last job of schedule ${name} has not ended, and its overlap is skip`);
    if (options.json) printJson({ name, id });
    else print(String(id));
  });

example(schedule.command('delete'), 'rowmill schedule delete nightly')
  .description('delete it; its jobs stay')
  .addArgument(argument())
  .addOption(json())
  .action(async (name: string, options: Json) => {
    await withDatabase((db) => deleteSchedule(db, name));
    if (options.json) printJson({ name, deleted: true });
    else print(`deleted schedule ${name}`);
  });

function changesOf(options: SetOptions): Partial<Schedule> {
  const { cron, kind, timeZone: time_zone, payload, priority, maxRetries: max_retries, overlap } = options;
  const enabled = options.disabled ? false : undefined;
  const given = Object.entries({ cron, ...kind, time_zone, payload, priority, max_retries, overlap, enabled });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}

// Long texts, which are not always there, get lines of their own: with them a table would be wider than terminals.
const columns: Column<ScheduleStatus>[] = [
  { title: 'SCHEDULE', value: ({ name }) => name },
  { title: 'CRON', value: ({ cron }) => cron },
  { title: 'LAST TICK', value: ({ last_tick }) => last_tick && relative(last_tick) },
  {
    title: 'NEXT TICK',
    value: next,
    style: ({ enabled, error }) => (!enabled ? 'dim' : error === null ? undefined : 'red'),
  },
];

function next({ enabled, error, next_tick }: ScheduleStatus): string | null {
  if (!enabled) return 'disabled';
  if (error !== null) return 'error';
  return next_tick && relative(next_tick);
}

/** The lines under a schedule's line in the table. */
function detailsOf(status: ScheduleStatus): string[] {
  const { name, queue, kind, time_zone, skipped, error, last_job_id, last_status } = status;
  const what = [
    ...(name === `${queue}.${kind}` ? [] : [`adds ${queue}.${kind}`]),
    ...(time_zone === 'UTC' ? [] : [`by the clocks of ${time_zone}`]),
    ...(skipped === 0 ? [] : [`${count(skipped, 'tick')} skipped`]),
  ].join(', ');
  const job = last_job_id === null ? '' : `job ${last_job_id} ${last_status ?? 'was deleted'}${outcome(status)}`;
  return [
    ...detail(what, 'dim'),
    ...detail(job, statusStyle(last_status ?? '')),
    ...detail(error === null ? '' : `cannot tick: ${error}`, 'red'),
  ];
}

function detail(text: string, style: Style): string[] {
  if (text === '') return [];
  const room = (surroundings().stdout.columns ?? Infinity) - 1;
  return [paint(style, cut(`    ${plain(text)}`, room))];
}

/**
 * The fields of a result that are not zero or empty. A job that completed in the end may still have an error of an
 * earlier attempt.
 */
function outcome({ last_status, last_error_code, last_error, last_result }: ScheduleStatus): string {
  if (last_status !== 'completed' && last_error_code !== null) return `, ${last_error_code}: ${last_error}`;
  if (last_result === null) return '';
  if (typeof last_result !== 'object') return `: ${JSON.stringify(last_result)}`;
  const told = Object.entries(last_result)
    .filter(([, value]) => value !== 0 && value !== false && value !== null)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return told.length === 0 ? '' : `: ${told.join(', ')}`;
}
