import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

// The README's first job: its files, as they stand there, their own test, and the lines of the client, on an embedded
// Postgres.

const root = join(import.meta.dirname, '..');
/** Where a project that installs the package finds its modules. */
const modules: Record<string, string> = {
  'rowmill/client': 'worker/queue/client/client.ts',
  'rowmill/job': 'worker/queue/job.ts',
  'rowmill/testing': 'worker/testing/testing.ts',
  zod: 'node_modules/zod/index.js',
};

test('the first job of README runs, and its test passes', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'first-job-'));
  t.after(() => rm(dir, { recursive: true }));
  const section = `${await sectionOfReadme()}${await readFile(join(root, 'worker/testing/README.md'), 'utf8')}`;
  const files = filesOf(section);
  const names = ['jobs/greeting/hello.ts', 'migrations/0001_greetings.sql', 'jobs/greeting/hello.test.ts'];
  assert.deepEqual(Object.keys(files), names);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text.replaceAll(/ from '([^.][^']*)'/g, importOf));
  }
  await writeFile(
    join(dir, 'jobs/greeting/add.test.ts'),
    clientTest(section).replaceAll(/ from '([^.][^']*)'/g, importOf),
  );
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
  const command = `${/`node (--test [^`]+)`/.exec(section)![1]!} jobs/greeting/add.test.ts`;
  const { stdout } = await promisify(execFile)(process.execPath, command.split(' '), { cwd: dir, env });
  assert.match(stdout, /^ℹ pass 2$/m);
});

async function sectionOfReadme(): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  return /^## Your first job$[^]*?(?=^## )/m.exec(readme)![0];
}

/** The lines that add a job from TypeScript, with what they take as given around them. */
function clientTest(section: string): string {
  const [imported, ...lines] = /^import { createClient }[^]*?(?=```)/m.exec(section)![0].trimEnd().split('\n');
  return `${imported}
    import assert from 'node:assert/strict';
    import { test } from 'node:test';
    import { startTestWorker } from 'rowmill/testing';
    import hello from './hello.ts';

    test('a job is added and waited for', async () => {
      await using worker = await startTestWorker({ jobs: './jobs', migrations: './migrations' });
      const { databaseUrl, db: tx } = worker;
      ${lines.join('\n      ')}
      assert.deepEqual(row.result, { greeted: 'you' });
      await client.close();
    });`;
}

/** Each block of code after the name of its file. */
function filesOf(section: string): Record<string, string> {
  const blocks = section.matchAll(
    /`((?:jobs|migrations)\/[\w/.]+\.(?:ts|sql))`[^`]*(?:`[^`\n]*`[^`]*)?```\w+\n([^]*?)```/g,
  );
  return Object.fromEntries(Array.from(blocks, ([, name, text]) => [name!, text!]));
}

const importOf = (whole: string, name: string) =>
  modules[name] ? ` from '${pathToFileURL(join(root, modules[name])).href}'` : whole;
