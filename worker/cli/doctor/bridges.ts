import type { Config } from '../../base/config/config.ts';
import { messageOf } from '../../base/errors.ts';
import { mayBePulled } from '../../bridges/cloudflare/api.ts';
import { examineSqs } from '../../bridges/sqs/examine.ts';
import { count } from '../output.ts';
import { fail, ok, warn, type Check } from './check.ts';

const patienceMs = 20_000;

/** Bridges that need no database to be looked at. */
export async function* checkBridges({ sqs, cloudflare }: Pick<Config, 'sqs' | 'cloudflare'>): AsyncGenerator<Check> {
  const signal = AbortSignal.timeout(patienceMs);
  if (sqs)
    try {
      const queues = await examineSqs(sqs, signal);
      yield ok('SQS', queues.map(({ url, messages }) => `${url}: ${count(messages, 'message')}`).join('\n'));
    } catch (error) {
      const fix = 'check the addresses, the region, and the rights of the key: worker/bridges/README.md lists them';
      yield fail('SQS', messageOf(error), fix);
    }
  for (const { id } of cloudflare?.queues ?? [])
    try {
      if (await mayBePulled(cloudflare!, id, signal)) yield ok('Cloudflare Queues', `${id} may be pulled`);
      else yield warn('Cloudflare Queues', `${id} has no consumer that pulls`, 'npx wrangler queues consumer http add');
    } catch (error) {
      const fix = 'check CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_QUEUE_ID, and that the token may read and write queues';
      yield fail('Cloudflare Queues', `${id}: ${messageOf(error)}`, fix);
    }
}
