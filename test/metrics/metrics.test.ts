import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { PermanentError, Snooze } from '../../worker/base/errors.ts';
import { metricsRoutes } from '../../worker/http/metrics.ts';
import { routes } from '../../worker/http/server.ts';
import { fleetReader } from '../../worker/metrics/fleet.ts';
import { Metrics } from '../../worker/metrics/metrics.ts';
import type { Sender } from '../../worker/providers/sender.ts';
import type { JobRow } from '../../worker/queue/job.ts';
import type { Registry } from '../../worker/queue/registry.ts';
import type { Worker } from '../../worker/queue/worker.ts';
import { eventually } from '../support/eventually.ts';
import { add } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

const registry = new Map([['media.good', {}]]) as unknown as Registry;
const token = 'a-token-of-a-test-0123456789';

let rig: Rig;
let worker: Worker;
let metrics: Metrics;
before(async () => {
  rig = await createRig();
  await rig.db.query('update queues set max_retries = 0');
  metrics = new Metrics(registry);
  worker = await rig.worker(
    {
      'media.good': async () => 'done',
      'media.bad': async () => {
        throw new Error('no');
      },
    },
    {},
    { observers: [metrics.observer] },
  );
});
after(async () => {
  metrics.close();
  await rig.close();
});

const bridges = { taken: () => ({ rabbitmq: { created: 7, known: 2, rejected: 1 } }) };
/** With a reader that has read nothing yet. */
const httpOf = (env: Record<string, string> = {}) =>
  routes(worker, [
    metricsRoutes({
      config: loadConfig(env),
      readFleet: fleetReader(rig.db, () => worker.ping()),
      metrics,
      bridges,
    }),
  ]);
const ask = async (path: string, env: Record<string, string> = {}, headers: Record<string, string> = {}) => {
  const response = await httpOf(env).request(path, { headers });
  const text = await response.text();
  return { status: response.status, text, json: () => JSON.parse(text) as Record<string, any>, response };
};

suite('the seeds', () => {
  test('GET / says what this is', () =>
    eventually(async () => {
      const { status, json } = await ask('/');
      assert.equal(status, 200);
      assert.partialDeepStrictEqual(json(), { service: 'rowmill', status: 'running' });
    }));

  test('GET /health has the memory', async () => {
    const { memory, status } = (await ask('/health')).json();
    assert.match(status, /healthy|degraded/);
    assert.deepEqual(Object.keys(memory), ['rss', 'heapTotal', 'heapUsed', 'external']);
  });

  test('GET /metrics/queues has a row for each queue', async () => {
    await add(rig.db, 'social', 'x', { run_at: '2100-01-01' });
    await rig.db.query(`update queues set paused = true where name = 'social'`);
    const { queues, timestamp } = (await ask('/metrics/queues')).json();
    assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
    assert.equal(queues.length, 6);
    const social = { name: 'social', waiting: 0, active: 0, completed: 0, failed: 0, delayed: 1, paused: true };
    assert.deepEqual(queues.at(-1), social);
  });

  test('GET /metrics/system has the load and the memory', async () => {
    const { cpu, memory, process: own } = (await ask('/metrics/system')).json();
    assert.ok(cpu.usage >= 0 && cpu.usage <= 100 && cpu.count >= 1);
    assert.equal(memory.used, memory.total - memory.free);
    assert.ok(memory.usagePercent > 0 && memory.usagePercent <= 100);
    assert.equal(own.pid, process.pid);
    assert.ok(own.uptime > 0 && own.memoryUsage.rss > 0);
  });
});

