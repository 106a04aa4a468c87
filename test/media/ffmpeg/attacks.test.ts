import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it, test } from 'node:test';
import { sharp } from '../../../worker/media/image/sharp.ts';
import { createFfmpeg, type Ffmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { attacks, type Attack } from '../../support/attacks.ts';
import { canary, canaryColour } from '../../support/attacks/materials.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';
import { holdsNothing } from '../../support/leaks.ts';
import { processes } from '../../support/process-table.ts';

// Files that nobody should open, opened: with no sandbox, so that the door alone has to hold.

let root: string;
let all: Attack[];
let heard = 0;
const tcp = createServer((socket) => {
  heard += 1;
  socket.destroy();
});

before(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'attacks-')));
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  const { port } = tcp.address() as { port: number };
  all = await attacks(root, port);
});
after(async () => {
  tcp.close();
  await rm(root, { recursive: true });
});

for (const { name, config } of ffmpegs)
  describe(name, () => {
    it('refuses them, or makes of them what holds nothing of others', async (t) => {
      const ffmpeg = createFfmpeg({ ...config, sandbox: 'none' });
      const failed: string[] = [];
      const waiting = [...all];
      const oneByOne = async () => {
        for (let attack = waiting.shift(); attack; attack = waiting.shift()) {
          const { name: what } = attack;
          await withstand(ffmpeg, attack).then(
            (verdict) => t.diagnostic(`${what}: ${verdict}`),
            (error: Error) => failed.push(`${what}: ${error.message}`),
          );
        }
      };
      await Promise.all([oneByOne(), oneByOne(), oneByOne()]);
      assert.deepEqual(failed, []);
      assert.equal(heard, 0, 'no connection was made');
      assert.deepEqual(
        (await processes()).filter(({ cwd }) => cwd?.startsWith(root)),
        [],
      );
    });
  });

/** Looks into it, and takes a picture and the sound out of it. @returns what became of that */
async function withstand(ffmpeg: Ffmpeg, { path, refused }: Attack): Promise<string> {
  const dir = dirname(path);
  const had = await readdir(dir);
  const options = { dir, signal: AbortSignal.timeout(60_000) };
  try {
    const { video, audio } = await ffmpeg.probe(path, options);
    assert.ok(!refused, 'it was taken for media');
    if (video[0])
      await take(
        ffmpeg,
        path,
        ['-map', `0:${video[0].index}`, '-frames:v', '1', '-f', 'image2', '-update', '1'],
        'o.png',
      );
    if (audio[0]) await take(ffmpeg, path, ['-map', `0:${audio[0].index}`, '-t', '1', '-map_metadata', '-1'], 'o.wav');
    return `${video.length} video, ${audio.length} sound`;
  } catch (error) {
    const { name, code, message } = error as Error & { code?: string };
    assert.equal(name, 'PermanentError', message);
    assert.doesNotMatch(message, new RegExp(`${canary}|${root}|beside|127|\\n`));
    if (refused) assert.equal(code, 'not_media');
    return code!;
  } finally {
    const made = (await readdir(dir)).filter((one) => !had.includes(one));
    for (const one of made) {
      assert.match(one, /^o\.(png|wav)$/);
      await holdsNothing(await readFile(join(dir, one)), one);
      await rm(join(dir, one));
    }
  }
}

async function take(ffmpeg: Ffmpeg, path: string, options: string[], name: string): Promise<void> {
  const dir = dirname(path);
  const signal = AbortSignal.timeout(60_000);
  await ffmpeg.run({ inputs: [{ path }], outputs: [{ path: join(dir, name), options }] }, { dir, signal });
}

test('the secrets would be seen', async () => {
  // Else that none came out would say nothing.
  const create = { width: 9, height: 9, channels: 3, background: canaryColour } as const;
  await assert.rejects(holdsNothing(await sharp({ create }).png().toBuffer(), 'o.png'), /a secret picture/);
  await assert.rejects(holdsNothing(await readFile(join(root, 'secrets/canary.ts')), 'o.ts'), /a secret came out/);
});
