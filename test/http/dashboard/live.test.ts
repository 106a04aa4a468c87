import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  closeBrowser,
  openPage,
  operator,
  serveDashboard,
  withoutChromium,
  type Served,
} from '../../support/dashboard.ts';
import { eventually } from '../../support/eventually.ts';
import { slow } from '../../support/everything.ts';
import { add } from '../../support/jobs.ts';
import { countStatements, type Counter } from '../../support/statements.ts';

// Parts of pages that stay up to date, over a socket.

let served: Served;
let statements: Counter;
before(async () => {
  served = await serveDashboard({}, { QUEUES: 'media' }, async (url) => (statements = await countStatements(url)).url);
});
after(async () => {
  await closeBrowser();
  await served.close();
  await statements.close();
});

const authorization = `Basic ${Buffer.from(operator).toString('base64')}`;
async function follow(path: string) {
  const closing = new AbortController();
  const response = await fetch(`${served.url}${path}`, { headers: { authorization }, signal: closing.signal });
  let text = '';
  const read = async () => {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk;
  };
  read().catch(() => {});
  return { response, text: () => text, close: () => closing.abort() };
}

const dies = (kind: string) =>
  add(served.db, 'social', kind, { payload: {}, status: 'failed', completed_at: new Date(), error_code: 'x' });

test('a change arrives on every stream', async () => {
  const streams = await Promise.all([follow('live/dead'), follow('live/dead')]);
  await dies('lost');
  for (const { text, close } of streams) {
    await eventually(() => assert.match(text(), /social\.lost/));
    close();
  }
});

slow('fifty open pages read the fleet once in two seconds, as one does', async () => {
  const paths = ['overview/live', 'overview/live?read', 'workers/live', 'ways-in/live'];
  const streams = await Promise.all(Array.from({ length: 50 }, (_, n) => follow(paths[n % paths.length]!)));
  for (const { text } of streams) await eventually(() => assert.match(text(), /^data: /m));
  const reads = () => statements.runs('fleet_queues');
  const read = (more: number, from: number) => eventually(() => assert.ok(reads() >= from + more));
  await read(1, reads());
  const [first, all, began] = [reads(), statements.runs(), performance.now()];
  await read(2, first);
  const seconds = (performance.now() - began) / 1_000;
  assert.ok(seconds > 3, `read twice more within ${seconds} s`);
  const many = (statements.runs() - all) / 2;
  assert.ok(many < 20, `${many} statements for each`);
  for (const { close } of streams) close();
});

test('a page that is closed gives its place to another', async () => {
  for (let n = 0; n < 60; n++) {
    const stream = await eventually(async () => {
      const opened = await follow(`live/jobs?q=id:${n}`);
      assert.equal(opened.response.status, 200);
      return opened;
    });
    stream.close();
  }
});

suite('in a browser', { skip: withoutChromium }, () => {
  test('a page whose scripts arrive one after the other is live', async () => {
    const { page, context } = await openPage();
    let lateMs = 0;
    await page.route('**/assets/*.js*', async (route) => {
      await sleep((lateMs += 300));
      await route.continue();
    });
    await page.goto(`${served.url}dead`);
    await dies('late');
    await page.getByText('social.late').waitFor();
    await context.close();
  });

  test("a proxy's error in place of the stream replaces nothing, and the stream is asked for again", async () => {
    const { page, context } = await openPage();
    let asked = 0;
    await page.route('**/live/dead', (route) =>
      asked++ === 0 ? route.fulfill({ status: 502, contentType: 'text/html', body: 'Bad gateway' }) : route.continue(),
    );
    await dies('before');
    await page.goto(`${served.url}dead`);
    await page.getByText('offline', { exact: true }).waitFor();
    assert.match(await page.innerText('main'), /social\.before/);
    await dies('after');
    await page.getByText('social.after').waitFor();
    assert.doesNotMatch(await page.innerText('main'), /Bad gateway/);
    await context.close();
  });
});
