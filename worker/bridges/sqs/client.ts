import type { SQSClient } from '@aws-sdk/client-sqs';
import type { SqsConfig } from '../../base/config/sqs.ts';

export type Sdk = typeof import('@aws-sdk/client-sqs');

/** The SDK is loaded here, at first use. */
export async function openSqs({
  region,
  endpoint,
  credentials,
}: Pick<SqsConfig, 'region' | 'endpoint' | 'credentials'>): Promise<{ sdk: Sdk; client: SQSClient }> {
  const sdk = await import('@aws-sdk/client-sqs');
  const client = new sdk.SQSClient({
    region,
    // Otherwise the address of a queue would go before it.
    ...(endpoint ? { endpoint, useQueueUrlAsEndpoint: false } : {}),
    ...(credentials ? { credentials } : {}),
  });
  return { sdk, client };
}
