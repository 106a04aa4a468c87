import assert from 'node:assert/strict';
import { totalmem } from 'node:os';
import { resolve } from 'node:path';
import { suite, test } from 'node:test';
import { loadConfig, settings } from '../../../worker/base/config/config.ts';
import { UsageError } from '../../../worker/base/errors.ts';

type Env = Record<string, string>;

/** The names at fault, as reported, one for each line. */
function faultsOf(env: Env): string[] {
  try {
    loadConfig(env);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    const [first, ...lines] = error.message.split('\n');
    assert.equal(first, 'The environment has faults:');
    return lines.map((line) => /^ {2}([A-Z0-9_]+): \S/.exec(line)?.[1] ?? line);
  }
  return [];
}

const b2 = {
  B2_KEY_ID: 'key',
  B2_APP_KEY: 'b2-secret',
  B2_BUCKET: 'pictures',
  B2_ENDPOINT: 's3.us-west-004.backblazeb2.com',
};
const minio = {
  MINIO_ENDPOINT: 'http://localhost:9000/',
  MINIO_ACCESS_KEY: 'key',
  MINIO_SECRET_KEY: 'minio-secret',
  MINIO_BUCKET: 'media',
};

/** Each is set completely or not at all. */
const groups: Env[] = [
  b2,
  minio,
  { RAID_PUB_ENDPOINT: 'https://raid.example.com', RAID_PUBLISHER_SECRET: 'secret' },
  { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'aws-secret' },
];

test('an empty environment works: embedded Postgres, local storage, all queues', () => {
  const { databaseUrl, storage, queues, http, secrets } = loadConfig({});
  assert.deepEqual(
    { databaseUrl, storage, queues, http, secrets },
    {
      databaseUrl: undefined,
      storage: { provider: 'local', dir: resolve('.data/storage') },
      queues: undefined,
      http: { host: '127.0.0.1', port: 3_000, chosen: false },
      secrets: [],
    },
  );
});

test('media jobs use 700 MB, and less on a small machine', () => {
  const { mediaMemoryBytes, pictureMemoryBytes } = loadConfig({});
  const here = Math.min(process.constrainedMemory() || Infinity, totalmem());
  assert.deepEqual([mediaMemoryBytes, pictureMemoryBytes], [here >= 2e9 ? 700e6 : 280e6, 280e6]);
});

test('a bucket can be private, a folder cannot', () => {
  assert.equal(loadConfig({ ...minio, STORAGE_PRIVATE: 'true' }).storagePrivate, true);
  assert.equal(loadConfig({ STORAGE_PRIVATE: 'true' }).storagePrivate, false);
});

test('the settings of the media publishing worker are taken as its users have them', () => {
  const config = loadConfig({
    DATABASE_URL: 'postgresql://postgres:password@host:5432/postgres',
    RAID_PUBLISHER_SECRET: 'your_raid_secret',
    RAID_PUB_ENDPOINT: 'https://raid.ibaproject.bid/pub/download',
    B2_KEY_ID: 'your_b2_key_id',
    B2_APP_KEY: 'your_b2_app_key',
    B2_BUCKET: 'IBA-Lot-Media',
    B2_ENDPOINT: 's3.us-west-004.backblazeb2.com',
    B2_REGION: 'us-west-004',
    CDN_BASE_URL: 'https://cdn.ibaproject.bid',
    WORKER_POLL_INTERVAL: '15000',
    MAX_RETRIES: '5',
    LOG_LEVEL: 'info',
    CONCURRENCY: '3',
  });
  assert.deepEqual([config.pollIntervalMs, config.maxRetries, config.publishConcurrency], [15_000, 5, 3]);
  assert.equal(config.raid?.endpoint, 'https://raid.ibaproject.bid/pub/download');
  assert.deepEqual(config.storage, {
    provider: 's3',
    bucket: 'IBA-Lot-Media',
    endpoint: 'https://s3.us-west-004.backblazeb2.com',
    region: 'us-west-004',
    credentials: { accessKeyId: 'your_b2_key_id', secretAccessKey: 'your_b2_app_key' },
    pathStyle: true,
    publicBaseUrl: 'https://cdn.ibaproject.bid',
  });
});

