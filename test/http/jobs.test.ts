import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import type { App } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createPool } from '../../worker/base/db/db.ts';
import { createLog } from '../../worker/base/log.ts';
import { signedHeaders } from '../../worker/base/signature.ts';
import { holderOf } from '../../worker/http/ingress/access.ts';
import { jobs } from '../../worker/http/jobs.ts';
import { listen, routes, type HttpServer } from '../../worker/http/server.ts';
import { loadRegistry, type Registry } from '../../worker/queue/registry.ts';
import { random } from '../chaos/random.ts';
import { randomRequest } from '../support/requests.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Jobs over HTTP, over a socket: what is answered 201 is in the table, and what is answered with an error is not.

const secret = (name: string) => `${name}-${randomBytes(16).toString('hex')}`;
const [full, old, media] = [secret('full'), secret('old'), secret('media')];
const signing = `whsec_${randomBytes(32).toString('base64')}`;
const env = {
  INGRESS_SIGNING_SECRETS: `partner:${signing}:media.*`,
  QUEUES: 'idle',
  INGRESS_TOKENS: `shop:${full}, shop:${old},app:${media}:media.*+notification.email`,
  SEAL_KEYS: `k1:${randomBytes(32).toString('base64')}`,
};

let rig: Rig;
let app: App;
let registry: Registry;
let server: HttpServer;
let logged = '';
before(async () => {
  rig = await createRig();
  // Two queues of which no worker here has kinds.
  await rig.db.query(`select create_queue(name, batch_size => 10, max_retries => 3, backoff_ms => 5000)
                        from (values ('elsewhere'), ('idle')) as queues (name)`);
  registry = await loadRegistry();
  const worker = await rig.worker(registry, env);
  app = worker.app;
  const sink = new PassThrough().on('data', (chunk) => (logged += String(chunk)));
  const log = createLog({ logLevel: 'trace', secrets: app.config.secrets }, sink);
  server = await listen(routes(worker, [jobs({ db: rig.db, config: app.config, log }, registry)]), {
    host: '127.0.0.1',
    port: 0,
  });
});
after(async () => {
  await server.close();
  await rig.close();
});

type Sent = { token?: string | null; headers?: Record<string, string>; at?: HttpServer };
const json = { 'content-type': 'application/json' };
const bearer = (token: string | null) => (token === null ? {} : { authorization: `Bearer ${token}` });

async function send(body: unknown, { token = full, headers = json, at = server }: Sent = {}) {
  const response = await fetch(`http://127.0.0.1:${at.port}/jobs`, {
    method: 'POST',
    headers: { ...bearer(token), ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
  });
  const said: any = await response.json();
  return { status: response.status, headers: response.headers, said };
}
const see = (id: unknown, token: string | null = null) =>
  fetch(`http://127.0.0.1:${server.port}/jobs/${String(id)}`, { headers: bearer(token) });

const rowOf = async (id: number) => (await rig.db.query('select * from jobs where id = $1', [id])).rows[0];
const count = async () => (await rig.db.query('select count(*) as jobs from jobs')).rows[0].jobs as number;

const image = { kind: 'media.image', payload: { s3Key: 'uploads/a.jpg' } };

test('a job becomes a row with all its columns, and can be read', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const asked = {
    ...image,
    runAt: '2030-01-31T13:00:00+01:00',
    priority: -5,
    maxRetries: 7,
    expiresAt: '2031-01-01T00:00:00Z',
    dedupeKey: 'all-columns',
  };
  const { status, headers, said } = await send(asked, { headers: { ...json, traceparent } });
  assert.deepEqual([status, said.created, headers.get('location')], [201, true, `/jobs/${said.id}`]);
  const row = await rowOf(said.id);
  assert.deepEqual(
    [row.queue, row.kind, row.payload, row.priority, row.max_retries, row.dedupe_key, row.traceparent],
    ['media', 'image', image.payload, -5, 7, 'all-columns', traceparent],
  );
  assert.deepEqual(
    [row.run_at.toISOString(), row.expires_at.toISOString()],
    ['2030-01-31T12:00:00.000Z', '2031-01-01T00:00:00.000Z'],
  );
  const seen: any = await (await see(said.id, media)).json();
  assert.deepEqual(
    [seen.id, seen.queue, seen.kind, seen.status, seen.maxRetries, seen.runAt, seen.result, seen.payload],
    [said.id, 'media', 'image', 'pending', 7, '2030-01-31T12:00:00.000Z', null, undefined],
  );
});

