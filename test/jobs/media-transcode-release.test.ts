import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, beforeEach, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { slow, slowIf } from '../support/everything.ts';
import { add, reads } from '../support/jobs.ts';
import { keyOf } from '../support/media-rig.ts';
import { s3Failures, type AskedRequest } from '../support/s3-server.ts';
import { clip, createTranscodeRig, namedBy, text, type TranscodeRig } from '../support/transcoding.ts';

// What media.transcode leaves when it is cancelled, loses its job, fails or is repeated: all that it gives out, or
// nothing.

let rig: TranscodeRig;
before(async () => {
  rig = await createTranscodeRig();
});
beforeEach(() => {
  rig.s3.heal();
  rig.s3.requests.length = 0;
});
after(() => rig.close());

/** What has the fewest parts to store. */
const hlsAlone = { formats: ['hls'], thumbnails: false };
const isPut =
  (name: RegExp) =>
  ({ method, url }: AskedRequest) =>
    method === 'PUT' && name.test(url.split('?')[0]!);
const isDelete = ({ method, url }: AskedRequest) => method === 'DELETE' || /[?&]delete\b/.test(url);

/** Programs that were told of a path below. */
async function programsAt(path: string): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')));
  return commands.filter((command) => command.includes(path));
}

test('a job that is cancelled while it encodes leaves no ffmpeg, no file, and nothing public', async () => {
  await rig.put('long.mp4', await clip({ size: '640x360', seconds: 60, options: '-crf 40' }));
  const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: 'long.mp4' } });
  await eventually(async () => assert.ok((await reads(rig.db, id, { status: 'processing' }))['progress'] > 5), 30_000);
  // Between two pieces of the encode none runs.
  await eventually(async () => assert.notDeepEqual(await programsAt(rig.temp), []));
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
  await eventually(async () => assert.deepEqual(await programsAt(rig.temp), []), 2_000);
  await eventually(async () => assert.deepEqual(await readdir(rig.temp), []));
  assert.deepEqual(await rig.keysUnder('processed/long'), []);
  await reads(rig.db, id, { status: 'cancelled' });
});

test('a job that is cancelled while it uploads takes back what is public already', async () => {
  await rig.put('early.mp4', await clip({ seconds: 3 }));
  rig.s3.fail({ ...s3Failures.slowDown, when: isPut(/playlist\.m3u8$/) });
  const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: 'early.mp4', options: hlsAlone } });
  await eventually(() => assert.ok(rig.s3.requests.some(isPut(/playlist\.m3u8$/))), 30_000);
  assert.ok(rig.s3.requests.some(isPut(/\.m4s$/)));
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
  await eventually(async () => assert.deepEqual(await rig.keysUnder('processed/early'), []));
  await reads(rig.db, id, { status: 'cancelled' });
});

test('a worker that lost its job to another takes back nothing of what that one gives out', async () => {
  await rig.put('lost.mp4', await clip({ seconds: 3 }));
  const isPlaylist = isPut(/lost.*playlist\.m3u8$/);
  rig.s3.fail({ ...s3Failures.slowDown, when: (request) => isPlaylist(request) && (rig.s3.hang(), false) });
  const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: 'lost.mp4', options: hlsAlone } });
  await eventually(() => assert.ok(rig.s3.requests.some(isPlaylist)), 30_000);
  // As it is when this process was frozen, and is awake again.
  await rig.db.query(`update media_jobs_live set attempt = attempt + 1 where id = $1`, [id]);
  rig.s3.heal();
  await eventually(async () => assert.deepEqual(await readdir(rig.temp), []), 30_000);
  assert.ok((await rig.keysUnder('processed/lost')).some((key) => key.endsWith('.m4s')));
  assert.deepEqual(rig.s3.requests.filter(isDelete), []);
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
});

for (const [name, when, options, files] of [
  ['in the middle of the segments', isPut(/180p\/00000\.m4s$/), hlsAlone, 7],
  ['at the very last manifest', isPut(/manifest\.mpd$/), { formats: ['hls', 'dash', 'mp4'] }, 13],
] as const)
  slowIf(files > 7)(`when storage fails ${name}, nothing is public, and the next attempt puts that right`, async () => {
    const key = `fails ${name}.mp4`;
    await rig.put(key, await clip({ seconds: 3 }));
    const prefix = `processed/${key.replaceAll(' ', '-').replace('.mp4', '')}`;
    rig.s3.fail({ ...s3Failures.denied, when });
    const row = await rig.transcode(key, options, { max_retries: 0 });
    assert.deepEqual([row.status, row['error_code']], ['failed', 'storage_denied']);
    assert.deepEqual(await rig.keysUnder(prefix), []);
    rig.s3.heal();
    await rig.db.query(`update media_jobs set status = 'pending' where id = $1`, [row.id]);
    const done = await reads(rig.db, row.id, { status: 'completed', attempt: 2 }, 60_000);
    const { hls, dash } = done['result'];
    assert.equal((await fetch(dash?.manifest_url ?? hls.master_url)).status, 200);
    assert.equal((await rig.keysUnder(prefix)).length, files);
  });

slow('a repeat stores the same keys again, and takes back nothing of what was there before when it fails', async () => {
  await rig.put('twice.mp4', await clip());
  const stored = () =>
    rig.s3.requests
      .filter(isPut(/processed/))
      .map(keyOf)
      .toSorted();
  rig.s3.requests.length = 0;
  const first = await rig.made('twice.mp4', hlsAlone);
  const keys = stored();
  rig.s3.requests.length = 0;
  // Not the same bytes: with more than one thread x264 never makes those twice.
  const { hls } = await rig.made('twice.mp4', hlsAlone);
  assert.deepEqual(hls, first.hls);
  assert.deepEqual(stored(), keys);

  rig.s3.fail({ ...s3Failures.denied, when: isPut(/master\.m3u8$/) });
  assert.equal((await rig.transcode('twice.mp4', hlsAlone, { max_retries: 0 })).status, 'failed');
  rig.s3.heal();
  const playlists = namedBy(await text(hls!.master_url), hls!.master_url);
  assert.equal(playlists.length, 2);
  for (const playlist of playlists)
    for (const url of namedBy(await text(playlist), playlist)) assert.equal((await fetch(url)).status, 200);
});
