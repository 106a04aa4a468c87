import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { z } from 'zod';
import { Traces } from '../../worker/metrics/traces.ts';
import { job, PermanentError, type JobRow } from '../../worker/queue/job.ts';
import { eventually } from '../support/eventually.ts';
import { add } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

const exporter = new InMemorySpanExporter();
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test('without an SDK nothing is made', () => {
  const traces = new Traces();
  const row = { queue: 'media', kind: 'x', id: 1, attempt: 1, traceparent } as JobRow;
  traces.started(row, 1);
  const made = traces.within([row], () => context.active());
  assert.equal(made, context.active());
  traces.ended(row, { outcome: 'completed' });
});

suite('with an SDK', () => {
  let rig: Rig;
  before(async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
    rig = await createRig();
    await rig.db.query('update queues set batch_size = 10, max_retries = 0');
    const payload = z.object({});
    const inner = (name: string) => trace.getTracer('handler').startSpan(name).end();
    const kinds = [
      job({ name: 'media.good', payload, run: async () => inner('inside') }),
      job({
        name: 'media.bad',
        payload,
        run: async () => {
          throw new PermanentError('no_such_thing', 'secret words');
        },
      }),
      job({
        name: 'notification.many',
        payload,
        batchSize: 10,
        runBatch: async (jobs) => {
          inner('inside a batch');
          return jobs.map(() => 'done');
        },
      }),
    ];
    await rig.worker(new Map(kinds.map((kind) => [kind.name, kind])), {}, { observers: [new Traces()] });
  });
  after(async () => {
    await rig.close();
    trace.disable();
    context.disable();
  });
  const spansOf = (id: number) =>
    eventually(() => {
      const span = exporter.getFinishedSpans().find((each) => each.attributes['messaging.message.id'] === String(id));
      assert.ok(span);
      return span;
    });

  test('an attempt is a span linked to the trace of its row, and its handler runs within', async () => {
    const id = await add(rig.db, 'media', 'good', { traceparent });
    const span = await spansOf(id);
    assert.equal(span.name, 'process media');
    assert.deepEqual(
      span.links.map(({ context: { traceId, spanId, isRemote } }) => [traceId, spanId, isRemote]),
      [['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331', true]],
    );
    assert.partialDeepStrictEqual(span.attributes, {
      'messaging.system': 'rowmill',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'media',
      'rowmill.job.kind': 'good',
      'rowmill.job.attempt': 1,
      'rowmill.job.outcome': 'completed',
    });
    const inside = exporter.getFinishedSpans().find(({ name }) => name === 'inside')!;
    assert.equal(inside.parentSpanContext?.spanId, span.spanContext().spanId);
  });

  test('an error has its code, and not its words', async () => {
    const span = await spansOf(await add(rig.db, 'media', 'bad', { traceparent: 'no trace at all' }));
    assert.equal(span.attributes['error.type'], 'no_such_thing');
    assert.equal(span.status.code, 2);
    assert.deepEqual(span.links, []);
    assert.doesNotMatch(JSON.stringify([span.attributes, span.status, span.events]), /secret words/);
  });

  test('a batch is a span linked to those of its jobs', async () => {
    const { rows } = await rig.db.query<{ id: number }>(
      `insert into jobs (queue, kind) select 'notification', 'many' from generate_series(1, 3) returning id`,
    );
    const spans = await Promise.all(rows.map(({ id }) => spansOf(id)));
    const batch = await eventually(() => {
      const found = exporter.getFinishedSpans().find((each) => each.attributes['messaging.batch.message_count'] === 3);
      assert.ok(found);
      return found;
    });
    assert.deepEqual(
      batch.links.map((link) => link.context.spanId).toSorted(),
      spans.map((span) => span.spanContext().spanId).toSorted(),
    );
    const inside = exporter.getFinishedSpans().find(({ name }) => name === 'inside a batch')!;
    assert.equal(inside.parentSpanContext?.spanId, batch.spanContext().spanId);
  });
});

suite('the trace of an insert', () => {
  let rig: Rig;
  before(async () => {
    rig = await createRig();
  });
  after(() => rig.close());

  const inserted = async (setting: string, insert: string) => {
    const tx = await rig.db.connect();
    try {
      await tx.query('begin');
      await tx.query(`select set_config('rowmill.traceparent', $1, true)`, [setting]);
      const { rows } = await tx.query<{ traceparent: string | null }>(`${insert} returning traceparent`);
      return rows[0]!.traceparent;
    } finally {
      await tx.query('rollback');
      tx.release();
    }
  };

  test('is what the session has set, in each table, and an unsound one is none', async () => {
    for (const insert of [
      `insert into jobs (queue, kind) values ('media', 'x')`,
      `insert into media_jobs (kind) values ('x')`,
    ]) {
      assert.equal(await inserted(traceparent, insert), traceparent);
      for (const unsound of [
        '',
        'x'.repeat(1_000),
        traceparent.replace('0af', '0AF'),
        `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
      ])
        assert.equal(await inserted(unsound, insert), null, unsound);
    }
    const own = traceparent.replace('b7ad', 'ffff');
    const named = `insert into jobs (queue, kind, traceparent) values ('media', 'x', '${own}')`;
    assert.equal(await inserted(traceparent, named), own);
    const { rows } = await rig.db.query(`insert into media_jobs (kind) values ('x') returning traceparent`);
    assert.deepEqual(rows, [{ traceparent: null }]);
  });
});
