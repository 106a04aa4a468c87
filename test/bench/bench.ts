import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { cleanup } from './cleanup.ts';
import { growth } from './growth.ts';
import { herd } from './herd.ts';
import { horizon } from './horizon.ts';
import { latency } from './latency.ts';
import type { Bench } from './measure.ts';
import { media } from './media.ts';
import { packageVersion } from './peers.ts';
import { publish } from './publish.ts';
import { queue } from './queue.ts';
import { recovery } from './recovery.ts';
import type { Result } from './result.ts';
import { openServer } from './server.ts';
import { table } from './table.ts';
import { wal } from './wal.ts';

// npm run bench -- [SUITE...] [--json] [--runs 3] [--jobs 40000] [--rows 1000000] [--seconds 15]
// Each figure is a ratio to its anchor, measured in the same run on the same machine. Leave the machine alone meanwhile.

const suites: Record<string, (bench: Bench) => Promise<Result[]>> = {
  queue,
  latency,
  growth,
  horizon,
  wal,
  herd,
  recovery,
  publish,
  cleanup,
  media,
};

const { values, positionals } = readArguments();
const names = positionals.length > 0 ? positionals : Object.keys(suites);
const unknown = names.filter((name) => !(name in suites));
if (unknown.length > 0)
  usage(`No benchmark is named ${unknown.join(', ')}; there are ${Object.keys(suites).join(', ')}`);

const sizes = { runs: count('runs'), jobs: count('jobs'), rows: count('rows'), seconds: count('seconds') };
const notes: string[] = [];
const results: Result[] = [];
const server = await openServer();
try {
  for (const name of names) {
    console.error(`${name} ...`);
    results.push(...(await suites[name]!({ server, ...sizes, notes })));
  }
} finally {
  await server.stop();
}

if (values.json) {
  for (const note of notes) console.error(note);
  console.log(JSON.stringify({ results }));
} else console.log([machine(), ...notes, '', table(results)].join('\n'));

function machine(): string {
  const [cpu] = cpus();
  return [
    `${cpus().length} x ${cpu?.model.trim()}, ${Math.round(totalmem() / 1e9)} GB`,
    `Node ${process.versions.node}, Postgres ${server.version}, graphile-worker ${packageVersion('graphile-worker')}`,
    `median of ${values.runs} runs`,
  ].join('\n');
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        runs: { type: 'string', default: '3' },
        jobs: { type: 'string', default: '40000' },
        rows: { type: 'string', default: '1000000' },
        seconds: { type: 'string', default: '15' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    return usage((error as Error).message);
  }
}

function count(option: 'runs' | 'jobs' | 'rows' | 'seconds'): number {
  const value = Number(values[option]);
  return Number.isInteger(value) && value > 0 ? value : usage(`--${option} takes a whole number above 0`);
}

function usage(message: string): never {
  console.error(message);
  process.exit(2);
}
