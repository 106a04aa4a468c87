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
} from '../queue/schedules.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, integer, json, kindOf, payloadOf, type Kind } from './options.ts';
import { note, print, printJson, relative, statusStyle, table, type Column } from './output.ts';

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
    for (const line of table(schedules, columns)) print(line);
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
  .addOption(json())
  .action(async (name: string, options: SetOptions) => {
    const { loadRegistry } = await import('../queue/registry.ts');
    const registry = await loadRegistry();
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

const columns: Column<ScheduleStatus>[] = [
  { title: 'SCHEDULE', value: ({ name }) => name },
  { title: 'CRON', value: ({ cron, time_zone }) => `${cron} ${time_zone}` },
  { title: 'JOB', value: ({ queue, kind }) => `${queue}.${kind}` },
  { title: 'LAST TICK', value: ({ last_tick }) => last_tick && relative(last_tick) },
  {
    title: 'NEXT TICK',
    value: next,
    style: ({ enabled, error }) => (!enabled ? 'dim' : error ? 'red' : undefined),
  },
  { title: 'SKIPPED', value: ({ skipped }) => skipped, align: 'right' },
  { title: 'LAST JOB', value: ({ last_job_id }) => last_job_id, align: 'right' },
  { title: 'STATUS', value: ({ last_status }) => last_status, style: (row) => statusStyle(row.last_status ?? '') },
  { title: 'LAST RESULT', value: result },
];

function next({ enabled, error, next_tick }: ScheduleStatus): string | null {
  if (!enabled) return 'disabled';
  if (error !== null) return 'error';
  return next_tick && relative(next_tick);
}

function result({ error, last_error_code, last_error, last_result }: ScheduleStatus): string | null {
  if (error !== null) return error;
  if (last_error_code !== null) return `${last_error_code}: ${last_error}`;
  return last_result === null ? null : JSON.stringify(last_result);
}
