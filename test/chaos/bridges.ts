import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '../../worker/base/errors.ts';
import { startOwnBroker } from '../support/broker.ts';
import { endsWithUs } from '../support/processes.ts';
import { sources, type OpenSource, type Sent } from '../support/sources.ts';
import { startWire } from '../support/wire.ts';
import { persist, prepareGround } from './ground.ts';
import { random, shuffled } from './random.ts';

// npm run chaos:bridges -- [--bridge rabbitmq-classic | rabbitmq-quorum | sqs | cloudflare] [--messages 50000]
// [--kills 10] [--source 2] [--postgres 2] [--again 5] [--bridges 1] [--latency 10] [--ids] [--seed 1]
//
// Messages become jobs while bridges are killed, the source goes away, and Postgres crashes. The source is a RabbitMQ
// of the run's own (needs rabbitmq-server), which is restarted, or a stand-in, which is cut off for two seconds and
// from time to time delivers again what a bridge has. A tenth of the messages equal another one, and both are meant.
// With --ids those of RabbitMQ have a messageId: others have one always. The last line is the verdict; exit code 1
// unless there are as many jobs as messages, of each body.

const size = (value: string) => ({ type: 'string', default: value }) as const;
const { values } = parseArgs({
  options: {
    bridge: size('rabbitmq-classic'),
    messages: size('50000'),
    kills: size('10'),
    source: size('2'),
    postgres: size('2'),
    again: size('5'),
    bridges: size('1'),
    latency: size('10'),
    ids: { type: 'boolean', default: false },
    seed: size('1'),
  },
});
const kind = sources[values.bridge];
if (!kind) {
  console.error(`--bridge is one of ${Object.keys(sources).join(', ')}`);
  process.exit(2);
}
const isRabbitmq = values.bridge.startsWith('rabbitmq');
const count = Number(values.messages);
const next = random(values.seed);
await using open = new AsyncDisposableStack();
const ground = open.adopt(await prepareGround(), (made) => made.close());
const broker = isRabbitmq ? open.adopt(await startOwnBroker(), (started) => started.close()) : undefined;
const source = open.adopt(await kind.open(broker?.url), (opened) => opened.close().catch(() => {}));
// Where an acknowledgement takes its time, more is on its way when a bridge dies.
const wire = open.adopt(await startWire(source.url, Number(values.latency)), (started) => started.close());
const bridges: ChildProcess[] = [];
open.defer(() => bridges.forEach((bridge) => void bridge.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void open.disposeAsync().finally(() => process.exit(1)));

const faults: Record<string, () => unknown> = {
  async kill() {
    const at = Math.floor(next() * bridges.length);
    const [killed] = bridges.splice(at, 1, startBridge(source));
    killed!.kill('SIGKILL');
  },
  async source() {
    if (broker) return broker.restart();
    wire.leave();
    await sleep(2_000);
    wire.comeBack();
  },
  postgres: () => ground.restart(),
  again: () => source.again(),
};

try {
  process.exitCode = await scenario();
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}

async function scenario(): Promise<number> {
  const numbers = someTwice();
  const sent = numbers.map((n, i): Sent => ({ body: `{"n":${n}}`, ...(values.ids ? { id: `m${i}` } : {}) }));
  for (let at = 0; at < count; at += 5_000) await source.send(sent.slice(at, at + 5_000));
  console.log(`${count} messages sent, ${count - new Set(numbers).size} of them equal to another one`);

  const began = performance.now();
  const seconds = () => ((performance.now() - began) / 1_000).toFixed(1);
  for (let n = 0; n < Number(values.bridges); n += 1) bridges.push(startBridge(source));
  const times = { kill: values.kills, source: values.source, postgres: values.postgres, again: values.again };
  if (isRabbitmq) times.again = '0';
  const plan = shuffled(
    next,
    Object.entries(times).flatMap(([name, n]) => Array.from({ length: Number(n) }, () => name)),
  );
  for (const [n, fault] of plan.entries()) {
    const until = (count * (n + 0.2 + next() * 0.6)) / (plan.length + 1);
    while ((await jobs()) < until) await sleep(20);
    await sleep(next() * 50);
    console.log(`${seconds()} s, ${await jobs()} jobs: ${fault}`);
    await faults[fault]!();
  }
  const left = await settle();
  if (left > 0) console.error(`${left} messages are left, and no bridge has taken one for two minutes`);
  return Math.max(await verdict(numbers, seconds()), left > 0 ? 1 : 0);
}

function jobs(): Promise<number> {
  return persist(async () => Number((await ground.db.query(`select count(*) from jobs`)).rows[0].count));
}

/** Until no message is left, and for ten seconds nothing has changed. @returns how many are left, after two minutes */
async function settle(): Promise<number> {
  let last = '';
  for (let since = performance.now(); ; await sleep(500)) {
    const left = await source.left();
    const now = `${left} ${await jobs()}`;
    if (now !== last) since = performance.now();
    last = now;
    if (performance.now() - since > (left === 0 ? 10_000 : 120_000)) return left;
  }
}

async function verdict(numbers: number[], seconds: string): Promise<number> {
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
  const { rowCount: ledger } = await ground.db.query('select from bridge_unacked');
  const total = rows.reduce((sum, each) => sum + each.count, 0);
  console.log(
    `${kind!.name}: ${total} jobs of ${count} messages in ${seconds} s: ${lost} lost, ${doubled} doubled` +
      (isRabbitmq ? `; ${ledger} batches left in bridge_unacked` : ''),
  );
  return lost + doubled > 0 ? 1 : 0;
}

function startBridge({ env }: OpenSource): ChildProcess {
  const child = endsWithUs(
    fork(join(import.meta.dirname, 'bridge.ts'), [], {
      env: { ...process.env, DATABASE_URL: ground.url, ...env(wire.url) },
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
