import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { rowmillStarted } from './support/cli.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { eventually } from './support/eventually.ts';
import { ffmpegs } from './support/ffmpegs.ts';
import { add } from './support/jobs.ts';
import { processes } from './support/process-table.ts';
import { spawnRowmill, spawnWorker } from './support/processes.ts';

// `rowmill start`: what it looks at before it works, and what dead workers leave to it.

let db: TestDatabase;
let dir: string;
before(async () => {
  db = await createDatabase();
  dir = await realpath(await mkdtemp(join(tmpdir(), 'main-')));
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true });
});

const env = (more: Record<string, string>) => ({ DATABASE_URL: db.url, DATA_DIR: dir, PORT: '0', ...more });

/** What `rowmill start` logs until it has said `words`. @param listening called as soon as it listens */
async function logOf(
  more: Record<string, string>,
  words = /"listening"/,
  listening: () => unknown = () => {},
): Promise<Record<string, unknown>[]> {
  const { child, ended } = rowmillStarted(['start'], { env: env(more) });
  let said = '';
  child.stdout.on('data', (chunk) => (said += String(chunk)));
  try {
    await eventually(() => assert.match(said, /"listening"/), 30_000);
    await listening();
    await eventually(() => assert.match(said, words), 30_000);
  } finally {
    child.kill('SIGTERM');
  }
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const { level, message, context } = JSON.parse(line) as Record<string, unknown>;
      return { level, message, ...(context as Record<string, unknown>) };
    });
}

test('a wrong FFMPEG_PATH is told at the start, unless no media is served', async () => {
  const wrong = { FFMPEG_PATH: '/bin/true' };
  const [media, publish] = await Promise.all([
    logOf(wrong, /ffmpeg cannot be used/),
    logOf({ ...wrong, QUEUES: 'publish' }),
  ]);
  const told = (log: Record<string, unknown>[]) => log.filter(({ message }) => String(message).includes('ffmpeg'));
  assert.deepEqual(told(publish), []);
  const [said, ...more] = told(media);
  assert.deepEqual([said!['level'], more], ['warn', []]);
  assert.match(JSON.stringify(said!['err']), /"ffmpeg_path_wrong","message":"FFMPEG_PATH: /);
});

test('it says which ffmpeg it found, and one that is slow to answer holds nothing up', async () => {
  const { ffmpeg, ffprobe } = ffmpegs[0]!.programs;
  const slow = join(dir, 'slow-ffmpeg');
  const answers = join(dir, 'answers');
  await symlink(ffmpeg.path, `${slow}-real`);
  await writeFile(slow, `#!/bin/sh\nuntil [ -e '${answers}' ]; do sleep 0.1; done\nexec '${slow}-real' "$@"\n`, {
    mode: 0o755,
  });
  const paths = { FFMPEG_PATH: slow, FFPROBE_PATH: ffprobe.path };
  const log = await logOf(paths, /ffmpeg found/, () => writeFile(answers, ''));
  const messages = log.map(({ message }) => String(message));
  const found = messages.findIndex((message) => message.startsWith('ffmpeg found'));
  assert.ok(messages.indexOf('listening') < found, messages.join());
  const { level, version, from, sandbox, missing } = log[found]!;
  assert.deepEqual([level, from, missing], [sandbox === 'none' ? 'warn' : 'info', 'setting', []]);
  assert.match(String(version), /^\S+$/);
  assert.match(String(sandbox), /^(bwrap|unshare|none)$/);
});

test('a worker killed in the middle of a video: ffmpeg is gone at once, its files when another starts', async (t) => {
  const sound = join(dir, 'sound.wav');
  const { ffmpeg, ffprobe } = ffmpegs[0]!.programs;
  await promisify(execFile)(ffmpeg.path, ['-v', 'error', '-f', 'lavfi', '-i', 'sine=d=1', sound]);
  const temp = join(dir, 'temp');
  const mine = { TEMP_DIR: temp, FFMPEG_PATH: ffmpeg.path, FFPROBE_PATH: ffprobe.path };
  const [dead, living] = await Promise.all([spawnWorker(db.url, mine), spawnWorker(db.url, mine)]);
  t.after(() => Promise.all([dead.end('SIGKILL'), living.end('SIGKILL')]));
  const running = async () => (await processes()).filter(({ name, cwd }) => name === 'ffmpeg' && cwd?.startsWith(temp));
  for (let i = 0; i < 4; i += 1) await add(db, 'media', 'endless_ffmpeg', { payload: { sound }, max_retries: 0 });
  await eventually(async () => assert.equal((await running()).length, 4));
  const { rows } = await db.query(`select from media_jobs where locked_by = $1`, [dead.id]);
  assert.equal(rows.length, 2);

  await dead.end('SIGKILL');
  await eventually(async () => assert.equal((await running()).length, 2));
  assert.equal((await readdir(temp)).length, 8);
  const other = await spawnRowmill(db.url, { DATA_DIR: dir, QUEUES: 'publish', TEMP_DIR: temp });
  t.after(() => other.kill('SIGKILL'));
  await eventually(async () => assert.equal((await readdir(temp)).length, 4));
  assert.equal((await running()).length, 2);
});
