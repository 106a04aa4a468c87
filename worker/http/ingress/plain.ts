import { z } from 'zod';
import { faultsIn, type Asked, type Item, type Path } from './item.ts';
import { pointerTo, type Fault } from './problem.ts';

const text = z.string().min(1);
const time = z.iso
  .datetime({ offset: true, error: 'must be a time with its zone, such as 2030-01-31T12:00:00Z' })
  .transform((value) => new Date(value));
const jobSchema = z.strictObject({
  queue: text.nullish(),
  kind: text,
  payload: z.unknown().optional(),
  runAt: time.nullish(),
  delayMs: z.number().min(0).max(1e14).nullish(),
  priority: z.int().min(-32_768).max(32_767).nullish(),
  maxRetries: z.int().min(0).max(2_147_483_647).nullish(),
  expiresAt: time.nullish(),
  fileId: z.union([text.max(500), z.int()]).nullish(),
  dedupeKey: text.max(500).nullish(),
});

/** The fields of a job by the column that they become. */
const fields: Record<string, string> = {
  run_at: 'runAt',
  delay_ms: 'delayMs',
  priority: 'priority',
  max_retries: 'maxRetries',
  expires_at: 'expiresAt',
  file_id: 'fileId',
  dedupe_key: 'dedupeKey',
};

/** A job in the form of this API. */
export function readJob(value: unknown, at: Path, faults: Fault[]): Item | undefined {
  const checked = jobSchema.safeParse(value);
  if (!checked.success) {
    faults.push(...faultsIn(checked.error, at));
    return undefined;
  }
  const { queue, kind, payload, ...others } = checked.data;
  if (others.runAt && typeof others.delayMs === 'number') {
    faults.push({ pointer: pointerTo([...at, 'delayMs']), detail: 'cannot be given together with runAt' });
    return undefined;
  }
  const given = Object.entries(fields).map(
    ([column, field]) => [column, others[field as keyof typeof others]] as const,
  );
  const options = Object.fromEntries(given.filter(([, each]) => each !== undefined && each !== null));
  const key = queue ? `${queue}.${kind}` : kind;
  return { key, kindAt: [...at, 'kind'], payload, payloadAt: [...at, 'payload'], options };
}

/** Where the field of a column is. The messages of InvalidJob begin with the column. */
export function pointerToColumn({ at, payloadAt }: Asked, message: string): string {
  const [, column = ''] = /^(\w+): /.exec(message) ?? [];
  if (column === 'payload') return pointerTo(payloadAt);
  return pointerTo(fields[column] ? [...at, fields[column]] : at);
}
