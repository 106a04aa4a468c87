import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import { z } from 'zod';
import { createApp, type App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import { Keyring } from '../../worker/base/seal.ts';
import { createClient, type Client } from '../../worker/queue/client/client.ts';
import { searchQueue } from '../../worker/queue/fleet/sensitive.ts';
import { job, PermanentError, Snooze, type JobContext } from '../../worker/queue/job.ts';
import type { Registry } from '../../worker/queue/registry.ts';
import { asCulprit, logOfCulprits } from '../../worker/queue/run/culprit.ts';
import { Stop } from '../../worker/queue/run/stop.ts';
import { startWorker, type Worker } from '../../worker/queue/worker.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { dump } from '../support/dump.ts';
import { silent } from '../support/log.ts';
import { add, reads, rows } from '../support/jobs.ts';

// Sensitive values of payloads: in the row they are sealed, and the handler has them in the clear.

const SEAL_KEYS = `k1:${randomBytes(32).toString('base64')}`;
const keyring = new Keyring(SEAL_KEYS);
const canary = 'canary-41d5@example.com';
const code = 48_151_623;
const sealed = /^sealed:k1:/;

const sensitive = ['email.to', 'data'];
const payload = z.object({
  email: z.object({ to: z.email(), subject: z.string().optional() }),
  data: z.unknown().optional(),
  outcome: z.string().optional(),
});
type Mail = z.output<typeof payload>;

let db: TestDatabase;
let app: App;
let worker: Worker;
let client: Client;
let logged = '';
const got: Mail[] = [];

/** What a handler does with its payload that it should not. */
async function leak({ payload: mail, log, commit }: JobContext<Mail>): Promise<unknown> {
  got.push(mail);
  const words = `550 <${mail.email.to}> refused, ${encodeURIComponent(mail.email.to)}, ${JSON.stringify(mail.data)}`;
  log.warn({ err: new Error(words) }, 'refused');
  if (mail.outcome === 'fail') throw new PermanentError('refused', words);
  if (mail.outcome === 'retry') throw new Error(words);
  if (mail.outcome === 'snooze') throw new Snooze(3_600_000, words);
  const result = { [mail.email.to]: words, code, nested: [{ to: mail.email.to }], id: 'projects/1' };
  return mail.outcome === 'commit' ? commit(async () => result) : result;
}

const single = job({ name: 'notification.single', payload, sensitive, run: leak });
const many = job({
  name: 'notification.many',
  payload,
  sensitive,
  batchSize: 10,
  runBatch: (jobs) => Promise.all(jobs.map((each) => leak(each).catch((error: unknown) => error))),
});
const open = job({ name: 'notification.open', payload: z.unknown(), run: async () => null });
const registry: Registry = new Map([single, many, open].map((kind) => [kind.name, kind as never]));

before(async () => {
  db = await createDatabase();
  const config = loadConfig({ LOG_LEVEL: 'trace', QUEUES: 'notification', SEAL_KEYS });
  const sink = new Writable({
    write(chunk, _, done) {
      logged += String(chunk);
      done();
    },
  });
  app = createApp(config, db.url, createLog(config, sink));
  worker = await startWorker(app, db.url, registry);
  client = createClient(db.url, { sealKeys: SEAL_KEYS });
});
after(async () => {
  await client.close();
  await worker.stop();
  await app.close();
  await db.drop();
});

const mail = (more: Partial<Mail> = {}): Mail => ({
  email: { to: canary, subject: 'Hello' },
  data: { code, about: 'projects' },
  ...more,
});
const search = (queue = 'notification', more: object = {}) =>
  searchQueue(queue, { db, registry, keyring, log: silent, ...more }, true);
const later = { run_at: new Date('2100-01-01T00:00:00Z') };

suite('the client', () => {
  test('seals before it inserts, one job or many, also in a transaction', async () => {
    const one = await client.add(single, mail(), later);
    const two = await client.addMany(single, [
      { payload: mail(), ...later },
      { payload: mail(), ...later },
    ]);
    const tx = await db.connect();
    await tx.query('begin');
    const three = await client.add(single, mail(), later, { tx });
    await tx.query('commit');
    tx.release();
    const added = await rows(
      db,
      [one, ...two, three].map(({ id }) => id),
    );
    assert.equal(added.length, 4);
    for (const row of added) {
      assert.match(row['payload'].email.to, sealed);
      assert.match(row['payload'].data, sealed);
      assert.equal(row['payload'].email.subject, 'Hello');
    }
  });

  test('checks what is in the clear, and a dedupe key holds as ever', async () => {
    await assert.rejects(client.add(single, { email: { to: 'nobody' } }), /payload\.email\.to/);
    const options = { ...later, dedupe_key: 'once' };
    const first = await client.add(single, mail(), options);
    assert.deepEqual(await client.add(single, mail(), options), { id: first.id, created: false });
  });

  test('refuses a payload that is too large when it is sealed', async () => {
    await assert.rejects(client.add(single, mail({ data: 'x'.repeat(800_000) })), /: 1000000 is the most/);
  });
});

suite('a handler gets the values in the clear, and they come out nowhere', () => {
  const outcomes = { complete: 'completed', commit: 'completed', fail: 'failed', retry: 'pending', snooze: 'pending' };
  for (const kind of [single, many])
    for (const [outcome, status] of Object.entries(outcomes).filter(([how]) => kind === single || how !== 'commit'))
      for (const how of ['client', 'SQL'])
        test(`${kind.name} by ${how}: ${outcome}`, async () => {
          const asked = mail({ outcome });
          const id =
            how === 'SQL'
              ? await add(db, 'notification', kind.name.split('.')[1]!, { payload: asked })
              : (await client.add(kind, asked)).id;
          const row = await reads(db, id, { status, attempt: 1 });
          assert.deepEqual(got.at(-1), asked);
          assert.match(row['payload'].email.to, sealed);
          assert.match(row['payload'].data, sealed);
          if (status === 'completed') {
            assert.deepEqual(row['result'].nested, [{ to: '[redacted]' }], 'the result is there');
            assert.equal(row['result'].id, 'projects/1', 'a common word is no secret');
          }
          if (outcome === 'fail') assert.match(row['error'], /^550 <\[redacted\]> refused, \[redacted\]/);
        });

  test('also if they stand at another place than the kind expects, or the payload does not fit', async () => {
    for (const given of [{ email: canary }, { email: [{ to: canary }], data: [code] }, canary, [canary]]) {
      const id = await add(db, 'notification', 'single', { payload: given });
      const row = await reads(db, id, { status: 'failed', error_code: 'invalid_payload' });
      assert.doesNotMatch(JSON.stringify(row), new RegExp(`canary|${code}`));
    }
  });

  test('a retry opens what the first attempt has sealed', async () => {
    const id = await add(db, 'notification', 'single', { payload: mail({ outcome: 'retry' }) });
    await reads(db, id, { status: 'pending', attempt: 1 });
    await db.query(`update jobs set run_at = now() where id = $1`, [id]);
    await reads(db, id, { attempt: 2, status: 'pending' });
    assert.deepEqual(got.at(-1), mail({ outcome: 'retry' }));
  });
});

suite('a search seals what came in the clear', () => {
  test('waiting, cancelled or archived; and what only looks sealed', async () => {
    const add3 = (columns: object) => add(db, 'notification', 'single', { payload: mail(), ...columns });
    const ids = [
      await add3(later),
      await add3({ status: 'cancelled' }),
      await add3({ status: 'completed', archived: true, completed_at: '2001-01-01' }),
      await add(db, 'notification', 'single', { payload: mail({ data: 'sealed:k1:AAAA' }), ...later }),
    ];
    const other = await add(db, 'notification', 'open', { payload: mail({ data: 1.1 }), ...later });
    await db.query(`update queues set sensitive_until = null where name = 'notification'`);
    assert.equal(await search(), ids.length);
    assert.equal(await search(), 0);
    for (const row of await rows(db, ids)) {
      assert.match(row['payload'].email.to, sealed);
      assert.match(row['payload'].data, sealed);
    }
    assert.equal((await rows(db, [other]))[0]!['payload'].email.to, canary);
    await db.query(`delete from jobs where id = $1`, [other]);
  });

  test('many, of which one is locked and one cannot be sealed', async () => {
    const { rows: added } = await db.query<{ id: number }>(
      `insert into notification_jobs (kind, payload, run_at)
       select 'single', jsonb_build_object('email', jsonb_build_object('to', $1::text)), 'infinity'
         from generate_series(1, 1203) returning id`,
      [canary],
    );
    const tx = await db.connect();
    await tx.query('begin');
    await tx.query(`select from jobs where id = $1 for update`, [added[0]!.id]);
    assert.equal(await search(), 1202);
    await tx.query('commit');
    tx.release();
    assert.equal(await search(), 1);
  });

  test('a value that was changed by SQL is sealed again, and goes to the handler', async () => {
    const { id } = await client.add(single, mail(), later);
    await db.query(`update jobs set payload = jsonb_set(payload, '{email,to}', '"other@example.com"') where id = $1`, [
      id,
    ]);
    assert.equal(await search(), 1);
    await db.query(`update jobs set run_at = now() where id = $1`, [id]);
    await reads(db, id, { status: 'completed' });
    assert.deepEqual(got.at(-1), mail({ email: { to: 'other@example.com', subject: 'Hello' } }));
  });

  test('another worker need not search again at once, and a queue without such kinds is never searched', async () => {
    await search();
    const id = await add(db, 'notification', 'single', { payload: mail(), ...later });
    assert.equal(await searchQueue('notification', { db, registry, keyring, log: silent }), 0);
    await db.query(`update queues set sensitive_until = now() - interval '3 minutes' where name = 'notification'`);
    assert.equal(await searchQueue('notification', { db, registry, keyring, log: silent }), 1);
    assert.match((await rows(db, [id]))[0]!['payload'].data, sealed);
    const { rows: queues } = await db.query(`select name from queues where sensitive_until is not null`);
    assert.deepEqual(queues, [{ name: 'notification' }]);
  });
});

suite('what does not open', () => {
  const values = {
    seal_key_unknown: (text: string) => text.replace(':k1:', ':k9:'),
    sealed_damaged: (text: string) => text.replace(/....$/, 'AAAA'),
  };
  for (const [error_code, change] of Object.entries(values))
    test(error_code, async () => {
      const { id } = await client.add(single, mail(), { ...later, max_retries: 0 });
      const [row] = await rows(db, [id]);
      const changed = { ...row!['payload'], data: change(row!['payload'].data) };
      await db.query(`update jobs set payload = $2, run_at = now() where id = $1`, [id, JSON.stringify(changed)]);
      await reads(db, id, { status: 'failed', error_code });
    });

  test('a value copied to a job of somebody else', async () => {
    const { id: victim } = await client.add(single, mail(), later);
    const [row] = await rows(db, [victim]);
    const copied = { email: { to: 'attacker@example.com' }, data: row!['payload'].data };
    const id = await add(db, 'notification', 'single', { payload: copied });
    await reads(db, id, { status: 'failed', error_code: 'sealed_elsewhere' });
  });
});

test('without keys, the values of jobs that ended are removed when their time has come', async () => {
  const remove = () => search('notification', { keyring: undefined });
  const old = { completed_at: new Date(Date.now() - 8 * 86_400_000), payload: mail() };
  const ended = [
    await add(db, 'notification', 'single', { ...old, status: 'failed' }),
    await add(db, 'notification', 'single', { ...old, status: 'completed' }),
    await add(db, 'notification', 'single', { ...old, status: 'completed', archived: true }),
  ];
  const kept = [
    await add(db, 'notification', 'single', { payload: mail(), ...later }),
    await add(db, 'notification', 'single', { payload: mail(), status: 'completed', archived: true }),
  ];
  await db.query(`update queues set sensitive_until = null where name = 'notification'`);
  assert.equal(await remove(), ended.length);
  const gone = { email: { to: 'sealed:removed', subject: 'Hello' }, data: 'sealed:removed' };
  for (const row of await rows(db, ended)) assert.deepEqual(row['payload'], gone);
  for (const row of await rows(db, kept)) assert.deepEqual(row['payload'], mail());

  await db.query(`update jobs set status = 'pending', retry_count = 0 where id = $1`, [ended[0]]);
  await reads(db, ended[0]!, { status: 'failed', error_code: 'sensitive_removed' });
  await db.query(`update queues set keep_sensitive = '0' where name = 'notification'`);
  assert.equal(await remove(), 1);
});

test('the log has no value of a job whose handler throws where nobody can catch it', async () => {
  const culprit = { stop: new Stop(), hide: (text: string) => text.replaceAll(canary, '[redacted]') };
  let line = '';
  const sink = new Writable({ write: (chunk, _, done) => done(void (line = String(chunk))) });
  const log = createLog({ logLevel: 'info', secrets: [] }, sink);
  await asCulprit([culprit], async () => {
    await setImmediate();
    logOfCulprits(log).error({ err: new Error(`550 ${canary}`) }, 'unhandled rejection');
  });
  assert.match(line, /"message":"550 \[redacted\]"/);
});

test('in the end no line of the log and no row of the database holds a value', async () => {
  await db.query(`update queues set sensitive_until = null where name = 'notification'`);
  await search();
  const forms = new RegExp(`canary|${code}|${Buffer.from(canary).toString('base64').slice(0, 12)}`);
  assert.match(logged, /"kind":"single".*"outcome":"completed"/);
  assert.match(logged, /"message":"550 <\[redacted\]> refused/);
  assert.doesNotMatch(logged, forms);
  const whole = await dump(db);
  assert.ok(whole.some((row) => row.includes('sealed:k1:')));
  assert.deepEqual(
    whole.filter((row) => forms.test(row)),
    [],
  );
});
