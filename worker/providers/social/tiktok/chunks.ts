import type { Chunk } from '../chunks.ts';

/**
 * TikTok's rule: chunks of 5 to 64 MB, each of the same size but the last, which also takes what is left over (up to
 * 128 MB). So `total_chunk_count` is rounded down. A file below 5 MB is one chunk; at most 1,000.
 * https://developers.tiktok.com/doc/content-posting-api-media-transfer-guide
 */
type Plan = { video_size: number; chunk_size: number; total_chunk_count: number };

const usualBytes = 10_000_000;
const mostChunks = 1_000;

export function planOf(video_size: number): Plan {
  const chunk_size = Math.max(usualBytes, Math.ceil(video_size / mostChunks));
  const total_chunk_count = Math.floor(video_size / chunk_size);
  if (total_chunk_count <= 1) return { video_size, chunk_size: video_size, total_chunk_count: 1 };
  return { video_size, chunk_size, total_chunk_count };
}

/** The n-th chunk, from 0. */
export function chunkOf({ video_size, chunk_size, total_chunk_count }: Plan, n: number): Chunk {
  const start = n * chunk_size;
  return { start, end: n === total_chunk_count - 1 ? video_size : start + chunk_size };
}
