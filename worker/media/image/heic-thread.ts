import { readFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../../base/errors.ts';
import { decodeHeic } from './libheif.ts';
import { writePng } from './png.ts';

// The thread that heic.ts starts for one picture and ends thereafter.

export type HeicTask = {
  from: string;
  to: string;
  width: number;
  height: number;
  has_alpha: boolean;
  profile: Buffer | undefined;
  /** The most that WebAssembly may take: a file can hold a larger picture than its header admits. */
  memoryBytes: number;
};
/** `fault`: what is wrong with the picture. */
export type HeicOutcome = { fault?: string };

const { from, to, width, height, has_alpha, profile, memoryBytes } = workerData as HeicTask;
limitMemory(memoryBytes);
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort!.postMessage(await work());

async function work(): Promise<HeicOutcome> {
  const pixels = await decodeHeic(await readFile(from), has_alpha).catch(messageOf);
  if (typeof pixels === 'string') return { fault: pixels };
  if (pixels.width !== width || pixels.height !== height) return { fault: 'it is not as large as its header says' };
  await writePng(to, pixels, profile);
  return {};
}

/** Emscripten takes a refusal to grow as the end of memory. */
function limitMemory(bytes: number): void {
  const { grow } = WebAssembly.Memory.prototype;
  WebAssembly.Memory.prototype.grow = function (this: WebAssembly.Memory, pages: number) {
    if (this.buffer.byteLength + pages * 65_536 > bytes) throw new RangeError('out of memory');
    return grow.call(this, pages);
  };
}
