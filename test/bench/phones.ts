import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measure, optimised, thumbnails, variants } from '../support/picture-memory.ts';
import { budgetMb, threeAtATime } from './phones/group.ts';
import { areAlike, isExpected, makeOriginals, type Original } from './phones/pictures.ts';
import { openServer } from './server.ts';

// Pictures of the sizes that phones make, three at a time, by a worker for 512 MB that is started as a user starts it:
//
//   node test/bench/phones.ts --megapixels 12,24,48 --rounds 2 --only HEIC
//   node test/bench/phones.ts --group-only
//
// Prints one table of the estimate of each picture and the peak of fresh processes that make this one alone, for each
// kind of job; then the most memory that the worker and its ffmpeg held together. Exit code 1 if that was more than 512
// MB without pages of files, if an estimate is below its peak or more than 30 % above it for no reason that the table
// tells, if the worker was killed, or if a job failed that should not. Takes some minutes. Linux only.

const { values } = parseArgs({
  options: {
    megapixels: { type: 'string', default: '12,24,48' },
    /** How often the worker makes each picture. */
    rounds: { type: 'string', default: '1' },
    /** Only pictures with this in their names. */
    only: { type: 'string', default: '' },
    /** No table: only three at a time. */
    'group-only': { type: 'boolean', default: false },
  },
});

const kinds = { 'publish.file': variants, 'media.image': optimised(), 'media.thumbnails': thumbnails };

type Row = { picture: string; kind: string; estimate_mb?: number; peak_mb?: number; ratio?: number; note?: string };

/** How far an estimate may be above the peak: a share of it, or megabytes where it is small. */
const [mostRatio, slackMb] = [1.3, 8];

async function main(): Promise<boolean> {
  const server = await openServer();
  try {
    const originals = await makeOriginals(join(server.dir, 'originals'), values.megapixels.split(','), values.only);
    const fits = values['group-only'] || (await compare(originals));
    const db = await server.create('rowmill');
    const holds = await threeAtATime(db, originals, join(server.dir, 'data'), Number(values.rounds));
    await db.drop();
    return holds && fits;
  } finally {
    await server.stop();
  }
}

/** Whether no estimate is below the peak of a picture that is made alone, and none is too high. */
async function compare(originals: Original[]): Promise<boolean> {
  const rows: Row[] = [];
  for (const { name, path } of originals)
    for (const [kind, call] of Object.entries(kinds)) {
      const copy = `${path}.alone`;
      await copyFile(path, copy);
      rows.push({ picture: name, kind, ...(await estimateAndPeak(name, copy, call)) });
      await rm(copy);
    }
  for (const row of rows) row.note ??= judge(row, rows);
  console.table(rows);
  const counts = Map.groupBy(rows, ({ note }) => note?.split(':')[0] ?? '');
  for (const note of Object.values(notes)) console.log(`${note}: ${counts.get(note)?.length ?? 0} of ${rows.length}`);
  return ![notes.below, notes.above, notes.refused].some((note) => counts.has(note));
}

const notes = {
  below: 'BELOW THE PEAK',
  above: 'TOO HIGH',
  refused: 'REFUSED',
  covers: 'more than 30 % above, for what is estimated alike',
  small: 'more than 30 % above, by 8 MB at most',
  expected: 'refused as the README says',
};

/** The peak of a HEIC depends on when V8 collects the garbage of its thread: it differs by 15 MB between processes. */
const processesFor = (name: string) => (name.includes('HEIC') ? 6 : 1);

async function estimateAndPeak(name: string, path: string, call: string): Promise<Partial<Row>> {
  try {
    const { estimate, growth: first } = await measure(path, call, { budgetMb });
    let growth = first;
    for (let n = 1; n < processesFor(name); n++)
      growth = Math.max(growth, (await measure(path, call, { budgetMb })).growth);
    return {
      estimate_mb: Math.round(estimate),
      peak_mb: Math.round(growth),
      ratio: Math.round((estimate / growth) * 100) / 100,
    };
  } catch (error) {
    const { message } = error as Error;
    return { note: isExpected(name, message) ? notes.expected : `${notes.refused}: ${message}` };
  }
}

/** What there is to say of an estimate that is not within 30 % above its peak. */
function judge({ picture, kind, estimate_mb: estimate, peak_mb: peak, ratio }: Row, rows: Row[]): string {
  if (ratio! < 1) return notes.below;
  if (ratio! <= mostRatio) return '';
  if (estimate! - peak! <= slackMb) return notes.small;
  for (const { picture: other, kind: sort, peak_mb: mb = 0 } of rows)
    if (areAlike(picture, other) && sort === kind && estimate! <= mb * mostRatio)
      return `${notes.covers}: ${other} has ${mb}`;
  return notes.above;
}

process.exitCode = (await main()) ? 0 : 1;