test('kinds have the names of other systems, too', async () => {
  const named: [asked: object, job: string][] = [
    [{ queue: 'media', kind: 'image', payload: image.payload }, 'media.image'],
    [{ queue: 'video-processing', kind: 'process-video', payload: { inputPath: '/v.mp4' } }, 'media.transcode'],
    [{ kind: 'elsewhere.own_kind', payload: { n: 1 }, priority: null }, 'elsewhere.own_kind'],
    [{ kind: 'cleanup.temp_files' }, 'cleanup.temp_files'],
  ];
  const { status, said } = await send(named.map(([asked]) => asked));
  assert.equal(status, 201);
  for (const [n, [, job]] of named.entries()) {
    const { queue, kind } = await rowOf(said[n].id);
    assert.equal(`${queue}.${kind}`, job);
  }
});

suite('a known key', () => {
  test('gives the job that has it, and 422 for another content', async () => {
    const headers = { ...json, 'idempotency-key': '"order \\"17\\""' };
    const first = await send(image, { headers });
    assert.equal((await rowOf(first.said.id)).dedupe_key, 'http:shop:order "17"');
    const again = await send(image, { token: old, headers: { ...json, 'idempotency-key': 'order "17"' } });
    assert.deepEqual([again.status, again.said], [200, { id: first.said.id, created: false }]);
    const other = await send({ ...image, payload: { s3Key: 'uploads/b.jpg' } }, { headers });
    assert.deepEqual([other.status, other.said.code, other.said.errors[0].pointer], [422, 'key_reused', '#']);
    const stranger = await send(image, { token: media, headers });
    assert.deepEqual([stranger.status, stranger.said.created], [201, true], 'keys are of one caller');
  });

  test('in a list, each item has its own, and a conflict adds nothing', async () => {
    const headers = { ...json, 'idempotency-key': 'batch' };
    const list = [image, { ...image, dedupeKey: 'own' }, { ...image, payload: { s3Key: 'c', type: 'image' } }];
    const first = await send(list, { headers });
    const keys = await Promise.all(first.said.map(async ({ id }: { id: number }) => (await rowOf(id)).dedupe_key));
    assert.deepEqual(keys, ['http:shop:batch#0', 'own', 'http:shop:batch#2']);
    assert.equal((await send(list, { headers })).status, 200);
    const jobsBefore = await count();
    const fourth = await send([...list.slice(0, 2), { ...image, kind: 'media.audio' }, image], { headers });
    assert.deepEqual([fourth.status, fourth.said.errors.map(({ pointer }: any) => pointer)], [422, ['#/2']]);
    assert.equal(await count(), jobsBefore);
  });

  test('compares what was sealed, or has lost digits', async () => {
    const email = { kind: 'notification.email', payload: { message_id: 'm1', email: 'canary@example.com', body: 'x' } };
    const odd = { kind: 'elsewhere.own_kind', payload: { zero: -0, large: 1e300, a: { '__proto__ ': [] } } };
    for (const job of [email, odd]) {
      const headers = { ...json, 'idempotency-key': `compared ${job.kind}` };
      const first = await send(job, { headers });
      assert.equal((await send(job, { headers })).said.id, first.said.id, JSON.stringify(first.said));
      const changed = { ...job, payload: { ...job.payload, body: 'y' } };
      assert.equal((await send(changed, { headers })).status, 422);
      if (job === email) assert.match(JSON.stringify((await rowOf(first.said.id)).payload), /"email": ?"sealed:k1:/);
    }
  });

  test('two requests at once make one job', async () => {
    const headers = { ...json, 'idempotency-key': 'at once' };
    const lists = [
      [1, 2, 3],
      [3, 2, 1],
    ].map((order) => order.map((n) => ({ kind: 'elsewhere.own_kind', payload: { n }, dedupeKey: `at-once-${n}` })));
    const answers = await Promise.all(
      [...lists, ...lists, ...lists].map((list) => send(list)).concat([1, 2, 3, 4].map(() => send(image, { headers }))),
    );
    assert.deepEqual(
      answers.filter(({ status }) => status > 201),
      [],
    );
    const { rows } = await rig.db.query(
      `select count(*) as jobs from jobs where dedupe_key like 'at-once-%' or dedupe_key = 'http:shop:at once'`,
    );
    assert.equal(rows[0].jobs, 4);
  });
});

suite('what is refused', () => {
  const refused: [what: string, body: unknown, sent: Sent, status: number, code: string, pointers?: string[]][] = [
    ['no token', image, { token: null }, 401, 'unauthorized'],
    ['a wrong token', image, { token: `${full}x` }, 401, 'unauthorized'],
    ['another scheme', image, { headers: { ...json, authorization: `Basic ${full}` } }, 401, 'unauthorized'],
    ['no kind of the token', { kind: 'notification.sms' }, { token: media }, 403, 'kind_forbidden', ['#']],
    ['one of a list', [image, { kind: 'mediax.y' }], { token: media }, 403, 'kind_forbidden', ['#/1']],
    ['no JSON', '{"kind": "media.image"', {}, 400, 'not_json'],
    ['nothing', '', {}, 400, 'not_json'],
    ['no UTF-8', new Uint8Array([0x22, 0xff, 0x22]), {}, 400, 'not_utf8'],
    ['a form', 'kind=media.image', { headers: {} }, 415, 'unsupported_media_type'],
    [
      'latin-1',
      image,
      { headers: { 'content-type': 'application/json; charset=latin1' } },
      415,
      'unsupported_media_type',
    ],
    ['gzip', image, { headers: { ...json, 'content-encoding': 'gzip' } }, 415, 'unsupported_encoding'],
    ['a bad key', image, { headers: { ...json, 'idempotency-key': '"a' } }, 400, 'invalid_idempotency_key'],
    ['an empty list', [], {}, 422, 'invalid_job', ['#']],
    ['a text', '"media.image"', {}, 422, 'invalid_job', ['#']],
    ['no kind', [image, {}], {}, 422, 'invalid_job', ['#/1/kind']],
    ['half a kind', { kind: 'media' }, {}, 422, 'invalid_job', ['#/kind']],
    ['no queue', { kind: 'nowhere.x' }, {}, 422, 'invalid_job', ['#']],
    ['an unknown kind', { kind: 'media.imagee' }, {}, 422, 'invalid_job', ['#']],
    ['an unknown field', { ...image, 'run/at~': 1 }, {}, 422, 'invalid_job', ['#/run~1at~0']],
    [
      'wrong types',
      { ...image, runAt: 'soon', priority: 1.5, fileId: {} },
      {},
      422,
      'invalid_job',
      ['#/runAt', '#/priority', '#/fileId'],
    ],
    ['two times', { ...image, runAt: '2030-01-01T00:00:00Z', delayMs: 1 }, {}, 422, 'invalid_job', ['#/delayMs']],
    ['the year 0', { ...image, runAt: '0000-01-01T00:00:00Z' }, {}, 422, 'invalid_job', ['#/runAt']],
    [
      'a wrong payload',
      [image, { kind: 'media.thumbnails', payload: { s3Key: 'a', sizes: [{ width: 0, height: 1 }] } }],
      {},
      422,
      'invalid_job',
      ['#/1/payload/sizes/0/width'],
    ],
    ['an unknown key', { ...image, payload: { s3Key: 'a', s3key: 'a' } }, {}, 422, 'invalid_job', ['#/payload']],
    [
      'no such file',
      { ...image, fileId: 'none', kind: 'publish.file', payload: {} },
      {},
      422,
      'invalid_job',
      ['#/fileId'],
    ],
    [
      'a NUL in one of three',
      [image, { ...image, payload: { s3Key: 'a\0' } }, image],
      {},
      422,
      'invalid_job',
      ['#/1/payload'],
    ],
    ['a lone surrogate', { ...image, dedupeKey: '\ud800' }, {}, 422, 'invalid_job', ['#/dedupeKey']],
    [
      'much nesting',
      `{"kind": "elsewhere.x", "payload": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      {},
      422,
      'invalid_job',
      ['#/payload'],
    ],
    [
      'a large payload',
      { kind: 'elsewhere.x', payload: { pad: 'x'.repeat(1_010_000) } },
      {},
      422,
      'invalid_job',
      ['#'],
    ],
    ['a larger one', { kind: 'elsewhere.x', payload: { pad: 'x'.repeat(1_100_000) } }, {}, 413, 'too_large'],
    ['a list of 9 MB', [{ ...image, payload: { s3Key: 'x'.repeat(9_000_000) } }], {}, 413, 'too_large'],
    ['1,001 jobs', Array.from({ length: 1_001 }, () => image), {}, 413, 'too_many_jobs'],
  ];
  for (const [what, body, sent, status, code, pointers] of refused)
    test(`${what}: ${status} ${code}`, async () => {
      const jobsBefore = await count();
      const { said, ...answer } = await send(body, sent);
      const errors = said.errors?.map(({ pointer }: { pointer: string }) => pointer);
      assert.deepEqual([answer.status, said.status, said.code, errors], [status, status, code, pointers], said.detail);
      assert.match(answer.headers.get('content-type')!, /^application\/problem\+json/);
      if (status === 401) assert.match(answer.headers.get('www-authenticate')!, /^Bearer realm="rowmill"/);
      assert.equal(await count(), jobsBefore);
    });

  test('a job of another kind than the token’s is not there for it', async () => {
    const { said } = await send({ kind: 'elsewhere.own_kind' });
    assert.equal((await see(said.id, full)).status, 200);
    for (const id of [said.id, said.id + 1_000_000, -1, 'x', '9'.repeat(30)])
      assert.equal((await see(id, media)).status, 404, String(id));
    assert.equal((await see(said.id)).status, 401);
  });

  test('without tokens there is nothing', async () => {
    const off = await listen(jobs({ ...app, config: loadConfig({}) }, registry), { host: '127.0.0.1', port: 0 });
    assert.equal((await fetch(`http://127.0.0.1:${off.port}/jobs`, { method: 'POST' })).status, 404);
    await off.close();
  });

  test('with many due jobs, more are not taken, but those for later', async () => {
    const config = loadConfig({ ...env, INGRESS_MAX_BACKLOG: '3' });
    const at = await listen(jobs({ ...app, config }, registry), { host: '127.0.0.1', port: 0 });
    const job = { kind: 'idle.own_kind' };
    await rig.db.query(`update queues set paused = true where name = 'idle'`);
    const asked = [job, [job, { ...job, delayMs: 60_000 }], job, job, { ...job, delayMs: 60_000 }];
    const answers = [];
    for (const each of asked) answers.push(await send(each, { at }));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [201, 201, 201, 429, 201],
    );
    assert.deepEqual([answers[3]!.headers.get('retry-after'), answers[3]!.said.code], ['10', 'backlog_full']);
    await at.close();
  });

  test('without Postgres it is 503, and when to come again', async () => {
    const db = createPool('postgres://nobody@127.0.0.1:1/none', { max: 1, log: { warn() {} } });
    const at = await listen(jobs({ ...app, db }, registry), { host: '127.0.0.1', port: 0 });
    const { status, headers, said } = await send(image, { at });
    assert.deepEqual([status, headers.get('retry-after'), said.code], [503, '5', 'unavailable']);
    await at.close();
    await db.end();
  });
});

