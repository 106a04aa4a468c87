import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, before, beforeEach, suite, test } from 'node:test';
import type { App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createPool } from '../../worker/base/db/db.ts';
import { startBridges } from '../../worker/bridges/bridges.ts';
import { createDatabase, patient, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { everything, slowIf, unlessEverything } from '../support/everything.ts';
import { silent } from '../support/log.ts';
import { sources, type OpenSource, type Sent } from '../support/sources.ts';
import { startWire } from '../support/wire.ts';

// What every bridge promises, whatever it takes messages from: each message is one job, whatever dies or goes away.

/** How long Postgres, or the source, stays away after the bridge has noticed. */
const awayMs = everything ? 20_000 : 0;
const many = Number(process.env['TEST_MESSAGES'] ?? 10_000);

let db: TestDatabase;
before(async () => void (db = await createDatabase()));
after(() => db.drop());

for (const { name, missing, slow, open } of Object.values(sources))
  suite(name, { skip: missing }, () => {
    const afterDeath = slowIf(slow);
    let source: OpenSource;
    let closing: (() => unknown)[];
    beforeEach(async () => {
      source = await open();
      closing = [];
    });
    afterEach(async () => {
      for (const close of closing.toReversed()) await close();
      await source.close();
      await db.query('delete from jobs; delete from rejected_messages; delete from bridge_unacked');
    });

    /** A bridge, with its own wires to the source and to Postgres. */
    async function start({ delayMs = 0 } = {}) {
      const toSource = await startWire(source.url);
      const toPostgres = await startWire(db.url, delayMs);
      const config = loadConfig({ NODE_ENV: 'test', DATA_DIR: tmpdir(), ...source.env(toSource.url) });
      const pool = createPool(toPostgres.url, { max: 5, log: silent, ...patient });
      const worker = { id: () => '00000000-0000-0000-0000-000000000000' };
      const bridges = startBridges({ config, db: pool, log: silent } as App, worker, new Map());
      let stopped: Promise<void> | undefined;
      const bridge = {
        toSource,
        toPostgres,
        state: () => bridges.states()[0]!,
        taken: () => Object.values(bridges.taken())[0]!,
        stop: () => (stopped ??= bridges.stop()),
        /** What the source and Postgres see of a process that is killed. */
        kill() {
          toSource.leave();
          toPostgres.leave();
        },
      };
      closing.push(async () => {
        await bridge.stop();
        toSource.close();
        toPostgres.close();
        await pool.end();
      });
      return bridge;
    }

    const found = async () => {
      const { rows } = await db.query<{ n: number }>(`select (payload ->> 'n')::int as n from jobs order by 1`);
      return rows.map(({ n }) => n);
    };
    const committed = (sent: Sent[], withinMs?: number) =>
      eventually(async () => assert.deepEqual(await found(), numbersOf(sent)), withinMs);

    /** Each message is a job, and nothing is left to be delivered, or to be remembered. */
    async function finished(
      sent: Sent[],
      bridges: { stop(): Promise<void> }[],
      withinMs?: number,
      remembered = 0,
    ): Promise<void> {
      await eventually(async () => assert.equal(await source.left(), 0), withinMs);
      await committed(sent, withinMs);
      await Promise.all(bridges.map((bridge) => bridge.stop()));
      assert.equal(await source.left(), 0);
      assert.deepEqual(await found(), numbersOf(sent));
      assert.ok((await db.query('select from bridge_unacked')).rowCount! <= remembered);
    }

    /** Until it is released, no job can be committed. Resolves when a bridge waits for that. */
    async function heldUp(begin: () => Promise<unknown>): Promise<() => Promise<void>> {
      const tx = await db.connect();
      await tx.query('begin; lock table jobs in share mode');
      await begin();
      await eventually(async () => {
        const { rowCount } = await db.query(
          `select from pg_locks where not granted and relation = 'jobs'::regclass
              and database = (select oid from pg_database where datname = current_database())`,
        );
        assert.ok(rowCount! > 0);
      });
      return async () => {
        await tx.query('commit');
        tx.release();
      };
    }

    test('each message is a job, and equal messages are as many', async () => {
      const sent = [...numbered(40), ...numbered(10), ...numbered(10)];
      await source.send(sent);
      const bridge = await start();
      await finished(sent, [bridge]);
      assert.deepEqual(bridge.taken(), { created: 60, known: 0, rejected: 0 });
    });

    test('messages that cannot become jobs are kept, and their neighbours are jobs', async () => {
      const poison: Sent[] = [
        { body: '{"cut": ' },
        { body: 'text' },
        { body: '{"n":"\\u0000"}' },
        { key: 'no_such_queue.x', body: '{}' },
      ];
      const sent = numbered(6);
      await source.send([...sent.slice(0, 3), ...poison, ...sent.slice(3)]);
      const bridge = await start();
      await finished(sent, [bridge]);
      const { rows } = await db.query('select reason from rejected_messages order by reason');
      const reasons = rows.map(({ reason }) => reason);
      assert.deepEqual(reasons, ['not_json', 'not_json', 'refused', 'unknown_queue']);
      assert.deepEqual(bridge.taken(), { created: 6, known: 0, rejected: 4 });
    });

    test('what is not acknowledged comes again, and is known', async () => {
      const sent = [...numbered(30), ...numbered(10)];
      await source.send(sent);
      let bridge!: Awaited<ReturnType<typeof start>>;
      const release = await heldUp(async () => void (bridge = await start()));
      bridge.toSource.mute();
      await release();
      await eventually(async () => assert.notEqual((await found()).length, 0));
      await source.again();
      bridge.toSource.cut();
      await finished(sent, [bridge]);
    });

    for (const moment of ['before it commits', 'before it acknowledges', 'when all is acknowledged'] as const)
      afterDeath(`a bridge is killed ${moment}: another goes on`, async () => {
        const first = [...numbered(30), ...numbered(10)];
        await source.send(first);
        let bridge!: Awaited<ReturnType<typeof start>>;
        if (moment === 'when all is acknowledged') {
          bridge = await start();
          await committed(first);
          await eventually(async () => {
            assert.equal(await source.left(), 0);
            assert.equal((await db.query('select from bridge_unacked')).rowCount, 0);
          });
          bridge.kill();
        } else {
          const release = await heldUp(async () => void (bridge = await start()));
          if (moment === 'before it commits') bridge.kill();
          else bridge.toSource.mute();
          await release();
          if (moment === 'before it acknowledges')
            await eventually(async () => assert.notEqual((await found()).length, 0));
          bridge.kill();
        }
        await source.again();
        const more = numbered(20, 1_000);
        await source.send(more);
        await finished([...first, ...more], [await start()]);
      });

    test('while Postgres is away the bridge takes nothing; then it goes on', async () => {
      const bridge = await start();
      const sent = numbered(20);
      await source.send(sent);
      await finished(sent, []);
      bridge.toPostgres.leave();
      const more = numbered(100, 1_000);
      await source.send(more);
      await eventually(() => assert.equal(bridge.state().connected, false));
      await eventually(async () => assert.equal(await source.left(), 100));
      await sleep(awayMs);
      assert.equal(await source.left(), 100);
      assert.ok(bridge.state().reason);
      bridge.toPostgres.comeBack();
      await finished([...sent, ...more], [bridge]);
    });

    afterDeath('a source that is away is told, and comes back', async () => {
      const bridge = await start();
      await eventually(() => assert.ok(bridge.state().connected));
      bridge.toSource.leave();
      const sent = numbered(100);
      await source.send(sent);
      await eventually(() => assert.equal(bridge.state().connected, false));
      await sleep(awayMs);
      assert.ok(bridge.state().reason);
      bridge.toSource.comeBack();
      await finished(sent, [bridge]);
      assert.equal(bridge.taken().created, 100);
    });

    test('a bridge that stops under load has acknowledged what it committed, and nothing else', async () => {
      const sent = numbered(3_000);
      await source.send(sent);
      const bridge = await start();
      await eventually(async () => assert.ok((await found()).length > 0));
      await bridge.stop();
      assert.equal(await source.left(), 3_000 - (await found()).length);
      await source.again();
      await finished(sent, [await start()]);
    });

    test('with a slow Postgres, several bridges on the same messages', async () => {
      const sent = [...numbered(200), ...numbered(50)];
      await source.send(sent);
      await finished(sent, await Promise.all([start({ delayMs: 30 }), start({ delayMs: 60 })]));
    });

    test(`${many} messages, a bridge killed on the way`, { skip: unlessEverything }, async () => {
      const sent = numbered(many);
      for (let at = 0; at < sent.length; at += 5_000) await source.send(sent.slice(at, at + 5_000));
      const bridge = await start();
      const count = async () => Number((await db.query('select count(*) from jobs')).rows[0].count);
      await eventually(async () => assert.ok((await count()) > many * 0.3), 600_000);
      bridge.kill();
      await source.again();
      // A bridge that is killed between the acknowledgement and its end leaves a row, which is forgotten later.
      await finished(sent, [await start()], 1_200_000, 1);
    });
  });

/** Distinct messages. */
const numbered = (count: number, from = 0): Sent[] =>
  Array.from({ length: count }, (_, n) => ({ body: JSON.stringify({ n: from + n }) }));

const numbersOf = (sent: Sent[]) =>
  sent.map(({ body }) => (JSON.parse(body) as { n: number }).n).toSorted((a, b) => a - b);
