import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { beginAction, doStep, readAction, setActionState } from '../../../worker/queue/client/actions.ts';
import { parseSearch, SearchError } from '../../../worker/queue/client/search-words.ts';
import { searchSql } from '../../../worker/queue/client/search-sql.ts';
import { countJobs, searchJobs } from '../../../worker/queue/client/search.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { add, rows } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';

// The words of a search, and what they find; actions on all jobs that a search finds.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

test('a word that cannot be understood is named with its position', () => {
  for (const [text, position, told] of [
    ['queue:media colour:red', 13, /no word colour:/],
    ['stat:failed', 1, /is it state:/],
    ['  state:', 3, /state: lacks its value/],
    ['state:done', 1, /no state done/],
    ['id:x', 1, /x is no id/],
    ['id:99999999999999999', 1, /is no id/],
    ['since:yesterday', 1, /a time is such as/],
    ['since:1h,2h', 1, /a time is such as/],
    ['queue:a text:"open', 9, /quote is not closed/],
    ['payload..a:1', 1, /a path in the payload/],
    ['a '.repeat(31), 61, /at most 30 words/],
    ['x'.repeat(4_001), 4_000, /at most 4000 characters/],
  ] as const)
    assert.throws(
      () => parseSearch(text),
      (error: Error) => error instanceof SearchError && error.position === position && told.test(error.message),
      text,
    );
});

test('each word finds what it says, and all together what matches them all', async () => {
  const payload = { user: { id: 42 }, s3Key: 'uploads/a.jpg', big: '9007199254740993' };
  const failed = { status: 'failed', completed_at: new Date(), error_code: 'media_truncated', error: 'It timed out' };
  const a = await add(db, 'media', 'image', { payload, ...failed, dedupe_key: 'order-17' });
  const b = await add(db, 'media', 'video', { payload: { user: { id: '42' } }, run_at: '2099-01-01' });
  const c = await add(db, 'social', 'publish', { payload: {}, created_at: new Date(Date.now() - 7_200_000) });
  const find = async (text: string) => {
    const search = parseSearch(text);
    const found = (await searchJobs(db, search, { limit: 10 })).map(({ id }) => id);
    const bySql = await db.query<{ id: number }>(searchSql(search, 10));
    assert.deepEqual(
      bySql.rows.map(({ id }) => id),
      found,
      searchSql(search),
    );
    return found;
  };
  for (const [text, ids] of [
    ['', [c, b, a]],
    ['queue:media', [b, a]],
    ['queue:media,social state:pending', [c, b]],
    ['kind:image', [a]],
    ['kind:media.*', [b, a]],
    ['error:media_*', [a]],
    ['error:media%', []],
    ['text:"timed out"', [a]],
    ['timed', [a]],
    ['key:order-17', [a]],
    [`${a}`, [a]],
    [`id:${a},${c}`, [c, a]],
    ['payload.user.id:42', [b, a]],
    ['payload.s3Key:uploads/*', [a]],
    ['payload.big:9007199254740993', [a]],
    ['payload.s3Key:uploads', []],
    ['payload.user:* payload.s3Key:*', [a]],
    ['since:1h', [b, a]],
    ['before:1h', [c]],
    ['worker:nobody', []],
    ['queue:media state:failed error:media_* payload.user.id:42 since:2h text:"timed out"', [a]],
    [`payload.a'b"c:1 text:"'; drop table jobs; --"`.replace('"c', ''), []],
  ] as [string, number[]][])
    assert.deepEqual(await find(text), ids, text);
  assert.deepEqual(await searchJobs(db, parseSearch(''), { limit: 1, below: c }).then(([job]) => job!.id), b);
  assert.equal((await countJobs(db, parseSearch('queue:media'), { most: 1, ms: 5_000 }))!.jobs, 1);
});

test('an action goes on where another process has left it, and leaves later jobs alone', async () => {
  const ids: number[] = [];
  for (let n = 0; n < 3; n++)
    ids.push(await add(db, 'cleanup', 'many', { payload: {}, status: 'failed', completed_at: new Date() }));
  const subject = 'queue:cleanup kind:many';
  const id = await beginAction(db, { who: 'ada', action: 'retry', subject, settings: {}, jobs: 3 });
  const later = await add(db, 'cleanup', 'many', { payload: {}, status: 'failed', completed_at: new Date() });
  assert.equal(await setActionState(db, id, 'stopped'), true);
  assert.equal(await doStep(db, silent), false);
  assert.equal(await setActionState(db, id, 'running'), true);
  // Two processes at once: a step is done by one of them.
  await Promise.all([doStep(db, silent), doStep(db, silent)]);
  const { state, changed } = (await readAction(db, id))!;
  assert.deepEqual([state, changed], ['done', 3]);
  assert.deepEqual(
    (await rows(db, [...ids, later])).map(({ status }) => status),
    ['pending', 'pending', 'pending', 'failed'],
  );
});

test('an action on states that it cannot change is refused', async () => {
  await assert.rejects(
    beginAction(db, { who: 'ada', action: 'cancel', subject: 'state:completed', settings: {}, jobs: null }),
    /Only jobs that are pending, processing/,
  );
});
