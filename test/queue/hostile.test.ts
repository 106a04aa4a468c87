import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { hostileRows } from '../support/hostile-rows.ts';
import { quietNow } from '../support/quiet-time.ts';

// 500 jobs as nobody should insert them, for a worker as users start it, with all kinds there are and other jobs to do.

const rowCount = Number(process.env['HOSTILE_ROWS'] ?? 500);
const seed = Number(process.env['HOSTILE_SEED'] ?? 1);
let db: TestDatabase;
let dir: string;
let worker: ChildProcess;
let log = '';

before(async () => {
  db = await createDatabase();
  dir = await mkdtemp(join(tmpdir(), 'hostile-'));
  await db.query('update queues set backoff_ms = 10, max_retries = 1');
  worker = spawn(process.execPath, [join(import.meta.dirname, '../../worker/cli/rowmill.js'), 'start'], {
    cwd: dir,
    env: { PATH: process.env['PATH'], DATABASE_URL: db.url, DATA_DIR: dir, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  worker.stdout!.on('data', (chunk) => (log += String(chunk)));
});
after(async () => {
  if (worker.exitCode === null) {
    const ended = once(worker, 'exit');
    worker.kill('SIGTERM');
    await ended;
  }
  await db.drop();
  await rm(dir, { recursive: true });
});

/** What Postgres says of JSON and of columns that are wrong: of syntax, of range, of its stack, and of checks. */
const postgresRefuses = ['22P02', '22P05', '22003', '54001', '23502', '23503', '23514'];

/** Inserts them, each by itself, with jobs as they should be in between. */
async function insertAll(): Promise<{ refused: string[]; hostile: number[]; good: number[] }> {
  const ids = { refused: [] as string[], hostile: [] as number[], good: [] as number[] };
  for (const [n, statement] of hostileRows(rowCount, seed).entries()) {
    if (n % 5 === 0) {
      const good = n % 2 === 0 ? `('media', 'thumbnails')` : `('cleanup', 'finished_jobs')`;
      const { rows } = await db.query<{ id: number }>(`insert into jobs (queue, kind) values ${good} returning id`);
      ids.good.push(rows[0]!.id);
    }
    try {
      const { rows } = await db.query<{ id: number }>(`${statement} returning id`);
      if (rows[0]) ids.hostile.push(rows[0].id);
    } catch (error) {
      const { code, constraint } = error as { code: string; constraint?: string };
      assert.ok(postgresRefuses.includes(code), `${code}: ${statement.slice(0, 300)}`);
      ids.refused.push(constraint ?? code);
    }
  }
  return ids;
}

/** Asks for its health until told to stop. @returns the longest that an answer took, in the time of a quiet machine */
async function watchHealth(port: number, stop: AbortSignal): Promise<number> {
  let longest = 0;
  while (!stop.aborted) {
    const asked = quietNow();
    const answer = await fetch(`http://127.0.0.1:${port}/health`);
    const said = await answer.text();
    longest = Math.max(longest, quietNow() - asked);
    assert.equal(answer.status, 200, said);
    await sleep(20);
  }
  return longest;
}

test('each is refused under a name or ends as a dead letter with one, and the worker goes on as ever', async (t) => {
  const port = await eventually(() => Number(/"port":(\d+)/.exec(log)![1]));
  const watching = new AbortController();
  const health = watchHealth(port, watching.signal);
  health.catch(() => {});
  const { refused, hostile, good } = await insertAll();
  await eventually(async () => {
    const { rows } = await db.query(
      `select id, kind, status, error_code from jobs where id = any($1) and status in ('pending', 'processing')`,
      [[...hostile, ...good]],
    );
    assert.deepEqual(rows, []);
  }, 120_000);
  watching.abort();

  const { rows: ends } = await db.query<{ status: string; error_code: string | null; n: number }>(
    `select status, error_code, count(*) as n from jobs where id = any($1) group by 1, 2 order by n desc`,
    [hostile],
  );
  const peak = Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${worker.pid}/status`, 'utf8'))![1]) / 1_000;
  const longest = await health;
  t.diagnostic(`refused ${refused.length}: ${[...new Set(refused)].join(', ')}`);
  t.diagnostic(ends.map(({ status, error_code, n }) => `${n} ${error_code ?? status}`).join(', '));
  t.diagnostic(`${good.length} others completed; peak ${Math.round(peak)} MB; health within ${Math.round(longest)} ms`);

  const { rows: others } = await db.query(`select distinct status from jobs where id = any($1)`, [good]);
  assert.deepEqual(others, [{ status: 'completed' }]);
  // What a kind takes in spite of its looks may complete. No end is one that nobody foresaw.
  const unforeseen = ends.filter(
    ({ status, error_code }) =>
      status !== 'completed' &&
      !/^(?!unexpected_error|postgres_|worker_lost|result_not_stored)[a-z][a-z0-9_]+$/.test(error_code ?? ''),
  );
  assert.deepEqual(unforeseen, []);
  assert.ok(peak < 600, `${peak} MB`);
  assert.ok(longest < 1_000, `${longest} ms`);
  assert.equal(worker.exitCode, null);
});
