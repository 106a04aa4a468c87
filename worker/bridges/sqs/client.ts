import type { SQSClient } from '@aws-sdk/client-sqs';
import type { SqsConfig } from '../../base/config/sqs.ts';
import { codeOf } from '../../base/errors.ts';

export type Sdk = typeof import('@aws-sdk/client-sqs');

const connectionTimeoutMs = 10_000;
const longestRequestMs = 30_000;

/** The SDK is loaded here, at first use. */
export async function openSqs({
  region,
  endpoint,
  credentials,
  requestTimeoutMs = longestRequestMs,
}: Pick<SqsConfig, 'region' | 'endpoint' | 'credentials' | 'requestTimeoutMs'>): Promise<{
  sdk: Sdk;
  client: SQSClient;
}> {
  const sdk = await import('@aws-sdk/client-sqs');
  const client = new sdk.SQSClient({
    region,
    // Without these, a request to a server that has gone silent would never end.
    requestHandler: {
      connectionTimeout: connectionTimeoutMs,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
    },
    // Otherwise the address of a queue would go before it.
    ...(endpoint ? { endpoint, useQueueUrlAsEndpoint: false } : {}),
    ...(credentials ? { credentials } : {}),
  });
  return { sdk, client };
}

/** Errors of the SDK say what they are in their names: QueueDoesNotExist has the code `sqs_queue_does_not_exist`. */
export function named(error: unknown): unknown {
  const isOfSdk =
    error instanceof Error && ('$metadata' in error || /^(TimeoutError|CredentialsProviderError)$/.test(error.name));
  if (!isOfSdk || codeOf(error) !== undefined) return error;
  const words = error.name.replaceAll(/([a-z])(?=[A-Z])/g, '$1_').replaceAll(/\W+/g, '_');
  return Object.assign(error, { code: `sqs_${words.toLowerCase()}` });
}
