import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { cp, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { superuserUrlOf } from '../../worker/embedded/connection.ts';
import { runningEmbeddedUrl } from '../../worker/embedded/postgres.ts';
import { serverOn } from '../../worker/embedded/server.ts';
import { eventually } from '../support/eventually.ts';
import { ask, dataDir, finallyDo, open, ownerProcess, processesOn, usedDir } from './fixture.ts';

const asRoot = process.getuid?.() === 0;

test('a new data directory gets a server that answers, with the settings it promises', async (t) => {
  const dir = await dataDir(t);
  const postgres = await open(t, dir);
  assert.equal(postgres.started, true);
  assert.deepEqual(
    await ask(
      postgres.url,
      `select current_database() as database, current_user as user, usesuper,
              datdba = usesysid as owns, datlocale, pg_encoding_to_char(encoding) as encoding,
              current_setting('timezone') as timezone, current_setting('fsync') as fsync,
              current_setting('listen_addresses') as address
         from pg_user, pg_database where usename = current_user and datname = current_database()`,
    ),
    [
      {
        database: 'rowmill',
        user: 'rowmill',
        usesuper: false,
        owns: true,
        datlocale: 'C.UTF-8',
        encoding: 'UTF8',
        timezone: 'UTC',
        fsync: 'off',
        address: '127.0.0.1',
      },
    ],
  );
  const superuser = await superuserUrlOf(postgres.dataPath, postgres.port);
  assert.deepEqual(await ask(superuser, 'show unix_socket_directories'), [{ unix_socket_directories: '' }]);
  await assert.rejects(ask(postgres.url.replace('/rowmill:', '/postgres:'), 'select 1'), { code: '28P01' });
});

test('the connection string is in postgres.url, for its owner only, and a wrong password is refused', async (t) => {
  const dir = await usedDir(t);
  const { url } = await open(t, dir);
  assert.equal((await readFile(join(dir, 'postgres.url'), 'utf8')).trim(), url);
  assert.equal((await stat(join(dir, 'postgres.url'))).mode & 0o777, 0o600);
  await assert.rejects(ask(url.replace(/:\w+@/, ':wrong@'), 'select 1'), { code: '28P01' });
});

test('a durable server keeps fsync on', async (t) => {
  const { url } = await open(t, await usedDir(t), { durable: true });
  assert.deepEqual(await ask(url, 'show fsync'), [{ fsync: 'on' }]);
});

test('a second open uses the server of the first, and its stop leaves it running', async (t) => {
  const dir = await usedDir(t);
  const first = await open(t, dir);
  const second = await open(t, dir);
  assert.deepEqual({ ...second, stop: 0 }, { ...first, started: false, stop: 0 });
  await second.stop();
  assert.deepEqual(await ask(first.url, 'select 1 as one'), [{ one: 1 }]);
});

test('the url of a running server can be asked for, and there is none before and after', async (t) => {
  const dir = await usedDir(t);
  assert.equal(await runningEmbeddedUrl(dir), undefined);
  assert.equal(await runningEmbeddedUrl(join(dir, 'none')), undefined);
  const postgres = await open(t, dir);
  assert.equal(await runningEmbeddedUrl(dir), postgres.url);
  await postgres.stop();
  assert.equal(await runningEmbeddedUrl(dir), undefined);
});

test('data, port and password survive a restart', async (t) => {
  const dir = await usedDir(t);
  const first = await open(t, dir);
  await ask(first.url, 'create table kept as select 42 as answer');
  await first.stop();
  const second = await open(t, dir);
  assert.equal(second.started, true);
  assert.equal(second.url, first.url);
  assert.deepEqual(await ask(second.url, 'select answer from kept'), [{ answer: 42 }]);
});

test('another port is taken when the last one is in use, or when postgres.url holds garbage', async (t) => {
  const dir = await usedDir(t);
  const first = await open(t, dir);
  await first.stop();
  const squatter = createServer().listen(first.port, '127.0.0.1');
  finallyDo(t, () => squatter.close());
  await once(squatter, 'listening');
  const second = await open(t, dir);
  assert.notEqual(second.port, first.port);
  await second.stop();
  await writeFile(join(dir, 'postgres.url'), 'postgres://rowmill:x@127.0.0.1:99999/rowmill\0');
  assert.equal((await ask((await open(t, dir)).url, 'select 1 as one')).length, 1);
});

test('a dropped database is made anew', async (t) => {
  const dir = await usedDir(t);
  const first = await open(t, dir);
  await ask(await superuserUrlOf(first.dataPath, first.port), 'drop database rowmill');
  assert.deepEqual(await ask((await open(t, dir)).url, 'select 1 as one'), [{ one: 1 }]);
});

test('kill -9 of the process that started it ends the server, and the next start finds the data', async (t) => {
  const dir = await usedDir(t);
  const owner = await ownerProcess(t, dir);
  const { url, dataPath } = await owner.opened;
  await ask(url, 'create table kept as select 42 as answer');
  owner.child.kill('SIGKILL');
  await eventually(() => assert.deepEqual(processesOn(dataPath), []));
  await assert.rejects(ask(url, 'select 1'), { code: 'ECONNREFUSED' });
  const next = await open(t, dir);
  assert.equal(next.started, true);
  assert.deepEqual(await ask(next.url, 'select answer from kept'), [{ answer: 42 }]);
});

test('a start right after kill -9 waits for the old server to end', async (t) => {
  const dir = await usedDir(t);
  const owner = await ownerProcess(t, dir);
  await owner.opened;
  owner.child.kill('SIGKILL');
  await once(owner.child, 'exit');
  await sleep(5);
  const next = await open(t, dir);
  await sleep(500);
  assert.deepEqual(await ask(next.url, 'select 1 as one'), [{ one: 1 }]);
});

test('a process that ends without stop() ends, and takes the server along', async (t) => {
  const dir = await usedDir(t);
  const owner = await ownerProcess(t, dir, { script: '' });
  const { dataPath } = await owner.opened;
  await eventually(() => assert.equal(owner.child.exitCode, 0));
  await eventually(() => assert.deepEqual(processesOn(dataPath), []));
});

test('a process whose last act is stop() waits until the server has ended', async (t) => {
  const owner = await ownerProcess(t, await usedDir(t), { script: `await postgres.stop(); console.log('"stopped"');` });
  const { dataPath } = await owner.opened;
  assert.equal(await owner.nextLine(), 'stopped');
  assert.deepEqual(processesOn(dataPath), []);
});

test('a Ctrl-C in the terminal does not reach the server', async (t) => {
  const dir = await usedDir(t);
  const script = `
    process.on('SIGINT', () => console.log('"interrupted"'));
    console.log('"ready"');
    process.stdin.resume();`;
  const owner = await ownerProcess(t, dir, { script, detached: true });
  const { url } = await owner.opened;
  assert.equal(await owner.nextLine(), 'ready');
  process.kill(-owner.child.pid!, 'SIGINT');
  assert.equal(await owner.nextLine(), 'interrupted');
  await sleep(200);
  assert.deepEqual(await ask(url, 'select 1 as one'), [{ one: 1 }]);
});

test('when the server itself is killed nothing is left behind, and it starts again', async (t) => {
  const dir = await usedDir(t);
  const first = await open(t, dir);
  process.kill((await serverOn(first.dataPath))!.pid, 'SIGKILL');
  await eventually(() => assert.deepEqual(processesOn(first.dataPath), []));
  await first.stop();
  assert.equal((await serverOn(first.dataPath))?.state, 'gone');
  assert.equal((await open(t, dir)).url, first.url);
});

test('a postmaster.pid whose pid is by now another process does not stop the start', async (t) => {
  const dir = await usedDir(t);
  const first = await open(t, dir);
  const pidFile = join(first.dataPath, 'postmaster.pid');
  process.kill((await serverOn(first.dataPath))!.pid, 'SIGKILL');
  await first.stop();
  // Of the server's own user: another user's process Postgres overlooks anyway.
  const { uid, gid } = statSync(first.dataPath);
  const other = spawn('sleep', ['60'], { cwd: '/', ...(asRoot ? { uid, gid } : {}) });
  finallyDo(t, () => other.kill());
  await writeFile(pidFile, (await readFile(pidFile, 'utf8')).replace(/^\d+/, String(other.pid)));
  const second = await open(t, dir);
  assert.equal(second.url, first.url);
  assert.equal(other.exitCode, null);
});

test('a copied data directory gets a server of its own, also while the first one runs', async (t) => {
  const dir = await usedDir(t);
  const first = await open(t, dir);
  const copy = await dataDir(t);
  await cp(dir, copy, { recursive: true, dereference: true });
  if (asRoot) await chownTo(first.dataPath, join(copy, 'postgres'));
  const second = await open(t, copy);
  assert.equal(second.started, true);
  assert.notEqual(second.port, first.port);
});

for (const state of ['new', 'used']) {
  test(`two processes that start at once on a ${state} directory start one server and both use it`, async (t) => {
    const dir = state === 'used' ? await usedDir(t) : await dataDir(t);
    const owners = await Promise.all([ownerProcess(t, dir), ownerProcess(t, dir), ownerProcess(t, dir)]);
    const opened = await Promise.all(owners.map((owner) => owner.opened));
    assert.equal(opened.filter(({ started }) => started).length, 1);
    assert.equal(new Set(opened.map(({ url }) => url)).size, 1);
    assert.equal(await runningEmbeddedUrl(dir), opened[0]!.url);
    assert.deepEqual(
      readdirSync(dirname(opened[0]!.dataPath)).filter((name) => name.includes('.new-')),
      [],
    );
  });
}

test('a path may be long and hold spaces, quotes and what a shell would run', async (t) => {
  const dir = join(await dataDir(t), `it's "here" $(touch no) ; ünï`, 'x'.repeat(150));
  const first = await open(t, dir);
  assert.equal((await open(t, dir)).started, false);
  await first.stop();
  assert.deepEqual(await ask((await open(t, dir)).url, 'select 1 as one'), [{ one: 1 }]);
});

test('the PG* and LC_* variables of the user change nothing', async (t) => {
  const dir = await usedDir(t);
  const env = { PGDATA: '/none', PGPORT: 'none', PGCLIENTENCODING: 'none', PGSSLMODE: 'require', LC_ALL: 'xx_YY' };
  const { url } = await (await ownerProcess(t, dir, { env: { ...process.env, ...env } })).opened;
  assert.deepEqual(await ask(url, 'select 1 as one'), [{ one: 1 }]);
});

async function chownTo(like: string, path: string): Promise<void> {
  const { uid, gid } = await stat(like);
  spawnSync('chown', ['-R', `${uid}:${gid}`, path]);
}