suite('CloudEvents', () => {
  const attributes = { specversion: '1.0', id: 'e1', source: 'https://shop.example/a', type: 'media.image' };
  const asHeaders = (event: Record<string, string>) =>
    Object.fromEntries(Object.entries(event).map(([name, value]) => [`ce-${name}`, encodeURIComponent(value)]));

  test('are jobs in each form, once for each source and id', async () => {
    const binary = await send(image.payload, { headers: { ...json, ...asHeaders(attributes) } });
    assert.equal(binary.status, 201);
    const row = await rowOf(binary.said.id);
    assert.deepEqual(
      [`${row.queue}.${row.kind}`, row.payload, row.dedupe_key],
      ['media.image', image.payload, 'http:shop:https://shop.example/a e1'],
    );
    const event = { ...attributes, datacontenttype: 'application/json', data: image.payload, ownextension: 1 };
    const structured = await send(event, {
      headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' },
    });
    assert.deepEqual([structured.status, structured.said], [200, { id: binary.said.id, created: false }]);
    const base64 = Buffer.from(JSON.stringify(image.payload)).toString('base64');
    const batch = await send([event, { ...attributes, id: 'ü', data_base64: base64 }, { ...event, id: 'e3' }], {
      headers: { 'content-type': 'application/cloudevents-batch+json' },
    });
    assert.deepEqual(
      [batch.status, batch.said.map(({ created }: { created: boolean }) => created)],
      [201, [false, true, true]],
    );
    assert.deepEqual((await rowOf(batch.said[1].id)).payload, image.payload);
    const list = await send([1, 2], {
      headers: { ...json, ...asHeaders({ ...attributes, id: 'l', type: 'elsewhere.x' }) },
    });
    assert.deepEqual((await rowOf(list.said.id)).payload, [1, 2], 'the data of one event');
  });

  test('that are not well-formed say where', async () => {
    const type = { 'content-type': 'application/cloudevents-batch+json' };
    const event = { ...attributes, id: 'f', data: {} };
    const cases: [unknown, Record<string, string>, pointers: string[]][] = [
      [[event, { ...event, specversion: '0.3', id: '' }], type, ['#/1/specversion', '#/1/id']],
      [[{ ...event, source: 'a b', type: 'x' }], type, ['#/0/source']],
      [[{ ...event, type: 'x' }], type, ['#/0/type']],
      [[{ ...attributes, data_base64: 'e30x' }], type, ['#/0/data_base64']],
      [[{ ...event, data: { s3Key: 1 } }], type, ['#/0/data/s3Key']],
      [{ s3Key: 1 }, { ...json, ...asHeaders({ ...attributes, id: 'g' }) }, ['#/s3Key']],
      [{ s3Key: 'a' }, { ...json, 'ce-specversion': '1.0' }, ['#', '#', '#']],
    ];
    for (const [body, headers, pointers] of cases) {
      const { status, said } = await send(body, { headers });
      assert.deepEqual(
        [status, said.errors?.map(({ pointer }: any) => pointer)],
        [422, pointers],
        JSON.stringify(said),
      );
    }
    const broken = await send({}, { headers: { ...json, ...asHeaders(attributes), 'ce-id': '%ff' } });
    assert.deepEqual([broken.status, broken.said.code], [400, 'invalid_header']);
  });
});

