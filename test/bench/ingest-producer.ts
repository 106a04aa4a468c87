import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import pg from 'pg';
import { listen, options, say } from './child.ts';
import { now } from './clock.ts';
import { padding } from './tools/tool.ts';

// Adds jobs in a process of its own, over HTTP or with inserts: each connection as soon as its last one is committed.

type Options = { url: string; port: number | undefined; batch: number; jobs: number; connections: number };
/** When it began and when all were committed, on the shared clock. */
export type Sent = { first: number; last: number };

const { url, port, batch, jobs, connections } = options() as Options;
const insert =
  batch === 1
    ? `insert into analytics_jobs (kind, payload) values ('noop', $1)`
    : `insert into analytics_jobs (kind, payload) select 'noop', value from jsonb_array_elements($1::jsonb)`;

let sent = 0;
const next = () => ({ n: ++sent, sent: now(), pad: padding });
const payloads = () => (batch === 1 ? next() : Array.from({ length: batch }, next));

const agent = new Agent({ keepAlive: true, maxSockets: connections });
const headers = { authorization: 'Bearer a-token-for-benchmarks', 'content-type': 'application/json' };

async function post(): Promise<void> {
  const given = payloads();
  const asJob = (payload: object) => ({ kind: 'analytics.noop', payload });
  const body = Buffer.from(JSON.stringify(Array.isArray(given) ? given.map(asJob) : asJob(given)));
  const answer = await new Promise<{ status: number | undefined; said: string }>((resolve, reject) => {
    const asking = request(
      {
        port,
        host: '127.0.0.1',
        path: '/jobs',
        method: 'POST',
        agent,
        headers: { ...headers, 'content-length': body.length },
      },
      (response) => void text(response).then((said) => resolve({ status: response.statusCode, said }), reject),
    );
    asking.on('error', reject).end(body);
  });
  if (answer.status !== 201) throw new Error(`${answer.status}: ${answer.said}`);
}

const clients = port ? [] : Array.from({ length: connections }, () => new pg.Client({ connectionString: url }));
await Promise.all(clients.map((client) => client.connect()));

const adders = port
  ? Array.from({ length: connections }, () => post)
  : clients.map((client) => async () => {
      await client.query({ name: 'insert', text: insert, values: [JSON.stringify(payloads())] });
    });

listen({
  async go() {
    const first = now();
    await Promise.all(
      adders.map(async (add) => {
        while (sent < jobs) await add();
      }),
    );
    say('sent', { first, last: now() } satisfies Sent);
  },
  end: () => process.exit(0),
});
say('ready');
