import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPool, isTransient } from '../../../worker/base/db/db.ts';
import { persist } from '../../../worker/base/db/persist.ts';
import { codeOf } from '../../../worker/base/errors.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/log.ts';

let db: TestDatabase;
before(async () => {
  db = await createDatabase({ from: 'template0' });
});
after(() => db.drop());

const never = new AbortController().signal;

test('what Postgres refuses for good is thrown at once', async () => {
  let asked = 0;
  const work = () => (asked++, db.query('select no_such_column'));
  await assert.rejects(persist(work, never), (error) => codeOf(error) === '42703');
  assert.equal(asked, 1);
});

test('what may pass is asked again until it is answered', async () => {
  const { rows } = await persist(
    (tries) => db.query(tries < 3 ? `select 1 / 0` : 'select 1 as one'),
    never,
    (error) => {
      return codeOf(error) === '22012';
    },
  );
  assert.deepEqual(rows, [{ one: 1 }]);
});

test('once the signal fires, what Postgres said last is thrown: callers judge by it whether it was away', async (t) => {
  const away = createPool('postgres://nobody@127.0.0.1:1/none', { max: 1, log: silent });
  t.after(() => away.end());
  const stop = new AbortController();
  const work = async () => {
    setTimeout(() => stop.abort(), 5);
    return away.query('select 1');
  };
  await assert.rejects(persist(work, stop.signal), isTransient);
});
