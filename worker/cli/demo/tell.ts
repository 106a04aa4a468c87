import { stat } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { Config } from '../../base/config/config.ts';
import type { Db } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { psqlLine } from '../../embedded/connection.ts';
import type { Status } from '../../queue/client/operate.ts';
import { paint, plain, print, printJson, size, table, type Column } from '../output.ts';

/** A job of the demo, and the picture that it is about. */
export type Picture = {
  id: number;
  name: string;
  about: string;
  broken: boolean;
  status: Status;
  started_at?: Date | null;
  completed_at?: Date | null;
  error_code?: string | null;
  error?: string | null;
  result?: { source: Dimensions; display: Published; thumb: Published } | null;
};
type Dimensions = { width: number; height: number; bytes: number };
type Published = Dimensions & { key: string };

type File = Dimensions & { job_id: number; path: string };

const sql = loadStatements(import.meta.dirname, 'tell.sql', ['try_1', 'try_2', 'try_3']);

/** Prints the outcome, where the pictures are, and what to try next. @returns the exit code */
export async function tell(
  db: Db,
  pictures: Picture[],
  config: Config,
  { own, json }: { own: boolean; json: boolean },
): Promise<number> {
  const files = await filesOf(pictures, join(config.dataDir, 'storage'));
  const expected = pictures.every(({ status, broken }) => status === (broken ? 'failed' : 'completed'));
  if (json) {
    printJson({ ok: expected, jobs: pictures, files });
    return expected ? 0 : 1;
  }
  const counts = Object.entries(Object.groupBy(pictures, ({ status }) => status));
  print(counts.map(([status, rows]) => `${rows.length} ${status}`).join(', '));
  print();
  for (const picture of pictures) tellFiles(picture, files);
  for (const picture of pictures) tellFailure(picture);
  if (!own) await tellWhatToTry(db, config);
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

function tellFailure({ id, name, status, broken, error_code, error }: Picture): void {
  if (status === 'completed') {
    if (broken) print(`\nJob ${id}, ${name}, completed, and should have failed`);
    return;
  }
  print();
  print(`Job ${id}, ${name}, ${status}${broken ? ', as it should' : ''}:`);
  print(`  error_code  ${paint('red', error_code ?? '-')}`);
  print(`  error       ${plain(error ?? '-')}`);
}

async function tellWhatToTry(db: Db, { dataDir, schema }: Config): Promise<void> {
  print();
  print('A job is a row, so SQL is how you look at it. With what they answer now:');
  for (const statement of [sql.try_1, sql.try_2, sql.try_3]) {
    const rows = await query<Record<string, unknown>>(db, statement);
    print();
    for (const line of `${statement.text};`.split('\n')) print(`  ${paint('bold', line)}`);
    for (const line of table(rows, Object.keys(rows[0] ?? {}).map(columnOf))) print(`    ${line}`);
  }
  const isDefault = dataDir === join(process.cwd(), '.data');
  print();
  print('The Postgres of the demo stops now. To keep one up on the same data:');
  print(`  ${schema ? `ROWMILL_SCHEMA=${schema} ` : ''}${isDefault ? '' : `DATA_DIR=${dataDir} `}npm start`);
  print(`  ${psqlLine({ dataDir, schema })}   # in another terminal`);
}

const columnOf = (title: string): Column<Record<string, unknown>> => ({
  title,
  value: (row) => row[title] as string | number | null,
});