test('all faults are reported at once, each by its name', () => {
  const faults = faultsOf({
    DATABASE_URL: 'mysql://localhost/x',
    NODE_ENV: 'staging',
    LOG_LEVEL: 'loud',
    CONCURRENCY: '0',
    MAX_RETRIES: 'three',
    BACKOFF_DELAY: '1.5',
    WORKER_POLL_INTERVAL: '5',
    PORT: '70000',
    STORAGE_PROVIDER: 'dropbox',
    STORAGE_PATH_STYLE: 'yes',
    CDN_BASE_URL: 'cdn.example.com',
    RAID_PUB_ENDPOINT: 'ftp://raid.example.com',
    B2_BUCKET: 'pictures',
  });
  assert.deepEqual(
    faults.toSorted().join(' '),
    'B2_APP_KEY B2_ENDPOINT B2_KEY_ID BACKOFF_DELAY CDN_BASE_URL CONCURRENCY DATABASE_URL LOG_LEVEL MAX_RETRIES ' +
      'NODE_ENV PORT ' +
      'RAID_PUBLISHER_SECRET RAID_PUB_ENDPOINT STORAGE_PATH_STYLE STORAGE_PROVIDER WORKER_POLL_INTERVAL',
  );
});

test('a fault never repeats the value, which may be a secret', () => {
  assert.throws(
    () => loadConfig({ DATABASE_URL: 'postgre://user:hunter22@host/db', CDN_BASE_URL: 'x-hunter22' }),
    (error: Error) => !error.message.includes('hunter22'),
  );
});

test('an endpoint of storage is a server and nothing behind it', () => {
  for (const [group, name] of [
    [b2, 'B2_ENDPOINT'],
    [minio, 'MINIO_ENDPOINT'],
    [{ STORAGE_BUCKET: 'b' }, 'STORAGE_ENDPOINT'],
  ] as [Env, string][]) {
    for (const wrong of ['https://host/path', 'host/path/', 'https://host?x=1', 'https://user@host', 'https://'])
      assert.deepEqual(faultsOf({ ...group, [name]: wrong }), [name], wrong);
    for (const right of ['host', 'host:9000', 'https://host', 'http://host:9000/', 'https://host//'])
      assert.deepEqual(faultsOf({ ...group, [name]: right }), [], right);
  }
});

suite('a group is given whole or not at all', () => {
  for (const group of groups) {
    const names = Object.keys(group);
    test(`${names.join(', ')} together`, () => assert.deepEqual(faultsOf(group), []));
    for (const missing of names)
      test(`without ${missing}`, () => {
        const { [missing]: _, ...rest } = group;
        assert.deepEqual(faultsOf(rest), [missing]);
        assert.deepEqual(faultsOf({ ...rest, [missing]: '  ' }), [missing]);
      });
  }
});

test('a worker sends two heartbeats before it counts as dead', () => {
  assert.deepEqual(faultsOf({ WORKER_DEAD_AFTER: '1000' }), ['WORKER_DEAD_AFTER']);
  assert.deepEqual(faultsOf({ HEARTBEAT_INTERVAL: '15001' }), ['WORKER_DEAD_AFTER']);
  assert.deepEqual(faultsOf({ HEARTBEAT_INTERVAL: '15000' }), []);
  assert.deepEqual(faultsOf({ WORKER_DEAD_AFTER: '1000', HEARTBEAT_INTERVAL: '500' }), []);
});

test('a watermark for all videos, and none to put there, is a fault', () => {
  assert.deepEqual(faultsOf({ WATERMARK_ENABLED: 'true' }), ['WATERMARK_PATH']);
  assert.deepEqual(faultsOf({ WATERMARK_ENABLED: 'true', WATERMARK_PATH: 'logo.png' }), []);
  assert.deepEqual(faultsOf({ WATERMARK_ENABLED: 'false' }), []);
});

