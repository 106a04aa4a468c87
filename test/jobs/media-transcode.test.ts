import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';
import sharp from 'sharp';
import type { App } from '../../worker/app.ts';
import type { TranscodeResult } from '../../worker/jobs/media/transcode.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { ffmpegEnv, generate, ffmpeg } from '../support/clips.ts';
import { eventually } from '../support/eventually.ts';
import { add, reads, type Row } from '../support/jobs.ts';
import { s3Failures, startS3Server, type AskedRequest, type S3Server } from '../support/s3-server.ts';
import { createRig, type Rig } from '../support/worker.ts';

// media.transcode end to end: a row, ffmpeg, S3 over a socket; and what it made played from a web server.

let rig: Rig;
let s3: S3Server;
let web: Server;
let temp: string;
let app: App;

before(async () => {
  [rig, s3, temp] = await Promise.all([createRig(), startS3Server(), mkdtemp(join(tmpdir(), 'transcode-'))]);
  web = createServer((request, response) => void answer(request.url!, response));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  await rig.db.query(`update queues set backoff_ms = 100 where name = 'media'`);
  await sharp({ create: { width: 100, height: 50, channels: 3, background: '#ff0000' } })
    .png()
    .toFile(join(temp, 'mark.png'));
  ({ app } = await rig.worker(await loadRegistry(), {
    ...s3.env,
    ...ffmpegEnv,
    QUEUES: 'media',
    CDN_BASE_URL: `http://127.0.0.1:${(web.address() as AddressInfo).port}`,
    TEMP_DIR: join(temp, 'work'),
    FFMPEG_PRESET: 'ultrafast',
    THUMBNAIL_SIZES: '160x160,320x320',
    WATERMARK_PATH: join(temp, 'mark.png'),
    WATERMARK_OPACITY: '1',
    WATERMARK_SCALE: '0.2',
  }));
});
async function answer(url: string, response: ServerResponse): Promise<void> {
  const key = decodeURIComponent(url.slice(1));
  const found = await app.storage.head(key);
  if (!found) return void response.writeHead(404).end();
  response.writeHead(200, { 'content-type': found.content_type! });
  response.end(await buffer(await app.storage.get(key)));
}

beforeEach(() => {
  s3.heal();
  s3.requests.length = 0;
});
after(async () => {
  await rig.close();
  web.close();
  web.closeAllConnections();
  await Promise.all([s3.close(), rm(temp, { recursive: true })]);
});

/** A test picture that moves, with a tone. */
function clip({ size = '320x180', seconds = 2, rate = '25', sound = tone(seconds), options = '' } = {}) {
  const picture = `-f lavfi -i testsrc2=size=${size}:rate=${rate}:duration=${seconds}`;
  const words = `${picture} ${sound} -c:v libx264 -preset ultrafast -pix_fmt yuv420p ${options}`;
  return generate('clip.mp4', words.trim().replace(/ +/g, ' '));
}
const tone = (seconds: number) => `-f lavfi -i sine=frequency=440:duration=${seconds} -c:a aac`;

async function store(key: string, body: Buffer): Promise<void> {
  await app.storage.put(key, body, { contentType: 'application/octet-stream' });
}

async function transcode(key: string, options: object = {}, columns: object = {}): Promise<Row> {
  const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: key, options }, ...columns });
  return eventually(async () => {
    const row = await reads(rig.db, id, {});
    assert.ok(row['completed_at'], `${row.status}: ${row['error_code']}`);
    return row;
  }, 60_000);
}

async function made(key: string, options: object = {}): Promise<TranscodeResult> {
  const row = await transcode(key, options);
  assert.equal(row.status, 'completed', `${row['error_code']}: ${row['error']}`);
  return row['result'] as TranscodeResult;
}

async function keysUnder(prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of app.storage.list(prefix)) keys.push(key);
  return keys;
}

