import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { sweepAlerts } from '../../worker/alerts/sweep.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { listAlerts, silenceAlerts, unsilenceAlerts } from '../../worker/queue/client/alerts.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add } from '../support/jobs.ts';
import { silent } from '../support/log.ts';

// What the sweep opens, tells and resolves. No worker runs: a message is a job that waits. Time is moved in the rows.

let db: TestDatabase;
const slack = { SLACK_BOT_TOKEN: 'xoxb-test', ALERT_SLACK_CHANNEL: '#ops' };
const configOf = (env: Record<string, string>) =>
  loadConfig({ NODE_ENV: 'test', PUBLIC_URL: 'https://w.example', ALERT_SWEEP_INTERVAL: '100', ...env });

before(async () => {
  db = await createDatabase();
});
beforeEach(() =>
  db.query(`truncate jobs; delete from alerts; delete from alert_messages; delete from workers; delete from incidents;
            delete from rejected_messages; delete from webhook_endpoints; delete from notifications;
            delete from alert_rules where condition = 'none';
            update queues set paused = false, alert_waiting = null; update alert_rules set enabled = true;
            update schedules set enabled = false`),
);
after(() => db.drop());

async function sweep(env: Record<string, string> = slack): Promise<void> {
  await db.query(`update alert_turn set swept_at = '-infinity'`);
  await sweepAlerts({ db, config: configOf(env), log: silent }, undefined);
}

type Message = { id: number; kind: string; payload: any; dedupe_key: string; priority: number };
const messages = async () =>
  (await db.query<Message>(`select * from notification_jobs where dedupe_key like 'rowmill:alert:%' order by id`)).rows;
const texts = async () => (await messages()).map(({ payload }) => `${payload.title}\n${payload.body ?? ''}`);
const open = async () => (await listAlerts(db)).map(({ condition, subject }) => `${condition} ${subject}`);

/** Messages are delivered, and so much time passes for alerts, messages and jobs, without the triggers. */
const pass = (interval: string) =>
  db.query(`
    set local session_replication_role = replica;
    update notification_jobs set status = 'completed' where status = 'pending';
    update alerts set opened_at = opened_at - '${interval}'::interval, seen_at = seen_at - '${interval}'::interval,
                      last_at = last_at - '${interval}'::interval,
                      last_sent_at = last_sent_at - '${interval}'::interval,
                      resolved_at = resolved_at - '${interval}'::interval,
                      resolved_sent_at = resolved_sent_at - '${interval}'::interval,
                      silenced_until = silenced_until - '${interval}'::interval;
    update alert_messages set created_at = created_at - '${interval}'::interval;
    update jobs set completed_at = completed_at - '${interval}'::interval, run_at = run_at - '${interval}'::interval`);

/** So many jobs die of an error. */
const die = (jobs: number, code = 'raid_unauthorized', kind = 'image') =>
  db.query(
    `insert into jobs (queue, kind, status, error_code, error)
     select 'media', $2, 'failed', $3, 'x' from generate_series(1, $1)`,
    [jobs, kind, code],
  );

test('50,000 jobs die: one message at once, digests while more die, and one when it has passed', async () => {
  await die(20_000);
  await sweep();
  await die(30_000);
  await sweep();
  await sweep();
  assert.deepEqual((await messages()).length, 1);
  const [first] = await texts();
  assert.match(first!, /^Rowmill: 20,000 dead letters of media\.image, raid_unauthorized\nNEW/);
  for (const part of [/Cause: /, /Solution: .*rowmill retry --failed --queue media --kind image/, /SQL: select/])
    assert.match(first!, part);
  assert.match(first!, /https:\/\/w\.example\/dashboard\/alerts/);

  await pass('16 minutes');
  await sweep();
  await sweep();
  assert.equal((await messages()).length, 2);
  assert.match((await texts())[1]!, /STILL OPEN.*50,000 dead letters/);

  // Nothing new has happened: nobody is told again.
  await pass('16 minutes');
  await sweep();
  assert.equal((await messages()).length, 2);

  await db.query(`delete from media_jobs`);
  await pass('31 seconds');
  await sweep();
  await sweep();
  assert.equal((await messages()).length, 3);
  assert.match((await texts())[2]!, /RESOLVED/);
  assert.deepEqual(await open(), []);
});

test('several processes and a restart double none', async () => {
  await die(3);
  const config = configOf(slack);
  const one = () => sweepAlerts({ db, config, log: silent }, undefined);
  await db.query(`update alert_turn set swept_at = '-infinity'`);
  await Promise.all(Array.from({ length: 8 }, one));
  assert.equal((await messages()).length, 1);
  await sweep();
  assert.equal((await messages()).length, 1);
});

test('a process that dies in the middle of a sweep has told nobody, and the next one tells', async () => {
  await die(3);
  await db.query(`create function refuse() returns trigger language plpgsql as
                    $$ begin raise exception 'killed'; end $$;
                  create trigger refuse before insert on alert_messages for each row execute function refuse()`);
  await assert.rejects(sweep(), /killed/);
  assert.deepEqual([(await messages()).length, (await open()).length], [0, 0]);
  await db.query('drop function refuse() cascade');
  await sweep();
  assert.equal((await messages()).length, 1);
});

