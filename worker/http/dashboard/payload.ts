import { html } from 'hono/html';
import { UsageError } from '../../base/errors.ts';
import { isSealed } from '../../base/seal.ts';
import { size } from './elements.ts';
import type { Markup } from './layout.ts';

// JSON of a row as people see it: without sensitive values, and with all digits of large numbers.

/** What stands in place of a sensitive value. In an edited payload it means the value as it was. */
const hidden = '[sensitive]';

type Raw = { rawJSON: string };
const { rawJSON } = JSON as unknown as { rawJSON(text: string): Raw };
type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;
const parse = (text: string, reviver: Reviver): unknown => JSON.parse(text, reviver as never);

/** JavaScript would round a number of more digits. */
const keepDigits: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && source !== undefined && String(value) !== source ? rawJSON(source) : value;

/** Indented JSON of a value, in which sensitive values are replaced. @param text as Postgres has it */
export function shown(text: string, sensitive: readonly string[]): string {
  const paths = sensitive.map((path) => path.split('.'));
  return JSON.stringify(without(parse(text, keepDigits), paths, 0), null, 2);
}

function without(value: unknown, paths: string[][], depth: number): unknown {
  if (paths.some((path) => path.length === depth)) return value === null ? null : hidden;
  if (isSealed(value)) return hidden;
  if (typeof value !== 'object' || value === null || 'rawJSON' in value) {
    // A text where the kind expects an object with a sensitive value in it is that value.
    return paths.length > 0 && depth > 0 ? hidden : value;
  }
  if (Array.isArray(value)) return value.map((each) => without(each, [], depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      without(
        each,
        paths.filter((path) => path[depth] === key),
        depth + 1,
      ),
    ]),
  );
}

/** So much is shown on a page. */
const mostShown = 20_000;

/** @param all where the whole of it is */
export function jsonBlock(id: string, json: string, all: string): Markup {
  const parts = json.slice(0, mostShown).split(`"${hidden}"`);
  const mark = html`<span class="sealed">sensitive</span>`;
  const cut = json.length > mostShown;
  return html`<pre class="json" id="${id}" tabindex="0">
${parts.map((part, n) => html`${n > 0 ? mark : ''}${part}`)}</pre>
    ${
      cut
        ? html`<p class="foot">The first ${size(mostShown)} of ${size(json.length)}. <a href="${all}">All of it</a></p>`
        : ''
    }`;
}

/**
 * An edited payload, with what was hidden put back.
 * @param clear the payload as it was, with its sensitive values in the clear
 * @throws UsageError for what is no JSON, or has numbers that JavaScript would round
 */
export function edited(text: string, clear: unknown): unknown {
  let value: unknown;
  try {
    value = parse(text, (_key, each, { source }) => {
      if (typeof each === 'number' && source !== undefined && isRounded(each, source))
        throw new UsageError(`The number ${source.slice(0, 40)} would be rounded: write it as text, or use SQL`);
      return each;
    });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`The payload is no JSON: ${(error as Error).message.slice(0, 200)}`, { cause: error });
  }
  return putBack(value, clear);
}

const isRounded = (value: number, source: string) =>
  /^-?\d+$/.test(source) ? BigInt(source) !== BigInt(Number.isFinite(value) ? value : 0) : !Number.isFinite(value);

function putBack(value: unknown, clear: unknown): unknown {
  if (value === hidden && clear !== undefined) return clear;
  if (typeof value !== 'object' || value === null) return value;
  const was = typeof clear === 'object' && clear !== null ? (clear as Record<string, unknown>) : {};
  if (Array.isArray(value)) return value.map((each, n) => putBack(each, was[String(n)]));
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, putBack(each, Object.hasOwn(was, key) ? was[key] : undefined)]),
  );
}
