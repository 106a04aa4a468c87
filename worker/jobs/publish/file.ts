import { join } from 'node:path';
import { z } from 'zod';
import type { App } from '../../app.ts';
import { PermanentError, RetryableError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { withTempDir } from '../../base/temp.ts';
import type { Variant } from '../../media/image/variants.ts';
import { job, minutes } from '../../queue/job.ts';
import { truncatedOf, unlessGrowing } from '../media/original/original.ts';

const sql = loadStatements(import.meta.dirname, 'file.sql', ['load_file', 'save_variants']);
const sizes = [
  { name: 'display', width: 1600 },
  { name: 'thumb', width: 400 },
] as const;

/**
 * Publishes an auction file: makes two WebP pictures of its original on RAID, in public storage. The keys are derived
 * from the file's id and the original's bytes, so a repeat overwrites its own objects.
 */
export default job({
  name: 'publish.file',
  payload: z.object({}),
  timeout: minutes(5),

  async run({ job: { file_id }, app, signal, progress, waiting, aside, commit }) {
    const { makeVariants } = await import('../../media/image/variants.ts');
    const file = await loadFile(app.db, file_id);

    return withTempDir(app.config.tempDir, async (dir) => {
      const original = join(dir, 'original');
      const { sha256 } = await app.raid.download(file.source_key, original, { signal });
      progress(20);

      const memory = app.memory.of({ waiting, aside });
      const means = { signal, memory, ffmpeg: app.ffmpeg, truncated: app.config.mediaTruncated };
      const { source, variants } = await unlessGrowing(
        () => makeVariants(original, sizes, means),
        // RAID does not say how large a file is, or when it changed.
        async () => (await app.raid.download(file.source_key, join(dir, 'again'), { signal })).sha256 !== sha256,
      );
      progress(80);

      const hash = sha256.slice(0, 20);
      const published = await Promise.all(
        variants.map((variant) => upload(app, `${file.id}/${hash}-${variant.name}.webp`, variant, signal)),
      );
      const [display, thumb] = published as [Published, Published];

      return commit(async (tx) => {
        await save(tx, file, source, display, thumb);
        return { source, display, thumb, ...truncatedOf(source) };
      });
    });
  },
});

type File = { id: string; source_key: string };
type Published = { key: string; url: string; width: number; height: number; bytes: number };

async function loadFile(db: Queryable, id: string | null): Promise<File> {
  const [file] = id
    ? await query<{ id: string; source_key: string | null; deleted_at: Date | null }>(db, sql.load_file, { id })
    : [];
  if (!file)
    throw new PermanentError(
      'file_not_found',
      id ? `auction_files has no row with the file_id of this job, ${id}` : 'The job has no file_id: set it',
    );
  if (file.deleted_at) throw new PermanentError('file_deleted', 'The file was deleted, so there is nothing to publish');
  if (!file.source_key)
    throw new PermanentError('source_key_missing', 'The row of auction_files has no source_key to download from RAID');
  return { id: file.id, source_key: file.source_key };
}

async function upload(app: App, key: string, variant: Variant, signal: AbortSignal): Promise<Published> {
  const { width, height, bytes } = variant;
  await app.storage.put(key, variant.data, {
    contentType: variant.content_type,
    cacheControl: 'public, max-age=31536000, immutable',
    signal,
  });
  return { key, url: app.storage.url(key), width, height, bytes };
}

async function save(
  tx: Queryable,
  file: File,
  source: { width: number; height: number; bytes: number },
  display: Published,
  thumb: Published,
) {
  const saved = await query(tx, sql.save_variants, {
    id: file.id,
    source_key: file.source_key,
    width: source.width,
    height: source.height,
    bytes: source.bytes,
    display_url: display.url,
    display_width: display.width,
    display_height: display.height,
    display_bytes: display.bytes,
    thumb_url: thumb.url,
    thumb_width: thumb.width,
    thumb_height: thumb.height,
    thumb_bytes: thumb.bytes,
  });
  if (saved.length === 0)
    throw new RetryableError(
      'file_changed',
      'The file was deleted or got another original while it was being published',
    );
}
