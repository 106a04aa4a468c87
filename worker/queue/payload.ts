import { messageOf, PermanentError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { JobDefinition } from './job.ts';
import type { SchemaIssue, StandardSchema } from './schema.ts';

/** The parts of a kind that say which payloads it takes. */
export type PayloadOf = Pick<JobDefinition, 'name' | 'payload' | 'maxValues'>;

/** What is wrong with a payload: at which keys, and what. */
export type PayloadFault = { path: string[]; message: string };

/**
 * Parses a payload with the schema of its kind.
 * @throws PermanentError `invalid_payload`, which names the fields at fault
 */
export function parsePayload(kind: PayloadOf, payload: unknown): unknown {
  const { value, faults } = parsed(kind, payload);
  if (faults.length === 0) return value;
  const words = faults
    .slice(0, shownFaults)
    .map(({ path, message }) => `${['payload', ...path].join('.')}: ${message}`);
  if (faults.length > shownFaults) words.push(`and ${faults.length - shownFaults} more`);
  throw new PermanentError('invalid_payload', words.join('; '));
}

function parsed(kind: PayloadOf, payload: unknown): { value?: unknown; faults: PayloadFault[] } {
  const excess = excessOf(payload, kind.maxValues ?? defaultMaxValues);
  if (excess) return { faults: [{ path: [], message: excess }] };
  const result = kind.payload['~standard'].validate(payload);
  if (result instanceof Promise) {
    result.catch(() => {});
    // zod also answers asynchronously if a check of the schema throws.
    throw new PermanentError(
      'invalid_payload',
      `The schema of ${kind.name} does not answer at once: its checks may neither be asynchronous nor throw`,
    );
  }
  return result.issues ? { faults: result.issues.map(faultOf) } : { value: result.value, faults: [] };
}

function faultOf({ path = [], message }: SchemaIssue): PayloadFault {
  const keys = path.map((segment) => (typeof segment === 'object' ? segment.key : segment));
  return { path: keys.map(shown), message: message.slice(0, 200) };
}

/**
 * The same before a job is added, and stricter: a key that the kind does not know is most likely a typing error.
 * @throws PermanentError `invalid_payload`
 */
export function checkPayload(kind: PayloadOf, payload: unknown): void {
  const strange = strangeKeys(kind, payload);
  try {
    parsePayload(kind, payload);
  } catch (error) {
    if (!strange) throw error;
    throw new PermanentError('invalid_payload', `${messageOf(error)}; ${strange}`, { cause: error });
  }
  if (strange) throw new PermanentError('invalid_payload', strange);
}

/** What `checkPayload` would throw for, in parts. */
export function faultsOfPayload(kind: PayloadOf, payload: unknown): PayloadFault[] {
  const strange = strangeKeys(kind, payload);
  return [...parsed(kind, payload).faults, ...(strange ? [{ path: [], message: strange }] : [])];
}

/**
 * The keys of a payload that its kind does not know, as a sentence; undefined if there are none. Jobs run with them all
 * the same.
 */
export function strangeKeys(kind: PayloadOf, payload: unknown): string | undefined {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return undefined;
  const known = knownKeys(kind.payload);
  const strange = known ? Object.keys(payload).filter((key) => !known.has(key)) : [];
  if (!known || strange.length === 0) return undefined;
  const missing = [...known].filter((key) => !Object.hasOwn(payload, key));
  const named = strange.slice(0, shownKeys).map((key) => {
    const meant = nearest(key, missing);
    return `"${shown(key)}"${meant ? ` (is it ${meant}?)` : ''}`;
  });
  if (strange.length > shownKeys) named.push(`and ${strange.length - shownKeys} more`);
  return `${kind.name} knows no key ${named.join(', ')}`;
}

/** A schema reports each wrong value, and people make long lists: without a limit, either would block the process. */
const defaultMaxValues = 10_000;
/** A payload that is nested more deeply is refused: V8 has no room on its stack to walk through some thousands. */
export const deepest = 100;
const shownFaults = 10;
const shownKeys = 5;

const shown = (key: PropertyKey) => String(key).slice(0, 60);

/** Why a payload is too large to be checked, if it is: no worker runs such a job. */
export function excessOf(payload: unknown, maxValues: number): string | undefined {
  let values = 0;
  let level = [payload];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > deepest) return `is nested more than ${deepest} deep`;
    const within: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      const inner: unknown[] = Array.isArray(value) ? value : Object.values(value);
      values += inner.length;
      if (values > maxValues) return `holds more than ${maxValues} values`;
      for (const one of inner) within.push(one);
    }
    level = within;
  }
  return undefined;
}

type Shape = { properties?: object; additionalProperties?: unknown; anyOf?: Shape[]; allOf?: Shape[]; oneOf?: Shape[] };

const shapes = new WeakMap<StandardSchema, Set<string> | undefined>();

/** The keys that a schema names; undefined if it takes others as well, or its library does not say. */
function knownKeys(schema: StandardSchema): Set<string> | undefined {
  if (!shapes.has(schema)) shapes.set(schema, readKeys(schema));
  return shapes.get(schema);
}

function readKeys({ '~standard': { jsonSchema } }: StandardSchema): Set<string> | undefined {
  try {
    const shape = jsonSchema?.input({ target: 'draft-2020-12', libraryOptions: { unrepresentable: 'any' } });
    const keys = shape && keysOf(shape);
    return keys && new Set(keys);
  } catch {
    return undefined; // JSON Schema cannot describe this schema, so nobody knows its keys.
  }
}

function keysOf({ properties, additionalProperties, anyOf, allOf, oneOf }: Shape): string[] | undefined {
  const parts = [...(anyOf ?? []), ...(allOf ?? []), ...(oneOf ?? [])].map(keysOf);
  if (parts.includes(undefined)) return undefined;
  if (parts.length === 0 && !properties) return undefined;
  if (additionalProperties !== undefined && additionalProperties !== false) return undefined;
  return [...Object.keys(properties ?? {}), ...parts.flatMap((keys) => keys ?? [])];
}