suite('who may read', () => {
  const paths = ['/metrics', '/metrics/queues', '/metrics/system'];
  for (const path of paths) {
    test(`${path} needs METRICS_TOKEN where it is set`, async () => {
      const env = { METRICS_TOKEN: token, HOST: '0.0.0.0' };
      assert.equal((await ask(path, env, { authorization: `Bearer ${token}` })).status, 200);
      for (const wrong of ['', `Bearer ${token}x`, `Basic ${token}`, 'Bearer ', `Bearer  x ${token}`]) {
        const { status, json, response } = await ask(path, env, { authorization: wrong });
        assert.deepEqual([status, json()['error_code']], [401, 'unauthorized'], wrong);
        assert.match(response.headers.get('www-authenticate')!, /^Bearer/);
      }
    });
  }

  test('without a token, /metrics is 404 unless only this machine can ask', async () => {
    for (const [host, status] of [
      ['0.0.0.0', 404],
      ['::', 404],
      ['10.0.0.1', 404],
      ['127.0.0.1', 200],
      ['localhost', 200],
    ] as const)
      assert.equal((await ask('/metrics', { HOST: host })).status, status, host);
    assert.equal((await ask('/metrics/queues', { HOST: '0.0.0.0' })).status, 200);
  });

  test('a short token is refused at the start', () => {
    assert.throws(() => loadConfig({ METRICS_TOKEN: 'short' }), /METRICS_TOKEN: must have 16 characters/);
  });
});

