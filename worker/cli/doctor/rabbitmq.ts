import { examineRabbitmq, type Found } from '../../bridges/rabbitmq/examine.ts';
import type { RabbitmqConfig } from '../../base/config/rabbitmq.ts';
import { createPool } from '../../base/db/db.ts';
import { messageOf } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import { queueNames } from '../../queue/client/operate.ts';
import type { Registry } from '../../queue/registry.ts';
import { count } from '../output.ts';
import { fail, ok, warn, type Check } from './check.ts';

const name = 'RabbitMQ';
const patienceMs = 20_000;

export async function checkRabbitmq(url: string, registry: Registry, config: RabbitmqConfig): Promise<Check[]> {
  const db = createPool(url, { max: 1, log: createLog({ logLevel: 'silent', secrets: [] }) });
  try {
    const rowmill = { queues: await queueNames(db), kinds: [...registry.keys()] };
    return judge(await examineRabbitmq(config, rowmill, AbortSignal.timeout(patienceMs)), config);
  } catch (error) {
    const fix = 'check RABBITMQ_URL, that RabbitMQ is up, and that its user may read the queues';
    return [fail(name, `${new URL(config.url).host}: ${messageOf(error)}`, fix)];
  } finally {
    await db.end();
  }
}

function judge({ exchange, queues, missing, unbound }: Found, config: Pick<RabbitmqConfig, 'exchange'>): Check[] {
  const told = queues.map(
    ({ name: queue, ready, consumers }) => `${queue}: ${ready} ready, ${count(consumers, 'consumer')}`,
  );
  const lacking = [
    ...(exchange ? [] : [`the exchange ${config.exchange}`]),
    ...missing.map((queue) => `the queue ${queue}`),
  ];
  const idle = queues.filter(({ ready, consumers }) => ready > 0 && consumers === 0);
  return [
    ok(name, [`exchange ${config.exchange}`, ...told].join('\n')),
    ...(lacking.length > 0
      ? [warn(name, `${lacking.join(', ')} does not exist yet`, 'start a worker with RABBITMQ_URL: it makes them')]
      : []),
    ...(idle.length > 0
      ? [
          warn(
            name,
            `nobody consumes ${idle.map((queue) => queue.name).join(', ')}`,
            'start a worker with RABBITMQ_URL',
          ),
        ]
      : []),
    ...(unbound.length > 0
      ? [
          warn(
            name,
            `no queue is bound to ${unbound.join(', ')}: such messages are dropped`,
            'add them to RABBITMQ_QUEUES',
          ),
        ]
      : []),
  ];
}
