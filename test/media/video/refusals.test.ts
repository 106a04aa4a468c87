import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import sharp from 'sharp';
import { aac, damage, h264, openFootage, picture, tone, type Footage } from '../../support/footage.ts';
import { near, plain, processed, type Settings } from '../../support/processed.ts';

// What processVideo refuses, and how much damage it lets through.

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

suite('refused', () => {
  const refuses =
    (code: string | RegExp, path: () => Promise<string>, settings: Settings = {}, says = /./) =>
    async () => {
      await assert.rejects(processed(clips, await path(), settings), (error: Error & { code: string }) => {
        assert.equal(error.name, 'PermanentError', error.stack);
        assert.match(error.code, new RegExp(code), error.stack);
        assert.match(error.message, says);
        assert.doesNotMatch(error.message, /clips-|original/, 'it names no path of this machine');
        return true;
      });
    };
  const file = async (name: string, bytes: Buffer) => {
    const path = join(await clips.folder(), name);
    await writeFile(path, bytes);
    return path;
  };
  const cut = async (path: string) => clips.change(path, (bytes) => bytes.subarray(0, bytes.length * 0.6));
  const mpeg4 = () => clips.make('a.mp4', `${picture('320x180', 4)} -c:v mpeg4 -q:v 3 -movflags +faststart`);
  const mkv = (seconds = 4) => clips.make('a.mkv', `${picture('320x180', seconds)} ${tone(seconds)} ${h264} ${aac}`);

  test(
    'noise',
    refuses('not_media', () => file('a.mp4', damage(Buffer.alloc(200_000), 100_000)), {}, /no known format/),
  );
  test(
    'text',
    refuses('not_media', () => file('a.mp4', Buffer.from('ffconcat version 1.0\nfile secret.mp4\n'))),
  );
  test(
    'a picture, by its name',
    refuses(
      'not_media',
      async () =>
        file(
          'a.mp4',
          await sharp({ create: { width: 9, height: 9, channels: 3, background: 'red' } })
            .png()
            .toBuffer(),
        ),
      {},
      /image\/png/,
    ),
  );
  test(
    'sound alone',
    refuses('no_video_stream', () => clips.make('a.m4a', `${tone(1)} ${aac}`)),
  );
  test(
    'a side beyond 8192 pixels',
    refuses('video_too_large', () => clips.make('a.mp4', `${picture('8200x64', 0.1)} ${h264}`), {}, /8200 x 64/),
  );
  test(
    'more than 120 frames a second',
    refuses('frame_rate_too_high', () => clips.make('a.mp4', `${picture('64x64', 0.2, 480)} ${h264}`), {}, /480/),
  );
  test(
    'a video that is too long',
    refuses('video_too_long', () => plain(clips, 'long.mp4', 3), { maxSeconds: 2 }, /2 s.*VIDEO_MAX_SECONDS/),
  );
  test(
    'a cut off MP4 that would be copied',
    refuses('media_truncated', async () => cut(await plain(clips, 'cut.mp4', 4))),
  );
  test(
    'a cut off MP4 that would be encoded',
    refuses('media_truncated', async () => cut(await mpeg4())),
  );
  test(
    'a cut off Matroska',
    refuses('media_truncated', async () => cut(await mkv())),
  );
  test(
    'damage in one that would be copied',
    refuses('media_corrupt', async () =>
      clips.change(await plain(clips, 'd.mp4', 4), (bytes) => damage(bytes, 30_000)),
    ),
  );
  test(
    'damage in one that is encoded',
    refuses('media_corrupt', async () =>
      clips.change(await mpeg4(), (bytes) => {
        for (let part = 0.1; part < 0.5; part += 0.03)
          damage(bytes.subarray(0, Math.floor(bytes.length * part * 2)), 200);
        return bytes;
      }),
    ),
  );
  test(
    'a Matroska whose parts do not fit',
    refuses(/media_corrupt|media_truncated/, async () => clips.change(await mkv(), (bytes) => damage(bytes, 100_000))),
  );
  for (const share of [0.002, 0.03, 0.2])
    test(
      `a Matroska that goes on after ${share * 100} % that do not fit`,
      refuses(/media_corrupt|media_truncated/, async () =>
        // Clusters of up to 5 s: ffmpeg goes on with the second.
        clips.change(await mkv(6), (bytes) => damage(bytes, Math.floor(bytes.length * share))),
      ),
    );
});

test('one that would be copied is encoded if a key frame may be damaged, so that all of it is decoded', async () => {
  const path = await clips.change(await plain(clips, 'key.mp4'), (bytes) => {
    const from = bytes.indexOf('mdat') + 4_000;
    damage(bytes.subarray(from - 32, from + 96), 64);
    return bytes;
  });
  assert.equal((await processed(clips, path)).made.mode, 'encode');
});

test('a glitch is let through', async () => {
  const path = await clips.make('a.mp4', `${picture('320x180', 4)} -c:v mpeg4 -q:v 3 -movflags +faststart`);
  const { made } = await processed(clips, await clips.change(path, (bytes) => damage(bytes, 64)));
  assert.equal(made.mode, 'encode');
  near(made.duration, 4, 0.1);
});
