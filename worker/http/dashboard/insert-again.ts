import { UsageError } from '../../base/errors.ts';
import { addJob } from '../../queue/client/add.ts';
import { showJob } from '../../queue/client/operate.ts';
import { opened } from '../../queue/sensitive.ts';
import type { House } from './house.ts';
import { edited } from './payload.ts';

/**
 * Inserts a copy of a job. A sealed value belongs to its row: it is opened, and sealed for the new one.
 * @param text the edited payload as JSON; undefined: the same payload
 * @returns the id of the new job
 * @throws UsageError for a payload that does not fit the kind, or a kind that this worker does not know
 */
export async function insertAgain({ db, registry, app }: House, id: number, text?: string): Promise<number> {
  const job = await showJob(db, id);
  if (!job) throw new UsageError(`There is no job ${id}`);
  const { keyring } = app.config;
  const sensitive = registry.get(`${job.queue}.${job.kind}`)?.sensitive ?? [];
  const clear = clearPayload(() => opened(job.payload, sensitive, job, keyring));
  const { id: added } = await addJob(
    db,
    registry,
    {
      queue: job.queue,
      kind: job.kind,
      payload: text === undefined ? clear : edited(text, clear),
      priority: job.priority,
      ...(job.file_id === null ? {} : { file_id: job.file_id }),
    },
    keyring,
  );
  return added;
}

function clearPayload(open: () => unknown): unknown {
  try {
    return open();
  } catch (error) {
    throw new UsageError('Its sensitive values cannot be opened: SEAL_KEYS lacks their key, or they were removed', {
      cause: error,
    });
  }
}
