import type { StandardSchema } from '../schema.ts';
import type { Added, Client, JobOptions } from './client.ts';

type AddMediaJob = (
  s3Key: string,
  userId: string,
  messageId: string,
  originalName?: string,
  options?: JobOptions,
) => Promise<Added>;

/**
 * The functions by which a messenger's code adds its media jobs, under the names that it uses:
 *
 *     // queues/media.queue.ts
 *     import { createClient } from 'rowmill/client';
 *     import { mediaQueue } from 'rowmill/media';
 *     const client = createClient(databaseUrl);
 *     export const { addImageProcessingJob, addVideoProcessingJob, addAudioProcessingJob } = mediaQueue(client);
 *
 * They do not import the kinds, so a producer loads neither sharp nor ffmpeg.
 */
export function mediaQueue(client: Client): {
  addImageProcessingJob: AddMediaJob;
  addVideoProcessingJob: AddMediaJob;
  addAudioProcessingJob: AddMediaJob;
} {
  const adding =
    (type: string): AddMediaJob =>
    (s3Key, userId, messageId, originalName, options) =>
      client.add({ name: `media.${type}`, payload }, { type, s3Key, userId, messageId, originalName }, options);
  return {
    addImageProcessingJob: adding('image'),
    addVideoProcessingJob: adding('video'),
    addAudioProcessingJob: adding('audio'),
  };
}

type MediaPayload = {
  type: string;
  s3Key: string;
  userId: string;
  messageId: string;
  originalName?: string | undefined;
};

const payload: StandardSchema<MediaPayload> = {
  '~standard': {
    version: 1,
    vendor: 'rowmill',
    validate(value) {
      const { type, s3Key, userId, messageId, originalName = 'none' } = value as MediaPayload;
      const issues = Object.entries({ type, s3Key, userId, messageId, originalName })
        .filter(([, text]) => typeof text !== 'string' || text === '')
        .map(([key]) => ({ path: [key], message: 'must be a text that is not empty' }));
      return issues.length > 0 ? { issues } : { value: value as MediaPayload };
    },
  },
};
