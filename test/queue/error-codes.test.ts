import assert from 'node:assert/strict';
import dns from 'node:dns';
import { after, before, test } from 'node:test';
import { getSystemErrorMap } from 'node:util';
import { judge } from '../../worker/queue/run/outcome.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { add } from '../support/jobs.ts';
import { rolledBack, sqlFiles } from '../support/sql-files.ts';
import { thrownCodes } from '../support/thrown-codes.ts';

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

type Entry = { code: string; family: string; what: string; cause: string; solution: string };
const catalogue = async () => (await db.query<Entry>(`select * from error_codes order by code`)).rows;

test('every code that worker/ writes is in the catalogue, and every code in the catalogue can be written', async () => {
  const thrown = thrownCodes();
  const written = new Set([...thrown, ...[...thrown].map(ofServices)]);
  const listed = (await catalogue()).map(({ code }) => code);
  assert.deepEqual(
    {
      missing: [...thrown].filter((code) => !listed.includes(code) && !listed.includes(ofServices(code))),
      'thrown by nobody': listed.filter((code) => !written.has(code) && !ofOthers(code)),
    },
    { missing: [], 'thrown by nobody': [] },
  );
  assert.ok(thrown.size >= 90, `${thrown.size} codes found`);
});

/** The row for all services that fail so: `*_timeout` for `weather_timeout`. */
const ofServices = (code: string) => code.replace(/^[^_]+/, '*');

/** Names that Node gives to errors of the network and of the operating system. */
const systemNames = [...getSystemErrorMap().values()].map(([name]) => name).concat(dns.NOTFOUND);

/**
 * Whether the worker makes this code of an error that somebody else threw: of Postgres, of Node, of the system, or
 * without a code.
 */
function ofOthers(code: string): boolean {
  const example = code.replace('*', '00000');
  const name = example.replace('postgres_', '').toUpperCase();
  const isTheirs = /^postgres_[0-9a-z]{5}$/.test(example) || code === 'err_*' || systemNames.includes(name);
  const error = isTheirs ? Object.assign(new Error('x'), { code: name }) : new Error('x');
  const outcome = judge(error, undefined);
  return outcome.outcome === 'retry' && outcome.error_code === example;
}

test('an entry is short: one or two sentences, each text on a line of its own', async () => {
  for (const { code, family, ...texts } of await catalogue()) {
    assert.match(family, /^[A-Z]\w+Error$/, code);
    for (const [name, text] of Object.entries(texts)) {
      assert.match(text, /^[A-Za-z].*\.$/, `${name} of ${code}`);
      assert.ok(text.length <= 118, `${name} of ${code} has ${text.length} characters`);
    }
  }
  const [file] = sqlFiles('migrations').filter(({ path }) => path.endsWith('_error_codes.sql'));
  for (const line of file!.text.split('\n')) assert.ok(line.length <= 120, line);
});

test('dead_letters says what to do, also about codes without a row of their own, and codes of yours', async () => {
  const entries = new Map((await catalogue()).map((entry) => [entry.code, entry]));
  await db.query(`insert into error_codes values ('no_luck', 'ShopError', 'No luck.', 'Bad luck.', 'Try again.')`);
  const explained = {
    raid_timeout: entries.get('raid_timeout'),
    postgres_23505: entries.get('postgres_23505'),
    postgres_99999: entries.get('postgres_*'),
    err_invalid_arg_type: entries.get('err_*'),
    weather_rate_limited: entries.get('*_rate_limited'),
    no_luck: { cause: 'Bad luck.', solution: 'Try again.' },
    nobody_knows: undefined,
    luckless: undefined,
    '': undefined,
  };
  for (const error_code of Object.keys(explained)) await add(db, 'social', 'x', { status: 'failed', error_code });
  await add(db, 'social', 'x', { status: 'failed' });
  const { rows } = await db.query(`select error_code, cause, solution from dead_letters order by id`);
  assert.deepEqual(rows, [
    ...Object.entries(explained).map(([error_code, entry]) => ({
      error_code,
      cause: entry?.cause ?? null,
      solution: entry?.solution ?? null,
    })),
    { error_code: null, cause: null, solution: null },
  ]);
});

test('dead letters are counted without a look into the catalogue, and many of them read it once', () =>
  rolledBack(db, async (tx) => {
    const planOf = async (text: string) =>
      (await tx.query<{ 'QUERY PLAN': string }>(`explain ${text}`)).rows.map((row) => row['QUERY PLAN']).join('\n');
    assert.doesNotMatch(await planOf(`select queue, count(*) from dead_letters group by queue`), /error_codes/);
    assert.match(await planOf(`select * from dead_letters`), /Hash .*Join/);
  }));
