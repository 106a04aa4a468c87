import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { DeploymentError } from '../../../worker/base/errors.ts';
import { slow } from '../../support/everything.ts';
import { add, reads, rows } from '../../support/jobs.ts';
import { eventually } from '../../support/eventually.ts';
import { startRaid, type FakeRaid } from '../../support/raid.ts';
import { s3Failures, startS3Server, type S3Server } from '../../support/s3-server.ts';
import { createRig, type Handler, type Rig } from '../../support/worker.ts';

// A storage over a real socket fails as a vendor's does; workers of this process share one database.

const cap = {
  status: 403,
  code: 'AccessDenied',
  message: 'Cannot upload files, storage cap exceeded. See the Caps & Alerts page to increase your cap.',
};

let s3: S3Server;
let raid: FakeRaid;
let rig: Rig;
before(async () => {
  s3 = await startS3Server();
  raid = await startRaid();
});
beforeEach(async () => void (rig = await createRig()));
afterEach(async () => {
  await rig.close();
  s3.heal();
});
after(async () => {
  await s3.close();
  await raid.close();
});

const store: Handler = async ({ app, job: { id }, signal }) =>
  app.storage.put(`jobs/${id}.txt`, Buffer.from('x'), { contentType: 'text/plain', signal });
const fetchIt: Handler = async ({ app, payload, signal }) =>
  (
    await app.raid.download(String(payload['key']), `${app.config.tempDir}/rowmill-incident-${Math.random()}`, {
      signal,
    })
  ).bytes;
const kinds = {
  'media.store': store,
  'media.other': async () => 'done',
  'cleanup.store': store,
  'media.fetch': fetchIt,
};

const worker = (handlers: Record<string, Handler> = kinds, env: Record<string, string> = {}) =>
  rig.worker(handlers, {
    ...s3.env,
    RAID_PUB_ENDPOINT: raid.endpoint,
    RAID_PUBLISHER_SECRET: raid.secret,
    INCIDENT_CHECK_INTERVAL: '500',
    ...env,
  });

type Incident = Record<string, any>;
const incidents = async (): Promise<Incident[]> =>
  (await rig.db.query<Incident>('select * from incidents order by since')).rows;
const opened = (count = 1) =>
  eventually(async () => {
    const open = (await incidents()).filter(({ resolved_at }) => resolved_at === null);
    assert.equal(open.length, count);
    return open;
  });
const insert = async (kind: string, count: number, columns = ''): Promise<void> =>
  void (await rig.db.query(
    `insert into jobs (queue, kind${columns && ', priority'}) select 'media', $1${columns && `, ${columns}`}
      from generate_series(1, $2)`,
    [kind, count],
  ));
const tally = async (kind = 'store') =>
  (
    await rig.db.query<{ status: string; jobs: number; retries: number }>(
      `select status, count(*) as jobs, sum(retry_count) as retries from jobs where kind = $1 group by 1 order by 1`,
      [kind],
    )
  ).rows;
const ticketsOf = async (kind: string) =>
  (
    await rig.db.query<{ tickets: number }>(
      `select count(*) as tickets from rowmill_tickets._private_jobs where payload ->> 'kind' = $1`,
      [kind],
    )
  ).rows[0]!.tickets;

