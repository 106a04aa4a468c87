import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readlink, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, beforeEach, test } from 'node:test';
import { createLog } from '../../../worker/base/log.ts';
import { createFfmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { slowIf } from '../../support/everything.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';

// What is found out about ffmpeg on a machine that has no memory for it, or that takes its sandbox away.

const { programs } = ffmpegs[0]!;
const signal = new AbortController().signal;
let dir: string;
let mood: string;
let config: { ffmpeg: string; ffprobe: string; searchPath: string; bundled: boolean };

/**
 * The real programs behind a script that reads from a file how the machine treats them: `kill` or `kill once` by
 * SIGKILL, `no memory`, and, of runs without the network, `no sandbox` or `kill sandbox`.
 */
before(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'ffmpeg-lookup-')));
  mood = join(dir, 'mood');
  const host = await readlink('/proc/self/ns/net');
  const script = (program: string) => `#!/bin/sh
mood=$(cat '${mood}')
inside=; [ "$(readlink /proc/self/ns/net)" = '${host}' ] || inside=yes
case "$mood$inside" in
  kill|killyes|'kill sandboxyes') kill -9 $$ ;;
  'kill once'*) echo fine >'${mood}'; kill -9 $$ ;;
  'no memory'*) echo 'error while loading shared libraries: Cannot allocate memory' >&2; exit 127 ;;
  'no sandboxyes') echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1 ;;
esac
exec '${program}' "$@"
`;
  config = { ffmpeg: join(dir, 'ffmpeg'), ffprobe: join(dir, 'ffprobe'), searchPath: '', bundled: false };
  for (const name of ['ffmpeg', 'ffprobe'] as const) {
    const real = join(dir, `real-${name}`);
    // Not a link: a sandbox shows the folder of a job, and not where a link leads.
    await copyFile(programs[name].path, real);
    await writeFile(config[name], script(real), { mode: 0o755 });
  }
});
beforeEach(() => machine('fine'));
after(() => rm(dir, { recursive: true }));

const machine = (treats: string) => writeFile(mood, treats);

/** With what it logged. */
function created() {
  const stream = new PassThrough();
  const log = createLog({ logLevel: 'info', secrets: [] }, stream);
  const logged = () =>
    String(stream.read() ?? '')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);
  return { ...createFfmpeg(config, log), logged };
}
type Line = { level: string; message: string; context: { err: { code: string } } };

test('a lookup that is killed once is repeated, and finds everything', async () => {
  const expected = await createFfmpeg(config).capabilities();
  await machine('kill once');
  const { logged, ...ffmpeg } = created();
  assert.deepEqual(await ffmpeg.capabilities(), expected);
  assert.deepEqual(
    logged().map(({ level, context: { err } }) => `${level} ${err.code}`),
    ['warn ffmpeg_killed'],
  );
});

for (const [treats, code] of [
  ['kill', 'ffmpeg_killed'],
  ['no memory', 'out_of_memory'],
  ['kill sandbox', 'ffmpeg_killed'],
] as const)
  slowIf(treats !== 'kill')(
    `a machine that treats it so, “${treats}”, has told nothing: the next job asks again`,
    async (t) => {
      const expected = await createFfmpeg(config).capabilities();
      if (treats === 'kill sandbox' && expected.sandbox === 'none') return t.skip('there is no sandbox here');
      await machine(treats);
      const ffmpeg = createFfmpeg(config);
      const many = await Promise.allSettled([ffmpeg.capabilities(), ffmpeg.capabilities()]);
      assert.deepEqual(
        many.map((one) => one.status === 'rejected' && (one.reason as { code: string }).code),
        [code, code],
      );
      await machine('fine');
      assert.deepEqual(await ffmpeg.capabilities(), expected);
    },
  );

test('ffmpeg is never run with less of a sandbox than before: the job says so, and the log', async (t) => {
  const { logged, ...ffmpeg } = created();
  const { sandbox } = await ffmpeg.capabilities();
  if (sandbox === 'none') return t.skip('there is no sandbox here');
  const input = join(dir, 'in.wav');
  await writeFile(input, wav);
  const probe = () => ffmpeg.probe(input, { dir, signal });
  assert.equal((await probe()).audio.length, 1);

  await machine('no sandbox');
  await assert.rejects(probe(), { name: 'RetryableError', code: 'ffmpeg_not_started' });
  await assert.rejects(probe(), { name: 'DeploymentError', code: 'sandbox_missing', message: new RegExp(sandbox) });
  assert.deepEqual(
    logged().map(({ level, message }) => `${level} ${message}`),
    ['warn ffmpeg has lost its sandbox'],
  );
  assert.equal((await createFfmpeg(config).capabilities()).sandbox, 'none');

  await machine('fine');
  assert.equal((await probe()).audio.length, 1);
  assert.equal((await ffmpeg.capabilities()).sandbox, sandbox);
});

/** A tenth of a second of silence. */
const samples = Buffer.alloc(1_600);
const wav = Buffer.concat([
  Buffer.from('524946466406000057415645666d74201000000001000100401f0000803e00000200100064617461', 'hex'),
  Buffer.from([0x40, 0x06, 0, 0]),
  samples,
]);
