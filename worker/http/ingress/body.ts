import { isTraceparent } from '../../queue/client/new-job.ts';
import { jsonOf, keyOf, Rejected } from '../../queue/ingest/message.ts';
import { kindNamed } from '../../queue/ingest/names.ts';
import { binaryEvent, isEvent, readEvent } from './cloud-events.ts';
import type { Asked, Item, Path } from './item.ts';
import { readJob } from './plain.ts';
import { invalid, pointerTo, Problem, type Fault } from './problem.ts';

export const mostBytes = 8 * 1024 * 1024;
const mostBytesOfOne = 1024 * 1024;
const mostJobs = 1_000;

/**
 * @param scope what the ids of this caller are unique in
 * @returns `many`: they came as a list
 * @throws Problem 400, 413, 415 and 422
 */
export function readJobs(headers: Headers, body: Uint8Array, scope: string): { asked: Asked[]; many: boolean } {
  const type = typeOf(headers);
  const value = read(body);
  const binary = headers.has('ce-specversion') && !isEvent(type);
  const many = Array.isArray(value) && !binary;
  if (!many && body.length > mostBytesOfOne) throw tooLarge('One job', mostBytesOfOne);
  const values: unknown[] = many ? value : [value];
  if (many && values.length === 0) throw invalid([{ pointer: '#', detail: 'must have at least one job' }]);
  if (values.length > mostJobs)
    throw new Problem(413, 'too_many_jobs', `A request has at most ${mostJobs} jobs: this one has ${values.length}`);

  const common = commonOf(headers);
  const faults: Fault[] = [];
  const asked = values.flatMap((each, n) => {
    const at = many ? [n] : [];
    const item = binary
      ? binaryEvent(headers, each, scope, faults)
      : isEvent(type)
        ? readEvent(each, at, scope, faults)
        : readJob(each, at, faults);
    const key = common.key && { dedupe_key: keyOf(scope, many ? `${common.key}#${n}` : common.key) };
    return item ? askedFor(item, at, { ...common.options, ...key }, faults) : [];
  });
  if (faults.length > 0) throw invalid(faults);
  return { asked, many };
}

export const tooLarge = (what: string, bytes: number) =>
  new Problem(413, 'too_large', `${what} may have ${bytes} bytes at most`);

const types = ['application/json', 'application/cloudevents+json', 'application/cloudevents-batch+json'];

function typeOf(headers: Headers): string {
  const [type = '', ...parameters] = (headers.get('content-type') ?? '').toLowerCase().split(';');
  const charset = parameters.map((each) => each.trim()).find((each) => each.startsWith('charset='));
  if (!types.includes(type.trim()) || (charset && !/^charset="?(utf-8|us-ascii)"?$/.test(charset)))
    throw new Problem(415, 'unsupported_media_type', `Send UTF-8 with the Content-Type ${types.join(', or ')}`);
  if (!/^(identity)?$/i.test(headers.get('content-encoding') ?? ''))
    throw new Problem(415, 'unsupported_encoding', 'Send the body without Content-Encoding');
  return type.trim();
}

function read(body: Uint8Array): unknown {
  try {
    return jsonOf(body);
  } catch (error) {
    throw error instanceof Rejected ? new Problem(400, error.reason, error.message) : error;
  }
}

/** What headers say of all jobs of a request. A header traceparent that is not well-formed is ignored. */
function commonOf(headers: Headers): { key?: string; options: Item['options'] } {
  const traceparent = headers.get('traceparent') ?? '';
  const options = isTraceparent(traceparent) ? { traceparent } : {};
  // A signed request has an id, which its repeats have, too.
  const header = headers.get('idempotency-key') ?? headers.get('webhook-id');
  if (header === null) return { options };
  // A string of Structured Fields, or, as many send it, without quotes. https://www.rfc-editor.org/rfc/rfc9651
  const [, quoted] = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header) ?? [];
  const key = quoted === undefined ? header : quoted.replaceAll(/\\(.)/g, '$1');
  if (key.trim() === '' || (quoted === undefined && header.startsWith('"')))
    throw new Problem(400, 'invalid_idempotency_key', 'Idempotency-Key must be a text, with or without quotes');
  return { key, options };
}

function askedFor({ key, ...item }: Item, at: Path, common: Item['options'], faults: Fault[]): Asked[] {
  const named = kindNamed(key);
  if (!named) {
    faults.push({ pointer: pointerTo(item.kindAt), detail: 'names no kind, such as media.image' });
    return [];
  }
  const job = { ...common, ...item.options, ...named, payload: item.payload ?? {} };
  return [{ job, at, payloadAt: item.payloadAt }];
}