/** TEST_REQUESTS=100000: that many. */
const requests = Number(process.env['TEST_REQUESTS'] ?? 400);

test(`of ${requests} random requests, the table has what was answered 201, and no more`, async (t) => {
  const seed = process.env['TEST_SEED'] ?? randomBytes(4).toString('hex');
  t.diagnostic(`TEST_SEED=${seed}`);
  await rig.db.query('truncate jobs, job_keys');
  /** Undefined for a damaged request that was one all the same. */
  const created = new Map<number, { kind: string; payload: unknown } | undefined>();
  const statuses: Record<number, number> = {};
  let begun = 0;
  const producer = async () => {
    while (begun < requests) {
      const n = begun++;
      const { headers, body, jobs: asked } = randomRequest(random(seed, n), { all: full, some: media });
      // A connection that is kept alive may be closed just when a busy machine sends on it.
      const alone = { ...headers, connection: 'close' };
      const { status, said } = await send(body, { token: null, headers: alone });
      statuses[status] = (statuses[status] ?? 0) + 1;
      assert.ok([200, 201, 400, 401, 403, 413, 415, 422].includes(status), `request ${n}: ${status} ${said.code}`);
      if (status > 201) continue;
      const answers = (Array.isArray(said) ? said : [said]) as { id: number; created: boolean }[];
      assert.equal(
        status === 201,
        answers.some((each) => each.created),
      );
      for (const [at, each] of answers.entries()) if (each.created) created.set(each.id, asked?.[at]);
    }
  };
  await Promise.all(Array.from({ length: 16 }, producer));
  const { rows } = await rig.db.query(`select id, queue || '.' || kind as kind, payload from jobs order by id`);
  t.diagnostic(`answers: ${JSON.stringify(statuses)}; rows: ${rows.length}`);
  assert.deepEqual(
    rows.map(({ id }) => id),
    [...created.keys()].toSorted((a, b) => a - b),
  );
  for (const { id, kind, payload } of rows) {
    const asked = created.get(id);
    if (!asked) continue;
    assert.equal(kind, asked.kind);
    if (kind === 'notification.email') assert.doesNotMatch(JSON.stringify(payload), /canary/);
    else assert.deepEqual(payload, JSON.parse(JSON.stringify(asked.payload ?? {})));
  }
});

