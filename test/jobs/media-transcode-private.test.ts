import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TranscodeResult } from '../../worker/jobs/media/transcode.ts';
import { reads } from '../support/jobs.ts';
import { keyOf } from '../support/media-rig.ts';
import { noPlayer, openPlayer, type Player } from '../support/player.ts';
import type { AskedRequest } from '../support/s3-server.ts';
import { clip, createTranscodeRig, namedBy, playByFfmpeg, text, type TranscodeRig } from '../support/transcoding.ts';

// media.transcode where STORAGE_PRIVATE is true: who has an address of its result can play it, and nobody else.

let rig: TranscodeRig;
let player: Player | undefined;
let id: number;
let result: TranscodeResult;
let puts: AskedRequest[];

const seconds = 9;

before(async () => {
  rig = await createTranscodeRig({ STORAGE_PRIVATE: 'true', CDN_BASE_URL: '' });
  await rig.put('clip.mp4', await clip({ size: '854x480', seconds, options: '-crf 35' }));
  rig.s3.requests.length = 0;
  const row = await rig.transcode('clip.mp4', { formats: ['hls', 'dash', 'mp4'], thumbnails: true });
  assert.equal(row.status, 'completed', row['error']);
  [id, result, puts] = [row.id, row['result'], rig.puts()];
  if (!noPlayer) player = await openPlayer();
});
after(async () => {
  await player?.close();
  await rig.close();
});

/** The addresses that each file names which names others, by its own. */
async function naming(made: TranscodeResult): Promise<Map<string, string[]>> {
  const [master, manifest, board] = [made.hls!.master_url, made.dash!.manifest_url, made.storyboard!.vtt_url];
  const playlists = namedBy(await text(master), master);
  const read = async (url: string) => [url, namedBy(await text(url), url)] as const;
  const listed = (await text(manifest)).matchAll(/(?:media|sourceURL)="([^"]+)"/g);
  const shown = (await text(board)).matchAll(/^(.+)#xywh=\d+,0,160,90$/gm);
  return new Map([
    [master, playlists],
    ...(await Promise.all(playlists.map(read))),
    [manifest, [...listed].map(([, url]) => url!.replaceAll('&amp;', '&'))],
    [board, [...shown].map(([, url]) => url!)],
  ]);
}

const keyAt = (url: string) => keyOf({ url } as AskedRequest);

test('all that was made is read by addresses that are signed for a week, and not without a signature', async () => {
  const { mp4, thumbnails, storyboard, hls, dash } = result;
  const named = await naming(result);
  const given = [mp4!.url, ...thumbnails.map(({ url }) => url), storyboard!.url, ...named.keys()];
  const all = [...given, ...[...named.values()].flat()];
  assert.deepEqual([...new Set(all.map(keyAt))].toSorted(), (await rig.keysUnder('processed/clip-')).toSorted());
  // Both formats are over the same files: 3 streams of 3 segments, and an initialisation segment each.
  const keysNamed = (url: string) => named.get(url)!.map(keyAt);
  const segments = keysNamed(dash!.manifest_url);
  assert.equal(new Set(segments).size, 12);
  assert.deepEqual(keysNamed(hls!.master_url).length, 3);
  assert.deepEqual(named.get(hls!.master_url)!.flatMap(keysNamed).toSorted(), segments.toSorted());
  for (const url of all) {
    const { origin, pathname, searchParams } = new URL(url);
    assert.equal(searchParams.get('X-Amz-Expires'), '604800', keyAt(url));
    assert.equal((await fetch(url)).status, 200, keyAt(url));
    assert.equal((await fetch(origin + pathname)).status, 403, keyAt(url));
  }
});

test('what names others comes after them, and no cache keeps it beyond its signatures', async () => {
  const order = puts.map(keyOf);
  for (const [url, parts] of await naming(result))
    for (const part of parts) assert.ok(order.indexOf(keyAt(part)) < order.indexOf(keyAt(url)), keyAt(part));
  for (const put of puts) {
    const expected = /\.(m3u8|mpd|vtt)$/.test(keyOf(put)) ? 'private, no-cache' : 'public, max-age=31536000, immutable';
    assert.equal(put.headers['cache-control'], expected, keyOf(put));
  }
});

test('ffmpeg plays the master playlist and the manifest', async (t) => {
  const whole = { frames: seconds * 25, sound: true };
  assert.deepEqual(await playByFfmpeg(result.hls!.master_url), whole);
  const dash = await playByFfmpeg(result.dash!.manifest_url);
  if (dash) assert.deepEqual(dash, whole);
  else t.diagnostic('this ffmpeg reads no DASH');
});

for (const [by, urlOf] of [
  ['hls', ({ hls }: TranscodeResult) => hls!.master_url],
  ['dash', ({ dash }: TranscodeResult) => dash!.manifest_url],
] as const)
  test(`${by}.js plays it to its end`, { skip: noPlayer, timeout: 60_000 }, async () => {
    const { start, end, time, errors } = await player!.watch(by, urlOf(result));
    assert.deepEqual(errors, []);
    assert.equal(start, 0);
    assert.ok(Math.abs(end - seconds) < 0.1 && Math.abs(time - end) < 0.2, `played ${time} s of ${end}`);
  });

test('the job run again signs anew, under the same keys', async () => {
  const first = await naming(result);
  const keys = await rig.keysUnder('processed/');
  await rig.sql(`update media_jobs set status = 'pending', archived = false where id = $1`, [id]);
  const again = (await reads(rig.db, id, { status: 'completed', attempt: 2 }, 60_000))['result'] as TranscodeResult;
  assert.deepEqual(await rig.keysUnder('processed/'), keys);
  const renewed = await naming(again);
  const signatures = (named: Map<string, string[]>) => [...named.keys(), ...[...named.values()].flat()];
  const old = new Set(signatures(first));
  assert.deepEqual(signatures(renewed).map(keyAt), signatures(first).map(keyAt));
  assert.deepEqual(
    signatures(renewed).filter((url) => old.has(url)),
    [],
  );
});
