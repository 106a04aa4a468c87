import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import { createRailwayContext, project } from 'railway/iac';
import { parse as parseToml } from 'smol-toml';
import { parse as parseYaml } from 'yaml';
import railway from '../../.railway/railway.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { runRowmill } from '../support/cli.ts';

// The files for hosts say what a host needs to know of Rowmill: how long it may take to stop, how to check its health,
// what to run before a deploy, which settings there are.

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFile(join(root, path), 'utf8');

/** The files as plain values, by their paths. */
const files: Record<string, unknown> = {
  'railway.toml': parseToml(await read('railway.toml')),
  '.railway/railway.ts': await railway(createRailwayContext(), project),
  '.deploy/render.yaml': parseYaml(await read('.deploy/render.yaml')),
  '.deploy/compose.yaml': parseYaml(await read('.deploy/compose.yaml'), { merge: true }),
  '.deploy/fly.toml': parseToml(await read('.deploy/fly.toml')),
  '.deploy/ecosystem.config.cjs': createRequire(import.meta.url)(join(root, '.deploy/ecosystem.config.cjs')),
  '.deploy/rowmill.service': unit(await read('.deploy/rowmill.service')),
  '.do/deploy.template.yaml': parseYaml(await read('.do/deploy.template.yaml')),
};

/** A file of systemd: its last value of each key. */
function unit(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, key, value]) => [key!, value!]));
}

/** All values under the keys of this name, at any depth. */
function valuesOf(value: unknown, key: string): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [...(name === key ? [inner] : []), ...valuesOf(inner, key)]);
}

/** The grace period in each file: the key, and how many of its units are a second. */
const graces: Record<string, [key: string, perSecond: number, times: number]> = {
  'railway.toml': ['drainingSeconds', 1, 1],
  '.railway/railway.ts': ['drainingSeconds', 1, 1],
  '.deploy/render.yaml': ['maxShutdownDelaySeconds', 1, 2],
  '.deploy/compose.yaml': ['stop_grace_period', 1, 3],
  '.deploy/fly.toml': ['kill_timeout', 1, 1],
  '.deploy/ecosystem.config.cjs': ['kill_timeout', 1_000, 1],
  '.deploy/rowmill.service': ['TimeoutStopSec', 1, 1],
  '.do/deploy.template.yaml': ['grace_period_seconds', 1, 1],
};
/** What a worker needs to end what still runs after SHUTDOWN_TIMEOUT. */
const endingS = 5;

test('each host waits for longer than a worker takes to stop', () => {
  const least = loadConfig({}).shutdownTimeoutMs / 1_000 + endingS;
  assert.deepEqual(Object.keys(graces).toSorted(), Object.keys(files).toSorted());
  for (const [path, [key, perSecond, times]] of Object.entries(graces)) {
    const found = valuesOf(files[path], key).map((value) => Number.parseInt(String(value)) / perSecond);
    assert.equal(found.length, times, `${path}: ${key}`);
    for (const seconds of found) assert.ok(seconds >= least, `${path}: ${seconds} s are less than ${least} s`);
  }
});

test('where a host checks the health, it asks /health on the port that the image listens on', async () => {
  const port = /\bPORT=(\d+)/.exec(await read('Dockerfile'))?.[1];
  const asked = Object.entries(files).flatMap(([path, file]) =>
    ['healthcheckPath', 'healthcheck', 'healthCheckPath', 'http_path', 'path']
      .flatMap((key) => valuesOf(file, key))
      .filter((value) => typeof value === 'string')
      .map((value) => ({ path, value })),
  );
  assert.deepEqual(
    asked.map(({ path }) => path),
    ['railway.toml', '.railway/railway.ts', '.deploy/render.yaml', '.deploy/fly.toml', '.do/deploy.template.yaml'],
  );
  for (const { path, value } of asked) assert.equal(value, '/health', path);
  const ports = ['.deploy/fly.toml', '.do/deploy.template.yaml'].flatMap((path) => valuesOf(files[path], 'port'));
  assert.deepEqual(ports.map(String), [port, port]);
  assert.deepEqual(valuesOf(files['.deploy/compose.yaml'], 'ports')[0], [`127.0.0.1:3000:${port}`]);
});

test('each command that a host runs is one of rowmill', async () => {
  const commands = Object.entries(files).flatMap(([path, file]) =>
    ['preDeployCommand', 'release_command', 'run_command', 'worker', 'ExecStart', 'args']
      .flatMap((key) => valuesOf(file, key))
      .filter((value) => typeof value === 'string')
      .map((value) => ({ path, words: value.split(' ') })),
  );
  assert.equal(commands.length, 7);
  for (const { path, words } of commands) {
    const { code, stdout } = await runRowmill([words.at(-1)!, '--help']);
    assert.equal(code, 0, `${path}: ${words.join(' ')}`);
    assert.match(stdout, new RegExp(`^Usage: rowmill ${words.at(-1)}`), path);
  }
});

/** The names of settings in each file. */
function settingsOf(path: string): string[] {
  const file = files[path];
  const listed = ['envVars', 'envs'].flatMap((key) => valuesOf(file, key)).flatMap((list) => valuesOf(list, 'key'));
  const named = ['env', 'environment', 'x-settings']
    .flatMap((key) => valuesOf(file, key))
    .flatMap((each) => Object.keys(each as object));
  return [...listed.map(String), ...named];
}

test('each setting in a file is one of Rowmill', async () => {
  const known = new Set(Object.keys(parseEnv(await read('.env.example'))));
  const ofOthers = /^(POSTGRES|RABBITMQ_DEFAULT|MINIO_ROOT|MALLOC)_/;
  let count = 0;
  for (const path of Object.keys(files))
    for (const name of settingsOf(path)) {
      count++;
      assert.ok(known.has(name) || ofOthers.test(name), `${path}: ${name} is not in .env.example`);
    }
  assert.ok(count > 30, `${count} settings`);
});

test('Compose: the example settings are valid', () => {
  const { services } = files['.deploy/compose.yaml'] as {
    services: Record<string, { environment?: NodeJS.ProcessEnv }>;
  };
  for (const name of ['worker', 'web']) loadConfig({ NODE_ENV: 'production', ...services[name]!.environment });
});

test('PM2 starts the process as rowmill.js does', async () => {
  const [app] = valuesOf(files['.deploy/ecosystem.config.cjs'], 'apps')[0] as [
    { wait_ready: boolean; script: string; node_args: string; env: Record<string, string> },
  ];
  assert.equal(app.wait_ready, true);
  assert.equal(app.script, 'dist/cli/index.js');
  const launcher = await read('worker/cli/rowmill.js');
  for (const flag of launcher.match(/--[a-z]\S+=\d+/g) ?? []) assert.ok(app.node_args.includes(flag), flag);
  for (const [, name, value] of launcher.matchAll(/(MALLOC_\w+): '(\d+)'/g)) assert.equal(app.env[name!], value, name);
});
