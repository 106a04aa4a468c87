import { randomUUID } from 'node:crypto';
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { startFauxqs } from 'fauxqs';
import type { SqsConfig } from '../../worker/base/config/sqs.ts';

/** An SQS server over a real socket, with one queue. */
export async function openSqs({ fifo = false, key }: { fifo?: boolean; key?: string } = {}) {
  const server = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  const endpoint = `http://127.0.0.1:${server.port}`;
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
  const client = new SQSClient({ endpoint, region: 'us-east-1', credentials, useQueueUrlAsEndpoint: false });
  const name = `test-${randomUUID().slice(0, 8)}${fifo ? '.fifo' : ''}`;
  await client.send(new CreateQueueCommand({ QueueName: name, Attributes: fifo ? { FifoQueue: 'true' } : {} }));
  // The address that fauxqs makes of an IP address is none.
  const url = `${endpoint}/000000000000/${name}`;
  const config: SqsConfig = {
    queues: [{ url, key }],
    region: 'us-east-1',
    endpoint,
    credentials,
    keyAttribute: 'routingKey',
  };
  return {
    server,
    client,
    name,
    url,
    config,
    /** Messages that are in the queue, or given to somebody. */
    async left(): Promise<number> {
      const names = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'] as const;
      const { Attributes } = await client.send(
        new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: [...names] }),
      );
      return names.reduce((sum, each) => sum + Number(Attributes?.[each]), 0);
    },
    async close() {
      client.destroy();
      await server.stop();
    },
  };
}
