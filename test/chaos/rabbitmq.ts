import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { messageOf } from '../../worker/base/errors.ts';
import { endsWithUs } from '../support/processes.ts';
import { noRabbitmq, openBroker, startWire, type Broker } from '../support/rabbitmq.ts';
import { persist, prepareGround, type Ground } from './ground.ts';
import { random, shuffled } from './random.ts';

// npm run chaos:rabbitmq -- [--messages 50000] [--kills 10] [--broker 2] [--postgres 2] [--bridges 1]
// [--latency 10] [--ids] [--seed 1]
// Messages of RabbitMQ become jobs while bridges are killed, RabbitMQ is restarted (needs rabbitmqctl, and stops it for
// everybody), and Postgres crashes. A tenth of the messages equal another one, and both are meant. With --ids each has
// a messageId. The last line is the verdict; exit code 1 unless there are as many jobs as messages, of each body.

if (noRabbitmq) {
  console.log(`${noRabbitmq}: nothing to do. To start one: rabbitmq-server -detached`);
  process.exit(0);
}
const run = promisify(execFile);
const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '50000' },
    kills: { type: 'string', default: '10' },
    broker: { type: 'string', default: '2' },
    postgres: { type: 'string', default: '2' },
    bridges: { type: 'string', default: '1' },
    latency: { type: 'string', default: '10' },
    ids: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
  },
});
const count = Number(values.messages);
const next = random(values.seed);
const ground = await prepareGround();
const first = await openBroker();
// Where an acknowledgement takes its time, more is on its way when a bridge dies.
const wire = await startWire(Number(values.latency));
const bridges: ChildProcess[] = [];
let code = 1;
try {
  code = await scenario(ground, first);
} catch (error) {
  console.error(messageOf(error));
}
for (const bridge of bridges) bridge.kill('SIGKILL');
await first.close().catch(() => {});
await removeNames(first);
await ground.close();
wire.close();
process.exit(code);

async function scenario({ db, url }: Ground, broker: Broker): Promise<number> {
  const numbers = someTwice();
  await broker.channel.assertExchange(broker.exchange, 'topic', { durable: true });
  await broker.channel.assertQueue(broker.queue, { durable: true });
  await broker.channel.bindQueue(broker.queue, broker.exchange, '#');
  for (let at = 0; at < count; at += 1_000)
    await broker.publish(
      numbers.slice(at, at + 1_000).map((n, i) => ({
        key: 'media.image',
        body: { n },
        options: values.ids ? { messageId: `m${at + i}` } : {},
      })),
    );
  console.log(`${count} messages published, ${count - new Set(numbers).size} of them equal to another one`);

  const began = performance.now();
  for (let n = 0; n < Number(values.bridges); n += 1) bridges.push(startBridge(url, broker));
  const jobs = () => persist(async () => Number((await db.query(`select count(*) from jobs`)).rows[0].count));
  const faults = shuffled(next, [
    ...repeated(Number(values.kills), 'kill'),
    ...repeated(Number(values.broker), 'broker'),
    ...repeated(Number(values.postgres), 'postgres'),
  ]);
  for (const [n, fault] of faults.entries()) {
    const until = (count * (n + 0.2 + next() * 0.6)) / (faults.length + 1);
    while ((await jobs()) < until) await sleep(20);
    await sleep(next() * 50);
    console.log(`${((performance.now() - began) / 1_000).toFixed(1)} s, ${await jobs()} jobs: ${fault}`);
    if (fault === 'postgres') await ground.restart();
    else if (fault === 'broker') {
      await run('rabbitmqctl', ['stop_app']);
      await run('rabbitmqctl', ['start_app']);
    } else {
      const at = Math.floor(next() * bridges.length);
      const [killed] = bridges.splice(at, 1, startBridge(url, broker));
      killed!.kill('SIGKILL');
    }
  }
  await settle(broker, jobs);
  return verdict(numbers, (performance.now() - began) / 1_000);
}

/** Until no message is left, and for ten seconds nothing has changed. */
async function settle(broker: Broker, jobs: () => Promise<number>): Promise<void> {
  let last = '';
  for (let since = performance.now(); performance.now() - since < 10_000; await sleep(500)) {
    const { stdout } = await run('rabbitmqctl', ['-q', 'list_queues', 'name', 'messages']);
    const left = new RegExp(`^${broker.queue}\\s+(\\d+)$`, 'm').exec(stdout)?.[1];
    const now = `${left} ${await jobs()}`;
    if (left !== '0' || now !== last) since = performance.now();
    last = now;
  }
}

async function verdict(numbers: number[], seconds: number): Promise<number> {
  const { rows } = await ground.db.query<{ n: number; count: number }>(
    `select (payload ->> 'n')::int as n, count(*)::int from jobs group by 1`,
  );
  const found = new Map(rows.map(({ n, count: times }) => [n, times]));
  let [lost, doubled] = [0, 0];
  for (const [n, same] of Map.groupBy(numbers, (each) => each)) {
    const more = (found.get(n) ?? 0) - same.length;
    if (more < 0) lost -= more;
    else doubled += more;
  }
  const { rows: ledger } = await ground.db.query('select from bridge_unacked');
  const total = rows.reduce((sum, each) => sum + each.count, 0);
  console.log(
    `${total} jobs of ${count} messages in ${seconds.toFixed(0)} s: ${lost} lost, ${doubled} doubled; ` +
      `${ledger.length} batches left in bridge_unacked`,
  );
  return lost + doubled > 0 ? 1 : 0;
}

function startBridge(url: string, { exchange, queue }: Broker): ChildProcess {
  const child = endsWithUs(
    fork(join(import.meta.dirname, 'rabbitmq-bridge.ts'), [], {
      env: {
        ...process.env,
        DATABASE_URL: url,
        RABBITMQ_URL: wire.url,
        RABBITMQ_EXCHANGE: exchange,
        RABBITMQ_QUEUES: `${queue}=#`,
      },
    }),
  );
  void once(child, 'exit').then(([status]) => status !== null && console.log(`a bridge ended by itself: ${status}`));
  return child;
}

/** Numbers, of which a tenth come twice: half of these within 600 messages, which a bridge may hold at once. */
function someTwice(): number[] {
  const distinct = Math.ceil(count * 0.9);
  const numbers = Array.from({ length: distinct }, (_, n) => n);
  while (numbers.length < count) {
    const at = Math.floor(next() * numbers.length);
    const near = at + Math.floor(next() * 600);
    numbers.splice(next() < 0.5 ? near : Math.floor(next() * numbers.length), 0, numbers[at]!);
  }
  return numbers;
}

function repeated<T>(times: number, what: T): T[] {
  return Array.from({ length: times }, () => what);
}

/** A restart of RabbitMQ has closed the first connection. */
async function removeNames({ exchange, queue }: Broker): Promise<void> {
  const again = await openBroker();
  await again.channel.deleteQueue(queue);
  await again.channel.deleteExchange(exchange);
  await again.close();
}
