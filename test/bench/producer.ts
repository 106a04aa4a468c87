import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { listen, options, say } from './child.ts';
import { now } from './clock.ts';
import { padding } from './tools/tool.ts';

// Inserts jobs one at a time, each in a transaction of its own, in a process of its own.

export type ProducerOptions = {
  url: string;
  /** One statement whose only parameter is the payload, as JSON. */
  insert: string;
  /** How many to insert. */
  count: number;
  /** Connections that insert at a time. */
  connections: number;
  /**
   * The mean pause in ms between the starts of two inserts, spread evenly over half to one and a half of it; 0: as fast
   * as they go.
   */
  pauseMs: number;
};

export type Sent = {
  /** When it began, and when it had inserted all, on the shared clock. */
  first: number;
  last: number;
  count: number;
  /** When the insert of each job was committed, by its number less one. */
  inserted: number[];
};

const { url, insert, count, connections, pauseMs } = options() as ProducerOptions;
const clients = Array.from({ length: connections }, () => new pg.Client({ connectionString: url }));
await Promise.all(clients.map((client) => client.connect()));

let sent = 0;
let due = 0;
let stopped = false;
const inserted: number[] = [];
async function send(client: pg.Client): Promise<void> {
  while (sent < count && !stopped) {
    const n = ++sent;
    // Whoever is late goes at once: the mean stays.
    due += pauseMs * (0.5 + Math.random());
    if (due > now()) await sleep(due - now());
    const payload = JSON.stringify({ n, sent: now(), pad: padding });
    await client.query({ name: 'insert', text: insert, values: [payload] });
    inserted[n - 1] = now();
  }
}

listen({
  async go() {
    const first = (due = now());
    await Promise.all(clients.map(send));
    say('sent', { first, last: now(), count: sent, inserted } satisfies Sent);
  },
  stop: () => void (stopped = true),
  end: () => process.exit(0),
});
say('ready');
