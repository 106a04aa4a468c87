import { z } from 'zod';
import { positions } from '../../../media/video/position.ts';

const part = z.number().min(0.01).max(1);
const mark = z.object({
  /** The key of a picture in storage. */
  key: z.string().min(1).optional(),
  position: z.enum(positions).optional(),
  opacity: part.optional(),
  /** The width of the watermark as a part of the video's width. */
  scale: part.optional(),
});

/** The watermark of a job: true or false, or what differs from WATERMARK_*. Default: WATERMARK_ENABLED. */
export const watermarkOption = z.union([z.boolean(), mark]).optional();
