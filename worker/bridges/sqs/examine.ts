import type { SqsConfig } from '../../base/config/sqs.ts';
import { openSqs } from './client.ts';

/** How many messages are in each queue. It takes none. @throws if a queue does not exist, or may not be read */
export async function examineSqs(config: SqsConfig, signal: AbortSignal): Promise<{ url: string; messages: number }[]> {
  const { sdk, client } = await openSqs(config);
  try {
    const found = [];
    for (const { url } of config.queues) {
      const asked = new sdk.GetQueueAttributesCommand({
        QueueUrl: url,
        AttributeNames: ['ApproximateNumberOfMessages'],
      });
      const { Attributes } = await client.send(asked, { abortSignal: signal });
      found.push({ url, messages: Number(Attributes?.['ApproximateNumberOfMessages'] ?? 0) });
    }
    return found;
  } finally {
    client.destroy();
  }
}
