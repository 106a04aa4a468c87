import type { Readable } from 'node:stream';
import { isOf, UnknownOutcome } from '../../base/errors.ts';
import type { Service } from '../../base/http/fetch.ts';
import { request, type Answer } from '../../base/http/request.ts';
import { unavailable } from './errors.ts';

/** A request to a platform. `publishes`: it may make the post public, so its outcome must be known. */
export type Asked = {
  service: Service;
  method?: 'GET' | 'POST' | 'PUT';
  headers?: Record<string, string>;
  body?: string | Buffer | { stream: Readable; bytes: number } | undefined;
  publishes?: boolean;
  timeoutMs: number;
  signal: AbortSignal;
};

/**
 * @returns the answer, whatever its status
 * @throws UnknownOutcome only for a request that publishes; RetryableError `social_unavailable` and what `request`
 *   throws; the signal's reason
 */
export async function exchange(url: URL, { publishes = false, ...options }: Asked): Promise<Answer> {
  try {
    return await request(url, { ...options, maxBytes: 2_000_000 });
  } catch (error) {
    if (publishes || !isOf(error, UnknownOutcome)) throw error;
    options.signal.throwIfAborted();
    throw unavailable(error.message, error);
  }
}

export type Json = Record<string, unknown>;

/** The JSON object in an answer; an empty one if it has none. Numbers beyond 2^53 become text, digit for digit. */
export function jsonIn({ text }: Pick<Answer, 'text'>): Json {
  try {
    const value: unknown = JSON.parse(text, exact as (key: string, value: unknown) => unknown);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/** The ids of TikTok are numbers that a double cannot hold. */
const exact = (_: string, value: unknown, { source }: { source?: string }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source ?? '') ? source : value;

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A part of an answer that is an object; an empty one if it is none. */
export const objectIn = (json: Json, key: string): Json => (isObject(json[key]) ? json[key] : {});

/** The objects of a list in an answer. */
export const listIn = (json: Json, key: string): Json[] =>
  Array.isArray(json[key]) ? (json[key] as unknown[]).filter(isObject) : [];

/** A text, or a number as text; undefined if it is neither, or empty. */
export function wordIn(json: Json, key: string): string | undefined {
  const value = json[key];
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A number, also one that is written as text; undefined if it is none. */
export function numberIn(json: Json, key: string): number | undefined {
  const word = wordIn(json, key);
  const value = word === undefined ? NaN : Number(word);
  return Number.isFinite(value) ? value : undefined;
}

/** Words of a platform for a person: short, on one line, and without what looks like a token. */
export const said = (text: string | undefined): string =>
  text === undefined
    ? ''
    : `: ${text
        .replace(/\s+/g, ' ')
        .replace(/[\w.~+/-]{40,}/g, '...')
        .slice(0, 300)}`;

export const isOk = ({ status }: Answer): boolean => status >= 200 && status < 300;

export const formOf = (fields: Record<string, string | number | boolean | undefined>): string => {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.set(name, String(value));
  return form.toString();
};

export const formType = { 'content-type': 'application/x-www-form-urlencoded' };
export const jsonType = { 'content-type': 'application/json; charset=UTF-8' };
