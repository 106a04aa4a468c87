import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../../worker/base/errors.ts';
import { fcmError, startFcm } from '../support/fcm.ts';
import { spawnRowmill } from '../support/processes.ts';
import { startSmtp } from '../support/smtp.ts';
import { prepareGround, type Ground } from './ground.ts';

// npm run chaos:notifications -- [--emails 10000] [--pushes 20000] [--outage 60] [--resend] Three worker processes send
// emails, while one is killed and one is stopped: nobody is told twice, and who is not told is counted as
// unknown_outcome. With --resend all are told. Then they send pushes, of which 3 % go to devices that are none and 2 %
// meet a limit, and FCM is down for so many seconds: 500 a second go out, and no retry is used. The last line is the
// verdict; exit code 1 unless all is well.

const none = { status: 404, body: fcmError('NOT_FOUND', 'UNREGISTERED') };
const down = { status: 503, body: fcmError('UNAVAILABLE') };
const limited = {
  status: 429,
  headers: { 'retry-after': '3' },
  body: fcmError('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED', 'Too many messages to this device'),
};
const ratePerSecond = 500;

const isOver = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;

const options = readOptions();
const ground = await prepareGround();
const workers: ChildProcess[] = [];
const faults: string[] = [];
const expect = (isTrue: boolean, words: string) => {
  if (!isTrue) faults.push(words);
};
try {
  if (options.emails > 0) await sendEmails(ground, options.emails, options.resend ? 'resend' : 'fail');
  if (options.pushes > 0) await sendPushes(ground, options.pushes, options.outage);
} catch (error) {
  faults.push(messageOf(error));
}
for (const worker of workers) await end(worker, 'SIGKILL');
await ground.close();
console.log(faults.length > 0 ? faults.join('; ') : 'all is well');
process.exit(faults.length > 0 ? 1 : 0);

async function sendEmails({ db, dir, url }: Ground, count: number, ambiguous: 'fail' | 'resend'): Promise<void> {
  const times = new Map<string, number>();
  const smtp = await startSmtp({
    onData(stream, { envelope: { rcptTo } }, done) {
      stream.resume().once('end', () => {
        for (const { address } of rcptTo) times.set(address, (times.get(address) ?? 0) + 1);
        done();
      });
    },
  });
  const env = { SMTP_URL: smtp.url, EMAIL_FROM: 'hello@shop.example', AMBIGUOUS_SEND: ambiguous };
  const [first, second] = await startThree(url, dir, env);
  const began = performance.now();
  await db.query(
    `insert into notification_jobs (kind, payload)
     select 'email', jsonb_build_object('email', concat('person-', n, '@shop.example'), 'title', 'Hello', 'body', 'x')
       from generate_series(1, $1) n`,
    [count],
  );
  while (times.size < count / 3) await sleep(20);
  await end(first!, 'SIGKILL');
  console.log(`a worker was killed after ${times.size} of ${count} emails`);
  while (times.size < count / 2) await sleep(20);
  console.log(`a worker was stopped after ${times.size} emails`);
  await end(second!, 'SIGTERM');
  await drained(db, 'email');

  const { rows } = await db.query<{ error_code: string | null; status: string; jobs: number }>(
    `select status, error_code, count(*) as jobs from notification_jobs where kind = 'email' group by 1, 2 order by 1`,
  );
  const jobsWith = (field: 'status' | 'error_code', value: string) =>
    rows.filter((row) => row[field] === value).reduce((sum, { jobs }) => sum + jobs, 0);
  const [unknown, completed] = [jobsWith('error_code', 'unknown_outcome'), jobsWith('status', 'completed')];
  const doubled = [...times.values()].filter((n) => n > 1).length;
  const perSecond = (count / (performance.now() - began)) * 1_000;
  console.log(
    `emails with AMBIGUOUS_SEND=${ambiguous}: ${count} jobs, ${times.size} recipients told, ` +
      `${doubled} of them twice, ${unknown} jobs unknown_outcome; ${perSecond.toFixed(0)} a second`,
  );
  expect(completed === count - unknown, `jobs: ${JSON.stringify(rows)}`);
  expect(count - times.size <= unknown, `${count - times.size - unknown} recipients were not told, and nobody says so`);
  if (ambiguous === 'fail') expect(doubled === 0, `${doubled} recipients were told twice`);
  else expect(unknown === 0 && times.size === count, `${count - times.size} recipients were not told`);
  await endAll();
  await smtp.close();
}

