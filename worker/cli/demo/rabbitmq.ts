import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../base/config/config.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import type { Connection } from '../../bridges/rabbitmq/connect.ts';
import { resubmit } from '../../queue/ingest/ingest.ts';
import { Failed } from '../faults.ts';
import { count, paint, print, printJson, table, type Column } from '../output.ts';
import { makeQueue, reachRabbitmq, type DemoQueue } from './broker.ts';
import { published, type Published } from './published.ts';
import { onStage, tellCounts, tellFailure, tellStatement, tellWhatToTry, type Stage } from './stage.ts';
import type { Shown } from './view.ts';

const sql = loadStatements(import.meta.dirname, 'rabbitmq.sql', [
  'last_job',
  'new_jobs',
  'unacked',
  'rejected',
  'correct',
  'try_1',
]);

const bridgeMs = 60_000;

type Rejected = { id: number; key: string; reason: string; error: string };

/**
 * Publishes messages to the RabbitMQ of RABBITMQ_URL, or of this machine, as a producer does. A worker makes jobs of
 * them, and does these.
 * @returns the exit code: 0 if everything came out as expected
 */
export async function demoRabbitmq({ json }: { json: boolean }): Promise<number> {
  const url = loadConfig().rabbitmq?.url ?? 'amqp://127.0.0.1:5672';
  const connection = await reachRabbitmq(url);
  try {
    return await onStage({ queues: ['notification'], title: 'ROUTING KEY', json }, (stage) =>
      play(stage, { url, connection, json }),
    );
  } finally {
    await connection.close().catch(() => {});
  }
}

type Parts = { url: string; connection: Connection; json: boolean };

async function play(stage: Stage, { url, connection, json }: Parts): Promise<number> {
  const { db, open, step } = stage;
  const at = await makeQueue(connection, 'notification.#');
  open.defer(at.close);
  const { version } = connection.connection.serverProperties;
  await step(`Making an exchange and a queue, ${at.queue}, at RabbitMQ ${version} on ${new URL(url).host}`);
  await step(`Publishing ${count(published.length, 'message')} while no worker runs: RabbitMQ keeps them`);
  await at.publish(published);

  await step('Starting a worker with RABBITMQ_URL: its bridge makes jobs of the messages');
  const [last] = await query<{ id: number }>(db, sql.last_job);
  await stage.startWorker({
    RABBITMQ_URL: url,
    RABBITMQ_EXCHANGE: at.exchange,
    RABBITMQ_QUEUES: `${at.queue}=notification.#`,
  });
  const { jobs, rejected } = await taken(stage, at, last!.id);
  await stage.watch(jobs);
  if (!json) tellOutcome(jobs, rejected);
  const repaired: Shown[] = [];
  for (const message of rejected) repaired.push(await repair(stage, message, json));

  const ok =
    jobs.every(({ status, broken }) => status === (broken ? 'failed' : 'completed')) &&
    repaired.every(({ status }) => status === 'completed');
  if (json) printJson({ ok, messages: published, jobs: [...jobs, ...repaired], rejected });
  else await tellWhatToTry(stage, [sql.try_1]);
  if (!json && !ok) print(paint('red', 'Not all came out as it should.'));
  return ok ? 0 : 1;
}

const becoming = (...outcomes: Published['becomes'][]) => published.filter(({ becomes }) => outcomes.includes(becomes));

/** Waits until each message has become what it has to become, and is acknowledged. */
async function taken({ db, signal }: Stage, { queue, left }: DemoQueue, after: number) {
  const expected = becoming('job', 'failed job');
  for (const until = Date.now() + bridgeMs; ; await sleep(50)) {
    signal.throwIfAborted();
    const rows = await query<Pick<Shown, 'id' | 'status'>>(db, sql.new_jobs, { after });
    const rejected = await query<Rejected>(db, sql.rejected, { source: `rabbitmq:${queue}` });
    const { length: unacked } = await query(db, sql.unacked);
    const waiting = await left();
    const all = rows.length === expected.length && rejected.length === becoming('rejected').length;
    // In the order of the messages: they were inserted together.
    if (all && unacked + waiting === 0) return { jobs: rows.map((row, n) => shown(row, expected[n]!)), rejected };
    if (Date.now() > until)
      throw new Failed(
        `After ${bridgeMs / 1_000} s there are ${count(rows.length, 'job')} instead of ${expected.length}, and ` +
          `${count(waiting, 'message')} left at RabbitMQ: rowmill doctor, with this RABBITMQ_URL, says more`,
      );
  }
}

const shown = (row: Pick<Shown, 'id' | 'status'>, { key, about, becomes }: Published): Shown => ({
  ...row,
  name: key,
  about,
  broken: becomes === 'failed job',
});

function tellOutcome(jobs: Shown[], rejected: Rejected[]): void {
  tellCounts(jobs);
  for (const job of jobs) tellFailure(job);
  print();
  print('RabbitMQ has no message left. Each was acknowledged after its row was committed. These messages made no job:');
  print();
  for (const { key, about } of becoming('no job')) print(`  ${key}, ${about}`);
  for (const { key, about } of becoming('rejected')) print(`  ${key}, ${about}: it is kept in rejected_messages`);
  print();
  for (const line of table(rejected, columns)) print(`    ${line}`);
}

const columns: Column<Rejected>[] = [
  { title: 'ID', value: ({ id }) => id, align: 'right' },
  { title: 'KEY', value: ({ key }) => key },
  { title: 'REASON', value: ({ reason }) => reason },
  { title: 'ERROR', value: ({ error }) => error },
];

/** As a person does it: correct the message, and submit it again. */
async function repair(stage: Stage, { id, key }: Rejected, json: boolean): Promise<Shown> {
  await stage.step('\nCorrecting it, and submitting it again:\n');
  if (!json) tellStatement(sql.correct.text.replace('$1', String(id)));
  if (!json) print(`  ${paint('bold', `npx rowmill rejected resubmit ${id}`)}\n`);
  await query(stage.db, sql.correct, { id });
  const [became] = await resubmit(stage.db, [id]);
  if (became?.outcome !== 'created') throw new Failed(`The corrected message ${id} became no job`);
  const job: Shown = { id: became.id, name: key, about: 'corrected', broken: false, status: 'pending' };
  await stage.watch([job]);
  return job;
}
