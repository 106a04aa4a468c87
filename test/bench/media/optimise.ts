import { writeFile } from 'node:fs/promises';
import { optimise } from '../../../worker/media/image/optimise.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { workThrough } from '../bare.ts';

// The work of media.image without the job round it: from file to files.

const memory = createMemoryGate({ bytes: 280e6, slots: 2 });
const { signal } = new AbortController();

await workThrough(async (path, to) => {
  const { main, thumbnail, thumbhash } = await optimise(path, { formats: [] }, { signal, memory });
  await writeFile(`${to}.${main.format}`, main.data);
  await writeFile(`${to}-thumb.webp`, thumbnail.data);
  await writeFile(`${to}-hash`, thumbhash);
});