const text = async (url: string) => (await fetch(url)).text();
const keyOf = ({ url }: AskedRequest) => decodeURIComponent(url.split('?')[0]!.replace('/rowmill-test/', ''));
const isPut =
  (name: RegExp) =>
  ({ method, url }: AskedRequest) =>
    method === 'PUT' && name.test(url.split('?')[0]!);
const isDelete = ({ method, url }: AskedRequest) => method === 'DELETE' || /[?&]delete\b/.test(url);

async function ffprobe(...args: string[]): Promise<string> {
  const { programs } = await ffmpeg.capabilities();
  return (await promisify(execFile)(programs.ffprobe.path, ['-v', 'error', ...args])).stdout;
}

/** The addresses that a playlist names. */
const namedBy = (playlist: string, url: string) =>
  [...playlist.matchAll(/^([^#\n]+)$|URI="([^"]+)"/gm)].map(([, line, uri]) => new URL(line ?? uri!, url).href);

/** The addresses that a manifest names: one initialisation segment and as many others as there are times, for each representation. */
function namedByManifest(mpd: string, url: string): string[] {
  return mpd
    .split('<Representation')
    .slice(1)
    .flatMap((part) => {
      const [, init, media] = /initialization="([^"]+)" media="([^"]+)"/.exec(part)!;
      const times = [...part.matchAll(/<S [^>]*?(?:r="(\d+)")?\/>/g)].reduce(
        (sum, [, r]) => sum + 1 + Number(r ?? 0),
        0,
      );
      const files = Array.from({ length: times }, (_, n) => media!.replace('$Number%05d$', String(n).padStart(5, '0')));
      return [init!, ...files].map((file) => new URL(file, url).href);
    });
}

test('a video becomes HLS, DASH and MP4, with thumbnails and a storyboard, and its row of media says so', async () => {
  const original = await clip({ size: '854x480', seconds: 5 });
  await store('uploads/seed.mp4', original);
  s3.requests.length = 0;
  const [media] = (await rig.db.query<Row>(`insert into media (source_key) values ('uploads/seed.mp4') returning id`))
    .rows;
  const options = { formats: ['hls', 'dash', 'mp4'], watermark: true, thumbnails: true };
  const row = await transcode('/uploads/seed.mp4', options, { file_id: media!.id });
  assert.equal(row.status, 'completed', row['error']);
  const result = row['result'] as TranscodeResult;
  const { hls, dash, mp4, renditions, thumbnails, storyboard, metadata } = result;

  assert.deepEqual(
    renditions.map(({ name, width, height, fps }) => ({ name, width, height, fps })),
    [
      { name: '480p', width: 854, height: 480, fps: 25 },
      { name: '360p', width: 640, height: 360, fps: 25 },
    ],
  );
  const { codec, width, height, rotation, audio_codec, bytes } = metadata;
  assert.deepEqual(
    { codec, width, height, rotation, audio_codec, bytes },
    { codec: 'h264', width: 854, height: 480, rotation: 0, audio_codec: 'aac', bytes: original.length },
  );
  assert.ok(Math.abs(metadata.duration - 5) < 0.1 && metadata.bitrate! > 100_000);
  assert.equal(result.url, mp4!.url);
  assert.deepEqual(
    thumbnails.map(({ url, ...size }) => [size.width, size.height, size.format, typeof url]),
    [
      [160, 90, 'webp', 'string'],
      [320, 180, 'webp', 'string'],
    ],
  );
  const [saved] = (await rig.db.query<Row>(`select * from media where id = $1`, [media!.id])).rows;
  assert.equal(saved!.status, 'READY');
  assert.deepEqual(
    [saved!['url'], saved!['thumbnail_url'], saved!['thumbnails'], saved!['metadata']],
    [result.url, thumbnails[1]!.url, thumbnails, metadata],
  );
  assert.ok(saved!['processed_at']);
  await eventually(async () => assert.deepEqual(await readdir(join(temp, 'work')), [], 'no temporary file is left'));

  // Each manifest names only what had been stored before it.
  const playlists = namedBy(await text(hls!.master_url), hls!.master_url);
  const segments = await Promise.all(playlists.map(async (url) => namedBy(await text(url), url)));
  const puts = s3.requests.filter(({ method }) => method === 'PUT');
  const order = puts.map(({ url }) =>
    decodeURIComponent(new URL(url, 'http://s3').pathname.replace('/rowmill-test/', '')),
  );
  const placeOf = (url: string) => order.indexOf(new URL(url).pathname.slice(1));
  const comesAfter = (url: string, named: string[]) => {
    assert.ok(named.length > 0 && named.every((each) => placeOf(each) >= 0 && placeOf(each) < placeOf(url)), url);
  };
  playlists.forEach((url, n) => comesAfter(url, segments[n]!));
  comesAfter(hls!.master_url, playlists);
  comesAfter(dash!.manifest_url, namedByManifest(await text(dash!.manifest_url), dash!.manifest_url));
  assert.equal(order.at(-1), dash!.key);
  const headers = Object.fromEntries(puts.map(({ url, headers: sent }) => [/[^/?]+(?=\?|$)/.exec(url)![0], sent]));
  const [immutable, brief] = ['public, max-age=31536000, immutable', 'public, max-age=300'];
  for (const [name, type, cache] of [
    ['00000.m4s', 'video/iso.segment', immutable],
    ['init_0.mp4', 'video/mp4', immutable],
    ['video.mp4', 'video/mp4', immutable],
    ['playlist.m3u8', 'application/vnd.apple.mpegurl', brief],
    ['master.m3u8', 'application/vnd.apple.mpegurl', brief],
    ['manifest.mpd', 'application/dash+xml', brief],
    ['storyboard.jpg', 'image/jpeg', immutable],
    ['storyboard.vtt', 'text/vtt', immutable],
  ] as const)
    assert.deepEqual([headers[name]!['content-type'], headers[name]!['cache-control']], [type, cache], name);

  // A storyboard: a tile for each cue.
  const { width: across, height: down } = await sharp(
    Buffer.from(await (await fetch(storyboard!.url)).arrayBuffer()),
  ).metadata();
  assert.deepEqual([across, down, storyboard!.count], [3 * 160, 90, 3]);
  assert.match(
    await text(storyboard!.vtt_url),
    /^WEBVTT\n\n00:00:00\.000 --> 00:00:02\.000\nstoryboard\.jpg#xywh=0,0,160,90\n/,
  );
});

test('picture and sound start together, and every rendition has its key frames at the same moments', async () => {
  await store('sync.mp4', await clip({ size: '854x480', seconds: 5, rate: '30000/1001' }));
  const { hls, renditions } = await made('sync.mp4', { formats: ['hls'], thumbnails: false });
  const packets = async (name: string) => {
    const url = hls!.master_url.replace('master', `${name}/playlist`);
    const lines = (await ffprobe('-show_entries', 'packet=pts_time,flags', '-of', 'csv=p=0', url)).trim().split('\n');
    return lines.map((line) => ({ time: Number(line.split(',')[0]), key: line.includes('K') }));
  };
  for (const { name } of renditions) {
    const keys = (await packets(name)).filter(({ key }) => key).map(({ time }) => time.toFixed(2));
    assert.deepEqual(keys, ['0.00', '2.00', '4.00'], name);
  }
  // The first packet of AAC is there to be decoded, and is not played: it comes before 0.
  assert.deepEqual(
    (await packets('audio')).slice(0, 2).map(({ time }) => Math.round(time * 48_000)),
    [-1024, 0],
  );
});

test('ffmpeg plays the whole of the master playlist, and of the manifest', async (t) => {
  await store('play.mp4', await clip({ seconds: 5 }));
  const { hls, dash } = await made('play.mp4', { formats: ['hls', 'dash'], thumbnails: false });
  const { programs } = await ffmpeg.capabilities();
  const demuxers = (await promisify(execFile)(programs.ffmpeg.path, ['-hide_banner', '-demuxers'])).stdout;
  const played = async (url: string) => {
    const args = ['-v', 'error', '-i', url, '-map', '0:v', '-map', '0:a', '-f', 'framecrc', '-'];
    const { stdout, stderr } = await promisify(execFile)(programs.ffmpeg.path, args);
    assert.equal(stderr, '');
    const lines = stdout.split('\n').filter((line) => /^\d/.test(line));
    return [lines.filter((line) => line.startsWith('0')).length, lines.some((line) => line.startsWith('1'))];
  };
  assert.deepEqual(await played(hls!.master_url), [125, true]);
  if (/ dash /.test(demuxers)) assert.deepEqual(await played(dash!.manifest_url), [125, true]);
  else t.diagnostic('this ffmpeg reads no DASH');
});

test('a portrait that a phone stored on its side stands upright in every format', async () => {
  const lying = await clip({ size: '640x360' });
  await store('portrait.mp4', await rotated(lying));
  const { mp4, renditions, metadata, thumbnails } = await made('portrait.mp4', {
    thumbnails: [{ width: 100, height: 100 }],
  });
  assert.equal(metadata.rotation % 180, 90);
  assert.deepEqual(
    renditions.map(({ name, width, height }) => [name, width, height]),
    [['360p', 360, 640]],
  );
  assert.deepEqual([mp4!.width, mp4!.height, thumbnails[0]!.width, thumbnails[0]!.height], [360, 640, 56, 100]);
  const shown = await ffprobe(
    '-show_entries',
    'stream=width,height:stream_side_data=rotation',
    '-of',
    'csv=p=0',
    mp4!.url,
  );
  assert.equal(shown.split('\n')[0], '360,640');
});

async function rotated(video: Buffer): Promise<Buffer> {
  const from = join(temp, 'lying.mp4');
  await writeFile(from, video);
  return generate('rotated.mp4', `-i ${from} -c copy -metadata:s:v:0 rotate=90`);
}

test('a video without sound has no group of sound anywhere', async () => {
  await store('silent.mp4', await clip({ sound: '' }));
  const { hls, dash, mp4, metadata } = await made('silent.mp4', { formats: ['hls', 'dash', 'mp4'], thumbnails: false });
  assert.doesNotMatch(await text(hls!.master_url), /AUDIO|mp4a/);
  assert.doesNotMatch(await text(dash!.manifest_url), /audio/);
  assert.equal(metadata.audio_codec, null);
  assert.equal((await ffprobe('-show_entries', 'stream=codec_type', '-of', 'csv=p=0', mp4!.url)).trim(), 'video');
  assert.match(await ffprobe('-show_entries', 'format=duration', '-of', 'csv=p=0', hls!.master_url), /^2\.0/);
});

test('six channels of sound become two, and a rate that varies becomes steady', async () => {
  const sound = `${tone(2)} -ac 6`;
  await store('surround.mp4', await clip({ sound, options: '-vf select=not(eq(mod(n\\,7)\\,3)) -vsync vfr' }));
  const { mp4, metadata, renditions } = await made('surround.mp4', { thumbnails: false });
  assert.equal(metadata.audio_channels, 6);
  const shown = await ffprobe(
    '-show_entries',
    'stream=channels,sample_rate,r_frame_rate,avg_frame_rate',
    '-of',
    'csv=p=0',
    mp4!.url,
  );
  const [picture, heard] = shown.trim().split('\n');
  const [rate, average] = picture!.split(',');
  assert.equal(rate, average);
  assert.ok(Math.abs(renditions[0]!.fps - Number(rate!.split('/')[0]) / Number(rate!.split('/')[1])) < 0.01);
  assert.match(heard!, /^48000,2,/);
});

/** The colour of one pixel of the first frame. */
async function pixel(url: string, [x, y]: readonly [number, number]): Promise<string> {
  const { programs } = await ffmpeg.capabilities();
  const frame = join(temp, 'frame.png');
  await promisify(execFile)(programs.ffmpeg.path, ['-v', 'error', '-y', '-i', url, '-frames:v', '1', frame]);
  const [r, g, b] = await sharp(frame).extract({ left: x, top: y, width: 1, height: 1 }).removeAlpha().raw().toBuffer();
  return [r! > 90 ? 'red' : '', g! > 90 ? 'green' : '', b! > 90 ? 'blue' : ''].filter(Boolean).join(' and ');
}

test('the watermark is where it is asked for, and nowhere else', async () => {
  await store(
    'blue.mp4',
    await generate('blue.mp4', '-f lavfi -i color=blue:size=320x180:duration=0.4 -pix_fmt yuv420p'),
  );
  // The middle of a mark of 64 x 32 pixels, 6 from the edges.
  const middles = {
    topleft: [38, 22],
    topright: [282, 22],
    bottomleft: [38, 158],
    bottomright: [282, 158],
    center: [160, 90],
  } as const;
  for (const position of Object.keys(middles) as (keyof typeof middles)[]) {
    const { mp4 } = await made('blue.mp4', { formats: ['mp4'], watermark: { position }, thumbnails: false });
    for (const [place, middle] of Object.entries(middles))
      assert.equal(await pixel(mp4!.url, middle), place === position ? 'red' : 'blue', `${position}: ${place}`);
  }
});

test('a watermark out of storage has the size and the opacity that are asked for; without one there is none', async () => {
  const mark = sharp({ create: { width: 40, height: 40, channels: 4, background: '#ff0000' } });
  await store('logo.webp', await mark.webp({ lossless: true }).toBuffer());
  const watermark = { key: 'logo.webp', position: 'topleft', opacity: 0.5, scale: 0.5 };
  const { mp4 } = await made('blue.mp4', { formats: ['mp4'], watermark, thumbnails: false });
  assert.equal(await pixel(mp4!.url, [150, 150]), 'red and blue');
  assert.equal(await pixel(mp4!.url, [175, 10]), 'blue');
  const plain = await made('blue.mp4', { formats: ['mp4'], thumbnails: false });
  assert.equal(await pixel(plain.mp4!.url, [282, 158]), 'blue');
});

for (const [name, key, watermark, code] of [
  ['the watermark is not in storage', 'blue.mp4', { key: 'no-logo.png' }, 'watermark_missing'],
  ['the watermark is no picture', 'blue.mp4', { key: 'blue.mp4' }, 'watermark_broken'],
  ['the original is not in storage', 'no.mp4', false, 'object_not_found'],
  ['the original is a file of this machine', '/etc/hostname', false, 'object_not_found'],
  ['the original is named by a path that climbs', '../../etc/hostname', false, 'invalid_storage_key'],
  ['the original is a picture', 'logo.webp', false, 'not_media'],
] as const)
  test(`when ${name}: ${code}, a dead letter at once, and nothing is stored`, async () => {
    const row = await transcode(key, { watermark });
    assert.deepEqual([row.status, row['error_code'], row['attempt']], ['failed', code, 1], row['error']);
    assert.doesNotMatch(row['error'], new RegExp(temp));
    assert.deepEqual(
      s3.requests.filter(({ method }) => method === 'PUT'),
      [],
    );
  });

test('options that are none are refused by name', async () => {
  const row = await transcode('blue.mp4', { formats: ['gif'], watermark: { position: 'left' } });
  assert.deepEqual([row.status, row['error_code']], ['failed', 'invalid_payload']);
  assert.match(row['error'], /payload\.options\.formats/);
});

/** Programs that were told of a path below. */
async function programsAt(path: string): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')));
  return commands.filter((command) => command.includes(path));
}

test('a job that is cancelled while it encodes leaves no ffmpeg, no file, and nothing public', async () => {
  await store('long.mp4', await clip({ size: '854x480', seconds: 40, options: '-crf 40' }));
  const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: 'long.mp4' } });
  await eventually(async () => assert.ok((await reads(rig.db, id, { status: 'processing' }))['progress'] > 5), 30_000);
  assert.notDeepEqual(await programsAt(join(temp, 'work')), []);
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
  await eventually(async () => assert.deepEqual(await programsAt(join(temp, 'work')), []), 2_000);
  await eventually(async () => assert.deepEqual(await readdir(join(temp, 'work')), []));
  assert.deepEqual(await keysUnder('processed/long'), []);
  await reads(rig.db, id, { status: 'cancelled' });
});

