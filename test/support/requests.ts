import { at, between, weighted } from '../chaos/random.ts';

// Random requests for POST /jobs: sizes, types, encodings, tokens, keys. The same seed gives the same ones.

export type RandomRequest = {
  headers: Record<string, string>;
  body: Uint8Array;
  /** What the jobs should be if they are created, in their order; undefined where the request should be refused. */
  jobs: { kind: string; payload: unknown }[] | undefined;
};

type Next = () => number;
const pick = <T>(next: Next, ...items: T[]): T => at(items, next())!;

export function randomRequest(next: Next, tokens: { all: string; some: string }): RandomRequest {
  const form = weighted(next, { one: 6, list: 4, binary: 2, structured: 2, batch: 2, nonsense: 1 });
  const jobs = Array.from({ length: form === 'list' || form === 'batch' ? between(next, 0, 12) : 1 }, () => job(next));
  const values =
    form === 'list' || form === 'one' ? jobs.map((each) => plain(next, each)) : jobs.map((each) => event(next, each));
  const { headers, body } = written(next, form, values, jobs);
  const damaged = next() < 0.08 ? damage(next, body) : body;
  return {
    headers: {
      ...authorization(next, tokens),
      ...headers,
      ...(next() < 0.3
        ? {
            'idempotency-key': pick(
              next,
              'b',
              `"k${between(next, 0, 200)}"`,
              `k${between(next, 0, 200)}`,
              between(next, 0, 20) === 0 ? '"' : '"x\\"y"',
            ),
          }
        : {}),
      ...(next() < 0.03 ? { 'content-type': pick(next, 'text/plain', 'application/json; charset=utf-16', '') } : {}),
      ...(next() < 0.02 ? { 'content-encoding': pick(next, 'gzip', 'identity', 'br') } : {}),
      ...(next() < 0.1 ? { traceparent: pick(next, '', 'x', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`) } : {}),
    },
    body: damaged,
    jobs: damaged === body ? jobs : undefined,
  };
}

function authorization(next: Next, { all, some }: { all: string; some: string }): Record<string, string> {
  const whose = weighted(next, { all: 14, some: 4, wrong: 1, none: 1 });
  if (whose === 'none')
    return pick<Record<string, string>>(next, {}, { authorization: 'Basic eDp5' }, { authorization: 'Bearer' });
  const token = { all, some, wrong: all.slice(0, between(next, 0, all.length - 1)) }[whose];
  return { authorization: `${pick(next, 'Bearer', 'bearer')} ${token}` };
}

function job(next: Next): { kind: string; payload: unknown } {
  const kind = weighted(next, {
    'media.image': 4,
    'elsewhere.own_kind': 4,
    'notification.email': 2,
    'cleanup.temp_files': 1,
    'media.none': 0.02,
    'nowhere.x': 0.02,
    media: 0.02,
    '': 0.02,
    'toString.x': 0.02,
  });
  const fits: Record<string, unknown> = {
    'media.image': { s3Key: `uploads/${next() < 0.95 ? 'ü/~' : text(next)}` },
    'notification.email': {
      message_id: `m${between(next, 0, 50)}`,
      email: 'canary@example.com',
      title: 'T',
      body: 'B',
    },
    'cleanup.temp_files': { olderThan: '24 hours' },
  };
  return { kind, payload: fits[kind] && next() < 0.99 ? fits[kind] : value(next, 0) };
}

function plain(next: Next, { kind, payload }: { kind: string; payload: unknown }): unknown {
  const [queue, name] = kind.split('.');
  const named = next() < 0.3 && name ? { queue, kind: name } : { kind };
  const fields: Record<string, unknown> = {
    priority: pick<unknown>(next, 0, -32_768, 32_767, null),
    delayMs: pick<unknown>(next, 0, 1e14, 1.5),
    maxRetries: pick<unknown>(next, 0, 2_147_483_647),
    expiresAt: pick<unknown>(next, '2030-01-01T00:00:00Z', '9999-12-31T00:00:59.123456+14:00'),
    dedupeKey: next() < 0.95 ? `d${between(next, 0, 3_000)}` : pick(next, 'x'.repeat(500), '\u{1f600}'),
  };
  const wrong: Record<string, unknown> = {
    priority: pick<unknown>(next, 40_000, '1', 0.5),
    runAt: pick<unknown>(next, 'soon', 17, '0000-01-01T00:00:00Z'),
    delayMs: pick<unknown>(next, -1, 1e300),
    maxRetries: pick<unknown>(next, 2_147_483_648, 'x'),
    dedupeKey: pick<unknown>(next, 'ü'.repeat(501), '', 5, '\0', '\ud800'),
    fileId: pick<unknown>(next, 'none', 17, {}, '\0'),
    [text(next)]: 1,
  };
  const some = (of: Record<string, unknown>, share: number) =>
    Object.fromEntries(Object.entries(of).filter(() => next() < share));
  return { ...named, payload, ...some(fields, 0.2), ...some(wrong, 0.004) };
}

function event(next: Next, { kind, payload }: { kind: string; payload: unknown }): Record<string, unknown> {
  return {
    specversion: next() < 0.97 ? '1.0' : pick<unknown>(next, '0.3', 1),
    id: next() < 0.95 ? `e${between(next, 0, 1e6)}` : pick<unknown>(next, text(next), '', 7),
    source: next() < 0.95 ? '/shop' : pick<unknown>(next, 'a b', text(next), null),
    type: kind,
    ...(next() < 0.2
      ? { data_base64: Buffer.from(JSON.stringify(payload) ?? '').toString('base64') }
      : { data: payload }),
  };
}

type Headers = Record<string, string>;

function written(
  next: Next,
  form: string,
  values: unknown[],
  jobs: { payload: unknown }[],
): { headers: Headers; body: Uint8Array } {
  const as = (type: string, body: unknown, headers: Headers = {}) => ({
    headers: { 'content-type': type, ...headers },
    body: Buffer.from(JSON.stringify(body) ?? ''),
  });
  if (form === 'one') return as('application/json', values[0]);
  if (form === 'list') return as('application/json; charset=utf-8', values);
  if (form === 'structured') return as('application/cloudevents+json', values[0]);
  if (form === 'batch') return as('application/cloudevents-batch+json', values);
  if (form === 'nonsense') return as('application/json', value(next, 0));
  const { data: _, data_base64: __, ...attributes } = values[0] as Record<string, unknown>;
  const headers = Object.entries(attributes).map(([name, each]) => [
    `ce-${name}`,
    encodeURIComponent(String(each).toWellFormed()),
  ]);
  return as('application/json', jobs[0]!.payload, Object.fromEntries(headers) as Headers);
}

function damage(next: Next, body: Uint8Array): Uint8Array {
  const cut = body.subarray(0, Math.floor(next() * body.length));
  return pick(next, cut, Buffer.concat([body, Buffer.from('}')]), Buffer.concat([cut, Buffer.from([0xff, 0xc0])]));
}

const texts = [
  'a',
  'ü',
  '\u{1f600}',
  '\0',
  '\ud800',
  '"',
  '\\',
  '/',
  '~',
  '__proto__',
  'constructor',
  ' ',
  '\u2028',
  'sealed:removed',
];
const text = (next: Next): string => Array.from({ length: between(next, 0, 3) }, () => pick(next, ...texts)).join('');

function value(next: Next, depth: number): unknown {
  const what = weighted(next, {
    text: 3,
    number: 3,
    none: 1,
    list: depth > 4 ? 0 : 2,
    object: depth > 4 ? 0 : 3,
    deep: depth > 0 ? 0 : 0.05,
    large: depth > 0 ? 0 : 0.004,
  });
  if (what === 'text') return text(next);
  if (what === 'number') return pick(next, 0, -0, 1, 1.5, 1e300, 5e-324, 2 ** 53, 1e21, -1);
  if (what === 'none') return pick(next, null, true, false);
  if (what === 'large') return { pad: 'x'.repeat(between(next, 100_000, 1_200_000)) };
  if (what === 'deep') return Array.from({ length: 3_000 }).reduce<unknown>((inner) => [inner], 1);
  const inner = Array.from({ length: between(next, 0, 4) }, () => value(next, depth + 1));
  return what === 'list' ? inner : Object.fromEntries(inner.map((each) => [keyIn(next), each]));
}

/** Without what JSON escapes: V8 13.6 may read such a key as another one that an object had in its place before. */
const keyIn = (next: Next): string =>
  text(next)
    .toWellFormed()
    .replaceAll(/["\\\0]/g, '_');
