import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { publish } from './publish.ts';
import type { Result } from './result.ts';

// npm run bench -- publish [--json]
// Each figure is a ratio to its anchor, measured in the same run on the same machine. Leave the machine alone meanwhile.

const suites: Record<string, () => Promise<Result[]>> = { publish };

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const names = positionals.length > 0 ? positionals : Object.keys(suites);
const unknown = names.filter((name) => !(name in suites));
if (unknown.length > 0) {
  console.error(`No benchmark is named ${unknown.join(', ')}; there are ${Object.keys(suites).join(', ')}`);
  process.exit(2);
}

const results: Result[] = [];
for (const name of names) results.push(...(await suites[name]!()));

if (values.json) console.log(JSON.stringify({ results }));
else print(results);

function print(lines: Result[]): void {
  const [cpu] = cpus();
  console.log(
    `${cpus().length} x ${cpu?.model.trim()}, ${Math.round(totalmem() / 1e9)} GB, Node ${process.version}, sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}\n`,
  );
  const rows = lines.map(({ name, ratio, ours, anchor, unit, goal }) => [
    name,
    ratio.toFixed(2),
    `${ours.toFixed(0)} ${unit}`,
    `${anchor.toFixed(0)} ${unit}`,
    goal.toFixed(2),
  ]);
  const table = [['', 'ratio', 'ours', 'anchor', 'goal'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  for (const row of table)
    console.log(
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]! + 2))).join(''),
    );
}