test('a job that is cancelled while it uploads takes back what is public already', async () => {
  await store('early.mp4', await clip({ seconds: 3 }));
  s3.fail({ ...s3Failures.slowDown, when: isPut(/playlist\.m3u8$/) });
  const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: 'early.mp4' } });
  await eventually(() => assert.ok(s3.requests.some(isPut(/playlist\.m3u8$/))), 30_000);
  assert.ok(s3.requests.some(isPut(/\.m4s$/)));
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
  await eventually(async () => assert.deepEqual(await keysUnder('processed/early'), []));
  await reads(rig.db, id, { status: 'cancelled' });
});

test('a worker that lost its job to another takes back nothing of what that one gives out', async () => {
  await store('lost.mp4', await clip({ seconds: 3 }));
  const isPlaylist = isPut(/lost.*playlist\.m3u8$/);
  s3.fail({ ...s3Failures.slowDown, when: (request) => isPlaylist(request) && (s3.hang(), false) });
  const id = await add(rig.db, 'media', 'transcode', { payload: { inputPath: 'lost.mp4' } });
  await eventually(() => assert.ok(s3.requests.some(isPlaylist)), 30_000);
  // As it is when this process was frozen, and is awake again.
  await rig.db.query(`update media_jobs_live set attempt = attempt + 1 where id = $1`, [id]);
  s3.heal();
  await eventually(async () => assert.deepEqual(await readdir(join(temp, 'work')), []), 30_000);
  assert.ok((await keysUnder('processed/lost')).some((key) => key.endsWith('.m4s')));
  assert.deepEqual(s3.requests.filter(isDelete), []);
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
});

