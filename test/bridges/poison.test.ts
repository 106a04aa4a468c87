import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { startService } from '../../worker/main.ts';
import { runRowmill } from '../support/cli.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { silent } from '../support/log.ts';
import { sources, type Sent } from '../support/sources.ts';

// Messages that are wrong, among good ones, from each source to a worker that runs: each is a dead letter or is kept,
// and the others are done.

const key = 'notification.email';
const good = { email: 'a@example.com', title: 'good' };
const write = (payload: unknown, to = key): Sent => ({ key: to, body: JSON.stringify(payload) });

const messages: [Sent, Record<string, unknown>][] = [
  [write(good), { status: 'completed' }],
  [write([]), { status: 'failed', error_code: 'invalid_payload' }],
  [write('a text'), { status: 'failed', error_code: 'invalid_payload' }],
  [write({ ...good, email: 17 }), { status: 'failed', error_code: 'invalid_payload' }],
  [write({ ...good, title: null }), { status: 'failed', error_code: 'invalid_payload' }],
  [write({ ...good, titel: 'an unknown key' }), { status: 'completed' }],
  [write(good, 'notification.emial'), { status: 'failed', error_code: 'unknown_kind' }],
  [write(good, 'no_such_queue.email'), { reason: 'unknown_queue' }],
  // For the kind of the bridge, without an envelope.
  [{ body: '{"cut": ' }, { reason: 'not_json' }],
  [write({ ...good, title: 'the last' }), { status: 'completed' }],
];

for (const { name, missing, open } of Object.values(sources))
  suite(name, { skip: missing }, () => {
    test('each ends under a name, and the good ones are done; what is corrected is done, too', async (t) => {
      const db = await createDatabase();
      t.after(() => db.drop());
      const dir = await mkdtemp(join(tmpdir(), 'rowmill-poison-'));
      t.after(() => rm(dir, { recursive: true, force: true }));
      const source = await open();
      t.after(() => source.close());
      const env = {
        DATABASE_URL: db.url,
        DATA_DIR: dir,
        PORT: '0',
        NODE_ENV: 'test',
        QUEUES: 'notification',
        ...source.env(source.url),
      };
      const service = await startService(loadConfig(env), silent);
      t.after(() => service.stop());

      await source.send(messages.map(([message]) => message));
      const expected = messages.map(([, end]) => end);
      const jobs = async () =>
        (await db.query('select status, error_code from jobs order by status, error_code')).rows.map(
          ({ status, error_code }) => (error_code ? { status, error_code } : { status }),
        );
      await eventually(async () =>
        assert.deepEqual(sorted(await jobs()), sorted(expected.filter((end) => 'status' in end))),
      );
      const kept = await db.query('select id, reason from rejected_messages order by reason');
      assert.deepEqual(
        sorted(kept.rows.map(({ reason }) => ({ reason }))),
        sorted(expected.filter((end) => 'reason' in end)),
      );
      await eventually(async () => assert.equal(await source.left(), 0));

      await db.query(`update rejected_messages set key = $1, body = convert_to($2, 'UTF8')`, [
        key,
        JSON.stringify(good),
      ]);
      const { code, stderr } = await runRowmill(['rejected', 'resubmit', '--all'], { env });
      assert.equal(code, 0, stderr);
      await db.query(`update jobs set kind = 'email', payload = $1, status = 'pending' where status = 'failed'`, [
        good,
      ]);
      await eventually(async () =>
        assert.deepEqual(
          (await jobs()).filter(({ status }) => status !== 'completed'),
          [],
        ),
      );
      assert.equal((await db.query('select from jobs')).rowCount, messages.length);
      assert.equal((await db.query('select from rejected_messages')).rowCount, 0);
    });
  });

const sorted = (ends: object[]) => ends.map((end) => JSON.stringify(end)).toSorted();