test('a bit rate without its k is a fault, and so is one that no codec takes', () => {
  for (const value of ['1', '128', '7999', '320', '1000k', '2M'])
    assert.deepEqual(faultsOf({ AUDIO_BITRATE: value }), ['AUDIO_BITRATE'], value);
  for (const value of ['1', '128', '2000', '1k', '600M'])
    assert.deepEqual(faultsOf({ VIDEO_BITRATE: value }), ['VIDEO_BITRATE'], value);
  for (const value of ['8k', '128k', '128000', '0.128M', '320k'])
    assert.deepEqual(faultsOf({ AUDIO_BITRATE: value }), []);
  for (const value of ['50k', '2M', '500M']) assert.deepEqual(faultsOf({ VIDEO_BITRATE: value }), []);
});

test('empty and blank settings are unset', () => {
  assert.deepEqual(
    loadConfig({ DATABASE_URL: '', PORT: ' ', MAX_RETRIES: '', LOG_LEVEL: '\t', QUEUES: '' }),
    loadConfig({}),
  );
});

test('what is around a value is no part of it', () => {
  const config = loadConfig({
    QUEUES: ' publish, media ,',
    CDN_BASE_URL: ' https://cdn.example.com// ',
    TEMP_DIR: ' /tmp/x ',
  });
  assert.deepEqual(config.queues, ['publish', 'media']);
  assert.deepEqual(config.storage, { ...loadConfig({}).storage, publicBaseUrl: 'https://cdn.example.com' });
  assert.equal(config.tempDir, '/tmp/x');
});

test('PORT goes before HEALTH_CHECK_PORT, and either is a choice', () => {
  assert.deepEqual(loadConfig({ PORT: '8080', HEALTH_CHECK_PORT: '9090', HOST: '0.0.0.0' }).http, {
    host: '0.0.0.0',
    port: 8080,
    chosen: true,
  });
  assert.deepEqual(loadConfig({ HEALTH_CHECK_PORT: '9090' }).http, { host: '127.0.0.1', port: 9090, chosen: true });
  assert.deepEqual(loadConfig({ PORT: '0' }).http, { host: '127.0.0.1', port: 0, chosen: true });
});

suite('the storage is the one that has a bucket', () => {
  const s3 = { STORAGE_BUCKET: 'media', AWS_REGION: 'eu-central-1' };
  const providerOf = (env: Env) => {
    const { storage } = loadConfig(env);
    return storage.provider === 's3'
      ? [storage.endpoint ?? 'aws', storage.bucket, storage.region, storage.pathStyle]
      : storage.provider;
  };
  const cases: [string, Env, unknown][] = [
    ['none: local', {}, 'local'],
    ['B2, region from the endpoint', b2, ['https://s3.us-west-004.backblazeb2.com', 'pictures', 'us-west-004', true]],
    [
      'B2, its own region',
      { ...b2, B2_REGION: 'x' },
      ['https://s3.us-west-004.backblazeb2.com', 'pictures', 'x', true],
    ],
    ['MinIO', minio, ['http://localhost:9000', 'media', 'us-east-1', true]],
    ['AWS', s3, ['aws', 'media', 'eu-central-1', false]],
    [
      'another S3',
      { ...s3, STORAGE_ENDPOINT: 's3.example.com' },
      ['https://s3.example.com', 'media', 'eu-central-1', true],
    ],
    ['path style, asked for', { ...s3, STORAGE_PATH_STYLE: '1' }, ['aws', 'media', 'eu-central-1', true]],
    [
      'path style, refused',
      { ...minio, STORAGE_PATH_STYLE: 'false' },
      ['http://localhost:9000', 'media', 'us-east-1', false],
    ],
    [
      'two, and which',
      { ...b2, ...minio, STORAGE_PROVIDER: 'minio' },
      ['http://localhost:9000', 'media', 'us-east-1', true],
    ],
    ['local, in spite of a bucket', { ...b2, STORAGE_PROVIDER: 'local' }, 'local'],
  ];
  for (const [name, env, expected] of cases) test(name, () => assert.deepEqual(providerOf(env), expected));

  test('two, and not which, is a fault', () => assert.deepEqual(faultsOf({ ...b2, ...s3 }), ['STORAGE_PROVIDER']));
  for (const [provider, bucket] of [
    ['b2', 'B2_BUCKET'],
    ['minio', 'MINIO_BUCKET'],
    ['s3', 'STORAGE_BUCKET'],
  ] as const)
    test(`${provider} without its bucket is a fault`, () =>
      assert.ok(faultsOf({ STORAGE_PROVIDER: provider }).includes(bucket)));
  test('keys for S3 are left to the SDK when none are given', () => {
    assert.equal('credentials' in loadConfig(s3).storage, false);
  });
});

