import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, suite, test, type TestContext } from 'node:test';
import { UsageError } from '../../worker/base/errors.ts';
import { addQueue } from '../../worker/queue/install/queues.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { runRowmill } from '../support/cli.ts';
import { add, reads } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Kinds of the user's own, in a folder of theirs.

const root = join(import.meta.dirname, '../..');
let rig: Rig;
before(async () => {
  rig = await createRig();
});
after(() => rig.close());

const hello = (name = 'notification.hello') => `
  import { job, PermanentError } from '${pathToFileURL(join(root, 'worker/queue/job.ts')).href}';
  import { z } from '${pathToFileURL(join(root, 'node_modules/zod/index.js')).href}';
  type Greeting = { greeting: string };
  export default job({
    name: '${name}',
    payload: z.object({ to: z.string() }),
    async run({ payload, commit }): Promise<Greeting> {
      if (payload.to === 'nobody') throw new PermanentError('nobody_there', 'Nobody is there');
      return commit(async () => ({ greeting: 'Hello, ' + payload.to }));
    },
  });`;

async function folder(t: TestContext, files: Record<string, string>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'own-kinds-'));
  t.after(() => rm(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text);
  }
  return dir;
}

test('a kind of TypeScript and one of JavaScript run beside those of Rowmill, in queues of either', async (t) => {
  const dir = await folder(t, {
    'notification/hello.ts': hello(),
    'notification/hello.test.ts': 'throw new Error("no kind")',
    'notification/sender/words.ts': 'throw new Error("no kind")',
    'shared.ts': 'throw new Error("no kind")',
    'README.md': '',
    'own_thumbs/make.mjs': `export default {
      name: 'own_thumbs.make',
      payload: { '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value }) } },
      run: async ({ payload }) => payload,
    };`,
  });
  const registry = await loadRegistry(dir);
  assert.ok(registry.has('media.image'));
  const missing =
    /^There is no queue own_thumbs, which the kind own_thumbs\.make needs: run rowmill queue add own_thumbs$/;
  await assert.rejects(rig.worker(registry), (error) => error instanceof UsageError && missing.test(error.message));

  await addQueue(rig.db.url, { name: 'own_thumbs', backoff_ms: 20 });
  await rig.worker(registry, { QUEUES: 'notification,own_thumbs' });
  const done = { status: 'completed' };
  const greeting = await reads(rig.db, await add(rig.db, 'notification', 'hello', { payload: { to: 'you' } }), done);
  assert.deepEqual(greeting['result'], { greeting: 'Hello, you' });
  const made = await reads(rig.db, await add(rig.db, 'own_thumbs', 'make', { payload: { n: 1 } }), done);
  assert.deepEqual(made['result'], { n: 1 });
  const failed = { status: 'failed', error_code: 'nobody_there' };
  await reads(rig.db, await add(rig.db, 'notification', 'hello', { payload: { to: 'nobody' } }), failed);

  const env = { DATABASE_URL: rig.db.url };
  const added = await runRowmill(['add', 'notification.hello', '{"to": "me"}', '--jobs', dir, '--wait'], { env });
  assert.match(added.stdout, /Hello, me/);
  const slip = await runRowmill(['add', 'notification.hello', '{"ot": "me"}'], { env: { ...env, JOBS_DIR: dir } });
  assert.match(slip.stderr, /notification\.hello knows no key "ot"/);
  const doctor = await runRowmill(['doctor'], { env: { ...env, JOBS_DIR: dir } });
  assert.match(doctor.stdout, /^ok +own kinds +2 in /m);
  const unknown = await runRowmill(['add', 'notification.hello', '{}'], { env });
  assert.match(unknown.stderr, /No handler is named notification\.hello/);
});

test('the errors of another copy of the package mean the same', async (t) => {
  const dir = await folder(t, {
    'own_copies/package/errors.ts': await readFile(join(root, 'worker/base/errors.ts'), 'utf8'),
    'own_copies/make.ts': `
      import { PermanentError, Snooze } from './package/errors.ts';
      export default {
        name: 'own_copies.make',
        payload: { '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value }) } },
        async run({ payload }) {
          if (payload.late) throw new Snooze(60_000, 'later');
          throw new PermanentError('copied', 'It comes from a copy');
        },
      };`,
  });
  await addQueue(rig.db.url, { name: 'own_copies' });
  await rig.worker(await loadRegistry(dir), { QUEUES: 'own_copies' });
  const failed = await add(rig.db, 'own_copies', 'make');
  await reads(rig.db, failed, { status: 'failed', error_code: 'copied', attempt: 1 });
  const late = await add(rig.db, 'own_copies', 'make', { payload: { late: true } });
  await reads(rig.db, late, { status: 'pending', attempt: 1, retry_count: 0, error: null });
});

suite('what is wrong with a folder or a file is said', () => {
  const cases: [string, Record<string, string>, RegExp][] = [
    [
      'no kind',
      { 'hello.ts': hello() },
      /^There is no kind in .*: a kind is a file such as .*\/notification\/hello\.ts$/,
    ],
    [
      'no job',
      { 'notification/hello.ts': 'export const a = 1;' },
      /hello\.ts has no job as its default export: it needs /,
    ],
    [
      'another name',
      { 'notification/hello.ts': hello('notification.bye') },
      /hello\.ts names its job notification\.bye: name it notification\.hello, or move the file$/,
    ],
    ['a name that no kind can have', { 'notification/say-hello.ts': hello() }, /say-hello\.ts cannot be a kind: /],
    [
      'a kind of ours',
      { 'media/image.ts': hello('media.image') },
      /has the kind media\.image, which comes with Rowmill/,
    ],
    [
      'two files for a kind',
      {
        'notification/hello.ts': hello(),
        'notification/hello.mjs': hello().replace(/type .*|: Promise<Greeting>/g, ''),
      },
      /has two files for the kind notification\.hello/,
    ],
    [
      'no schema',
      { 'notification/hello.ts': `export default { name: 'notification.hello', run: async () => {} };` },
      /has no schema as payload/,
    ],
    [
      'a slip',
      { 'notification/hello.ts': 'export default job({' },
      /hello\.ts does not load:\n[\s\S]*hello\.ts:1\n[\s\S]*SyntaxError/,
    ],
    [
      'what Node cannot strip',
      { 'notification/hello.ts': 'enum A { B }' },
      /does not load:\n[\s\S]*enum is not supported/,
    ],
  ];
  for (const [what, files, message] of cases)
    test(what, async (t) => {
      const dir = await folder(t, files);
      await assert.rejects(loadRegistry(dir), (error) => {
        assert.ok(error instanceof UsageError, String(error));
        assert.match(error.message, message);
        return true;
      });
    });

  test('a folder that is not there', () =>
    assert.rejects(
      loadRegistry('/nowhere/jobs'),
      /^UsageError: The folder of kinds \/nowhere\/jobs cannot be read \(ENOENT\)$/,
    ));
});