for (const [name, when] of [
  ['in the middle of the segments', isPut(/180p\/00000\.m4s$/)],
  ['at the very last manifest', isPut(/manifest\.mpd$/)],
] as const)
  test(`when storage fails ${name}, nothing is public, and the next attempt puts that right`, async () => {
    const key = `fails ${name}.mp4`;
    await store(key, await clip({ seconds: 3 }));
    const prefix = `processed/${key.replaceAll(' ', '-').replace('.mp4', '')}`;
    s3.fail({ ...s3Failures.denied, when });
    const row = await transcode(key, { formats: ['hls', 'dash', 'mp4'] });
    assert.deepEqual([row.status, row['error_code']], ['failed', 'storage_denied']);
    assert.deepEqual(await keysUnder(prefix), []);
    s3.heal();
    await rig.db.query(`update media_jobs set status = 'pending' where id = $1`, [row.id]);
    const done = await reads(rig.db, row.id, { status: 'completed', attempt: 2 }, 60_000);
    assert.equal((await fetch(done['result'].dash.manifest_url)).status, 200);
    assert.equal((await keysUnder(prefix)).length, 13);
  });

test('a repeat stores the same keys again, and takes back nothing of what was there before when it fails', async () => {
  await store('twice.mp4', await clip());
  const stored = () =>
    s3.requests
      .filter(isPut(/processed/))
      .map(keyOf)
      .toSorted();
  s3.requests.length = 0;
  const first = await made('twice.mp4');
  const keys = stored();
  s3.requests.length = 0;
  // Not the same bytes: with more than one thread x264 never makes those twice.
  const { hls } = await made('twice.mp4');
  assert.deepEqual(hls, first.hls);
  assert.deepEqual(stored(), keys);

  s3.fail({ ...s3Failures.denied, when: isPut(/master\.m3u8$/) });
  assert.equal((await transcode('twice.mp4')).status, 'failed');
  s3.heal();
  const playlists = namedBy(await text(hls!.master_url), hls!.master_url);
  assert.equal(playlists.length, 2);
  for (const playlist of playlists)
    for (const url of namedBy(await text(playlist), playlist)) assert.equal((await fetch(url)).status, 200);
});
