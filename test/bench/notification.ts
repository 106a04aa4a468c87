import { startFcm } from '../support/fcm.ts';
import { startSmtp } from '../support/smtp.ts';
import { interleave, type Bench } from './measure.ts';
import { runBare, runWorker, type Run } from './programs.ts';
import { atLeast, information, median, type Result } from './result.ts';
import type { Database } from './server.ts';
import { budgetKb, written } from './wal.ts';

/** Emails at once. Pushes go in batches, for which the default is enough. */
const concurrency = 50;
/** The most that one call of FCM sends. */
const call = 500;

type Side = { run: Run; walKb: number };
type Figures = { ours: Side[]; bare: Run[] };

/**
 * Messages through the queue, with the full ledger, against the vendor's library alone: nodemailer's pool with the same
 * email on the same SMTP server, and `sendEach` of firebase-admin, in the same calls of 500, on the same stand-in for
 * FCM. Both far sides run in this process: the sender has its own. No rate limit holds anybody back, and 500
 * jobs of an insert share a ticket. Our time includes
 * the insert of the jobs.
 */
export async function notification(bench: Bench): Promise<Result[]> {
  const emails = Math.ceil(bench.jobs / 10);
  const pushes = Math.ceil(bench.jobs / 4);
  const [byEmail, byPush] = [await sendEmails(bench, emails), await sendPushes(bench, pushes)];
  return [
    ...compare('emails', emails, byEmail, 0.7),
    ...compare('pushes', pushes, byPush, 0.8),
    ...[byEmail, byPush].map(({ ours }, index) =>
      information(`notification, WAL of ${['an email', 'a push'][index]}, against the budget of a no-op job`, {
        ours: median(ours.map(({ walKb }) => walKb)),
        anchor: budgetKb,
        unit: 'kB',
      }),
    ),
  ];
}

function compare(what: string, count: number, { ours, bare }: Figures, goal: number): Result[] {
  const runs = ours.map(({ run }) => run);
  const rate = (all: Run[]) => median(all.map(({ wallMs }) => (count / wallMs) * 1_000));
  const cpu = (all: Run[]) => median(all.map(({ cpuMs }) => cpuMs / count));
  return [
    atLeast(goal, `notification, ${what}`, { ours: rate(runs), anchor: rate(bare), unit: `${what}/s` }),
    information(`notification, ${what}, CPU of the process each`, { ours: cpu(runs), anchor: cpu(bare), unit: 'ms' }),
  ];
}

async function sendEmails({ server, runs }: Bench, count: number): Promise<Figures> {
  let taken = 0;
  const smtp = await startSmtp({
    onData(stream, _, done) {
      stream.resume().once('end', () => {
        taken += 1;
        done();
      });
    },
  });
  const to = Array.from({ length: count }, (_, n) => `person-${n}@shop.example`);
  const env = { SMTP_URL: smtp.url, EMAIL_FROM: 'hello@shop.example' };
  try {
    return await alternate(runs, () => taken, count, {
      ours: () => runOurs(server, 'email', { ...env, WORKER_CONCURRENCY: String(concurrency) }, to),
      bare: () => runBare('bare-email.ts', { atOnce: concurrency, paths: to, env }),
    });
  } finally {
    await smtp.close();
  }
}

async function sendPushes({ server, runs }: Bench, count: number): Promise<Figures> {
  const fcm = await startFcm();
  const to = Array.from({ length: count }, (_, n) => `device-${n}`);
  const calls = Array.from({ length: Math.ceil(count / call) }, (_, n) => to.slice(n * call, (n + 1) * call).join());
  try {
    return await alternate(runs, () => fcm.taken.length, count, {
      ours: () => runOurs(server, 'push', { ...fcm.env, FCM_RATE: '100000' }, to),
      bare: () => runBare('bare-push.ts', { atOnce: 1, paths: calls, env: fcm.env }),
    });
  } finally {
    await fcm.close();
  }
}

/** @throws if a message has not arrived */
async function alternate(
  runs: number,
  taken: () => number,
  count: number,
  { ours, bare }: { ours: () => Promise<Side>; bare: () => Promise<Run> },
): Promise<Figures> {
  const figures: Figures = { ours: [], bare: [] };
  const whole = async (work: () => Promise<void>) => {
    const before = taken();
    await work();
    if (taken() - before < count) throw new Error(`${taken() - before} of ${count} messages have arrived`);
  };
  await interleave(runs, {
    ours: () => whole(async () => void figures.ours.push(await ours())),
    bare: () => whole(async () => void figures.bare.push(await bare())),
  });
  return figures;
}

/** All in a new database. */
async function runOurs(
  server: Bench['server'],
  kind: 'email' | 'push',
  env: Record<string, string>,
  to: string[],
): Promise<Side> {
  const db = await server.create('rowmill');
  try {
    let run: Run;
    await db.query(`update queues set batch_size = 500 where name = 'notification'`);
    const walKb = await written(db, to.length, async () => {
      run = await runWorker(db, 'notification', {
        env: { ...env, DATA_DIR: server.dir },
        keys: to,
        insert: (some) => insert(db, kind, some),
      });
    });
    return { run: run!, walKb };
  } finally {
    await db.drop();
  }
}

const field = { email: 'email', push: 'fcmToken' };

const insert = (db: Database, kind: 'email' | 'push', to: string[]) =>
  db.query(
    `insert into notification_jobs (kind, payload, max_retries)
     select $1, jsonb_build_object($2::text, a, 'title', 'Your order', 'body', 'It is on its way.'), 0
       from unnest($3::text[]) a`,
    [kind, field[kind], to],
  );
