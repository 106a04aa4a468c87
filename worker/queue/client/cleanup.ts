import type { StandardSchema } from '../schema.ts';
import type { Added, Client, JobOptions } from './client.ts';

const types = ['stories', 'sessions', 'messages', 'temp_files', 'prekeys', 'orphaned_media'] as const;
type CleanupType = (typeof types)[number];

/**
 * The function by which a messenger's code adds its cleanups:
 *
 *     // queues/cleanup.queue.ts
 *     import { createClient } from 'rowmill/client';
 *     import { cleanupQueue } from 'rowmill/cleanup';
 *     const client = createClient(databaseUrl);
 *     export const { addCleanupJob } = cleanupQueue(client);
 *
 * It does not import the kinds, so a producer loads nothing of them.
 */
export function cleanupQueue(client: Client): {
  /** @param settings other fields of the payload, such as `{ olderThan: '48 hours' }` */
  addCleanupJob(type: CleanupType, settings?: Record<string, unknown>, options?: JobOptions): Promise<Added>;
} {
  return {
    addCleanupJob: (type, settings, options) =>
      client.add({ name: `cleanup.${type}`, payload }, { ...settings, type }, options),
  };
}

const payload: StandardSchema<Record<string, unknown>> = {
  '~standard': {
    version: 1,
    vendor: 'rowmill',
    validate(value) {
      const given = value as Record<string, unknown>;
      if ((types as readonly unknown[]).includes(given['type'])) return { value: given };
      return { issues: [{ path: ['type'], message: `must be one of ${types.join(', ')}` }] };
    },
  },
};
