import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { heldByDescendants } from './group-memory.ts';

/** Megabytes, in a fresh process that has sharp warm already. */
export type Measured = {
  /** Of worker/media/image/estimate.ts. */
  estimate: number;
  /** The most by which the process grew, or that the ffmpeg which it started held, if that was more. */
  growth: number;
  /** What stayed after each of `times`. */
  rests: number[];
};

/** What becomes of a picture: source text that defines `make(path, means)`. */
export type Call = string;

const media = new URL('../../worker/media', import.meta.url).href;
/** As publish.file does it. */
export const variants: Call = `
  const { makeVariants } = await import('${media}/image/variants.ts');
  const sizes = [{ name: 'display', width: 1600 }, { name: 'thumb', width: 400 }];
  const make = (path, means) => makeVariants(path, sizes, means);`;
/** As media.image does it. */
export const optimised = (formats: string[] = []): Call => `
  const { optimise } = await import('${media}/image/optimise.ts');
  const make = (path, means) => optimise(path, ${JSON.stringify({ formats })}, means);`;
/** As media.thumbnails does it. */
export const thumbnails: Call = `
  const { makeThumbnails } = await import('${media}/image/thumbnails.ts');
  const { dirname } = await import('node:path');
  const boxes = [150, 320, 640].map((side) => ({ width: side, height: side }));
  const make = (path, means) => makeThumbnails(path, boxes, 'webp', { ...means, dir: dirname(path) });`;

/** glibc as worker/cli/rowmill.js sets it: memory that is freed goes back to the system. */
const MALLOC = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '69632', MALLOC_TRIM_THRESHOLD_: '131072' };

/**
 * Linux only: it reads /proc.
 * @param budgetMb of one picture: an AVIF that needs more is decoded by ffmpeg
 * @throws Error with the code if the picture is refused
 */
export async function measure(path: string, call: Call, { times = 1, budgetMb = 1e6 } = {}): Promise<Measured> {
  const script = `
    import { readFileSync, writeFileSync } from 'node:fs';
    import { sharp } from '${media}/image/sharp.ts';
    ${call}
    const status = () => readFileSync('/proc/self/status', 'utf8');
    const megabytes = (name) => Number(new RegExp(name + ':\\\\s+(\\\\d+) kB').exec(status())[1]) / 1000;
    const { ffmpeg } = await import('${new URL('clips.ts', import.meta.url).href}');
    await sharp({ create: { width: 8, height: 8, channels: 3, background: '#888' } }).resize(4).webp().toBuffer();
    const start = megabytes('VmRSS');
    writeFileSync('/proc/self/clear_refs', '5');
    let estimate;
    const rests = [];
    const run = (bytes, signal, work) => ((estimate = bytes / 1e6), work());
    const memory = { bytes: 1e12, pictureBytes: ${budgetMb * 1e6}, run };
    const means = { signal: new AbortController().signal, memory, ffmpeg };
    try {
      for (let n = 0; n < ${times}; n++) {
        await make(process.argv[1], means);
        rests.push(megabytes('VmRSS') - start);
      }
      console.log(JSON.stringify({ estimate, rests, growth: megabytes('VmHWM') - start }));
    } catch (error) {
      console.log(JSON.stringify({ fault: error.code ?? error.message }));
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
    env: { ...process.env, ...MALLOC, NODE_DISABLE_COMPILE_CACHE: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let ffmpegMb = 0;
  const look = setInterval(() => {
    void heldByDescendants(child.pid!).then(({ all }) => (ffmpegMb = Math.max(ffmpegMb, all)));
  }, 20);
  const said = await text(child.stdout).finally(() => clearInterval(look));
  const { fault, growth, ...rest } = JSON.parse(said) as Measured & { fault?: string };
  if (fault) throw new Error(fault);
  return { ...rest, growth: Math.max(growth, ffmpegMb) };
}
