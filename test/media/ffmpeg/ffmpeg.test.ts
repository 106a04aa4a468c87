import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, describe, it, test } from 'node:test';
import { promisify } from 'node:util';
import { createLog } from '../../../worker/base/log.ts';
import { isOld } from '../../../worker/media/ffmpeg/age.ts';
import { createFfmpeg, type Ffmpeg, type RunOptions, type Task } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { eventually } from '../../support/eventually.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';
import { processes } from '../../support/process-table.ts';

// The door to ffmpeg: what it lets in and out, and what it says when something goes wrong.

const exec = promisify(execFile);
const { signal } = new AbortController();
let root: string;
before(async () => void (root = await realpath(await mkdtemp(join(tmpdir(), 'rowmill-ffmpeg-')))));
after(() => rm(root, { recursive: true }));

for (const { name, config, programs } of ffmpegs)
  describe(name, () => {
    const ffmpeg = createFfmpeg(config);
    let dir: string;
    let input: string;
    before(async () => {
      dir = await mkdtemp(join(root, 'job-'));
      input = join(dir, 'in');
      const source = ['-f', 'lavfi', '-i', 'testsrc=s=320x180:r=10:d=4', '-f', 'lavfi', '-i', 'sine=d=4'];
      const coding = ['-c:v', 'libx264', '-preset', 'ultrafast', '-c:a', 'aac', '-f', 'mp4'];
      await exec(programs.ffmpeg.path, ['-v', 'error', ...source, ...coding, input]);
    });

    let made = 0;
    /** Encodes the input to a new file. */
    const encode = (options: Partial<RunOptions> = {}, coding: string[] = ['-preset', 'ultrafast'], with_ = ffmpeg) =>
      with_.run(
        {
          inputs: [{ path: input }],
          outputs: [{ path: join(dir, `${made++}.mp4`), options: ['-c:v', 'libx264', ...coding] }],
        },
        { dir, signal, ...options },
      );
    /** It takes longer than any test. */
    const endless: Task['inputs'][0]['options'] = ['-stream_loop', '-1', '-re'];
    const forever = (options: Partial<RunOptions> = {}) =>
      ffmpeg.run(
        {
          inputs: [{ path: input, options: endless }],
          outputs: [{ path: join(dir, `${made++}.mp4`), options: ['-c', 'copy'] }],
        },
        { dir, signal, ...options },
      );
    const running = async () =>
      (await processes()).filter(({ cwd, name: program }) => cwd === dir && program === 'ffmpeg');
    const started = () =>
      eventually(async () => {
        const [first] = await running();
        assert.ok(first);
        return first;
      });
    const fails = (work: Promise<unknown>, verdict: string, message = /./) =>
      assert.rejects(work, (error: Error & { code?: string }) => {
        assert.equal(`${error.name} ${error.code}`, verdict, error.message);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /0x|rowmill-|\/|\n/);
        return true;
      });

    it('has all that media jobs need', async () => {
      const { missing, toneMapping, version } = await ffmpeg.capabilities();
      assert.deepEqual([missing, toneMapping], [[], true]);
      assert.match(version, /^\S+$/);
    });

    it('looks into a file, and makes another of it, and tells how far it is', async () => {
      const { video, audio, duration } = await ffmpeg.probe(input, { dir, signal });
      assert.deepEqual([video.length, audio.length], [1, 1]);
      assert.ok(Math.abs(duration! - 4) < 0.2);
      const shares: number[] = [];
      await encode({ duration: 4, onProgress: (share) => shares.push(share) });
      assert.ok(shares.length > 0 && shares.every((share) => share >= 0 && share < 1), String(shares));
      assert.ok(shares.at(-1)! > 0.9);
    });

    it('hands on what is written to a pipe', async () => {
      let bytes = 0;
      const outputs = [{ path: 'pipe:1', options: ['-map', '0:a', '-f', 's16le', '-ac', '1', '-ar', '8000'] }];
      await ffmpeg.run(
        { inputs: [{ path: input }], outputs },
        { dir, signal, onOutput: (chunk) => void (bytes += chunk.length) },
      );
      assert.ok(Math.abs(bytes - 64_000) < 2_000, `${bytes}`);
      const failing = ffmpeg.run(
        { inputs: [{ path: input }], outputs },
        { dir, signal, onOutput: () => Promise.reject(new TypeError('full')) },
      );
      await assert.rejects(failing, { name: 'TypeError' });
    });

    it('needs no options', async () => {
      const inputs = [{ path: input, options: [] }];
      await ffmpeg.run({ inputs, outputs: [{ path: join(dir, 'plain.wav'), options: [] }] }, { dir, signal });
      const { audio, format } = await ffmpeg.probe(join(dir, 'plain.wav'), { dir, signal });
      assert.deepEqual([audio.length, format], [1, 'wav']);
    });

    it('refuses a playlist as any of its inputs', async () => {
      const playlist = join(dir, 'list.mp4');
      await writeFile(playlist, 'ffconcat version 1.0\nfile in\n');
      await fails(ffmpeg.probe(playlist, { dir, signal }), 'PermanentError not_media', /its format is not accepted/);
      const outputs = [{ path: join(dir, 'none.mp4'), options: ['-map', '1'] }];
      const inputs = [{ path: input }, { path: playlist }];
      await fails(
        ffmpeg.run({ inputs, outputs }, { dir, signal }),
        'PermanentError media_corrupt',
        /its format is not accepted/,
      );
    });

    it('a file cut off is corrupt', async () => {
      const cut = join(dir, 'cut');
      await writeFile(cut, (await readFile(input)).subarray(0, 4_000));
      await fails(ffmpeg.probe(cut, { dir, signal }), 'PermanentError not_media', /^The file cannot be read as/);
      await fails(
        ffmpeg.run(
          { inputs: [{ path: cut }], outputs: [{ path: join(dir, 'cut.mp4'), options: [] }] },
          { dir, signal },
        ),
        'PermanentError media_corrupt',
      );
    });

    it('when it is aborted it is dead at once, and nothing of it is left', async () => {
      const controller = new AbortController();
      const work = forever({ signal: controller.signal });
      await started();
      controller.abort(new Error('enough'));
      await assert.rejects(work, { message: 'enough' });
      assert.deepEqual(await running(), []);
      await assert.rejects(encode({ signal: controller.signal }), { message: 'enough' });
      await assert.rejects(ffmpeg.probe(input, { dir, signal: controller.signal }), { message: 'enough' });
    });

    it('takes as long as it may, and a false duration ends nothing early', async () => {
      await fails(forever({ limits: { wallMs: 300.5 } }), 'RetryableError ffmpeg_timeout');
      assert.deepEqual(await running(), []);
      await encode({ duration: 1e15 });
      await encode({ limits: { wallMs: 1e15 + 0.5 } });
    });

    it('says what the machine did to it', async () => {
      await fails(encode({ limits: { fileBytes: 2_000 } }), 'PermanentError output_too_large');
      await fails(encode({ limits: { memoryBytes: 150e6 } }, ['-s', '4096x4096']), 'RetryableError out_of_memory');
      const slow = ['-preset', 'veryslow', '-s', '3840x2160'];
      await fails(encode({ limits: { cpuSeconds: 1 } }, slow), 'RetryableError ffmpeg_killed', /CPU time/);
      for (const [by, verdict] of [
        ['SIGKILL', 'RetryableError ffmpeg_killed'],
        ['SIGTERM', 'RetryableError ffmpeg_killed'],
        [
          'SIGSEGV',
          isOld(await ffmpeg.capabilities()) ? 'PermanentError ffmpeg_too_old' : 'RetryableError ffmpeg_crashed',
        ],
      ] as const) {
        // While it still opens its files, it takes SIGTERM for a fault of theirs.
        const working = Promise.withResolvers<void>();
        const work = fails(forever({ duration: 60, onProgress: () => working.resolve() }), verdict);
        await working.promise;
        process.kill((await started()).pid, by);
        await work;
      }
    });

    it('a full disk is never a success', { skip: process.getuid?.() !== 0 && 'mounts a small disk' }, async (t) => {
      const small = await mkdtemp(join(root, 'small-'));
      await exec('mount', ['-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', small]).catch(() => t.skip('may not mount'));
      t.after(() => exec('umount', [small]).catch(() => {}));
      await copyFile(input, join(small, 'in'));
      await exec('sh', ['-c', 'cat /dev/zero >fill; truncate -s -8k fill'], { cwd: small });
      const task = {
        inputs: [{ path: join(small, 'in') }],
        outputs: [{ path: join(small, 'out.mp4'), options: ['-c', 'copy'] }],
      };
      await fails(ffmpeg.run(task, { dir: small, signal }), 'DeploymentError disk_full');
    });

    it('when the program is gone, or there is no sandbox for it any more, that is nobody’s file’s fault', async () => {
      const bin = await mkdtemp(join(root, 'bin-'));
      for (const program of ['ffmpeg', 'ffprobe'] as const) await copyFile(programs[program].path, join(bin, program));
      for (const sandbox of ['none', undefined] as const) {
        const moving = createFfmpeg({ searchPath: bin, bundled: false, ...(sandbox ? { sandbox } : {}) });
        await moving.capabilities();
        await rm(join(bin, 'ffprobe'));
        await assert.rejects(moving.probe(input, { dir, signal }), { code: /^ffmpeg_(missing|not_started)$/ });
        await copyFile(programs.ffprobe.path, join(bin, 'ffprobe'));
      }
      await fails(ffmpeg.probe(input, { dir: join(root, 'none'), signal }), 'RetryableError ffmpeg_not_started');
    });

    for (const sandbox of ['bwrap', 'unshare'] as const)
      it(`in ${sandbox} it can make no connection; in bwrap it sees no file of another folder`, async (t) => {
        let said = '';
        const sink = new Writable({ write: (chunk, _, done) => ((said += String(chunk)), done()) });
        const inside = createFfmpeg({ ...config, sandbox }, createLog({ logLevel: 'info', secrets: [] }, sink));
        const open = createFfmpeg({ ...config, sandbox: 'none' });
        try {
          await inside.probe(input, { dir, signal });
        } catch {
          return t.skip('not possible here');
        }
        let connections = 0;
        const server = createServer((socket) => {
          connections += 1;
          socket.destroy();
        });
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        t.after(() => server.close());
        const { port } = server.address() as { port: number };
        const calling = (door: Ffmpeg) =>
          door.run(
            { inputs: [{ path: input }], outputs: [{ path: `tcp://127.0.0.1:${port}`, options: ['-f', 'mpegts'] }] },
            { dir, signal },
          );
        await assert.rejects(calling(inside));
        assert.equal(connections, 0);
        // It may have sent all before the server hangs up.
        await calling(open).catch(() => {});
        await eventually(() => assert.ok(connections > 0));

        if (sandbox === 'unshare') return;
        const elsewhere = await mkdtemp(join(root, 'elsewhere-'));
        const there = join(elsewhere, 'in');
        await copyFile(input, there);
        await open.probe(there, { dir, signal });
        await fails(inside.probe(there, { dir, signal }), 'PermanentError not_media');
        assert.match(said, /"words":"[^"]*No such file/, 'its own words are in the log, and not in the message');
        const writing = {
          inputs: [{ path: input }],
          outputs: [{ path: join(elsewhere, 'out.mp4'), options: ['-c', 'copy'] }],
        };
        await assert.rejects(inside.run(writing, { dir, signal }));
        assert.deepEqual(await readdir(elsewhere), ['in']);
      });

    it('works in a folder below /usr, in one of memory, and in one with odd letters', async () => {
      for (const parent of ['/usr/local/share', '/dev/shm', root]) {
        const odd = await mkdtemp(join(parent, 'röw mill %d-')).catch(() => undefined);
        if (!odd) continue;
        try {
          await copyFile(input, join(odd, 'in'));
          await ffmpeg.probe(join(odd, 'in'), { dir: odd, signal });
          const outputs = [{ path: join(odd, 'out.mp4'), options: ['-c', 'copy'] }];
          await ffmpeg.run({ inputs: [{ path: join(odd, 'in') }], outputs }, { dir: odd, signal });
          assert.deepEqual((await readdir(odd)).toSorted(), ['in', 'out.mp4']);
        } finally {
          await rm(odd, { recursive: true });
        }
      }
    });
  });

test('a path that was set must be of a program, and of the right one', async () => {
  const file = join(root, 'file');
  await writeFile(file, '');
  for (const path of [join(root, 'none'), file, root, '/bin/true'])
    await assert.rejects(
      createFfmpeg({ ffmpeg: path, searchPath: process.env['PATH']!, bundled: true }).capabilities(),
      {
        name: 'DeploymentError',
        code: 'ffmpeg_path_wrong',
        message: /^FFMPEG_PATH: /,
      },
    );
});

test('where there is none that is told, until there is one', async () => {
  const bin = join(root, 'late');
  const late = createFfmpeg({ searchPath: bin, bundled: false });
  await assert.rejects(late.capabilities(), {
    name: 'DeploymentError',
    code: 'ffmpeg_missing',
    message: /There is no ffmpeg in PATH/,
  });
  await mkdir(bin);
  const { programs } = ffmpegs[0]!;
  await symlink(programs.ffmpeg.path, join(bin, 'ffmpeg'));
  await assert.rejects(late.capabilities(), { code: 'ffmpeg_missing', message: /There is no ffprobe in PATH/ });
  await symlink(programs.ffprobe.path, join(bin, 'ffprobe'));
  assert.deepEqual((await late.capabilities()).missing, []);
});
