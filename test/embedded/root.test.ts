import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { chmod, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { copyBinaries, faultOf, findBinaries } from '../../worker/embedded/binaries.ts';
import { findPlace } from '../../worker/embedded/place.ts';
import { runningEmbeddedUrl } from '../../worker/embedded/postgres.ts';
import { serverOn } from '../../worker/embedded/server.ts';
import { eventually } from '../support/eventually.ts';
import { ask, dataDir, open, ownerProcess, processesOn, usageError, usedDir } from './fixture.ts';

/** Any that systems have: `daemon`, mostly. */
const ordinary = { uid: 1, gid: 1 };
const checkout = new URL('../../worker/embedded/postgres.ts', import.meta.url).pathname;
const reachable =
  spawnSync('test', ['-r', checkout, '-a', '-x', process.execPath], { ...ordinary, cwd: '/' }).status === 0;
const unreachable = 'an ordinary user cannot read this checkout';

const skip = process.getuid?.() === 0 ? false : 'only root runs the server as somebody else';

suite('as root', { skip }, () => {
  test('the server runs as nobody, without groups, in the data directory where nobody gets there', async (t) => {
    const dir = await usedDir(t);
    const { dataPath } = await open(t, dir);
    assert.equal(dataPath, join(dir, 'postgres'));
    const status = readFileSync(`/proc/${(await serverOn(dataPath))!.pid}/status`, 'utf8');
    assert.equal(/^Uid:\s+(\d+)/m.exec(status)?.[1], nobody('-u'));
    assert.equal(/^Groups:(.*)$/m.exec(status)?.[1]?.trim(), '');
  });

  test('under a closed home the data lies elsewhere, behind a link', async (t) => {
    const dir = await dataDir(t, { closed: true });
    const first = await open(t, dir);
    assert.notEqual(first.dataPath, join(dir, 'postgres'));
    assert.equal(first.dataPath, realpathSync(join(dir, 'postgres')));
    await ask(first.url, 'create table kept as select 42 as answer');
    assert.equal((await open(t, dir)).started, false);
    assert.equal(await runningEmbeddedUrl(dir), first.url);
    await first.stop();
    const second = await open(t, dir);
    assert.equal(second.dataPath, first.dataPath);
    assert.deepEqual(await ask(second.url, 'select answer from kept'), [{ answer: 42 }]);
  });

  test('two processes that start at once under a closed home use one server', async (t) => {
    const dir = await dataDir(t, { closed: true });
    const owners = await Promise.all([ownerProcess(t, dir), ownerProcess(t, dir)]);
    const opened = await Promise.all(owners.map((owner) => owner.opened));
    assert.equal(opened.filter(({ started }) => started).length, 1);
    assert.equal(opened[0]!.dataPath, opened[1]!.dataPath);
  });

  test('who removes the link under a closed home starts over with an empty database', async (t) => {
    const dir = await usedDir(t, { closed: true });
    const first = await open(t, dir);
    await first.stop();
    await rm(join(dir, 'postgres'));
    const second = await open(t, dir);
    assert.notEqual(second.dataPath, first.dataPath);
    assert.equal(existsSync(first.dataPath), false);
  });

  test('the hidden data of a temporary directory goes some time after the directory', async (t) => {
    const root = await dataDir(t);
    const left = await dataDir(t, { closed: true });
    const [old, used] = [await findPlace(left, [root]), await findPlace(await dataDir(t, { closed: true }), [root])];
    await rm(left, { recursive: true });
    const next = await findPlace(await dataDir(t, { closed: true }), [root]);
    assert.deepEqual(
      [old, used, next].map(({ data }) => existsSync(data)),
      [false, true, true],
    );
  });

  test('binaries that nobody can reach are copied once to where nobody can', async (t) => {
    const closed = await copyBinaries(await findBinaries(), await dataDir(t, { closed: true }));
    spawnSync('chmod', ['-R', 'go=', closed.root]);
    const user = { uid: Number(nobody('-u')), gid: Number(nobody('-g')) };
    assert.match(faultOf(closed, user) ?? '', /cannot read|Permission denied/);
    const dir = await dataDir(t);
    const copies = await Promise.all([copyBinaries(closed, dir), copyBinaries(closed, dir)]);
    assert.equal(copies[0].postgres, copies[1].postgres);
    assert.deepEqual(readdirSync(dir), [`postgresql-${closed.version}`]);
    assert.equal(faultOf(copies[0], user), undefined);
  });

  test('of the places for hidden data the first is taken that is root’s alone', async (t) => {
    const [shared, safe] = [await dataDir(t), await dataDir(t)];
    await chmod(shared, 0o777);
    const file = join(safe, 'file');
    await writeFile(file, '');
    const place = await findPlace(await dataDir(t, { closed: true }), [join(file, 'none'), shared, safe]);
    assert.equal(dirname(dirname(place.data)), safe);
    await assert.rejects(
      findPlace(await dataDir(t, { closed: true }), [join(file, 'none'), shared]),
      usageError(/ENOTDIR[^]*is not root's alone[^]*set DATABASE_URL/),
    );
  });

  test('data that has become root’s is given to nobody', async (t) => {
    const dir = await usedDir(t);
    const first = await open(t, dir);
    await first.stop();
    spawnSync('chown', ['-R', '0:0', dir]);
    assert.equal((await open(t, dir)).url, first.url);
  });

  test('data of an ordinary user is served as that user, who can go on with it', async (t) => {
    if (!reachable) return t.skip(unreachable);
    const dir = await usedDir(t);
    spawnSync('chown', ['-R', `${ordinary.uid}:${ordinary.gid}`, dir]);
    const theirs = await ownerProcess(t, dir, ordinary);
    const { dataPath } = await theirs.opened;
    assert.equal((await open(t, dir)).started, false);
    theirs.child.kill('SIGKILL');
    await eventually(() => assert.deepEqual(processesOn(dataPath), []));
    await Promise.all(['postgres.log', 'postgres.url'].map((name) => rm(join(dir, name))));
    const ours = await open(t, dir);
    assert.equal(ours.started, true);
    assert.equal((await stat(join(dir, 'postgres.url'))).uid, ordinary.uid);
    await ours.stop();
    const { started } = await (await ownerProcess(t, dir, ordinary)).opened;
    assert.equal(started, true);
  });

  test('an ordinary user is told that the data is of a run as root', async (t) => {
    if (!reachable) return t.skip(unreachable);
    const dir = await usedDir(t);
    await (await open(t, dir)).stop();
    const theirs = await ownerProcess(t, dir, ordinary);
    await assert.rejects(theirs.opened, /UsageError: .*belongs to user nobody, for example after a run as root/);
  });
});

function nobody(flag: '-u' | '-g'): string {
  return spawnSync('id', [flag, 'nobody'], { encoding: 'utf8' }).stdout.trim();
}
