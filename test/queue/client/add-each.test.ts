import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { createPool, transaction, type Db } from '../../../worker/base/db/db.ts';
import { addEach } from '../../../worker/queue/client/add.ts';
import { InvalidJob, type NewJob } from '../../../worker/queue/client/new-job.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

// Jobs that come from elsewhere: one that cannot be added never keeps the others out.

let db: TestDatabase;
let pool: Db;
before(async () => {
  db = await createDatabase();
  pool = createPool(db.url, { max: 2, log: { warn() {} } });
});
after(async () => {
  await pool.end();
  await db.drop();
});

const good = (n: number): NewJob => ({ queue: 'media', kind: 'image', payload: { n } });
const each = (jobs: NewJob[]) => transaction(pool, (tx) => addEach(tx, jobs));
const count = async () => Number((await db.query(`select count(*) from jobs`)).rows[0].count);

test('each job that cannot be added is refused by itself, whoever refuses it', async () => {
  await db.query(`
    create function no_thirteen() returns trigger language plpgsql as $$
    begin
      if new.payload ->> 'n' = '13' then raise exception 'thirteen is not welcome here'; end if;
      return new;
    end $$;
    create trigger no_thirteen before insert on media_jobs_live for each row execute function no_thirteen()`);
  const nested = JSON.parse('['.repeat(5_000) + ']'.repeat(5_000)) as unknown;
  const bad: [Record<string, unknown>, RegExp][] = [
    [{ payload: 10n }, /^payload: .*BigInt/],
    [{ queue: 'nowhere' }, /^there is no queue "nowhere"\. The queues are /],
    [{ queue: undefined }, /^queue: must be a text that is not empty$/],
    [{ kind: 'k'.repeat(101) }, /kind/],
    [{ kind: 7 }, /^kind: must be a text/],
    [{ payload: { text: 'a\0b' } }, /^payload: /],
    [{ payload: { text: '\ud800' } }, /^payload: /],
    [{ payload: { text: 'x'.repeat(1_100_000) } }, /payload/],
    [{ payload: nested }, /^payload: /],
    [{ file_id: randomUUID() }, /^file_id: there is no such file/],
    [{ file_id: 'no-uuid' }, /uuid/],
    [{ dedupe_key: 'k'.repeat(501) }, /dedupe_key/],
    [{ run_at: new Date(Number.NaN) }, /^run_at: /],
    [{ priority: 1.5 }, /^priority: must be a whole number/],
    [{ colour: 'red' }, /^colour: is no column of a new job$/],
    [{ payload: { n: 13 } }, /^thirteen is not welcome here/],
  ];
  const jobs = bad.flatMap(([columns], n) => [good(100 + n), { ...good(-1), ...columns }]);
  const outcomes = await each(jobs);
  assert.equal(outcomes.length, jobs.length);
  for (const [n, [, message]] of bad.entries()) {
    const refused = outcomes[2 * n + 1];
    assert.ok(refused instanceof InvalidJob, String(message));
    assert.match(refused.message, message);
  }
  const ids = outcomes.flatMap((outcome) => (outcome instanceof InvalidJob ? [] : [outcome.id]));
  const { rows } = await db.query(`select id, (payload ->> 'n')::integer as n from jobs order by n`);
  assert.deepEqual(
    rows,
    bad.map((_, n) => ({ id: ids[n], n: 100 + n })),
  );
});

test('a dedupe key that is taken gives the job that has it, within the batch and across its halves', async () => {
  const jobs = [
    { ...good(1), dedupe_key: 'one' },
    { ...good(2), queue: 'nowhere' },
    { ...good(3), dedupe_key: 'one' },
  ];
  const [first, refused, second] = await each(jobs);
  assert.ok(refused instanceof InvalidJob);
  const { id } = first as { id: number };
  assert.deepEqual(
    [first, second],
    [
      { id, created: true },
      { id, created: false },
    ],
  );
});

test('nothing is there when the transaction does not commit, and an error that is no job’s is thrown', async () => {
  const there = await count();
  const work = transaction(pool, async (tx) => {
    await addEach(tx, [good(1), { ...good(2), queue: 'nowhere' }]);
    throw new Error('not today');
  });
  await assert.rejects(work, /not today/);
  assert.equal(await count(), there);
  await db.query(`alter table job_keys rename to hidden`);
  await assert.rejects(each([{ ...good(1), dedupe_key: 'two' }]), { code: '42P01' });
  await db.query(`alter table hidden rename to job_keys`);
  assert.deepEqual(await each([]), []);
});

test('of a large batch with one bad job the others cost a few statements', async () => {
  const statements: unknown[] = [];
  const outcomes = await transaction(pool, (tx) => {
    const { query } = tx;
    tx.query = ((...given: unknown[]) => {
      statements.push(given);
      return Reflect.apply(query, tx, given) as unknown;
    }) as typeof tx.query;
    const jobs = Array.from({ length: 1_000 }, (_, n) => (n === 700 ? { ...good(0), queue: 'nowhere' } : good(0)));
    return addEach(tx, jobs).finally(() => (tx.query = query));
  });
  assert.deepEqual(
    outcomes.flatMap((outcome, n) => (outcome instanceof InvalidJob ? [n] : [])),
    [700],
  );
  assert.ok(statements.length < 100, `${statements.length} statements`);
});
