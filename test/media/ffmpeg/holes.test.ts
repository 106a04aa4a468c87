import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { processAudio } from '../../../worker/media/audio/audio.ts';
import { createFfmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { lostShare } from '../../../worker/media/ffmpeg/holes.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { generate } from '../../support/clips.ts';
import { unlessEverything } from '../../support/everything.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';
import { quickSettings as settings } from '../../support/quick-settings.ts';

// A file of which a part inside was overwritten: it is refused, or delivered and said to be truncated, never completed
// as if it were whole.

const sound = '-f lavfi -i sine=d=8:r=44100 -ac 2';
const both = `-f lavfi -i testsrc2=s=160x90:r=15:d=8 ${sound}`;
const formats: [format: string, name: string, words: string][] = [
  ['mp3', 'a.mp3', `${sound} -c:a libmp3lame -b:a 128k`],
  ['mp3', 'variable.mp3', `${sound} -c:a libmp3lame -q:a 4 -write_xing 0 -id3v2_version 0`],
  ['aac', 'a.aac', `${sound} -c:a aac`],
  ['ogg', 'a.ogg', `${sound} -c:a libvorbis`],
  ['ogg', 'a.opus', `${sound} -c:a libopus`],
  ['avi', 'a.avi', `${both} -c:v mpeg4 -c:a libmp3lame`],
  ['avi', 'pcm.avi', `${both} -c:v mjpeg -c:a pcm_s16le`],
  ['flv', 'a.flv', `${both} -c:v flv1 -c:a aac`],
  ['asf', 'a.wmv', `${both} -c:v wmv2 -c:a wmav2`],
  ['mpegts', 'a.ts', `${both} -c:v mpeg2video -c:a mp2`],
  ['mpegts', 'a.m2ts', `${both} -c:v mpeg2video -c:a mp2 -mpegts_m2ts_mode 1`],
];

let dir: string;
before(async () => void (dir = await mkdtemp(join(tmpdir(), 'holes-'))));
after(() => rm(dir, { recursive: true }));

/** With other bytes from 40 to 60 %. */
function overwritten(bytes: Buffer, by: 'zeros' | 'noise'): Buffer {
  const copy = Buffer.from(bytes);
  let state = 1;
  for (let at = Math.floor(copy.length * 0.4); at < copy.length * 0.6; at++)
    copy[at] = by === 'zeros' ? 0 : (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  return copy;
}

async function file(bytes: Buffer): Promise<{ path: string; work: string }> {
  const work = await mkdtemp(join(dir, 'work-'));
  const path = join(work, 'original');
  await writeFile(path, bytes);
  return { path, work };
}
const lost = async (bytes: Buffer, format: string) => lostShare((await file(bytes)).path, format);

suite('the share of a file that is lost', () => {
  for (const [format, name, words] of formats)
    test(name, async () => {
      const bytes = await generate(name, words);
      assert.equal(await lost(bytes, format), 0);
      for (const by of ['zeros', 'noise'] as const) {
        const share = await lost(overwritten(bytes, by), format);
        assert.ok(share > 0.1 && share < 0.23, `${share} by ${by}`);
      }
    });

  test('what is before, behind and between joined files is not lost, nor what a tag does not count', async () => {
    const mp3 = await generate('tagged.mp3', `${sound} -c:a libmp3lame -write_id3v1 1 -metadata title=a`);
    const zeros = Buffer.alloc(50_000);
    assert.equal(await lost(Buffer.concat([zeros, mp3, mp3, zeros]), 'mp3'), 0);
    assert.equal(await lost(mp3.subarray(0, -200), 'mp3'), 0);
    const tag = Buffer.concat([Buffer.from('ID3\x03\0\0\0\0\0\x20', 'latin1'), Buffer.alloc(100_000, 1)]);
    assert.equal(await lost(Buffer.concat([tag, mp3, tag, mp3]), 'mp3'), 0);
  });
});

for (const { name, config } of ffmpegs)
  suite(name, () => {
    const ffmpeg = createFfmpeg({ ...config, sandbox: 'none' });
    const memory = createMemoryGate({ bytes: 1e9, slots: 2 });
    const signal = new AbortController().signal;
    // Not every ffmpeg takes a damaged MPEG-TS: npm's crashes (old.test.ts).
    for (const [, title, words] of formats.filter(([format]) => format !== 'mpegts'))
      test(title, { skip: title !== 'a.mp3' && unlessEverything }, async () => {
        const bytes = overwritten(await generate(title, words), 'zeros');
        const made = async (truncated: 'refuse' | 'deliver') => {
          const { path, work } = await file(bytes);
          return processAudio(path, { ffmpeg, memory, settings: { ...settings, truncated }, dir: work, signal });
        };
        await assert.rejects(made('refuse'), { name: 'PermanentError', code: 'media_corrupt' });
        assert.equal((await made('deliver')).truncated, true);
      });
  });
