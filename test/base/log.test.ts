import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import { createLog } from '../../worker/base/log.ts';
import { endLogFiles } from '../../worker/base/log-files.ts';
import { eventually } from '../support/eventually.ts';

type Line = { level: string; timestamp: string; message: string; context?: Record<string, unknown> };

const linesOf = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);

async function bytesIn(logDir: string): Promise<number> {
  const sizes = (await readdir(logDir)).map(async (name) => (await stat(join(logDir, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rowmill-log-'));
});
after(() => rm(dir, { recursive: true, force: true }));

test('a line has a level, a timestamp, a message, and all else in its context', () => {
  const out = new PassThrough();
  const log = createLog({ logLevel: 'info', secrets: ['hunter2'] }, out);
  const child = log.child({ queue: 'media' }).child({ kind: 'image', job_id: 1 });
  child.warn({ err: new Error('with hunter2'), kind: 'video' }, 'attempt ended');
  child.child({}, { serializers: { err: () => 'cut' } }).info({ err: new Error('x') }, 'cut');
  log.info('alone');
  const [first, second, third] = linesOf(String(out.read()));
  assert.deepEqual(Object.keys(first!).toSorted(), ['context', 'level', 'message', 'timestamp']);
  assert.deepEqual([first!.level, first!.message], ['warn', 'attempt ended']);
  assert.ok(Math.abs(Date.parse(first!.timestamp) - Date.now()) < 60_000);
  const { err, ...context } = first!.context!;
  assert.deepEqual(context, { queue: 'media', kind: 'video', job_id: 1 });
  assert.equal((err as { message: string }).message, 'with [redacted]');
  assert.deepEqual(second!.context, { queue: 'media', kind: 'image', job_id: 1, err: 'cut' });
  assert.deepEqual([third!.message, third!.context ?? {}], ['alone', {}]);
});

suite('LOG_DIR', () => {
  test('combined.log has all lines, error.log those of errors; standard output has them, too', async () => {
    const logDir = join(dir, 'a', 'b');
    const out = new PassThrough();
    const log = createLog({ logLevel: 'info', secrets: [], logDir }, out);
    log.debug('not at this level');
    log.info('one');
    log.error({ err: new Error('x') }, 'two');
    log.fatal('three');
    await endLogFiles();
    const read = async (name: string) =>
      linesOf(await readFile(join(logDir, name), 'utf8')).map((line) => line.message);
    assert.deepEqual(await read('combined.log'), ['one', 'two', 'three']);
    assert.deepEqual(await read('error.log'), ['two', 'three']);
    assert.deepEqual(
      linesOf(String(out.read())).map(({ message }) => message),
      ['one', 'two', 'three'],
    );
  });

  test('a file of 20 MB is put aside, and no line is lost', async () => {
    const logDir = join(dir, 'rotated');
    const log = createLog({ logLevel: 'info', secrets: [], logDir }, new PassThrough().resume());
    const words = 'x'.repeat(10_000);
    for (let n = 0; n < 2_500; n++) {
      log.info({ n, words }, 'long');
      if (n % 500 === 0) await eventually(async () => assert.ok((await bytesIn(logDir)) > n * words.length));
    }
    await endLogFiles();
    const names = (await readdir(logDir)).filter((name) => name.startsWith('combined')).toSorted();
    assert.deepEqual(names, ['combined.log', 'combined.log.1']);
    const texts = await Promise.all(names.toReversed().map((name) => readFile(join(logDir, name), 'utf8')));
    assert.deepEqual(
      linesOf(texts.join('')).map(({ context }) => context!['n']),
      Array.from({ length: 2_500 }, (_, n) => n),
    );
    assert.equal((await stat(join(logDir, 'combined.log'))).mode & 0o007, 0, 'others cannot read it');
  });

  test('a folder that cannot be written holds nothing up', async (t) => {
    const file = join(dir, 'file');
    await writeFile(file, '');
    const told: string[] = [];
    t.mock.method(process.stderr, 'write', (text: string) => void told.push(text));
    const out = new PassThrough();
    const log = createLog({ logLevel: 'info', secrets: [], logDir: join(file, 'below') }, out);
    log.error('one');
    log.error('two');
    await endLogFiles();
    assert.equal(linesOf(String(out.read())).length, 2);
    assert.equal(told.filter((text) => text.includes('combined.log cannot be written')).length, 1);
  });
});
