import type { Queryable } from '../../base/db/sql.ts';
import { UsageError } from '../../base/errors.ts';
import type { Keyring } from '../../base/seal.ts';
import type { Registry } from '../registry.ts';
import { opened } from '../sensitive.ts';
import { addJob } from './add.ts';
import { showJob } from './operate.ts';

type House = { db: Queryable; registry: Registry; keyring: Keyring | undefined };

/**
 * Inserts a copy of a job. A sealed value belongs to its row: it is opened, and sealed for the new one.
 * @param edit gets the payload with its sensitive values in the clear, and gives that of the new job
 * @returns the id of the new job
 * @throws UsageError for a payload that does not fit the kind, or a kind that this worker does not know
 */
export async function insertAgain(
  { db, registry, keyring }: House,
  id: number,
  edit: (clear: unknown) => unknown = (clear) => clear,
): Promise<number> {
  const job = await showJob(db, id);
  if (!job) throw new UsageError(`There is no job ${id}`);
  const sensitive = registry.get(`${job.queue}.${job.kind}`)?.sensitive ?? [];
  const clear = clearPayload(() => opened(job.payload, sensitive, job, keyring));
  const copy = {
    queue: job.queue,
    kind: job.kind,
    payload: edit(clear),
    priority: job.priority,
    ...(job.file_id === null ? {} : { file_id: job.file_id }),
  };
  return (await addJob(db, registry, copy, keyring)).id;
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
