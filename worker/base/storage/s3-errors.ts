import { codeOf, PermanentError, RetryableError } from '../errors.ts';

/** What was asked of S3, in words for a message: `writing "a/b.webp"`. */
export type S3Request = { host: string; bucket: string; doing: string };

type StorageErrorCode =
  | 'object_not_found'
  | 'storage_bucket_missing'
  | 'storage_denied'
  | 'storage_refused'
  | 'storage_timeout'
  | 'storage_unavailable';

/**
 * An error of the SDK as one of ours: named, with a message that says what to mend, and without the SDK's own fields,
 * which hold signatures. An error that comes neither from S3 nor from the network is given back as it is.
 */
export function storageError(error: unknown, request: S3Request): unknown {
  const { name, message, status } = s3ErrorOf(error);
  if (status !== undefined) return namedError(judge(name, status), request, `${status} ${name}`, message);
  const code = codeOf(error);
  if (code === 'ETIMEDOUT' || (name === 'TimeoutError' && !code)) return namedError('storage_timeout', request, '');
  if (name === 'CredentialsProviderError')
    return new RetryableError('storage_unavailable', withoutCredentials(request));
  if (code && isOfNetwork(code)) return namedError('storage_unavailable', request, code);
  return error;
}

/** What S3 answered with a code alone: for one key of many, or where we know more than the answer says. */
export function storageErrorOf(s3Code: string, request: S3Request): PermanentError | RetryableError {
  return namedError(judge(s3Code), request, s3Code);
}

/**
 * S3's error code to ours, or by the status where the code says nothing: the answer to a HEAD has no body.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
function judge(s3Code: string, status = 0): StorageErrorCode {
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
    case 'AccessDenied':
      return 'storage_denied';
  }
  if (status >= 500 || status === 429) return 'storage_unavailable';
  if (status === 401 || status === 403) return 'storage_denied';
  if (status === 404) return 'object_not_found';
  return 'storage_refused';
}

const permanent: StorageErrorCode[] = ['object_not_found', 'storage_bucket_missing', 'storage_denied'];

function namedError(code: StorageErrorCode, request: S3Request, answer: string, detail = '') {
  const NamedError = permanent.includes(code) ? PermanentError : RetryableError;
  return new NamedError(code, wordsFor(code, request, answer, detail));
}

function wordsFor(code: StorageErrorCode, { host, bucket, doing }: S3Request, answer: string, detail: string): string {
  switch (code) {
    case 'object_not_found':
      return `${doing}: there is no such object in bucket "${bucket}" at ${host}`;
    case 'storage_bucket_missing':
      return `${doing}: there is no bucket "${bucket}" at ${host}; create it, or correct the bucket's name in the configuration`;
    case 'storage_denied':
      return `${doing} in bucket "${bucket}" was denied by ${host} (${answer}): ${denialOf(answer)}`;
    case 'storage_timeout':
      return `${doing} in bucket "${bucket}": ${host} did not answer in time`;
    case 'storage_unavailable':
      return `${doing} in bucket "${bucket}": ${host} could not be reached or could not serve it (${answer})`;
    case 'storage_refused':
      return `${doing} in bucket "${bucket}" was refused by ${host} (${answer}: ${detail})`;
  }
}

function denialOf(answer: string): string {
  if (answer.endsWith('InvalidAccessKeyId')) return 'it does not know the access key id';
  if (answer.endsWith('SignatureDoesNotMatch')) return 'the secret key does not belong to the access key id';
  if (answer.endsWith('AccessDenied')) return 'the access key has no right to do this';
  return 'check the access key, its secret and its rights';
}

/** Not permanent: a machine's role may be out of reach for a while. */
const withoutCredentials = ({ bucket, doing }: S3Request) =>
  `${doing} in bucket "${bucket}": no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role`;

function s3ErrorOf(error: unknown): { name: string; message: string; status: number | undefined } {
  if (!(error instanceof Error)) return { name: '', message: '', status: undefined };
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  return { name: error.name, message: error.message, status: $metadata?.httpStatusCode };
}

/** The codes of sockets, DNS, HTTP and TLS: not those of the file that is being sent, nor Node's for a mistake of ours. */
const isOfNetwork = (code: string) =>
  /^(EAI_|ECONN|EHOST|ENET|ENOTFOUND|EPIPE|EPROTO|ERR_SSL_|ERR_TLS_|HPE_|UNABLE_TO_)|CERT/.test(code);