test('a signed request needs no token, and its repeats are known', async () => {
  const body = JSON.stringify(image);
  const signed = (id: string, { at = new Date(), text = body, by = signing } = {}) => ({
    token: null,
    headers: { ...json, ...signedHeaders(id, at, text, [`whsec_${randomBytes(24).toString('base64')}`, by]) },
  });
  const first = await send(body, signed('msg_1'));
  assert.deepEqual([first.status, first.said.created], [201, true]);
  assert.equal((await rowOf(first.said.id)).dedupe_key, 'http:partner:msg_1');
  assert.deepEqual((await send(body, signed('msg_1'))).said, { id: first.said.id, created: false });
  const jobsBefore = await count();
  const refused: [Sent, status: number][] = [
    [signed('msg_2', { text: `${body} ` }), 401],
    [signed('msg_2', { by: `whsec_${randomBytes(32).toString('base64')}` }), 401],
    [signed('msg_2', { at: new Date(Date.now() - 301_000) }), 401],
    [signed('msg_2', { at: new Date(Date.now() + 301_000) }), 401],
    [{ ...signed('msg_2'), token: `${full}x` }, 401],
  ];
  for (const [sent, status] of refused) assert.equal((await send(body, sent)).status, status);
  const other = JSON.stringify({ kind: 'notification.sms' });
  assert.equal((await send(other, signed('msg_3', { text: other }))).status, 403);
  assert.equal(await count(), jobsBefore);
});

