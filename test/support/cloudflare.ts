import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { CloudflareConfig } from '../../worker/base/config/cloudflare.ts';

type Kept = {
  id: string;
  body: string;
  type: 'json' | 'text' | 'bytes';
  lease?: string;
  until: number;
  attempts: number;
};

/**
 * Cloudflare Queues with one queue, by its documents: pull, acknowledge, leases, Base64, and the errors of its API.
 * https://developers.cloudflare.com/queues/configuration/pull-consumers/
 */
export async function startCloudflare(key?: string) {
  const [account, queue, token] = ['a'.repeat(32), 'b'.repeat(32), 'token-of-the-test'];
  const kept = new Map<string, Kept>();
  /** Ids by lease. */
  const leases = new Map<string, string>();
  let failing: { status: number; code: number; headers: Record<string, string>; times: number } | undefined;
  let acksLost = 0;

  const refuse = (response: ServerResponse, status: number, code: number, headers: Record<string, string> = {}) =>
    answer(response, status, { success: false, errors: [{ code, message: `error ${code}` }], result: null }, headers);
  function answer(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}) {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify({ errors: [], messages: [], ...body }));
  }

  const endLeases = () => kept.forEach((each) => void (each.until = 0));

  function pull({ batch_size = 5, visibility_timeout_ms = 30_000 }: Record<string, number>) {
    const free = [
      ...kept
        .values()
        .filter(({ until }) => until < Date.now())
        .take(batch_size),
    ];
    for (const each of free) {
      each.attempts += 1;
      each.lease = randomUUID();
      leases.set(each.lease, each.id);
      each.until = Date.now() + visibility_timeout_ms;
    }
    const messages = free.map(({ id, body, type, lease, attempts }) => ({
      id,
      lease_id: lease,
      body: type === 'text' ? body : Buffer.from(body, 'latin1').toString('base64'),
      attempts,
      timestamp_ms: 1,
      metadata: { 'CF-Content-Type': type },
    }));
    return { messages, message_backlog_count: kept.size };
  }

  type Asked = { acks: { lease_id: string }[]; retries: { lease_id: string; delay_seconds?: number }[] };

  function acknowledge({ acks, retries }: Asked) {
    const known = <T extends { lease_id: string }>(asked: T[]) =>
      asked.flatMap((each) => {
        const message = kept.get(leases.get(each.lease_id) ?? '');
        return message?.lease === each.lease_id ? [{ ...each, message }] : [];
      });
    const [acked, retried] = [known(acks), known(retries)];
    for (const { message } of acked) kept.delete(message.id);
    for (const { message, delay_seconds = 0 } of retried) message.until = Date.now() + delay_seconds * 1_000 - 1;
    return { ackCount: acked.length, retryCount: retried.length, warnings: {} };
  }

  async function serve(request: IncomingMessage, response: ServerResponse) {
    const said = await text(request);
    if (request.headers.authorization !== `Bearer ${token}`) return refuse(response, 403, 10_106);
    if (request.method === 'GET' && request.url === `/accounts/${account}/queues/${queue}`)
      return answer(response, 200, { success: true, result: { queue_id: queue, consumers: [{ type: 'http_pull' }] } });
    const body = JSON.parse(said || '{}');
    const [, verb] = new RegExp(`^/accounts/${account}/queues/${queue}/messages/(pull|ack)$`).exec(request.url!) ?? [];
    if (request.method !== 'POST' || !verb) return refuse(response, 404, 10_104);
    if (failing && failing.times-- > 0) return refuse(response, failing.status, failing.code, failing.headers);
    if (verb === 'ack' && acksLost-- > 0) {
      endLeases();
      return response.destroy();
    }
    return answer(response, 200, { success: true, result: verb === 'pull' ? pull(body) : acknowledge(body) });
  }

  const server = createServer((request, response) => void serve(request, response));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    config: { url, account, token, queues: [{ id: queue, key }] } satisfies CloudflareConfig,
    queue,
    send(body: string, type: Kept['type'] = 'json') {
      const id = randomUUID();
      kept.set(id, { id, body, type, until: 0, attempts: 0 });
    },
    left: () => kept.size,
    /** What was pulled and is not acknowledged may be pulled again. */
    endLeases,
    /** Of the next requests. */
    fail(status: number, code: number, { times = 1, headers = {} } = {}) {
      failing = { status, code, headers, times };
    },
    /** Acknowledgements do not arrive, and leases end. */
    loseAcks(times: number) {
      acksLost = times;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
