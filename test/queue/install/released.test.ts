import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { UsageError } from '../../../worker/base/errors.ts';
import { install, migrationsDir } from '../../../worker/queue/install/install.ts';
import { createDatabase } from '../../support/database.ts';
import { allMigrations, changedReleases, releasedFile, type Released } from '../../support/released.ts';

const released: Released = JSON.parse(readFileSync(releasedFile, 'utf8'));
const files = allMigrations(migrationsDir);

test('released migrations are as they were released', () => {
  assert.deepEqual(changedReleases(released, files), []);
});

test('a released migration that is changed or missing is named, and one that is new is not', () => {
  const [first, second, ...others] = files as [(typeof files)[0], (typeof files)[0], ...typeof files];
  const changed = { ...second, checksum: 'x' };
  const added = { ...first, name: '9001_new.sql' };
  const all = Object.fromEntries(files.map(({ name, checksum }) => [name, checksum]));
  assert.deepEqual(changedReleases(all, [changed, ...others, added]), [
    `migrations/${first.name} was released and is missing: a database that has applied it would not start. ` +
      'Put it back as it was, and write a new migration for the change.',
    `migrations/${second.name} was released and was changed: a database that has applied it would not start. ` +
      'Put it back as it was, and write a new migration for the change.',
  ]);
});

test('a database that an unreleased version made is told so, and one of a newer version is not', async (t) => {
  const db = await createDatabase();
  t.after(() => db.drop());
  await db.query(`insert into rowmill_migrations (name, checksum) values ('9001_newer.sql', 'x')`);
  assert.deepEqual(await install(db.url), []);

  await db.query(`insert into rowmill_migrations (name, checksum) values ('0003_views.sql', 'x')`);
  await db.query(`update rowmill_migrations set checksum = 'x' where name = '0001_jobs.sql'`);
  await assert.rejects(install(db.url), (error) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, /^The tables in schema public were made by an unreleased version of Rowmill/);
    assert.match(error.message, /they have 0003_views\.sql, and no release has/);
    return true;
  });
});
