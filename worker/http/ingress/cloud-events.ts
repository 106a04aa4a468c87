import { z } from 'zod';
import { isTraceparent } from '../../queue/client/new-job.ts';
import { jsonOf, keyOf, Rejected } from '../../queue/ingest/message.ts';
import { faultsIn, type Item } from './item.ts';
import { pointerTo, Problem, type Fault } from './problem.ts';

// CloudEvents 1.0.2 over HTTP: the type names the kind, the data is the payload, and the source and the id together are
// the dedupe key. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md

export const isEvent = (type: string): boolean => type.startsWith('application/cloudevents');

const text = z.string().min(1);
const attributes = z.looseObject({
  specversion: z.literal('1.0', 'must be 1.0'),
  id: text,
  // A reference to a URI. Without spaces, `source id` is unique.
  source: text.regex(/^\S+$/, 'must be a URI reference, which has no spaces'),
  type: text,
  traceparent: z.unknown().optional(),
});
const structured = attributes.extend({
  datacontenttype: z
    .string()
    .regex(/^application\/json *(;|$)/i, 'must be application/json')
    .optional(),
  data: z.unknown().optional(),
  data_base64: z.base64().optional(),
});

/** An event in headers, with its data as the body. */
export function binaryEvent(headers: Headers, data: unknown, scope: string, faults: Fault[]): Item | undefined {
  const given = ['specversion', 'id', 'source', 'type', 'traceparent'].flatMap((name) => {
    const value = headers.get(`ce-${name}`);
    return value === null ? [] : [[name, decoded(name, value)]];
  });
  const read = attributes.safeParse(Object.fromEntries(given));
  if (read.success) return itemOf(read.data, { payload: data, payloadAt: [], kindAt: [] }, scope);
  for (const { path, message } of read.error.issues)
    faults.push({ pointer: '#', detail: `the header ce-${path.join('.')}: ${message}` });
  return undefined;
}

/** Values of headers are percent-encoded where they are not ASCII (section 3.1.3.2). */
function decoded(name: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw new Problem(400, 'invalid_header', `The header ce-${name} is not percent-encoded UTF-8`);
  }
}

/** An event as JSON. */
export function readEvent(
  value: unknown,
  at: readonly PropertyKey[],
  scope: string,
  faults: Fault[],
): Item | undefined {
  const read = structured.safeParse(value);
  if (!read.success) {
    faults.push(...faultsIn(read.error, at));
    return undefined;
  }
  const { data, data_base64: base64 } = read.data;
  const [payloadAt, kindAt] = [
    [...at, base64 === undefined ? 'data' : 'data_base64'],
    [...at, 'type'],
  ];
  try {
    const payload = base64 === undefined ? data : jsonOf(Buffer.from(base64, 'base64'));
    return itemOf(read.data, { payload, payloadAt, kindAt }, scope);
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    faults.push({ pointer: pointerTo(payloadAt), detail: error.message });
    return undefined;
  }
}

function itemOf(
  { id, source, type, traceparent }: z.output<typeof attributes>,
  where: Pick<Item, 'payload' | 'payloadAt' | 'kindAt'>,
  scope: string,
): Item {
  const trace = typeof traceparent === 'string' && isTraceparent(traceparent) ? { traceparent } : {};
  return { ...where, key: type, options: { ...trace, dedupe_key: keyOf(scope, `${source} ${id}`) } };
}
