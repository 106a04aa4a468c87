import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { slow } from '../support/everything.ts';

// The scenarios that can be run for as long as wanted, at their shortest.

const scriptOf = (name: string) => join(import.meta.dirname, `${name}.ts`);

async function run(name: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [scriptOf(name), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const said = await text(child.stdout);
  assert.equal(await ended, 0, said);
  return said.trimEnd().split('\n').at(-1)!;
}

slow('three workers use no retry in incidents of storage and RAID, and finish soon after their end', async () => {
  const args = ['--incident', 'storage,raid', '--minutes', '0.05', '--jobs', '200', '--check-ms', '1000'];
  // A busy machine is slow.
  args.push('--other-within-ms', '120000');
  assert.match(
    await run('incident', ...args),
    /^retries 0, dead letters 0, failed attempts 0, done \d+\.\d s after its end$/,
  );
});

slow('on a storage of whose requests some fail, a transcode loses no attempt', async () => {
  const args = ['--transcodes', '1', '--percent', '5', '--seconds', '160'];
  assert.equal(await run('faulty-storage', ...args), 'completed 1, attempts lost 0, attempts more than one each 0');
});

test('what is no number, or no incident, is a usage error', () => {
  for (const [name, ...args] of [
    ['incident', '--jobs', 'many'],
    ['incident', '--incident', 'flood'],
    ['faulty-storage', '--percent', '-1'],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, [scriptOf(name), ...args], { encoding: 'utf8' });
    assert.equal(status, 2);
    assert.match(stderr, /npm run chaos:/);
  }
});
