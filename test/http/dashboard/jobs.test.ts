import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  checkAccessible,
  closeBrowser,
  openPage,
  serveDashboard,
  withoutChromium,
  type Served,
} from '../../support/dashboard.ts';
import { add } from '../../support/jobs.ts';

// The pages of jobs, in a browser.

suite('in a browser', { skip: withoutChromium }, () => {
  let served: Served;
  before(async () => {
    served = await serveDashboard({}, { QUEUES: 'media' });
  });
  after(async () => {
    await closeBrowser();
    await served.close();
  });

  test('the list of jobs can be read', async () => {
    await add(served.db, 'social', 'publish', { payload: {} });
    const { page, faults } = await openPage();
    await page.goto(`${served.url}jobs`);
    assert.match(await page.innerText('main'), /social\.publish/);
    await checkAccessible(page);
    assert.deepEqual(faults, []);
  });
});