test('a process without a channel opens alerts, and leaves the telling to one that has one', async () => {
  await die(1);
  await sweep({});
  assert.deepEqual([(await open()).length, (await messages()).length], [1, 0]);
  await sweepAlerts({ db, config: configOf(slack), log: silent }, undefined);
  assert.equal((await messages()).length, 1);
});

test('each channel gets the message in its own form, before other jobs', async () => {
  await die(1);
  await sweep({
    ...slack,
    ALERT_EMAIL: 'ops@example.com, boss@example.com',
    ALERT_WEBHOOK_URL: 'https://hooks.example/x',
    WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
  });
  const all = await messages();
  assert.deepEqual(
    all.map(({ kind, priority }) => [kind, priority]),
    [
      ['email', -1000],
      ['email', -1000],
      ['slack', -1000],
      ['webhook', -1000],
    ],
  );
  assert.deepEqual(all[1]!.payload.email, { to: 'boss@example.com' });
  assert.equal(all[2]!.payload.slack_channel, '#ops');
  const { body, event, url } = all[3]!.payload.webhook;
  assert.deepEqual([url, event], ['https://hooks.example/x', 'rowmill.alert']);
  const [alert] = body.data.alerts;
  assert.deepEqual([alert.condition, alert.count, alert.state], ['dead_letters', 1, 'opened']);
  assert.match(body.text, /1 dead letter of media\.image/);
});

suite('the loop guard', () => {
  test('dead letters of alerts open none; the other channel is told once', async () => {
    const both = { ...slack, ALERT_EMAIL: 'ops@example.com' };
    await die(1);
    await sweep(both);
    await db.query(`update jobs set status = 'failed', error_code = 'slack_unauthorized', error = 'x'
                     where queue = 'notification' and kind = 'slack'`);
    await db.query(`update jobs set status = 'completed' where queue = 'notification' and kind = 'email'`);
    await sweep(both);
    await sweep(both);
    const later = (await messages()).slice(2);
    assert.deepEqual(
      later.map(({ kind }) => kind),
      ['email'],
    );
    assert.match(later[0]!.payload.title, /Alerts do not arrive over slack: slack_unauthorized/);
    await db.query(`update jobs set status = 'completed' where id = $1`, [later[0]!.id]);
    for (let hours = 0; hours < 3; hours++) {
      await pass('1 hour');
      await sweep(both);
    }
    assert.equal((await messages()).length, 3);
    assert.deepEqual((await open()).toSorted(), ['alert_channel slack', 'dead_letters media.image raid_unauthorized']);
  });

  test('the only channel is down: nobody can be told, and nothing is added', async () => {
    await die(1);
    await sweep();
    await db.query(`update jobs set status = 'failed', error_code = 'slack_unauthorized', error = 'x'
                     where queue = 'notification'`);
    for (let hours = 0; hours < 3; hours++) {
      await sweep();
      await pass('1 hour');
    }
    assert.equal((await messages()).length, 1);
  });
});

suite('people are not flooded', () => {
  test('a thousand codes are one message, and twenty of them are told in full', async () => {
    await db.query(`insert into jobs (queue, kind, status, error_code, error)
                    select 'media', 'image', 'failed', 'code_' || n, 'x' from generate_series(1, 1000) n`);
    await sweep();
    const [text, ...others] = await texts();
    assert.equal(others.length, 0);
    assert.match(text!, /^Rowmill: 21 alerts: 21 new/);
    assert.match(text!, /And 1 more/);
    assert.ok((await open()).includes('dead_letters media others'));
  });

  test('a condition that comes and goes is told twice, and again with the next digest', async () => {
    for (let times = 0; times < 6; times++) {
      await die(1);
      await sweep();
      await db.query(`delete from media_jobs`);
      await pass('31 seconds');
      await sweep();
    }
    assert.equal((await messages()).length, 2);
    await die(1);
    await pass('16 minutes');
    await db.query(`update jobs set completed_at = now() where queue = 'media'`);
    await sweep();
    assert.equal((await messages()).length, 3);
  });

  test('new conditions at each sweep are eight messages in 15 minutes', async () => {
    for (let times = 0; times < 12; times++) {
      await die(1, `code_${times}`);
      await sweep();
    }
    assert.equal((await messages()).length, 8);
    await pass('16 minutes');
    await sweep();
    assert.match((await texts())[8]!, /12 alerts: 4 new|4 alerts: 4 new/);
  });
});