test('slow bodies and 500 idle connections do not keep /health from answering', async () => {
  const sockets: Socket[] = [];
  const open = async (text: string) => {
    const socket = connect(server.port, '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    await once(socket, 'connect');
    socket.write(text);
  };
  const head = `POST /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${full}\r\ncontent-type: application/json\r\n`;
  for (let n = 0; n < 500; n++) await open('');
  for (let n = 0; n < 50; n++) await open(`${head}content-length: 100000\r\n\r\n{"kind"`);
  const began = performance.now();
  assert.equal((await fetch(`http://127.0.0.1:${server.port}/health`)).status, 200);
  assert.equal((await send(image)).status, 201);
  assert.ok(performance.now() - began < 5_000);
  for (const socket of sockets) socket.destroy();
});

test('the time for a wrong token does not say how much of it was right', () => {
  // So long that a comparison that ends at the first difference would be seen. A buffer makes flat strings.
  const text = (begin: string, end: string) => Buffer.from(begin + 'a'.repeat(1_000_000) + end).toString();
  const right = text('a', 'b');
  const tokens = [right, text('z', 'z')].map((each) => ({ name: 'x', secret: each, kinds: undefined }));
  assert.equal(holderOf(right, tokens)?.secret, right);
  const wrong = { early: text('b', 'b'), late: text('a', 'c') };
  const took: Record<string, number[]> = { early: [], late: [] };
  for (let round = 0; round < 60; round++)
    for (const [name, token] of Object.entries(wrong)) {
      const began = process.hrtime.bigint();
      assert.equal(holderOf(token, tokens), undefined);
      took[name]!.push(Number(process.hrtime.bigint() - began));
    }
  // The shortest times are those without other processes.
  const [early, late] = [Math.min(...took['early']!), Math.min(...took['late']!)];
  assert.ok(late < early * 1.3 && early < late * 1.3, `${early} ns, ${late} ns`);
});

test('settings that are wrong are named, and no secret is', () => {
  for (const [INGRESS_TOKENS, told] of [
    ['a:short-secret', /number 1 \(a\) has a secret of less than 16 characters/],
    [`a:${full},b:${media}:media`, /number 2 \(b\) has kinds that are not such as media\.\*/],
    [full, /number 1 must be name:secret/],
    [`a:${full},b:${full}`, /has a secret twice/],
  ] as const)
    assert.throws(
      () => loadConfig({ INGRESS_TOKENS }),
      ({ message }: Error) =>
        told.test(message) && ![full, media, 'short-secret'].some((each) => message.includes(each)),
    );
  assert.throws(() => loadConfig({ INGRESS_SIGNING_SECRETS: `a:${full}` }), /must have secrets such as whsec_/);
  const { secrets } = loadConfig(env);
  assert.ok([full, old, media, signing].every((each) => secrets.includes(each)));
});

test('neither tokens nor payloads are in the log', () => {
  assert.match(logged, /"jobs came over HTTP"/);
  for (const hidden of [full, old, media, signing, 'uploads/a.jpg', 'canary@example.com', 'order \\"17\\"'])
    assert.ok(!logged.includes(hidden), hidden);
});
