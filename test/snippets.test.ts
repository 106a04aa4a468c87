import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { promisify } from 'node:util';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { rolledBack } from './support/sql-files.ts';

// What READMEs tell to type is right: SQL is executed as it stands, each command of the shell is one that there is.
// Others run what needs more: first-job.test.ts the TypeScript of README, queue/import.test.ts that of sql/import,
// queue/install/restore.test.ts backups, deploy/ the images.

const root = join(import.meta.dirname, '..');
const readmes = globSync('**/README.md', { cwd: root, exclude: (name) => /node_modules|^\./.test(name) });
const texts = readmes.map((path) => [path, readFileSync(join(root, path), 'utf8')] as const);

/** Tables of the reader's own, which snippets write to. */
const readersOwn = 'create table products (id bigint, photo_url text)';

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
  await db.query(readersOwn);
});
after(() => db.drop());

suite('SQL in READMEs runs as it stands', () => {
  const blocks = texts.flatMap(([path, text]) =>
    [...blocksOf(text, 'sql'), ...spansOf(text)].map((sql) => [path, sql]),
  );
  for (const [path, sql] of blocks)
    test(`${path}: ${sql!.split('\n')[0]}`, () => rolledBack(db, async (tx) => void (await tx.query(sql!))));

  test('there are some', () => assert.ok(blocks.length > 10, `${blocks.length}`));
});

suite('JSON in READMEs parses', () => {
  for (const [path, text] of texts)
    for (const block of blocksOf(text, 'json')) test(path, () => void JSON.parse(block));
});

suite('shell commands in READMEs are there', async () => {
  const scripts = Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts);
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'worker/cli/rowmill.js'), '--help']);
  const commands = Array.from(stdout.matchAll(/^ {2}([a-z]+) /gm), ([, name]) => name!);

  for (const [path, text] of texts) {
    for (const block of blocksOf(text, 'sh'))
      test(`${path}: ${block.split('\n')[0]}`, async () => {
        await promisify(execFile)('bash', ['-n', '-c', block]);
      });
    test(`commands of ${path}`, () => {
      const typed = [...blocksOf(text, 'sh'), ...Array.from(text.matchAll(/`([^`\n]+)`/g), ([, span]) => span!)].join(
        '\n',
      );
      assert.deepEqual(
        namesAfter(typed, 'rowmill').filter((name) => !commands.includes(name)),
        [],
      );
      assert.deepEqual(
        namesAfter(typed, 'npm run').filter((name) => !scripts.includes(name)),
        [],
      );
    });
  }
});

/** The blocks of a language, without `...`. */
function blocksOf(text: string, language: string): string[] {
  return Array.from(text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm')), ([, block]) => block!);
}

/** Whole statements between backticks in a sentence. What has `...` in it is the shape of one. */
function spansOf(text: string): string[] {
  const spans = text.matchAll(/`((?:select|update|insert into|delete from) [^`]+)`/g);
  return Array.from(spans, ([, span]) => span!).filter((span) => !span.includes('...') && /=|\(|\*/.test(span));
}

/** The words that follow a command: `rowmill status` has `status`. */
function namesAfter(text: string, command: string): string[] {
  return Array.from(text.matchAll(new RegExp(`^(?:.* )?${command} ([a-z][a-z:-]+)`, 'gm')), ([, name]) => name!);
}
