import { z } from 'zod';
import { positions } from '../../../media/video/position.ts';

const part = z.number().min(0.01).max(1);
const mark = z.object({
  /** A picture in storage. */
  key: z.string().min(1).optional(),
  position: z.enum(positions).optional(),
  opacity: part.optional(),
  /** Its width, of the video's. */
  scale: part.optional(),
});

/** What a job says of the watermark: true, or what is to be otherwise than WATERMARK_* say. Default WATERMARK_ENABLED. */
export const watermarkOption = z.union([z.boolean(), mark]).optional();
