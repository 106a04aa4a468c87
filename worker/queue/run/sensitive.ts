import { PermanentError } from '../../base/errors.ts';
import { redactor } from '../../base/log.ts';
import { removed } from '../../base/seal.ts';
import { deepest } from '../payload.ts';
import { opened, sealing } from '../sensitive.ts';
import type { Attempting, AttemptOptions } from './attempting.ts';
import { storableResult } from './storable.ts';

/**
 * The payload of a job as its handler gets it: in the clear. What stood in the clear in the row, too, is sealed there
 * first, so it is sealed before the first attempt ends.
 * @throws RetryableError `seal_key_unknown`; PermanentError `invalid_payload`, `sealed_elsewhere`, `sealed_damaged`,
 *   `sensitive_removed`
 */
export async function reveal(
  attempting: Attempting,
  sensitive: readonly string[],
  { app, ledger }: Pick<AttemptOptions, 'app' | 'ledger'>,
): Promise<unknown> {
  const { row } = attempting;
  const { keyring } = app.config;
  const changes = keyring ? sealing(row.payload, sensitive, row, keyring) : [];
  if (changes.some(({ value }) => value === removed))
    throw new PermanentError('invalid_payload', 'payload: is nested too deeply');
  if (changes.length > 0) await ledger.seal({ id: row.id, attempt: row.attempt, changes });
  const values: unknown[] = [];
  try {
    return opened(row.payload, sensitive, row, keyring, values);
  } finally {
    attempting.hidden = wordsIn(values);
    attempting.hide = hiding(attempting.hidden, app.config.secrets);
  }
}

/** Shorter ones would be cut out of every text, and protect little. */
const shortest = 4;
/** Such as `message` or `shop`: it says little, and stands in names and ids that have nothing to do with it. */
const commonWord = /^[a-z]+$/;
/** Of longer texts, an error may quote a part: so each piece of this length is cut out. */
const piece = 100;
/** How many are also found encoded. */
const mostEncoded = 100;

/** What must not get into texts of a job that has sensitive values: the texts and numbers in them. */
function wordsIn(values: unknown[]): string[] {
  const words = new Set<string>();
  const visit = (value: unknown, depth: number): void => {
    if (depth > deepest) return;
    if (typeof value === 'object' && value !== null)
      return Object.values(value).forEach((each) => visit(each, depth + 1));
    if (typeof value !== 'string' && typeof value !== 'number') return;
    const text = String(value);
    for (let at = 0; at < text.length; at += piece) words.add(text.slice(at, at + piece));
  };
  values.forEach((value) => visit(value, 0));
  const kept = [...words].filter((word) => word.length >= shortest && !commonWord.test(word));
  return kept.toSorted((a, b) => b.length - a.length);
}

/** Cuts words out of a text, the first of them also where they are encoded, and configured secrets. */
const hiding = (words: string[], secrets: string[]) => (text: string) =>
  cutOut(
    words.slice(0, mostEncoded).reduce((cut, word) => redactor([word])(cut), redactor(secrets)(text)),
    words,
  );

const cutOut = (text: string, words: string[]) => words.reduce((cut, word) => cut.replaceAll(word, '[redacted]'), text);

/**
 * The result of a job as JSON for its row, without sensitive values. It is searched for them as they are and as they
 * stand in JSON and URLs: to search for each encoding would cost more than most jobs.
 * @throws PermanentError `result_too_large`
 */
export function resultOf({ hidden = [], hide }: Pick<Attempting, 'hidden' | 'hide'>, result: unknown): string {
  const json = storableResult(result);
  const has = (word: string) =>
    [word, JSON.stringify(word).slice(1, -1), encodeURIComponent(word.toWellFormed())].some((form) =>
      json.includes(form),
    );
  if (!hide || !hidden.some(has)) return json;
  return storableResult(without(JSON.parse(json), hidden, hide));
}

function without(value: unknown, words: string[], hide: (text: string) => string): unknown {
  if (typeof value === 'string') return hide(value);
  if (typeof value === 'number') return words.includes(String(value)) ? '[redacted]' : value;
  if (Array.isArray(value)) return value.map((each) => without(each, words, hide));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [hide(key), without(each, words, hide)]));
}