describe('An incident', () => {
  test('holds the jobs that need it, uses no retry, and ends by itself, for three workers and two queues', async () => {
    s3.fail(cap);
    await Promise.all([worker(), worker(), worker()]);
    await insert('store', 100);
    await add(rig.db, 'cleanup', 'store');
    const [incident] = await opened();
    assert.deepEqual(
      [incident!['dependency'], incident!['host'], incident!['code']],
      ['storage', null, 'storage_full'],
    );
    assert.match(incident!['message'], /storage cap exceeded/);
    await eventually(async () =>
      assert.deepEqual(((await opened())[0]!['kinds'] as string[]).toSorted(), ['cleanup.store', 'media.store']),
    );

    // Tickets are dropped and not put back one after the other; other kinds of the queue go on; new jobs are held too.
    await insert('store', 30, '-5');
    const other = await add(rig.db, 'media', 'other');
    await reads(rig.db, other, { status: 'completed' });
    await eventually(async () => assert.equal(await ticketsOf('store'), 0));
    await eventually(async () => assert.ok((await opened())[0]!['jobs_held'] >= 125));
    const [asked, since] = [s3.requests.length, performance.now()];
    await sleep(1_500);
    const [requests, s] = [s3.requests.length - asked, (performance.now() - since) / 1_000];
    assert.ok(requests <= (s / 1.5) * 8, `${requests} requests in ${s} s`);

    s3.heal();
    await eventually(
      async () => assert.deepEqual(await tally(), [{ status: 'completed', jobs: 131, retries: 0 }]),
      20_000,
    );
    assert.ok((await incidents()).every(({ resolved_at, released }) => resolved_at !== null && released));
    const failures = await rig.db.query(
      `select from job_errors e join jobs j on j.id = e.job_id where j.kind = 'store'`,
    );
    assert.equal(failures.rowCount, 0);
  });

  test("is none where the dependency passes its own check: the failure is the job's", async () => {
    s3.fail({ ...s3Failures.denied, when: ({ url }) => url.includes('/jobs/') });
    await worker();
    const id = await add(rig.db, 'media', 'store', { max_retries: 0 });
    await reads(rig.db, id, { status: 'failed', error_code: 'storage_denied' });
    assert.deepEqual(await incidents(), []);
  });

  test('goes on beside another, each with its own end', async () => {
    s3.fail(s3Failures.denied);
    raid.files.set('k', Buffer.from('x'));
    const wrong = await worker(kinds, { RAID_PUBLISHER_SECRET: 'wrong' });
    const [stored, fetched] = [
      await add(rig.db, 'media', 'store'),
      await add(rig.db, 'media', 'fetch', { payload: { key: 'k' } }),
    ];
    const open = await opened(2);
    assert.deepEqual(open.map(({ dependency }) => String(dependency)).toSorted(), ['raid', 'storage']);
    s3.heal();
    await reads(rig.db, stored, { status: 'completed', retry_count: 0 }, 20_000);
    assert.deepEqual(
      (await opened(1)).map(({ dependency, code }) => [dependency, code]),
      [['raid', 'raid_unauthorized']],
    );
    // A worker with the right secret takes the old one's place.
    await wrong.stop();
    await worker();
    await reads(rig.db, fetched, { status: 'completed', retry_count: 0 }, 20_000);
  });

  slow('does not wait for a probe that never ends', async () => {
    let hangs = false;
    let hanging = 0;
    const mayHang: Handler = async (context) => {
      if (hangs && ++hanging) await new Promise(() => {});
      return store(context);
    };
    s3.fail(s3Failures.denied);
    await worker({ 'media.store': mayHang });
    await insert('store', 5);
    await opened();
    await eventually(async () => assert.deepEqual(await tally(), [{ status: 'pending', jobs: 5, retries: 0 }]));
    hangs = true;
    s3.heal();
    await eventually(() => assert.equal(hanging, 1));
    hangs = false;
    await eventually(
      async () => assert.equal((await tally()).find(({ status }) => status === 'completed')?.jobs, 4),
      20_000,
    );
  });

  slow('that one job opens again and again ends with it: a check that always fails holds no others', async () => {
    s3.fail({ ...s3Failures.denied, when: ({ method, url }) => method === 'POST' && url.includes('delete') });
    s3.fail({ ...s3Failures.denied, when: ({ url }) => url.includes('/jobs/1000001.txt') });
    await worker();
    const poison = await add(rig.db, 'media', 'store', { id: 1_000_001, attempt: 25, max_retries: 0, priority: -9 });
    await reads(rig.db, poison, { status: 'failed', error_code: 'storage_denied' });
    await opened();
    await insert('store', 20);
    await eventually(async () => assert.equal((await tally()).find(({ status }) => status === 'completed')?.jobs, 20));
  });

  test("counts as failure when the queue's patience is over", async () => {
    await rig.db.query(`update queues set incident_patience = '0'`);
    s3.fail(s3Failures.denied);
    await worker();
    const id = await add(rig.db, 'media', 'store', { max_retries: 0 });
    // The first attempt opens it.
    await reads(rig.db, id, { status: 'failed', error_code: 'storage_denied' });
  });

  test('of a dependency that the worker does not know is opened by the error alone, and ended by hand', async () => {
    let fixed = false;
    await worker({
      'media.mail': async () => {
        if (!fixed) throw new DeploymentError('mail', 'mail_account_suspended', 'The account is suspended');
      },
    });
    const id = await add(rig.db, 'media', 'mail');
    await opened();
    await reads(rig.db, id, { status: 'pending', retry_count: 0, error_code: 'mail_account_suspended' });
    fixed = true;
    await rig.db.query('update incidents set resolved_at = now() where resolved_at is null');
    await reads(rig.db, id, { status: 'completed', retry_count: 0 });
  });

  test('of one machine leaves the jobs to the others', async () => {
    const open = `insert into incidents (dependency, host, code, message, kinds)
                  values ('temp_space', $1, 'disk_full', 'x', '{media.store}')`;
    const holds = async () =>
      (
        await rig.db.query(
          `select host, everywhere from held_kinds where queue = 'media' and kind = 'store' order by host`,
        )
      ).rows;
    await rig.db.query(
      `insert into workers (id, host, pid, version, queues, heartbeat_at)
       select gen_random_uuid(), host, 1, '1', '{media}', 'infinity' from unnest('{a,b}'::text[]) host`,
    );
    await rig.db.query(open, ['a']);
    assert.deepEqual(await holds(), [{ host: 'a', everywhere: false }]);
    await rig.db.query(open, ['b']);
    assert.deepEqual(await holds(), [
      { host: 'a', everywhere: true },
      { host: 'b', everywhere: true },
    ]);
    await rig.db.query('delete from workers; delete from incidents');
    // Of another machine: nothing is held here.
    await rig.db.query(open, ['elsewhere']);
    await worker();
    const id = await add(rig.db, 'media', 'store');
    await reads(rig.db, id, { status: 'completed' });
    assert.deepEqual(
      (await rows(rig.db, [id])).map(({ attempt }) => attempt),
      [1],
    );
    // A machine that is gone cannot end its own.
    await opened();
    await rig.db.query(`update incidents set last_seen = now() - interval '11 minutes'`);
    await opened(0);
  });
});
