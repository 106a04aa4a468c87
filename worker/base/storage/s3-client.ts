import { S3Client } from '@aws-sdk/client-s3';
import type { S3Config } from '../config/storage.ts';
import { withRetries, type Patience } from '../retry.ts';
import { boundAnswers } from './s3-bounds.ts';
import { passingOf } from './s3-errors.ts';

/**
 * A client that never waits for ever on a silent server. It tries each request once: the SDK's own retries cannot send
 * a stream again, and would sleep on when the job's signal fires. `asking` retries.
 */
export function createClient(config: S3Config, timeouts: { connectMs: number; idleMs: number }): S3Client {
  // Servers other than AWS fail on the checksums that the SDK would add:
  // https://github.com/aws/aws-sdk-js-v3/issues/6810
  const checksums = config.endpoint ? 'WHEN_REQUIRED' : 'WHEN_SUPPORTED';
  const client = new S3Client({
    region: config.region,
    forcePathStyle: config.pathStyle,
    ...(config.endpoint ? { endpoint: config.endpoint } : {}),
    // a copy: the SDK writes into it
    ...(config.credentials ? { credentials: { ...config.credentials } } : {}),
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    maxAttempts: 1,
    logger: silent,
    requestHandler: { connectionTimeout: timeouts.connectMs, socketTimeout: timeouts.idleMs },
  });
  boundAnswers(client);
  return client;
}

/** Retries a request that is safe to repeat. @throws the SDK's last error; the signal's reason */
export const asking = <T>(work: (tries: number) => Promise<T>, signal: AbortSignal | undefined, patience: Patience) =>
  withRetries(work, passingOf, signal, patience);

/** Without a logger, the SDK writes to the console. Its failures come out as errors, and are logged as such. */
const silent = { debug() {}, info() {}, warn() {}, error() {} };

export const sendOptions = (signal: AbortSignal | undefined) => (signal ? { abortSignal: signal } : {});
