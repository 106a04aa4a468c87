import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadedBy } from './support/loaded.ts';

// What a process loads before it has a use for it.

const pg = /^(pg|pg-.*|postgres-.*|xtend)$/;

test('a client loads pg and files of ours, and no library of schemas or logs', async (t) => {
  const code = `
    const before = performance.now();
    await import('rowmill/client');
    const ms = Math.round(performance.now() - before);
    console.log(ms + ' ms, ' + Math.round(process.memoryUsage().rss / 1e6) + ' MB in all');`;
  const { packages, output } = await loadedBy(code);
  assert.deepEqual(
    packages.filter((name) => !pg.test(name)),
    [],
  );
  t.diagnostic(output.trim());
});

test('the functions of the messenger load nothing beside the client', async () => {
  assert.deepEqual(await loadedBy(`import 'rowmill/media';`), {
    packages: [],
    ours: ['worker/queue/client/media.ts'],
    output: '',
  });
});
