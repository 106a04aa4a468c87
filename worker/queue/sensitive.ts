import { deepest } from './payload.ts';
import { isSealed, open, removed, sealedPattern, type Keyring, type SealPlace } from '../base/seal.ts';

// The sensitive values of a payload: its kind names where they are, such as `email.to` (job.ts).

/** The job whose payload it is: its row is known before the payload is sealed, see SealPlace. */
export type Owner = { id: number; queue: string };

/** Puts `value` into the payload; where it is given, only in place of `was`. For put_values in migrations/. */
export type Change = { place: string[]; was?: unknown; value: string };

type Value = { place: string[]; value: unknown };

/**
 * The sensitive values of a payload, as they stand in the row. A payload may have another form than its kind expects:
 * with a text at `email`, where `email.to` is sensitive, that text is.
 */
function valuesOf(payload: unknown, sensitive: readonly string[]): Value[] {
  const found = new Map<string, Value>();
  for (const path of sensitive) {
    const place: string[] = [];
    let value = payload;
    for (const key of path.split('.')) {
      if (!isObject(value)) break;
      place.push(key);
      value = Object.hasOwn(value, key) ? value[key] : undefined;
    }
    if (value !== undefined && value !== null) found.set(place.join('.'), { place, value });
  }
  return [...found.values()];
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const placeOf = ({ queue, id }: Owner, place: readonly string[]): SealPlace => ({
  table: 'jobs',
  row: `${queue}/${id}`,
  field: place.join('.'),
});

/**
 * A value in the clear, with all that is sealed in it: an earlier version of the kind may have sealed parts of what is
 * one value now.
 */
function clearIn(value: unknown, place: string[], job: Owner, keyring: Keyring | undefined): unknown {
  if (isSealed(value)) return open(value, placeOf(job, place), keyring);
  if (!isObject(value) || place.length > deepest) return value;
  const entries = Object.entries(value).map(([key, each]) => [key, clearIn(each, [...place, key], job, keyring)]);
  return Object.fromEntries(entries);
}

/** What seals the values that stand in the clear. @throws what `open` of base/seal.ts throws */
export function sealing(payload: unknown, sensitive: readonly string[], job: Owner, keyring: Keyring): Change[] {
  return clearOf(payload, sensitive).map(({ place, value }) => ({
    place,
    was: value,
    value: sealedOrRemoved(clearIn(value, place, job, keyring), placeOf(job, place), keyring),
  }));
}

/** V8 cannot write a value as JSON that is nested some thousands deep, and no kind takes it. */
function sealedOrRemoved(value: unknown, place: SealPlace, keyring: Keyring): string {
  try {
    return keyring.seal(value, place);
  } catch (error) {
    if (error instanceof RangeError) return removed;
    throw error;
  }
}

/** What removes the values that stand in the clear. */
export const removing = (payload: unknown, sensitive: readonly string[]): Change[] =>
  clearOf(payload, sensitive).map(({ place, value }) => ({ place, was: value, value: removed }));

const clearOf = (payload: unknown, sensitive: readonly string[]) =>
  valuesOf(payload, sensitive).filter(({ value }) => !isSealed(value));

/** A new payload, which is in the clear, with its sensitive values sealed: also one that looks sealed. */
export function sealed(payload: unknown, sensitive: readonly string[], job: Owner, keyring: Keyring): unknown {
  return valuesOf(payload, sensitive).reduce(
    (whole, { place, value }) => put(whole, place, keyring.seal(value, placeOf(job, place))),
    payload,
  );
}

/**
 * The payload with its sensitive values in the clear.
 * @param hidden gets the values
 * @throws what `open` of base/seal.ts throws
 */
export function opened(
  payload: unknown,
  sensitive: readonly string[],
  job: Owner,
  keyring: Keyring | undefined,
  hidden: unknown[] = [],
): unknown {
  return valuesOf(payload, sensitive).reduce((whole, { place, value }) => {
    const clear = clearIn(value, place, job, keyring);
    hidden.push(clear);
    return put(whole, place, clear);
  }, payload);
}

function put(whole: unknown, [key, ...rest]: string[], value: unknown): unknown {
  if (key === undefined) return value;
  return { ...(whole as object), [key]: put((whole as Record<string, unknown>)[key], rest, value) };
}

/** The values that are sealed by another key than the active one, sealed by it. Wherever in the payload they are. */
export function resealing(payload: unknown, job: Owner, keyring: Keyring): { changes: Change[]; faults: unknown[] } {
  const changes: Change[] = [];
  const faults: unknown[] = [];
  const visit = (value: unknown, place: string[]): void => {
    if (isObject(value) && place.length <= deepest)
      for (const [key, each] of Object.entries(value)) visit(each, [...place, key]);
    if (!isSealed(value) || value === removed || value.startsWith(`sealed:${keyring.active}:`)) return;
    try {
      const where = placeOf(job, place);
      changes.push({ place, was: value, value: keyring.seal(open(value, where, keyring), where) });
    } catch (error) {
      faults.push(error);
    }
  };
  visit(payload, []);
  return { changes, faults };
}

const isSealedString = `@.type() == "string" && @ like_regex "^${sealedPattern}$"`;

/** A jsonpath that a payload matches in which a sensitive value stands in the clear. Postgres evaluates it. */
function clearPath(sensitive: readonly string[]): string {
  const conditions = new Map<string, string>();
  for (const path of sensitive) {
    const keys = path.split('.').map((key) => `.${JSON.stringify(key)}`);
    for (let depth = 0; depth <= keys.length; depth++) {
      const place = `$${keys.slice(0, depth).join('')}`;
      const type = depth < keys.length ? 'object' : 'null';
      conditions.set(
        `${place} ${type}`,
        `exists (${place} ? (@.type() != "null" && @.type() != "${type}" && !(${isSealedString})))`,
      );
    }
  }
  return `strict $ ? (${[...conditions.values()].join(' || ')})`;
}

/** What is wrong with the list of a kind, if anything is. */
export function faultOfSensitive(sensitive: readonly string[]): string | undefined {
  const strange = sensitive.find((path) => !/^[^.]+(\.[^.]+)*$/.test(path));
  if (strange !== undefined) return `"${strange}" is no path of keys, such as email.to`;
  const inner = sensitive.find((path) => sensitive.some((other) => path.startsWith(`${other}.`)));
  return inner && `${inner} is part of another path`;
}

/** The kinds of a queue that have sensitive values, with what finds those in the clear: for SQL. */
export function sensitiveKinds(
  registry: ReadonlyMap<string, { sensitive?: readonly string[] }>,
  queue: string,
): SensitiveKind[] {
  return [...registry].flatMap(([name, { sensitive }]) => {
    const [of, kind = ''] = name.split('.');
    return of === queue && sensitive && sensitive.length > 0 ? [{ kind, sensitive, clear: clearPath(sensitive) }] : [];
  });
}

export type SensitiveKind = { kind: string; sensitive: readonly string[]; clear: string };
