import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { buildApp } from 'fauxqs';
import type { S3Config } from '../../worker/base/config/storage.ts';
import { refusalOf } from './sigv4.ts';

/**
 * An S3 server over a real socket, for tests. The objects live in fauxqs, in this process; in front of it stands a door
 * that checks what fauxqs does not (signatures, dates, body hashes) and that can be told to fail as real servers do.
 *
 *   const s3 = await startS3Server();           // s3.config is an S3Config whose bucket exists s3.fail({ status: 503,
 *   code: 'SlowDown', times: 2 }); await s3.close();
 *
 * Two limits of fauxqs: it refuses bodies of more than 11 MiB (put larger files in parts), and lists by locale rather
 * than by bytes, so that listings of more than a thousand keys in mixed case may lose some.
 */
export type S3Server = {
  config: S3Config & { endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string } };
  /** The same as environment variables, for a process. */
  env: Record<string, string>;
  createBucket(name: string): Promise<void>;
  /** What was asked, oldest first. */
  requests: AskedRequest[];

  /** Answers with this error, `times` times or until `heal`, to the requests that `when` picks (all, if not given). */
  fail(failure: Failure): void;
  /** Deletes none of these keys, and says so in the answer for the whole page, whose status is 200. */
  refuseToDelete(keys: string[], code?: string): void;
  /** Takes requests and never answers. */
  hang(): void;
  /** Sends half of each body and drops the connection. */
  truncate(): void;
  /** Leaves out the ETag of every answer, as some servers do. */
  omitEtag(): void;
  /** From here on an honest server again. */
  heal(): void;

  /** Refuses connections until `start`, which listens on the same port with the same objects. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
};

export type AskedRequest = {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Whether the whole answer went out. */
  answered: () => boolean;
};
export type Failure = {
  status: number;
  code: string;
  message?: string;
  /** What to answer with in place of S3's XML for the error. */
  body?: string;
  headers?: Record<string, string>;
  /** Drops the connection in place of an answer; `served`: after having done what was asked. */
  drop?: true;
  served?: true;
  /** Never answers. */
  hang?: true;
  times?: number;
  when?: (request: AskedRequest) => boolean;
};

/** Failures in S3's own words. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
export const s3Failures = {
  denied: { status: 403, code: 'AccessDenied', message: 'Access Denied' },
  internalError: { status: 500, code: 'InternalError', message: 'We encountered an internal error. Please try again.' },
  slowDown: { status: 503, code: 'SlowDown', message: 'Please reduce your request rate.' },
  notImplemented: { status: 501, code: 'NotImplemented', message: 'This functionality is not implemented.' },
  /** What servers say to DeleteObjects that know MD5 only, such as older MinIO and Swift. */
  missingContentMd5: {
    status: 400,
    code: 'MissingContentMD5',
    message: 'Missing required header for this request: Content-Md5.',
    when: ({ method, url, headers }: AskedRequest) =>
      method === 'POST' && /[?&]delete\b/.test(url) && !('content-md5' in headers),
  },
} satisfies Record<string, Failure>;

