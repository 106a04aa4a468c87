import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { ffmpegEnv } from '../support/clips.ts';
import { everything } from '../support/everything.ts';
import { aac, h264, openFootage, picture as moving, tone, type Footage } from '../support/footage.ts';
import { add, reads } from '../support/jobs.ts';
import { fixture, picture, withIptc } from '../support/pictures.ts';
import { tracesOfPlace } from '../support/place.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Originals that say where they were taken, in every place where a file can: no output of any kind does.

let rig: Rig;
let clips: Footage;
let dir: string;
before(async () => {
  [rig, clips] = await Promise.all([createRig(), openFootage()]);
  dir = await realpath(await mkdtemp(join(tmpdir(), 'place-')));
  await rig.worker(await loadRegistry(), { ...ffmpegEnv, QUEUES: 'media', DATA_DIR: dir, FFMPEG_PRESET: 'ultrafast' });
  await mkdir(join(dir, 'storage/uploads'), { recursive: true });
});
after(async () => {
  await rig.close();
  await clips.close();
  await rm(dir, { recursive: true });
});

const text = '+48.1374+011.5755/';
const location = `-metadata location=${text} -metadata location-eng=${text}`;
const shown = moving('320x180', 1);
const streams = `${shown} ${tone(1)}`;

async function file(name: string, bytes: Buffer | string): Promise<string> {
  const path = join(clips.dir, name);
  await writeFile(path, bytes);
  return path;
}

/** An XMP packet as Adobe's programs put it behind everything else. */
function withXmpBox(mp4: Buffer): Buffer {
  const id = Buffer.from('be7acfcb97a942e89c71999491e3afac', 'hex');
  const packet = Buffer.from('<x:xmpmeta><rdf:Description exif:GPSLatitude="52,31.2000N"/></x:xmpmeta>');
  const size = Buffer.alloc(4);
  size.writeUInt32BE(8 + id.length + packet.length);
  return Buffer.concat([mp4, size, Buffer.from('uuid'), id, packet]);
}

const pictures: [string, () => Promise<Buffer>][] = [
  ['a.jpg', async () => withIptc(await picture({ gps: true, orientation: 6 }), 'Ada Canary, Berlin')],
  ['a.png', () => picture({ format: 'png', gps: true })],
  ['a.webp', () => picture({ format: 'webp', gps: true })],
  ['a.avif', () => picture({ format: 'avif', gps: true })],
  ['a.heic', () => fixture('phone')],
];

const videos: [string, () => Promise<string>][] = [
  [
    'com.apple.quicktime.location.ISO6709, and the picture itself, as cameras of cars write it',
    () => {
      const key = `-metadata com.apple.quicktime.location.ISO6709=${text} -movflags use_metadata_tags`;
      const message = `-bsf:v h264_metadata=sei_user_data=17ee8c60-f84d-11d9-8cd6-0800200c9a66+${text}`;
      return clips.make('mdta.mov', `${streams} ${h264} ${aac} ${key} ${message}`);
    },
  ],
  [
    'udta ©xyz, subtitles as drones write them, and an XMP box',
    async () => {
      const subtitles = await file('a.srt', `1\n00:00:00,000 --> 00:00:01,000\nGPS(${text})\n`);
      const words = `${streams} -i ${subtitles} ${h264} ${aac} -c:s mov_text ${location}`;
      return clips.change(await clips.make('udta.mov', words), withXmpBox);
    },
  ],
  ['udta loci', () => clips.make('loci.3gp', `${streams} ${h264} ${aac} ${location}`)],
  [
    'tags of a Matroska, of its streams and its chapters',
    async () => {
      const chapter = `[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle=${text}\n`;
      const tags = await file('tags.txt', `;FFMETADATA1\nlocation=${text}\n${chapter}`);
      const ofStreams = `-metadata:s:v location=${text} -metadata:s:a location=${text}`;
      const maps = '-map 0 -map 1 -map_metadata 2 -map_chapters 2';
      return clips.make('tags.mkv', `${streams} -f ffmetadata -i ${tags} ${maps} ${h264} ${aac} ${ofStreams}`);
    },
  ],
];

const sounds: [string, () => Promise<string>][] = [
  ['ID3', () => clips.make('a.mp3', `${tone(1)} ${location}`)],
  ['Vorbis comments', () => clips.make('a.flac', `${tone(1)} ${location}`)],
  [
    'com.apple.quicktime.location.ISO6709',
    () => {
      const key = `-metadata com.apple.quicktime.location.ISO6709=${text} -movflags use_metadata_tags`;
      return clips.make('a.m4a', `${tone(1)} ${aac} ${key}`);
    },
  ],
];

let made = 0;
/** Processes an original by each of these kinds, and looks at all that then is in storage, and in rows. */
async function leavesNoTrace(original: string, kinds: Record<string, object>): Promise<void> {
  assert.notDeepEqual(await tracesOfPlace(original), [], 'the original says where it was taken');
  const key = `uploads/${made++}`;
  await cp(original, join(dir, 'storage', key));
  const { rows } = await rig.db.query(`insert into media (source_key) values ($1) returning id`, [key]);
  const folder = join(dir, 'storage/processed');
  await rm(folder, { recursive: true, force: true });
  const jobs = Object.entries(kinds).map(([kind, payload]) =>
    add(rig.db, 'media', kind, { payload: { mediaId: rows[0].id, ...payload } }),
  );
  for (const id of await Promise.all(jobs)) {
    const row = await reads(rig.db, id, { status: 'completed' }, 30_000);
    assert.doesNotMatch(JSON.stringify(row), /48\.1374|52,31/);
  }
  const { rows: media } = await rig.db.query(`select * from media where id = $1`, [rows[0].id]);
  assert.doesNotMatch(JSON.stringify(media), /48\.1374|52,31/);

  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  assert.ok(files.length >= Object.keys(kinds).length);
  assert.deepEqual(await tracesOfPlace(...files), []);
}

const formats = { formats: ['webp', 'avif'] };
for (const [name, bytes] of pictures)
  test(`a picture: ${name}`, async () =>
    leavesNoTrace(await file(name, await bytes()), { image: formats, thumbnails: {} }));

const all = { options: { formats: ['hls', 'dash', 'mp4'], thumbnails: true } };
for (const [index, [name, original]] of videos.entries())
  test(`a video: ${name}`, async () =>
    leavesNoTrace(await original(), {
      video: {},
      audio: {},
      thumbnails: {},
      // Once, of the one that says it in the picture itself too; TEST_ALL=on: of each.
      ...(everything || index === 0 ? { transcode: all } : {}),
    }));

for (const [name, original] of sounds)
  test(`a sound: ${name}`, async () => leavesNoTrace(await original(), { audio: {} }));
