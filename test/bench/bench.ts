import { cpus, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { against } from './against.ts';
import { analytics } from './analytics.ts';
import { within } from '../../worker/base/deadline.ts';
import { cleanup } from './cleanup.ts';
import { commits } from './commits.ts';
import { failover } from './failover.ts';
import { growth } from './growth.ts';
import { herd } from './herd.ts';
import { horizon } from './horizon.ts';
import { idle } from './idle.ts';
import { ingest } from './ingest.ts';
import { latency } from './latency.ts';
import type { Bench } from './measure.ts';
import { media } from './media.ts';
import { notification } from './notification.ts';
import { notify } from './notify.ts';
import { observer } from './observer.ts';
import { packageVersion } from './peers.ts';
import { producers } from './producers.ts';
import { publish } from './publish.ts';
import { queue } from './queue.ts';
import { recovery } from './recovery.ts';
import type { Result } from './result.ts';
import { openServer } from './server.ts';
import { full, smoke, type Sizes } from './sizes.ts';
import { table } from './table.ts';
import { wal } from './wal.ts';

// npm run bench -- [SUITE...] [--against REV] [--json] [--smoke] [--runs 3] [--jobs 40000] [--rows 1000000]
//   [--seconds 15] [--deadline 60] [--trace]
//
// Each figure is a ratio to its anchor, measured in the same run on the same machine. Run nothing else meanwhile.
// --against: this checkout and another commit in turn, and how the ratios of both compare.
// --trace: latency tells what happened while its slowest jobs waited.
// --smoke: everything once and small, to see that it runs. --deadline: minutes that a suite may take.

const suites: Record<string, (bench: Bench) => Promise<Result[]>> = {
  queue,
  observer,
  commits,
  latency,
  growth,
  horizon,
  wal,
  herd,
  idle,
  producers,
  ingest,
  notify,
  recovery,
  failover,
  publish,
  notification,
  cleanup,
  analytics,
  media,
};

const { values, positionals } = readArguments();
const names = positionals.length > 0 ? positionals : Object.keys(suites);
const unknown = names.filter((name) => !(name in suites));
if (unknown.length > 0)
  usage(`No benchmark is named ${unknown.join(', ')}; there are ${Object.keys(suites).join(', ')}`);

const sizes = readSizes();
const notes: string[] = [];
const results: Result[] = [];
if (values.against) {
  results.push(...(await against(values.against, argumentsOfRun(), sizes.runs, notes)));
  print(`against ${values.against}, each ratio to its anchor; ours: this checkout, anchor: that commit`);
  process.exit(0);
}

const server = await openServer();
try {
  for (const name of names) {
    console.error(`${name} ...`);
    const started = performance.now();
    results.push(
      ...(await inTime(sizes.deadline, name, suites[name]!({ server, ...sizes, notes, trace: values.trace }))),
    );
    console.error(`${name}: ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  }
} catch (error) {
  console.error(error);
  // What the suite left running holds connections, and the event loop.
  await Promise.race([server.stop(), sleep(10_000)]);
  process.exit(1);
}
await server.stop();

print(`Postgres ${server.version}`);

function print(about: string): void {
  if (values.json) {
    for (const note of notes) console.error(note);
    console.log(JSON.stringify({ results }));
  } else console.log([machine(about), ...notes, '', table(results)].join('\n'));
}

function machine(about: string): string {
  const [cpu] = cpus();
  return [
    `${cpus().length} x ${cpu?.model.trim()}, ${Math.round(totalmem() / 1e9)} GB`,
    `Node ${process.versions.node}, ${about}, graphile-worker ${packageVersion('graphile-worker')}`,
    values.smoke ? 'smoke sizes: these figures mean nothing' : `median of ${sizes.runs} runs`,
  ].join('\n');
}

/** @throws bench_deadline, when `work` has not ended after so many minutes */
async function inTime<T extends object>(minutes: number, name: string, work: Promise<T>): Promise<T> {
  const done = await within(minutes * 60_000, work);
  if (!done) throw new Error(`bench_deadline: the suite ${name} had not ended after ${minutes} minutes`);
  return done;
}

function readArguments() {
  try {
    const size = { type: 'string' } as const;
    return parseArgs({
      options: {
        against: size,
        json: { type: 'boolean', default: false },
        smoke: { type: 'boolean', default: false },
        trace: { type: 'boolean', default: false },
        runs: size,
        jobs: size,
        rows: size,
        seconds: size,
        deadline: size,
      },
      allowPositionals: true,
    });
  } catch (error) {
    return usage((error as Error).message);
  }
}

/** The arguments for one run of one of the two commits. */
function argumentsOfRun(): string[] {
  const given = (['jobs', 'rows', 'seconds', 'deadline'] as const).flatMap((name) =>
    values[name] === undefined ? [] : [`--${name}`, values[name]],
  );
  return [...names, ...(values.smoke ? ['--smoke'] : []), ...given];
}

function readSizes(): Sizes {
  const read = { ...(values.smoke ? smoke : full) };
  for (const option of ['runs', 'jobs', 'rows', 'seconds', 'deadline'] as const)
    if (values[option] !== undefined) read[option] = count(option, values[option]);
  return read;
}

function count(option: string, given: string): number {
  const value = Number(given);
  return Number.isInteger(value) && value > 0 ? value : usage(`--${option} takes a whole number above 0`);
}

function usage(message: string): never {
  console.error(message);
  process.exit(2);
}
