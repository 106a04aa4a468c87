import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { operator, serveDashboard, type Served } from '../../support/dashboard.ts';
import { eventually } from '../../support/eventually.ts';
import { add } from '../../support/jobs.ts';

// Parts of pages that stay up to date, over a socket.

let served: Served;
before(async () => {
  served = await serveDashboard({}, { QUEUES: 'media' });
});
after(() => served.close());

const authorization = `Basic ${Buffer.from(operator).toString('base64')}`;
async function follow(path: string) {
  const closing = new AbortController();
  const response = await fetch(`${served.url}live/${path}`, { headers: { authorization }, signal: closing.signal });
  let text = '';
  const read = async () => {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk;
  };
  read().catch(() => {});
  return { response, text: () => text, close: () => closing.abort() };
}

test('a change arrives on every stream', async () => {
  const streams = await Promise.all([follow('dead'), follow('dead')]);
  await add(served.db, 'social', 'lost', { payload: {}, status: 'failed', completed_at: new Date(), error_code: 'x' });
  for (const { text, close } of streams) {
    await eventually(() => assert.match(text(), /social\.lost/));
    close();
  }
});

test('a page that is closed gives its place to another', async () => {
  for (let n = 0; n < 60; n++) {
    const stream = await eventually(async () => {
      const opened = await follow(`jobs?q=id:${n}`);
      assert.equal(opened.response.status, 200);
      return opened;
    });
    stream.close();
  }
});