suite('GET /metrics', () => {
  /** The value of a series, by its labels in the order of the text. */
  const valueIn = (text: string, series: string) =>
    Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${series} `))
        ?.slice(series.length + 1),
    );

  test('counts attempts, and knows no more kinds than there are', async () => {
    await add(rig.db, 'media', 'good');
    for (const kind of ['bad', 'made_up_1', 'made_up_2']) await add(rig.db, 'media', kind);
    await eventually(async () => {
      const { text } = await ask('/metrics');
      assert.equal(valueIn(text, 'rowmill_jobs_total{queue="media",kind="good",outcome="completed"}'), 1);
      // Of the three, the metrics of this test know none.
      assert.equal(valueIn(text, 'rowmill_jobs_total{queue="media",kind="(unknown)",outcome="fail"}'), 3);
      assert.equal(valueIn(text, 'rowmill_job_duration_seconds_count{queue="media",kind="good"}'), 1);
      assert.equal(valueIn(text, 'rowmill_job_wait_seconds_bucket{queue="media",kind="(unknown)",le="+Inf"}'), 3);
      assert.equal(valueIn(text, 'rowmill_jobs{queue="media",state="failed"}'), 3);
      assert.doesNotMatch(text, /made_up/);
    });
  });

  test('has the fleet, the bridges and what notifications became', async () => {
    await rig.db.query(`
      update workers
         set bridges = '[{"bridge": "rabbitmq", "connected": true}, {"bridge": "sqs:x", "connected": false}]';
      insert into rejected_messages (source, key, body, reason, error) values ('sqs:x', 'k', '', 'not_json', 'x')`);
    const sender = {
      name: 'test',
      address: '',
      send: async (message: string) => {
        if (message === 'bad') throw new PermanentError('invalid_recipient', 'x');
        if (message === 'later') throw new Snooze(1, 'x');
        if (message === 'lost') throw new Error('x');
        return {};
      },
      sendMany: async (messages: unknown[]) => messages.map((_, n) => (n === 0 ? new Error('x') : {})),
    } as unknown as Sender<unknown>;
    metrics.notifications.measure('email', sender);
    const options = { key: 'k', signal: new AbortController().signal };
    for (const message of ['fine', 'bad', 'later', 'lost']) await sender.send(message, options).catch(() => {});
    await sender.sendMany!(
      [1, 2, 3].map((message) => ({ message, key: 'k' })),
      options,
    );
    const { text } = await ask('/metrics');
    for (const [series, value] of Object.entries({
      rowmill_database_up: 1,
      rowmill_workers: 1,
      rowmill_messages_rejected: 1,
      rowmill_deliveries_ambiguous: 0,
      'rowmill_bridge_connected{bridge="rabbitmq"}': 1,
      'rowmill_bridge_connected{bridge="sqs:x"}': 0,
      'rowmill_bridge_messages_total{bridge="rabbitmq",result="created"}': 7,
      'rowmill_bridge_messages_total{bridge="rabbitmq",result="rejected"}': 1,
      'rowmill_queue_paused{queue="social"}': 1,
      'notifications_sent_total{channel="email",status="sent"}': 3,
      'notifications_sent_total{channel="email",status="failed"}': 1,
      'notifications_sent_total{channel="email",status="deferred"}': 1,
      'notifications_sent_total{channel="email",status="unknown"}': 2,
      'notification_send_duration_ms_count{channel="email"}': 5,
    }))
      assert.equal(valueIn(text, series), value, series);
  });

  test('asks Postgres once in five seconds, however many ask', async () => {
    let asked = 0;
    const counting = {
      query: (...given: unknown[]) => {
        asked += 1;
        return (rig.db.query as (...all: unknown[]) => unknown)(...given);
      },
    };
    const read = fleetReader(counting as never, () => worker.ping());
    const found = await Promise.all(Array.from({ length: 50 }, () => read()));
    await read();
    assert.equal(asked, 1);
    assert.ok(found.every(({ fleet, up }) => up && fleet!.queues.length === 6));
  });

  test('says rowmill_database_up 0 while Postgres gives no answer, and has its own counters', async () => {
    let asked = 0;
    const hanging = {
      query: () => {
        asked += 1;
        return new Promise(() => {});
      },
    };
    const read = fleetReader(hanging as never, () => new Promise(() => {}));
    const found = await read();
    assert.deepEqual([found, asked], [{ fleet: undefined, up: false }, 1]);
    const text = await metrics.text(found);
    assert.match(text, /^rowmill_database_up 0$/m);
    assert.match(text, /^rowmill_jobs_total\{/m);
    assert.doesNotMatch(text, /^rowmill_(jobs|workers|oldest_due_seconds)[ {]/m);

    const refusing = { query: () => Promise.reject(new Error('gone')) };
    assert.equal((await fleetReader(refusing as never, () => worker.ping())()).up, true, 'only its own are busy');
  });
});

suite('what people import', () => {
  const root = join(import.meta.dirname, '../../sql/monitor');
  const dashboard = JSON.parse(readFileSync(join(root, 'grafana.json'), 'utf8')) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  const alerts = readFileSync(join(root, 'alerts.yml'), 'utf8');
  const expressions = [
    ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...[...alerts.matchAll(/^\s+expr: (.+)$/gm)].map(([, expr]) => expr!),
  ];

  test('each expression names metrics and labels that there are', async () => {
    const { text } = await ask('/metrics');
    const names = new Set(text.split('\n').flatMap((line) => /^# TYPE (\S+)/.exec(line)?.[1] ?? []));
    assert.ok(expressions.length > 15, `${expressions.length}`);
    for (const expr of expressions) {
      const used = [...expr.matchAll(/\b(?:rowmill|notifications?|process|nodejs)_\w+/g)].map(([name]) => name);
      assert.ok(used.length > 0, expr);
      for (const name of used) assert.ok(names.has(name.replace(/_(bucket|sum|count)$/, '')), `${name} of ${expr}`);
      for (const [, labels] of expr.matchAll(/(?:by|on|without) ?\(([^)]*)\)/g))
        for (const label of labels!.split(', '))
          assert.ok(label === 'le' || text.includes(`${label}="`), `${label} of ${expr}`);
    }
  });

  /** Its answers go to standard output, with the faults. */
  const program = 'promtool';
  const promtool = (file: string) => execFileSync(program, ['check', 'rules', file], { stdio: 'pipe' });

  test('promtool accepts the alerts, and the expression of each panel as a rule', async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rowmill-rules-'));
    t.after(() => rm(dir, { recursive: true }));
    const rules = dashboard.panels
      .flatMap(({ targets = [] }) => targets)
      .map(({ expr }, n) => ({ record: `panel:${n}`, expr: expr.replaceAll('$__rate_interval', '5m') }));
    const ofPanels = join(dir, 'panels.yml');
    // JSON is YAML.
    await writeFile(ofPanels, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    try {
      for (const file of [join(root, 'alerts.yml'), ofPanels]) promtool(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      console.log('There is no promtool: alerts.yml and grafana.json were not checked by it');
    }
  });
});

test('the kind of a row, which anybody may invent, is no label', async () => {
  const row = { queue: 'media', kind: 'x"}\n' } as JobRow;
  metrics.observer.ended(row, { outcome: 'completed' }, 1);
  const { text } = await ask('/metrics');
  assert.doesNotMatch(text, /kind="x/);
});
