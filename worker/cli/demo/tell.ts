import { stat } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { loadStatements } from '../../base/db/sql.ts';
import { paint, print, printJson, size, table, type Column } from '../output.ts';
import { tellCounts, tellFailure, tellWhatToTry, type Stage } from './stage.ts';
import type { Shown } from './view.ts';

/** A job of the demo, and the picture that it is about. */
export type Picture = Shown & { result?: { source: Dimensions; display: Published; thumb: Published } | null };
type Dimensions = { width: number; height: number; bytes: number };
type Published = Dimensions & { key: string };

type File = Dimensions & { job_id: number; path: string };

const sql = loadStatements(import.meta.dirname, 'tell.sql', ['try_1', 'try_2', 'try_3']);

/** Prints the outcome, where the pictures are, and what to try next. @returns the exit code */
export async function tell(
  stage: Stage,
  pictures: Picture[],
  { own, json }: { own: boolean; json: boolean },
): Promise<number> {
  const files = await filesOf(pictures, join(stage.config.dataDir, 'storage'));
  const expected = pictures.every(({ status, broken }) => status === (broken ? 'failed' : 'completed'));
  if (json) {
    printJson({ ok: expected, jobs: pictures, files });
    return expected ? 0 : 1;
  }
  tellCounts(pictures);
  print();
  for (const picture of pictures) tellFiles(picture, files);
  for (const picture of pictures) tellFailure(picture);
  if (!own) await tellWhatToTry(stage, [sql.try_1, sql.try_2, sql.try_3]);
  if (!expected) print(paint('red', 'Not all came out as it should.'));
  return expected ? 0 : 1;
}

/** The files as they are on the disk. */
async function filesOf(pictures: Picture[], dir: string): Promise<File[]> {
  const published = pictures.flatMap(({ id, result }) =>
    result ? [result.display, result.thumb].map((made) => ({ ...made, job_id: id })) : [],
  );
  return Promise.all(
    published.map(async ({ job_id, key, width, height }) => {
      const path = join(dir, key);
      return { job_id, path: relative('', path), width, height, bytes: (await stat(path)).size };
    }),
  );
}

function tellFiles({ id, name, result }: Picture, files: File[]): void {
  const made = files.filter((file) => file.job_id === id);
  if (!result || made.length === 0) return;
  print(`${paint('bold', name)}, ${size(result.source.bytes)}  ->  ${dirname(made[0]!.path)}`);
  for (const line of table(made, fileColumns).slice(1)) print(`  ${line}`);
}

const fileColumns: Column<File>[] = [
  { title: 'PIXELS', width: 11, value: ({ width, height }) => `${width} x ${height}`, align: 'right' },
  { title: 'SIZE', width: 6, value: ({ bytes }) => size(bytes), align: 'right' },
  { title: 'FILE', value: ({ path }) => basename(path) },
];
