import { PermanentError } from '../../base/errors.ts';

// Matches an escaped character of JSON: NUL and lone surrogates, which jsonb does not accept, and all others.
const escaped = /\\(u0000|ud[89a-f][0-9a-f]{2}|.)/gi;

/** JSON that Postgres can store as jsonb. https://www.postgresql.org/docs/current/datatype-json.html */
export function storable(value: unknown): string {
  return JSON.stringify(value ?? null).replace(escaped, (whole, code: string) =>
    code.length > 1 ? '\u{fffd}' : whole,
  );
}

const maxResultBytes = 1_000_000;

/** The result of a job as JSON for its row. @throws PermanentError `result_too_large` */
export function storableResult(value: unknown): string {
  const json = jsonOf(value);
  if (json !== undefined && Buffer.byteLength(json) <= maxResultBytes) return json;
  const size = json === undefined ? 'too long, or too deeply nested, for JSON' : `${Buffer.byteLength(json)} bytes`;
  throw new PermanentError(
    'result_too_large',
    `The result is ${size}, and a row takes ${maxResultBytes}: store it elsewhere, and return where it is`,
  );
}

/** Undefined for a value that V8 has no room for, in a string or on its stack. */
function jsonOf(value: unknown): string | undefined {
  try {
    return storable(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
