import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { optimise, type CopyFormat, type Optimised } from '../../worker/media/image/optimise.ts';
import type { Truncated } from '../../worker/media/image/whole.ts';
import { createMemoryGate, type MemoryGate } from '../../worker/media/memory.ts';

type Options = { formats?: CopyFormat[]; memory?: MemoryGate; signal?: AbortSignal; truncated?: Truncated };

/** As much as an instance has that nobody has configured. */
const usual = createMemoryGate({ bytes: 280e6, slots: 2 });

/** What `optimise` makes of the bytes. */
export async function optimised(file: Buffer, options: Options = {}): Promise<Optimised> {
  const { formats = [], memory = usual, signal = new AbortController().signal, truncated = 'refuse' } = options;
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-optimised-'));
  try {
    await writeFile(join(dir, 'original'), file);
    return await optimise(join(dir, 'original'), { formats }, { signal, memory, truncated });
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** All the files that were made. */
export const filesOf = ({ main, thumbnail, copies }: Optimised) => [main, thumbnail, ...copies];
