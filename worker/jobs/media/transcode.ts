import { basename, join } from 'node:path';
import { z } from 'zod';
import type { Config } from '../../base/config/config.ts';
import type { Db, Tx } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { withTempDir } from '../../base/temp.ts';
import type { Stored } from '../../media/outputs/outputs.ts';
import { createRelease, type Outgoing } from '../../media/outputs/release.ts';
import type { Storyboard } from '../../media/video/storyboard.ts';
import { manifestName, masterName, type Rendition } from '../../media/video/streaming/streaming.ts';
import type { Format, Transcoded } from '../../media/video/transcode.ts';
import type { VideoMetadata } from '../../media/video/metadata.ts';
import { job, minutes, type JobRow } from '../../queue/job.ts';
import { Stopped } from '../../queue/run/outcome.ts';
import {
  findOriginal,
  originalPayload,
  prepareOutputs,
  saveProcessed,
  withOriginal,
  type Original,
} from './original/original.ts';
import { watermarkOption } from './original/watermark.ts';

const sql = loadStatements(import.meta.dirname, 'transcode.sql', ['makes_nobody_else', 'save_thumbnails']);

const formats = ['hls', 'dash', 'mp4'] as const satisfies Format[];
const side = z.int().min(1).max(4096);
const box = z.object({ width: side, height: side });
const options = z.object({
  formats: z.array(z.enum(formats)).min(1).default(['hls', 'mp4']),
  watermark: watermarkOption,
  /** true: THUMBNAIL_SIZES. false: no thumbnails and no storyboard. */
  thumbnails: z.union([z.boolean(), z.array(box).min(1).max(20)]).default(true),
});

/** The addresses of everything that was made; null if it was not asked for. */
export type TranscodeResult = {
  /** Of the MP4; without one, of the master playlist; without that, of the manifest. */
  url: string;
  thumbnail_url?: string;
  hls: { master_url: string; key: string } | null;
  dash: { manifest_url: string; key: string } | null;
  mp4: (Stored & { width: number; height: number; duration: number }) | null;
  /** The sizes from which players choose, largest first. */
  renditions: Rendition[];
  thumbnails: (Stored & { width: number; height: number; format: 'webp' })[];
  /** A JPEG with pictures of every `interval` seconds, in rows. `vtt_url` says which is where. */
  storyboard: {
    url: string;
    vtt_url: string;
    interval: number;
    count: number;
    columns: number;
    rows: number;
    tile_width: number;
    tile_height: number;
  } | null;
  /** The original is cut off, and this is what was left of it. */
  truncated?: true;
  /** Of the original. */
  metadata: VideoMetadata;
};

/**
 * Makes a video in storage ready for streaming: HLS and DASH over the same segments, in up to four sizes, an MP4 of the
 * largest, thumbnails and a storyboard. The original is not changed. Manifests are stored last, so nothing is public
 * before everything is there; a job that fails or is cancelled deletes what it stored.
 */
export default job({
  name: 'media.transcode',
  payload: originalPayload.extend({
    options: options.prefault({}),
  }),
  // For the longest video that is accepted, in four sizes, on a slow machine.
  timeout: minutes(24 * 60),

  async run({ job: row, payload, app, signal, log, progress, waiting, aside, commit }) {
    const { ffmpeg, storage, config } = app;
    const memory = app.memory.of({ waiting, aside });
    const { findWatermark } = await import('../../media/video/watermark.ts');
    const { transcode } = await import('../../media/video/transcode.ts');
    const asked = wishesOf(payload.options, config);
    const original = await findOriginal(app.db, row, payload);
    const { key } = original;

    return withTempDir(config.tempDir, async (dir) => {
      const path = join(dir, 'original');
      const watermark = await findWatermark(storage, config.watermark, asked.watermark, { dir, signal });
      const made = await withOriginal(app, key, { path, signal }, async () => {
        progress(5);
        const settings = { ...config.video, truncated: config.mediaTruncated };
        const onProgress = (share: number) => progress(5 + share * 80);
        const means = { ffmpeg, memory, settings, watermark, dir, signal, onProgress };
        return transcode(path, { ...asked, ...means, listed: config.storagePrivate });
      });

      const recipe = {
        kind: 'transcode',
        ...asked,
        settings: config.video,
        watermark: watermark && { ...watermark, path: undefined },
        made: made.ladder.made,
      };
      const outputs = await prepareOutputs(app, row, { key, sha256: made.sha256 }, recipe, signal);
      const stages = stagesOf(made, asked.formats);
      const release = await createRelease(storage, outputs, stages, {
        signal,
        log,
        onProgress: (share) => progress(85 + share * 14),
      });
      try {
        const result = resultOf(made, await release.putAll());
        return await commit(async (tx) => {
          await save(tx, row, original, result);
          return result;
        });
      } catch (error) {
        if (!goesOnElsewhere(signal) && (await makesAlone(app.db, row, key))) await release.takeBack();
        throw error;
      }
    });
  },
});