test('a silenced alert is not told, also when it opens again, until the silence ends', async () => {
  await die(1);
  await sweep({});
  const [alert] = await listAlerts(db);
  const [silenced] = await silenceAlerts(db, [alert!.id, 999_999], { seconds: 7_200, by: 'anna' });
  assert.deepEqual(silenced!.id, alert!.id);
  await sweep();
  await db.query(`delete from media_jobs`);
  await pass('30 minutes');
  await sweep();
  assert.deepEqual(await open(), []);
  await pass('16 minutes');
  await die(1);
  await sweep();
  const [again] = await listAlerts(db);
  assert.notEqual(again!.id, alert!.id);
  assert.deepEqual([again!.silenced_by, (await messages()).length], ['anna', 0]);
  await pass('2 hours');
  await sweep();
  assert.equal((await messages()).length, 1);
  await silenceAlerts(db, [again!.id], { seconds: 60, by: 'x'.repeat(999) });
  assert.equal((await unsilenceAlerts(db, [again!.id]))[0]!.silenced_until, null);
});

suite('conditions', () => {
  const worker = (queues: string, bridges: unknown = []) =>
    db.query(
      `insert into workers (id, host, pid, version, queues, bridges)
       values (gen_random_uuid(), 'h', 1, '0', $1::text[], $2)`,
      [queues, JSON.stringify(bridges)],
    );
  const late = (queue: string) => add(db, queue, 'x', { run_at: new Date(Date.now() - 600_000), max_retries: 0 });

  const cases: [string, () => Promise<unknown>, string[]][] = [
    ['due jobs and no worker', () => late('media'), ['no_worker media']],
    ['due jobs and a busy worker', async () => (await late('media'), worker('{media}')), ['waiting media']],
    ['a paused queue', async () => (await late('media'), db.query(`update queues set paused = true`)), []],
    [
      'a bound of the queue',
      async () => (
        await late('media'),
        await worker('{media}'),
        db.query(`update queues set alert_waiting = '1 hour'`)
      ),
      [],
    ],
    [
      'a rule that is off',
      async () => (
        await late('media'),
        db.query(`update alert_rules set enabled = false where condition = 'no_worker'`)
      ),
      [],
    ],
    [
      'a schedule that is late',
      () =>
        db.query(`update schedules set enabled = true where name = 'cleanup.finished_jobs';
                      update schedules set next_tick = now() - interval '10 minutes'
                       where name = 'cleanup.finished_jobs'`),
      ['late_schedule cleanup.finished_jobs'],
    ],
    [
      'attempts that were lost',
      async () => {
        const later = { run_at: new Date(Date.now() + 9e6) };
        const id = await add(db, 'media', 'image', later);
        // The loop guard: the jobs of alerts open none.
        const own = await add(db, 'notification', 'slack', { ...later, dedupe_key: 'rowmill:alert:1' });
        await db.query(
          `insert into job_errors (queue, job_id, attempt, error_code, error)
           select j.queue, j.id, n, 'worker_lost', 'x' from generate_series(1, 3) n, jobs j where j.id = any($1)`,
          [[id, own]],
        );
      },
      ['worker_lost media.image'],
    ],
    [
      'a bridge that is off, and rows that make no sense',
      async () => {
        const off = { bridge: 'rabbitmq', connected: false, since: '2026-01-01T00:00:00.000Z', reason: 'ECONNREFUSED' };
        await worker('{media}', [off, { bridge: 'sqs', connected: true, since: 'x' }, { bridge: 'odd', since: 7 }, 7]);
        await worker('{media}', { not: 'an array' });
        await worker('{media}', [{ ...off, bridge: 'new', since: new Date().toISOString() }]);
      },
      ['bridge_off rabbitmq'],
    ],
    [
      'rejected messages',
      () =>
        db.query(`insert into rejected_messages (source, key, body, reason, error)
                      values ('rabbitmq:media', 'k', '', 'not_json', 'x'),
                             ('rabbitmq:media', 'k', '', 'not_json', 'x')`),
      ['rejected_message rabbitmq:media not_json'],
    ],
    [
      'an incident, whose jobs do not count as waiting',
      async () => {
        await late('media');
        await db.query(`insert into incidents (dependency, code, message, kinds)
                        values ('storage', 'storage_unauthorized', 'no', '{media.x}')`);
      },
      ['incident storage'],
    ],
    [
      'a webhook endpoint that was disabled, but not by hand',
      () =>
        db.query(`insert into webhook_endpoints (id, url, disabled_at, disabled_reason)
                      values ('a', 'https://a.b', now(), 'it answered 410'), ('b', 'https://a.b', now(), null)`),
      ['webhook_disabled a'],
    ],
    [
      'messages of which nobody knows',
      () =>
        db.query(`insert into notifications (id, message_id, channel) values ('n', 'm', 'sms');
                      insert into notification_deliveries (notification_id, channel, recipient_hash, status)
                      values ('n', 'sms', 'h', 'ambiguous')`),
      ['unknown_outcome sms'],
    ],
  ];
  for (const [name, make, expected] of cases)
    test(name, async () => {
      await make();
      await sweep();
      assert.deepEqual(await open(), expected);
      for (const { query: text } of await listAlerts(db)) await db.query(text);
      assert.equal((await db.query('select from alert_messages')).rowCount, expected.length > 0 ? 1 : 0);
    });
});
