import { createHash } from 'node:crypto';
import { isTraceparent, type NewJob } from '../client/new-job.ts';
import { kindNamed } from './names.ts';

/** A message of another queue, as it came. */
export type Message = {
  /** What names the kind: a routing key, a topic, or `media.image`. */
  key: string;
  body: Uint8Array;
  /** What the body says, where the way in has read it already. */
  parsed?: unknown;
  /**
   * Read are, in any case, with `_` for `-`, and with or without `x-`: `priority`, `delay` in milliseconds, `run-at`,
   * `expires-at`, `dedupe-id`, `traceparent`.
   */
  headers?: Record<string, unknown>;
  /** What the sender named it by. A second message with the same id is known. */
  id?: string | undefined;
  /** A priority in the protocol of the source, as that of a job. A header goes before it. */
  priority?: number | undefined;
};

/** Why a message cannot become a job. */
export class Rejected extends Error {
  override name = 'Rejected';
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The job that a message asks for. Its kind and payload are not checked: a worker does that.
 * @param source what the ids of its messages are unique in
 * @throws Rejected
 */
export function jobOf(source: string, message: Message): NewJob {
  const named = kindNamed(message.key);
  if (!named) throw new Rejected('no_kind', `"${shown(message.key)}" names no kind, such as media.image`);
  const { id = message.id, ...options } = optionsOf(message.headers ?? {});
  return {
    ...named,
    payload: message.parsed === undefined ? jsonOf(message.body) : message.parsed,
    ...(message.priority === undefined ? {} : { priority: message.priority }),
    ...options,
    ...(id ? { dedupe_key: keyOf(source, id) } : {}),
  };
}

/** @throws Rejected `not_utf8`, `not_json` */
export function jsonOf(body: Uint8Array): unknown {
  let text: string;
  try {
    text = utf8.decode(body);
  } catch {
    throw new Rejected('not_utf8', 'The body is not UTF-8');
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The words of JSON.parse quote the body, which may be secret.
    throw new Rejected('not_json', text.trim() === '' ? 'The body is empty' : 'The body is not JSON, or not all of it');
  }
}

/** A key that Postgres can store and that is short enough, whatever the id is. */
export function keyOf(source: string, id: string): string {
  const key = `${source}:${id}`;
  const fits = key.length <= 500 && key.isWellFormed() && !key.includes('\0');
  return fits ? key : `${source}:sha256:${createHash('sha256').update(id).digest('hex')}`;
}

type Options = Pick<NewJob, 'priority' | 'delay_ms' | 'run_at' | 'expires_at' | 'traceparent'> & { id?: string };

const readers: Record<string, (value: unknown, name: string) => Options> = {
  priority: (value, name) => ({ priority: numberOf(value, name) }),
  // The exchange that delays messages leaves the delay on them, with a minus.
  delay: (value, name) => ({ delay_ms: Math.max(0, numberOf(value, name)) }),
  delay_ms: (value, name) => ({ delay_ms: Math.max(0, numberOf(value, name)) }),
  run_at: (value, name) => ({ run_at: timeOf(value, name) }),
  expires_at: (value, name) => ({ expires_at: timeOf(value, name) }),
  dedupe_id: (value, name) => ({ id: textOf(value, name) }),
  dedupe_key: (value, name) => ({ id: textOf(value, name) }),
  // As the standard demands, one that is not well-formed is ignored.
  traceparent: (value) => (typeof value === 'string' && isTraceparent(value) ? { traceparent: value } : {}),
};

function optionsOf(headers: Record<string, unknown>): Options {
  const options: Options = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || value === null) continue;
    const known = name.toLowerCase().replace(/^x-/, '').replaceAll('-', '_');
    if (Object.hasOwn(readers, known)) Object.assign(options, readers[known]!(value, name));
  }
  return options;
}

function numberOf(value: unknown, name: string): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && Number.isFinite(number)) return number;
  throw new Rejected('invalid_header', `${shown(name)} must be a number`);
}

function timeOf(value: unknown, name: string): Date {
  const time = value instanceof Date ? value : new Date(typeof value === 'number' ? value : textOf(value, name));
  if (!Number.isNaN(time.getTime())) return time;
  throw new Rejected('invalid_header', `${shown(name)} must be a time, such as 2030-01-31T12:00:00Z`);
}

function textOf(value: unknown, name: string): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw new Rejected('invalid_header', `${shown(name)} must be a text`);
}

const shown = (text: string) => text.slice(0, 60);
