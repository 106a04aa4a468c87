import { realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { RetryableError, UsageError } from '../../base/errors.ts';
import type { Programs, Sandbox } from './find.ts';
import { outputOf, type Exit } from './process.ts';

/** What the installed ffmpeg can do, looked up once. */
export type Capabilities = {
  programs: Programs;
  /** Such as 5.1.9-0+deb12u1. */
  version: string;
  /** What it lacks of what every media job needs. */
  missing: string[];
  /** Turns HDR into SDR. */
  toneMapping: boolean;
  /** -stats_period, since 4.4: how often it reports progress. */
  statsPeriod: boolean;
  sandbox: Sandbox;
};

const needed = {
  encoders: ['libx264', 'aac', 'libmp3lame', 'png', 'pcm_s16le'],
  filters: ['scale', 'overlay', 'split', 'fps', 'tile'],
  muxers: ['mp4', 'mp3', 'hls', 's16le'],
};

/** @throws UsageError when a path that was set is no ffmpeg or no ffprobe; RetryableError `ffmpeg_missing` when what was found is none */
export async function lookUp(programs: Programs, wanted?: Sandbox): Promise<Capabilities> {
  const [version] = await Promise.all([versionOf('ffmpeg', programs), versionOf('ffprobe', programs)]);
  const ask = async (...args: string[]) => (await ran([programs.ffmpeg.path, '-hide_banner', ...args])).stdout;
  const [help, filters, encoders, muxers, sandbox] = await Promise.all([
    ask('-h', 'long'),
    ask('-filters'),
    ask('-encoders'),
    ask('-muxers'),
    wanted ?? findSandbox(programs),
  ]);
  const has = (list: string, name: string) => new RegExp(`^ *[A-Z.|]+ +(\\w+,)*${name}[, ]`, 'm').test(list);
  return {
    programs,
    version,
    missing: [
      ...needed.encoders.filter((name) => !has(encoders, name)),
      ...needed.filters.filter((name) => !has(filters, name)),
      ...needed.muxers.filter((name) => !has(muxers, name)),
    ],
    toneMapping: has(filters, 'zscale') && has(filters, 'tonemap'),
    statsPeriod: help.includes('-stats_period'),
    sandbox,
  };
}

async function versionOf(name: keyof Programs, programs: Programs): Promise<string> {
  const { path, from } = programs[name];
  const { stdout } = await ran([path, '-version']);
  const version = new RegExp(`^${name} version (\\S+)`).exec(stdout)?.[1];
  if (version) return version;
  if (from === 'setting') throw new UsageError(`${name.toUpperCase()}_PATH: ${path} does not run, or is no ${name}`);
  throw new RetryableError('ffmpeg_missing', `The ${name} that was found does not run`);
}

async function findSandbox(programs: Programs): Promise<Sandbox> {
  for (const sandbox of ['bwrap', 'unshare'] as const) {
    const before = confine(sandbox, programs, await realpath(tmpdir()));
    const tried = await Promise.all(
      [programs.ffmpeg, programs.ffprobe].map(({ path }) => ran([...before, path, '-version'])),
    );
    if (tried.every(({ code }) => code === 0)) return sandbox;
  }
  return 'none';
}

/** Programs and libraries, and nothing else of /usr: applications and their secrets are often put there. */
const system =
  '/usr/bin /usr/lib /usr/lib32 /usr/lib64 /usr/local/bin /usr/local/lib /bin /lib /lib32 /lib64 /etc/ld.so.cache /etc/alternatives /nix/store';

/**
 * What goes before a command to keep it from the network; bwrap also from all files but the system's, read only, and those of `dir`, and from
 * other processes.
 */
export function confine(sandbox: Sandbox, { ffmpeg, ffprobe }: Programs, dir: string): string[] {
  switch (sandbox) {
    case 'none':
      return [];
    case 'unshare':
      return ['unshare', ...(process.getuid?.() === 0 ? [] : ['--user']), '--net', '--'];
    case 'bwrap': {
      // In a session of its own it would outlive its process group; this process has given it one without a terminal.
      const alone = ['--unshare-all', '--die-with-parent', '--cap-drop', 'ALL', '--proc', '/proc', '--dev', '/dev'];
      const files = [
        ...system.split(' ').flatMap((path) => ['--ro-bind-try', path, path]),
        ...[ffmpeg.path, ffprobe.path].flatMap((path) => ['--ro-bind', path, path]),
      ];
      return ['bwrap', ...alone, ...files, '--bind', dir, dir, '--chdir', dir, '--remount-ro', '/', '--'];
    }
  }
}

async function ran(command: string[]): Promise<Exit & { stdout: string }> {
  const options = {
    cwd: tmpdir(),
    limits: { cpuSeconds: 20, fileBytes: 1_000_000, memoryBytes: 1e9 },
    signal: AbortSignal.timeout(60_000),
    maxBytes: 4_000_000,
  };
  return outputOf(command as [string, ...string[]], options);
}