async function sendPushes({ db, dir, url }: Ground, count: number, outageSeconds: number): Promise<void> {
  const fcm = await startFcm();
  const asked: number[] = [];
  const seen = new Set<string>();
  let isDown = false;
  fcm.judge(({ token }) => {
    // The check of an incident has no token.
    const n = Number(/^device-(\d+)$/.exec(token)?.[1]);
    if (n > 0) asked.push(performance.now());
    if (isDown) return down;
    if (n % 100 < 3) return none;
    // The first request of such a device.
    if (n % 100 < 5 && !seen.has(token) && seen.add(token)) return limited;
    return undefined;
  });
  await startThree(url, dir, { ...fcm.env, INCIDENT_CHECK_INTERVAL: '5000' });
  await db.query(
    `with devices as (
       insert into push_tokens (token_hash, user_id, token)
       select encode(sha256(convert_to(t, 'UTF8')), 'hex'), t, t from generate_series(1, $1) n, concat('device-', n) t
       returning token)
     insert into notification_jobs (kind, payload)
     select 'push', jsonb_build_object('fcmToken', token, 'title', 'Hello', 'body', 'x') from devices`,
    [count],
  );
  while (asked.length < count / 2) await sleep(5);
  const before = rateOf(asked);
  isDown = true;
  console.log(`FCM is down after ${asked.length} of ${count} pushes: ${before.toFixed(1)} a second`);
  await sleep(outageSeconds * 1_000);
  isDown = false;
  const back = performance.now();
  await drained(db, 'push');
  const answered = asked.filter((at) => at > back);
  const after = rateOf(answered);

  const { rows: jobs } = await db.query<{ status: string; error_code: string | null; jobs: number; retries: number }>(
    `select status, error_code, count(*) as jobs, sum(retry_count) as retries
       from notification_jobs where kind = 'push' group by 1, 2 order by 1`,
  );
  const { rows: marked } = await db.query<{ token: string }>(
    'select token from push_tokens where invalid_at is not null',
  );
  const invalid = Array.from({ length: count }, (_, n) => n + 1).filter((n) => n % 100 < 3).length;
  const told = Map.groupBy(fcm.taken, ({ token }) => token);
  const doubled = [...told.values()].filter((all) => all.length > 1).length;
  // A job that failed for good has none left.
  const retries = jobs.filter(({ status }) => status === 'completed').reduce((sum, each) => sum + each.retries, 0);
  console.log(
    `pushes: ${told.size} of ${count - invalid} valid devices told, ${doubled} twice, ${marked.length} of ${invalid} ` +
      `others marked; ${before.toFixed(1)} and then ${after.toFixed(1)} a second, ${retries} retries`,
  );
  expect(told.size === count - invalid && doubled === 0, `jobs: ${JSON.stringify(jobs)}`);
  expect(marked.length === invalid && marked.every(({ token }) => !told.has(token)), 'the wrong devices are marked');
  expect(retries === 0, `${retries} retries were used`);
  for (const rate of [before, after])
    expect(Math.abs(rate / ratePerSecond - 1) <= 0.02, `${rate.toFixed(1)} a second, not ${ratePerSecond}`);
  await endAll();
  await fcm.close();
}

/** The rate of the middle four fifths: not while it begins, and while few are left. */
function rateOf(times: number[]): number {
  const some = times.slice(Math.floor(times.length * 0.1), Math.ceil(times.length * 0.9));
  return ((some.length - 1) / (some.at(-1)! - some[0]!)) * 1_000;
}

async function startThree(url: string, dir: string, env: Record<string, string>): Promise<ChildProcess[]> {
  const started = [1, 2, 3].map(async (n) => {
    const data = join(dir, `worker-${n}`);
    await mkdir(data, { recursive: true });
    const worker = await spawnRowmill(url, { DATA_DIR: data, QUEUES: 'notification', ...env });
    workers.push(worker);
    return worker;
  });
  return Promise.all(started);
}

async function end(worker: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  worker.kill(signal);
  if (!isOver(worker)) await once(worker, 'exit');
}

async function endAll(): Promise<void> {
  for (const worker of workers.splice(0)) if (!isOver(worker)) await end(worker, 'SIGTERM');
}

async function drained(db: Ground['db'], kind: string): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ open: number }>(
      `select count(*) as open from notification_jobs_live where kind = $1 and status in ('pending', 'processing')`,
      [kind],
    );
    if (rows[0]!.open === 0) return;
    await sleep(500);
  }
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        emails: { type: 'string', default: '10000' },
        pushes: { type: 'string', default: '20000' },
        outage: { type: 'string', default: '60' },
        resend: { type: 'boolean', default: false },
      },
    });
    const number = (name: 'emails' | 'pushes' | 'outage') => {
      if (!/^\d{1,7}$/.test(values[name])) throw new Error(`--${name} ${values[name]}: must be a number`);
      return Number(values[name]);
    };
    return { resend: values.resend, emails: number('emails'), pushes: number('pushes'), outage: number('outage') };
  } catch (error) {
    console.error(
      `${messageOf(error)}\nnpm run chaos:notifications -- [--emails N] [--pushes N] [--outage SECONDS] [--resend]`,
    );
    process.exit(2);
  }
}