test('the providers of a channel are those that there are, and that are configured', () => {
  const from = { EMAIL_FROM: 'shop@example.com' };
  assert.deepEqual(faultsOf({ EMAIL_PROVIDERS: 'sendgird' }), ['EMAIL_PROVIDERS']);
  assert.deepEqual(faultsOf({ EMAIL_PROVIDERS: 'smtp,sendgrid', SMTP_HOST: 'x', ...from }), ['SENDGRID_API_KEY']);
  assert.deepEqual(faultsOf({ EMAIL_PROVIDERS: 'sendgrid', SENDGRID_API_KEY: 'SG.x', ...from }), []);
});

test('the secrets are listed, the password of the database as written and as meant', () => {
  const config = loadConfig({ ...b2, STORAGE_PROVIDER: 'b2', DATABASE_URL: 'postgres://user:pass%40word@host/db' });
  assert.deepEqual(config.secrets, ['pass%40word', 'pass@word', 'b2-secret']);
});

for (const name of settings) {
  if (/SECRET|PASSWORD|TOKEN|_APP_KEY$|_API_KEY$|_PRIVATE_KEY$/.test(name))
    test(`${name} is a secret`, () => {
      const canary = 'whsec_canary41d5canary41d5canary41d5canary';
      assert.ok(secretsIn(name, name.startsWith('INGRESS_') ? `shop:${canary}` : canary)?.includes(canary));
    });

  test(`what is secret in a URL is so in ${name}, if it may be one`, () => {
    for (const [value, secrets] of [
      ['https://user:canary%2F41d5@example.com/x', ['canary%2F41d5', 'canary/41d5']],
      ['https://canary-41d5@example.com', ['canary-41d5']],
      ['postgres://user:canary%2F41d5@/db?host=/tmp', ['canary%2F41d5', 'canary/41d5']],
      ['postgres://user@host/db?password=canary-41d5', ['canary-41d5']],
      ['postgres://somebody@host/db', []],
    ] as const) {
      const found = secretsIn(name, value);
      if (found && !found.includes(value)) assert.deepEqual(found, secrets, value);
    }
  });
}

/** Undefined: it is at fault, and its value in no message. What must be set with it is. */
function secretsIn(name: string, value: string): string[] | undefined {
  const other = 'https://example.com';
  const values: Record<string, string> = {
    EMAIL_FROM: 'a@b.c',
    TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}`,
    TWILIO_PHONE_NUMBER: '+14155550100',
    CLOUDFLARE_ACCOUNT_ID: 'a'.repeat(32),
    CLOUDFLARE_QUEUE_ID: 'b'.repeat(32),
  };
  let env = { [name]: value };
  // What is missing first, and what is missing beside that.
  for (let round = 0; round < 2; round++)
    env = { ...Object.fromEntries(faultsOf(env).map((missing) => [missing, values[missing] ?? other])), ...env };
  try {
    const { secrets } = loadConfig({ ...env, [name]: value });
    return secrets.filter((secret) => secret !== other);
  } catch (error) {
    assert.doesNotMatch((error as Error).message, /canary/);
    return undefined;
  }
}

test('a byte order mark at the start of .env hides no setting', () => {
  assert.throws(
    () => loadConfig({ '\uFEFFQUEUES': 'publish' }),
    /^UsageError: [^]*QUEUES: is not read, for \.env begins/,
  );
});
