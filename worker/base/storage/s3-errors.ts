import { codeOf, DeploymentError, PermanentError, RetryableError } from '../errors.ts';
import { isUnreachable, retryAfterMs, type Passing } from '../retry.ts';

/** What was asked of S3, in words for a message: `writing "a/b.webp"`. */
export type S3Request = { host: string; bucket: string; doing: string };

export type StorageError = PermanentError | RetryableError | DeploymentError;

type StorageErrorCode =
  | 'object_not_found'
  | 'storage_bucket_missing'
  | 'storage_denied'
  | 'storage_full'
  | 'storage_refused'
  | 'storage_timeout'
  | 'storage_unavailable';

/**
 * Translates an error of the SDK: it gets a code, a message that says what to fix, and none of the SDK's own fields,
 * which contain signatures. An error that comes neither from S3 nor from the network is returned as it is.
 */
export function storageError(error: unknown, request: S3Request): unknown {
  const { name, message, status } = s3ErrorOf(error);
  if (status !== undefined) return namedError(judge(name, status, message), request, `${status} ${name}`, message);
  const code = codeOf(error);
  if (code === 'ETIMEDOUT' || (name === 'TimeoutError' && !code)) return namedError('storage_timeout', request, '');
  if (name === 'CredentialsProviderError')
    return new DeploymentError('storage', 'storage_unavailable', withoutCredentials(request));
  if (code && isUnreachable(code))
    return new DeploymentError('storage', 'storage_unavailable', wordsFor('storage_unavailable', request, code, ''));
  if (code && isOfNetwork(code)) return namedError('storage_unavailable', request, code);
  return error;
}

/** Whether a request may succeed if it is tried again soon, and when the server says to. Undefined: it would not. */
export function passingOf(error: unknown): Passing | undefined {
  const { name, message, status } = s3ErrorOf(error);
  if (status === 501) return undefined; // NotImplemented
  if (status === undefined) {
    const code = codeOf(error) ?? '';
    return name === 'TimeoutError' || name === 'CredentialsProviderError' || isOfNetwork(code) ? {} : undefined;
  }
  if (!['storage_timeout', 'storage_unavailable'].includes(judge(name, status, message))) return undefined;
  const { $response } = error as { $response?: { headers?: Record<string, string> } };
  return { retryAfterMs: retryAfterMs($response?.headers?.['retry-after']) };
}

/** The error for an S3 code alone: for one key of many, or if we know more than the answer says. */
export function storageErrorOf(s3Code: string, request: S3Request): StorageError {
  return namedError(judge(s3Code), request, s3Code);
}

/**
 * Maps S3's error code to ours, or the status if the code says nothing: the answer to a HEAD has no body.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
function judge(s3Code: string, status = 0, words = ''): StorageErrorCode {
  switch (s3Code) {
    case 'NoSuchBucket':
      return 'storage_bucket_missing';
    case 'NoSuchKey':
      return 'object_not_found';
    case 'RequestTimeout':
      return 'storage_timeout';
    case 'InternalError':
    case 'ServiceUnavailable':
    case 'SlowDown':
    case 'RequestTimeTooSkewed': // the SDK takes over the server's clock, so the next attempt is right
      return 'storage_unavailable';
    case 'ExpiredToken':
    case 'InvalidAccessKeyId':
    case 'InvalidToken':
    case 'SignatureDoesNotMatch':
      return 'storage_denied';
    case 'QuotaExceeded':
    case 'XMinioAdminBucketQuotaExceeded':
    case 'XMinioStorageFull':
      return 'storage_full';
  }
  // Backblaze B2 answers AccessDenied, and only the message says that a cap of the account is reached.
  if ((status === 403 || status === 507) && isQuota.test(words)) return 'storage_full';
  if (s3Code === 'AccessDenied') return 'storage_denied';
  if (status >= 500 || status === 429) return 'storage_unavailable';
  if (status === 401 || status === 403) return 'storage_denied';
  if (status === 404) return 'object_not_found';
  return 'storage_refused';
}

/** Such as "Cannot upload files, storage cap exceeded. See the Caps & Alerts page to increase your cap." */
const isQuota = /\b(cap|quota|limit)s?\b.{0,40}\b(exceeded|reached)|storage (is )?full/i;

const deployment: StorageErrorCode[] = ['storage_bucket_missing', 'storage_denied', 'storage_full'];

function namedError(code: StorageErrorCode, request: S3Request, answer: string, detail = ''): StorageError {
  const words = wordsFor(code, request, answer, quoted(detail));
  if (code === 'object_not_found') return new PermanentError(code, words);
  return deployment.includes(code) ? new DeploymentError('storage', code, words) : new RetryableError(code, words);
}

/** The server's own message, shortened, on one line. */
const quoted = (words: string) => words.replace(/\s+/g, ' ').trim().slice(0, 300);

function wordsFor(code: StorageErrorCode, { host, bucket, doing }: S3Request, answer: string, detail: string): string {
  switch (code) {
    case 'object_not_found':
      return `${doing}: there is no such object in bucket "${bucket}" at ${host}`;
    case 'storage_bucket_missing':
      return `${doing}: there is no bucket "${bucket}" at ${host}: create it, or correct its name in the settings`;
    case 'storage_denied':
      return `${doing} in bucket "${bucket}" was denied by ${host} (${answer}): ${denialOf(answer, detail)}`;
    case 'storage_full':
      return `${doing} in bucket "${bucket}": ${host} takes no more (${answer}: ${detail})`;
    case 'storage_timeout':
      return `${doing} in bucket "${bucket}": ${host} did not answer in time`;
    case 'storage_unavailable':
      return `${doing} in bucket "${bucket}": ${host} could not be reached or could not serve it (${answer})`;
    case 'storage_refused':
      return `${doing} in bucket "${bucket}" was refused by ${host} (${answer}: ${detail})`;
  }
}

function denialOf(answer: string, detail: string): string {
  if (answer.endsWith('InvalidAccessKeyId')) return 'it does not know the access key id';
  if (answer.endsWith('SignatureDoesNotMatch')) return 'the secret key does not belong to the access key id';
  const known = answer.endsWith('AccessDenied')
    ? 'the access key has no right to do this'
    : 'check the access key, its secret and its rights';
  return saysNothing.test(detail) ? known : `${known}; it says: ${detail}`;
}

/** Messages of a denial that say no more than its code does. */
const saysNothing = /^(access ?denied|forbidden|unknown\w*)?\.?$/i;

const withoutCredentials = ({ bucket, doing }: S3Request) =>
  `${doing} in bucket "${bucket}": no credentials were found; ` +
  'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role';

function s3ErrorOf(error: unknown): { name: string; message: string; status: number | undefined } {
  if (!(error instanceof Error)) return { name: '', message: '', status: undefined };
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  return { name: error.name, message: error.message, status: $metadata?.httpStatusCode };
}

/** The codes of sockets, DNS, HTTP and TLS. Not those of the file that is being sent, nor Node's for a bug of ours. */
const isOfNetwork = (code: string) =>
  /^(EAI_|ECONN|EHOST|ENET|ENOTFOUND|EPIPE|EPROTO|ERR_SSL_|ERR_TLS_|HPE_|UNABLE_TO_)|CERT/.test(code);
