import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createApp } from '../worker/app.ts';
import { loadConfig } from '../worker/base/config/config.ts';
import { channelNames } from '../worker/providers/senders.ts';
import { silent } from './support/log.ts';

const app = createApp(loadConfig({}), 'postgres://localhost:1/none', silent);
after(() => app.close());

test('a port is made when it is first read, and once', () => {
  const made = (name: string) => 'value' in Object.getOwnPropertyDescriptor(app, name)!;
  for (const name of ['storage', 'raid', 'imagorvideo', 'ffmpeg', 'memory'] as const) {
    assert.ok(!made(name), name);
    assert.equal(app[name], app[name]);
    assert.ok(made(name), name);
  }
});

test('what a DeploymentError may name is a dependency of the app', () => {
  const paths = globSync('**/*.ts', { cwd: join(import.meta.dirname, '../worker') });
  const named = paths.flatMap((path) => {
    const source = readFileSync(join(import.meta.dirname, '../worker', path), 'utf8');
    return Array.from(source.matchAll(/(?:new DeploymentError\(|\bdependency:)\s*'(\w+)'/g), ([, name]) => name!);
  });
  // Each channel, when it has no provider: delivery/steps.ts.
  named.push(...channelNames);
  assert.deepEqual([...new Set(named)].toSorted(), Object.keys(app.dependencies).toSorted());
});
