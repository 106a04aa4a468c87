import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import { loadConfig, settings } from '../../../worker/base/config/config.ts';

const text = readFileSync(join(import.meta.dirname, '../../../.env.example'), 'utf8');
const example = parseEnv(text);

test('.env.example has every setting, and nothing that is none', () => {
  assert.deepEqual(Object.keys(example).toSorted(), settings.toSorted());
});

test('.env.example, copied as it is, changes nothing', () => {
  assert.deepEqual(loadConfig(example as NodeJS.ProcessEnv), loadConfig({}));
});

test('what .env.example sets is the default, shown', () => {
  for (const [name, value] of Object.entries(example)) {
    if (value === '') continue;
    const other = /^\d+$/.test(value!)
      ? String(Number(value) + 1)
      : { '.data': '.other', '127.0.0.1': '0.0.0.0' }[value!];
    // What another value makes no difference to would be a setting that nobody reads.
    if (other) assert.notDeepEqual(load({ [name]: other }), load({}), name);
  }
});

test('each setting or group of .env.example is explained on the lines above it', () => {
  for (const block of text.split('\n\n').slice(1)) {
    if (block.startsWith('# ---')) continue;
    assert.match(block, /^# \S/, block);
  }
});

/** With RAID set: its time limits are part of it. */
const load = (env: Record<string, string>) =>
  loadConfig({ RAID_PUB_ENDPOINT: 'https://raid.example.com', RAID_PUBLISHER_SECRET: 'secret', ...env });
