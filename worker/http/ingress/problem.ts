import { STATUS_CODES } from 'node:http';

/** Where in the body, as a JSON pointer, and what. */
export type Fault = { pointer: string; detail: string };

/** An answer by RFC 9457. https://www.rfc-editor.org/rfc/rfc9457 */
export class Problem extends Error {
  override name = 'Problem';
  readonly status: number;
  /** A stable lower_snake_case word. */
  readonly code: string;
  readonly errors: Fault[];
  readonly headers: Record<string, string>;

  constructor(
    status: number,
    code: string,
    detail: string,
    { errors = [], headers = {} }: { errors?: Fault[]; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.headers = headers;
  }

  response(): Response {
    const { status, code, message: detail, errors, headers } = this;
    const body = { title: STATUS_CODES[status], status, code, detail, ...(errors.length > 0 ? { errors } : {}) };
    return new Response(JSON.stringify(body), {
      status,
      headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', ...headers },
    });
  }
}

const mostFaults = 20;

/** The request can be read, but its jobs cannot be added. */
export function invalid(faults: Fault[]): Problem {
  const errors = faults.slice(0, mostFaults);
  const more = faults.length - errors.length;
  const what = `No job was added${more > 0 ? `. There are ${more} more errors` : ''}`;
  return new Problem(422, 'invalid_job', what, { errors });
}

/** As a fragment of a URI, like the examples of RFC 9457. https://www.rfc-editor.org/rfc/rfc6901#section-6 */
export const pointerTo = (path: readonly PropertyKey[]): string =>
  ['#', ...path.map((key) => encodeURIComponent(escaped(String(key))))].join('/');

const escaped = (key: string) => key.toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1');