/** What to make, with the settings as defaults. In a fixed order, because the keys depend on it. */
function wishesOf({ formats: some, thumbnails, watermark }: z.output<typeof options>, { thumbnailSizes }: Config) {
  return {
    formats: formats.filter((format) => some.includes(format)),
    thumbnails: thumbnails === true ? thumbnailSizes : thumbnails || undefined,
    watermark,
  };
}

/** Files that name others come after them. */
function stagesOf({ stream, mp4, thumbnails, storyboard }: Transcoded, wanted: readonly Format[]): Outgoing[][] {
  const file = (path: string) => ({ name: basename(path), path });
  const of = (names: string[]) => names.map((name) => ({ name, path: join(stream?.dir ?? '', name) }));
  return [
    thumbnails.map(({ path }, n) => ({ name: `thumbnail-${n}.webp`, path })),
    storyboard ? [file(storyboard.sprite)] : [],
    storyboard ? [file(storyboard.vtt)] : [],
    stream ? of(stream.segments) : [],
    mp4 ? [{ name: 'video.mp4', path: mp4.path }] : [],
    stream && wanted.includes('hls') ? of(stream.playlists) : [],
    stream && wanted.includes('hls') ? of([masterName]) : [],
    stream && wanted.includes('dash') ? of([manifestName]) : [],
  ];
}

function resultOf(made: Transcoded, stored: Map<string, Stored>): TranscodeResult {
  const { duration, stream, storyboard, truncated, metadata } = made;
  const [file, master, manifest] = ['video.mp4', masterName, manifestName].map((name) => stored.get(name));
  const hls = master ? { master_url: master.url, key: master.key } : null;
  const dash = manifest ? { manifest_url: manifest.url, key: manifest.key } : null;
  const mp4 = file ? { ...file, width: made.mp4!.width, height: made.mp4!.height, duration } : null;
  const thumbnails = made.thumbnails.map(({ width, height }, n) => {
    return { ...stored.get(`thumbnail-${n}.webp`)!, width, height, format: 'webp' as const };
  });
  const largest = thumbnails.toSorted((a, b) => b.width * b.height - a.width * a.height)[0];
  return {
    url: mp4?.url ?? hls?.master_url ?? dash!.manifest_url,
    ...(largest ? { thumbnail_url: largest.url } : {}),
    hls,
    dash,
    mp4,
    renditions: stream?.renditions ?? [],
    thumbnails,
    storyboard: storyboard ? boardOf(storyboard, stored) : null,
    ...(truncated ? { truncated } : {}),
    metadata,
  };
}

function boardOf({ sprite, vtt, interval, count, columns, rows, tile }: Storyboard, stored: Map<string, Stored>) {
  const urlOf = (path: string) => stored.get(basename(path))!.url;
  const size = { tile_width: tile.width, tile_height: tile.height };
  return { url: urlOf(sprite), vtt_url: urlOf(vtt), interval, count, columns, rows, ...size };
}

async function save(tx: Tx, row: JobRow, original: Original, result: TranscodeResult): Promise<void> {
  await saveProcessed(tx, row, original, result);
  if (!original.media) return;
  const thumbnails = JSON.stringify(result.thumbnails);
  await query(tx, sql.save_thumbnails, { id: original.media.id, thumbnails });
}

/** Whether no other job makes the same files under the same keys. If that cannot be read, another job might. */
async function makesAlone(db: Db, { id, attempt }: JobRow, key: string): Promise<boolean> {
  const [row] = await query<{ alone: boolean }>(db, sql.makes_nobody_else, { id, attempt, key }).catch(() => []);
  return row?.alone === true;
}

/** Stopped, but neither failed nor cancelled: another worker will make the same files under the same keys. */
const goesOnElsewhere = ({ reason }: AbortSignal) => reason instanceof Stopped && reason.because !== 'taken';
