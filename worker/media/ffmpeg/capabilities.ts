import { realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { codeOf, DeploymentError, RetryableError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { withRetries, type Patience } from '../../base/retry.ts';
import { machineFault } from './faults.ts';
import { findPrograms, wrongPath, type FfmpegConfig, type Programs, type Sandbox } from './find.ts';
import { outputOf, type Exit } from './process.ts';

/** What the installed ffmpeg can do. */
export type Capabilities = {
  programs: Programs;
  /** Such as 5.1.9-0+deb12u1. */
  version: string;
  /** The major version of libavcodec. */
  libavcodec: number;
  /** What it lacks, of what every media job needs. */
  missing: string[];
  /** Whether it can convert HDR to SDR. */
  toneMapping: boolean;
  /** Whether it decodes AV1 in little memory. */
  dav1d: boolean;
  sandbox: Sandbox;
};

export type Detector = {
  capabilities(): Promise<Capabilities>;
  /** Forgets what is known. */
  detectAgain(): void;
};

/** How long a lookup may take. */
const patience: Patience = { tries: 3, waitMs: 1_000 };
/** The best first. */
const sandboxes: Sandbox[] = ['bwrap', 'unshare', 'none'];

/**
 * Finds out what the installed ffmpeg can do, once, and again after `detectAgain`. A detection that was killed, or got
 * no memory, proves nothing and is repeated. ffmpeg never runs with a weaker sandbox than was found before, until the
 * process is restarted.
 * @throws DeploymentError `ffmpeg_missing`, `ffmpeg_path_wrong`, `sandbox_missing`; as machineFault does
 */
export function createDetector(config: FfmpegConfig, log?: Log): Detector {
  let known: Promise<Capabilities> | undefined;
  let allowed = config.sandbox ? [config.sandbox] : sandboxes;

  async function detect(): Promise<Capabilities> {
    const found = await detectNow(await findPrograms(config), allowed);
    allowed = sandboxes.slice(0, sandboxes.indexOf(found.sandbox) + 1);
    return found;
  }

  async function detectPatiently(): Promise<Capabilities> {
    const passing = (error: unknown) => {
      if (!isPassing(error)) return undefined;
      log?.warn({ err: error }, 'could not find out what ffmpeg can do, will try again');
      return {};
    };
    return withRetries(detect, passing, undefined, patience);
  }

  return {
    capabilities() {
      if (known) return known;
      const detecting = detectPatiently();
      known = detecting;
      detecting.catch((error: unknown) => {
        if (codeOf(error) === 'sandbox_missing') log?.warn({ err: error }, 'ffmpeg has lost its sandbox');
        if (known === detecting) known = undefined;
      });
      return detecting;
    },
    detectAgain() {
      known = undefined;
    },
  };
}

const needed = {
  encoders: ['libx264', 'aac', 'libmp3lame', 'png', 'pcm_s16le'],
  filters: ['scale', 'overlay', 'split', 'fps', 'tile'],
  muxers: ['mp4', 'mp3', 'hls', 's16le'],
};

/** In five runs of ffmpeg and ffprobe at the same time. @param allowed the sandboxes to try, in order */
async function detectNow(programs: Programs, allowed: Sandbox[]): Promise<Capabilities> {
  const ask = (what: string) => answerOf('ffmpeg', programs, ['-hide_banner', what]);
  const [{ sandbox, version, libavcodec }, filters, codecs, muxers] = await Promise.all([
    findSandbox(programs, allowed),
    ask('-filters'),
    ask('-codecs'),
    ask('-muxers'),
  ]);
  const has = (list: string, name: string) => new RegExp(`^ *[A-Z.|]+ +(\\w+,)*${name}[, ]`, 'm').test(list);
  // Coders are listed if there are several, or if one is not named like its codec.
  const codes = (role: 'encoders' | 'decoders', name: string) =>
    new RegExp(
      `\\(${role}: ([^)]* )?${name} |^ *${role === 'encoders' ? '.E' : 'D'}\\S+ +${name} (?!.*\\(${role}:)`,
      'm',
    ).test(codecs);
  return {
    programs,
    version,
    libavcodec,
    missing: [
      ...needed.encoders.filter((name) => !codes('encoders', name)),
      ...needed.filters.filter((name) => !has(filters, name)),
      ...needed.muxers.filter((name) => !has(muxers, name)),
    ],
    dav1d: codes('decoders', 'libdav1d'),
    toneMapping: has(filters, 'zscale') && has(filters, 'tonemap'),
    sandbox,
  };
}

/** The first of `allowed` in which both programs print their version. */
async function findSandbox(programs: Programs, allowed: Sandbox[]): Promise<Version & { sandbox: Sandbox }> {
  for (const sandbox of allowed)
    try {
      const before = confine(sandbox, programs, await realpath(tmpdir()));
      const versions = (['ffmpeg', 'ffprobe'] as const).map((name) => versionOf(name, programs, before));
      return { sandbox, ...(await Promise.all(versions))[0]! };
    } catch (error) {
      if (sandbox === 'none' || isPassing(error)) throw error;
    }
  throw new DeploymentError(
    'ffmpeg',
    'sandbox_missing',
    `ffmpeg does not run in its sandbox (${allowed.join(', ')}) any more: ` +
      'fix that, or restart the worker to run ffmpeg without it',
  );
}

type Version = Pick<Capabilities, 'version' | 'libavcodec'>;

async function versionOf(name: keyof Programs, programs: Programs, before: string[]): Promise<Version> {
  const answer = await answerOf(name, programs, ['-version'], before);
  const version = new RegExp(`^${name} version (\\S+)`).exec(answer)?.[1];
  if (!version) throw doesNotRun(name, programs);
  return { version, libavcodec: Number(/^libavcodec +(\d+)\./m.exec(answer)?.[1] ?? Infinity) };
}

/**
 * @throws RetryableError `ffmpeg_killed`, `out_of_memory`, `ffmpeg_not_started`, which may pass; else DeploymentError,
 *   because the program does not run
 */
async function answerOf(name: keyof Programs, programs: Programs, args: string[], before: string[] = []) {
  const { stdout, ...exit } = await ran([...before, programs[name].path, ...args]).catch((error: unknown) => {
    throw new RetryableError('ffmpeg_not_started', `${name} could not be started: ${codeOf(error)}`, { cause: error });
  });
  if (exit.code === 0) return stdout;
  const fault = machineFault(exit);
  // A missing sandbox does not pass: the next one is tried.
  throw fault?.code === 'ffmpeg_killed' || fault?.code === 'out_of_memory' ? fault : doesNotRun(name, programs);
}

const isPassing = (error: unknown) =>
  ['ffmpeg_killed', 'out_of_memory', 'ffmpeg_not_started'].includes(codeOf(error) ?? '');

function doesNotRun(name: keyof Programs, programs: Programs): DeploymentError {
  const { path, from } = programs[name];
  return from === 'setting'
    ? wrongPath(name, `${path} does not run, or is no ${name}`)
    : new DeploymentError('ffmpeg', 'ffmpeg_missing', `The ${name} that was found does not run`);
}

/** Programs and libraries, and nothing else of /usr: applications and their secrets are often there. */
const system =
  '/usr/bin /usr/lib /usr/lib32 /usr/lib64 /usr/local/bin /usr/local/lib /bin /lib /lib32 /lib64 ' +
  '/etc/ld.so.cache /etc/alternatives /nix/store';

/**
 * The command prefix that isolates a program from the network. bwrap also isolates it from other processes, and from
 * all files but the system's (read only) and those of `dir`.
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