export async function startS3Server(): Promise<S3Server> {
  const store = buildApp({ logger: false });
  const identity = { region: 'eu-test-1', accessKeyId: 'TESTACCESSKEY', secretAccessKey: 'test/secret+canary=41d5' };
  const requests: AskedRequest[] = [];
  const honest = () => ({
    failures: [] as Failure[],
    refused: {} as Record<string, string>,
    hangs: false,
    truncates: false,
    omitsEtag: false,
  });
  const mood = honest();

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = incoming;
    const request = { method, url, headers, body: await buffer(incoming), answered: () => response.writableFinished };
    requests.push(request);
    // As buckets do that have a CORS rule, which players in browsers need.
    response.setHeader('access-control-allow-origin', '*');
    if (mood.hangs) return;
    const failure: Failure | undefined =
      refusalOf(request, identity) ?? nextFailure(mood.failures, request) ?? tooLarge(request);
    if (failure?.hang) return;
    if (failure?.drop && !failure.served) return void response.socket?.resetAndDestroy();
    if (failure && !failure.drop) return answerError(response, request, failure);

    const { 'transfer-encoding': _, expect: __, 'content-length': ___, ...passed } = headers;
    const answer = await store.inject({
      method: method as 'GET',
      url,
      headers: { ...passed, host: '127.0.0.1' },
      payload: withoutKeys(request.body, mood.refused),
    });
    if (failure) return void response.socket?.resetAndDestroy();
    const refusals = Object.entries(mood.refused).filter(([key]) => request.body.includes(`<Key>${key}</Key>`));
    if (refusals.length > 0) return answerRefusals(response, refusals);
    if (mood.omitsEtag) delete answer.headers['etag'];
    response.writeHead(answer.statusCode, answer.headers as Record<string, string>);
    if (!mood.truncates) return void response.end(answer.rawPayload);
    response.write(answer.rawPayload.subarray(0, answer.rawPayload.length / 2), () => response.destroy());
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch((error: unknown) => response.destroy(error as Error));
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const stop = async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };

  const port = await listen(0);
  const createBucket = async (name: string) => void (await store.inject({ method: 'PUT', url: `/${name}` }));
  await createBucket('rowmill-test');
  const { region, ...credentials } = identity;
  const config = {
    provider: 's3' as const,
    endpoint: `http://127.0.0.1:${port}`,
    bucket: 'rowmill-test',
    region,
    credentials,
    pathStyle: true,
  };
  return {
    config,
    env: {
      STORAGE_PROVIDER: 's3',
      STORAGE_ENDPOINT: config.endpoint,
      STORAGE_BUCKET: config.bucket,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
    createBucket,
    requests,
    fail: (failure) => void mood.failures.push({ ...failure }),
    refuseToDelete: (keys, code = 'AccessDenied') =>
      void Object.assign(mood.refused, Object.fromEntries(keys.map((key) => [key, code]))),
    hang: () => void (mood.hangs = true),
    truncate: () => void (mood.truncates = true),
    omitEtag: () => void (mood.omitsEtag = true),
    heal: () => void Object.assign(mood, honest()),
    stop,
    start: async () => void (await listen(port)),
    close: async () => {
      if (server.listening) await stop();
      await store.close();
    },
  };
}

function tooLarge({ body }: AskedRequest): Failure | undefined {
  if (body.length <= 11 * 1024 * 1024) return undefined;
  return { status: 400, code: 'EntityTooLarge', message: 'fauxqs takes 11 MiB at most: put larger files in parts' };
}

function nextFailure(failures: Failure[], request: AskedRequest): Failure | undefined {
  const failure = failures.find(({ times = Infinity, when = () => true }) => times > 0 && when(request));
  if (failure?.times !== undefined) failure.times--;
  return failure;
}

/** A page of keys to delete, but for those that are refused. */
function withoutKeys(body: Buffer, refused: Record<string, string>): Buffer {
  const keys = Object.keys(refused);
  if (keys.length === 0 || !body.includes('<Delete')) return body;
  return Buffer.from(
    body
      .toString()
      .replace(/<Object><Key>(.*?)<\/Key><\/Object>/g, (object, key: string) => (keys.includes(key) ? '' : object)),
  );
}

function answerRefusals(response: ServerResponse, refusals: [string, string][]) {
  const errors = refusals.map(
    ([key, code]) => `<Error><Key>${key}</Key><Code>${code}</Code><Message>${code}</Message></Error>`,
  );
  response.writeHead(200, { 'content-type': 'application/xml' });
  response.end(`<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult>${errors.join('')}</DeleteResult>`);
}

/** An answer to HEAD has no body, so its client sees the status alone. */
function answerError(response: ServerResponse, { method, url }: AskedRequest, failure: Failure) {
  const { status, code, message = code, body = errorXml(code, message, url) } = failure;
  const headers = { 'content-type': 'application/xml', 'x-amz-request-id': 'TESTREQUEST', ...failure.headers };
  response.writeHead(status, headers);
  response.end(method === 'HEAD' ? undefined : body);
}

function errorXml(code: string, message: string, resource: string): string {
  const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>${code}</Code><Message>${escape(message)}</Message><Resource>${escape(resource)}</Resource></Error>`;
}
