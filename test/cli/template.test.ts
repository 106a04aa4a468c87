import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runRowmill } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

// Templates by command, with a database and without.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

const run = (args: string[], env: Record<string, string> = {}) => runRowmill(['template', ...args], { env });

test('list shows the rows, and what is in the box', async () => {
  await db.query(`insert into notification_templates (id, channel, locale, text) values ('hello', 'sms', 'de', 'x')`);
  const { code, stdout } = await run(['list'], { DATABASE_URL: db.url });
  assert.equal(code, 0);
  assert.match(stdout, /^hello +sms +de +row/m);
  assert.match(stdout, /^otp +all +en +box +code \[expires_in\]$/m);
  assert.match((await run(['list'])).stdout, /^welcome +all/m);
});

test('preview prints the HTML or the text, and names what is missing', async () => {
  const data = ['--data', '{"name": "Ada", "url": "https://shop.example"}'];
  const { code, stdout } = await run(['preview', 'tmpl_welcome', ...data]);
  assert.equal(code, 0);
  assert.match(stdout, /^<!doctype html>[^]*Welcome, Ada!/);
  assert.match((await run(['preview', 'welcome', '--text', ...data])).stdout, /^Get started: https:\/\/shop/m);
  const missing = await run(['preview', 'welcome']);
  assert.deepEqual([missing.code, missing.stdout], [2, '']);
  assert.match(missing.stderr, /Template welcome needs the variable name/);
  const none = await run(['preview', 'none'], { DATABASE_URL: db.url });
  assert.match(none.stderr, /There is no template none for email/);
});
