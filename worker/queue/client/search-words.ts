import { UsageError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import { statuses, type Status } from './operate.ts';

// The words of a search, one grammar for the command line and the dashboard:
//
//   queue:media state:failed,cancelled error:media_* payload.user.id:42 since:2h text:"timed out"
//
// A job must match all words, and of a word with commas one of its values. `*` stands for any characters.

/** What is searched for. Patterns are those of LIKE. Undefined: whatever it is. */
export type Search = {
  queues?: string[];
  kinds?: string[];
  states?: Status[];
  errors?: string[];
  ids?: number[];
  workers?: string[];
  keys?: string[];
  files?: string[];
  /** A jsonpath that the payload matches. */
  payload?: string;
  text?: string[];
  /** When the job ended; for one that has not ended, when it was added. */
  since?: Date;
  before?: Date;
  /** The paths in the payload that it asks for. */
  paths: string[];
};

/** A search that cannot be understood. The message names the position, counted from 1. */
export class SearchError extends UsageError {
  override name = 'SearchError';
  readonly position: number;
  constructor(position: number, message: string) {
    super(`position ${position}: ${message}`);
    this.position = position;
  }
}

/** The words, as people read them. */
export const searchHelp: [word: string, what: string][] = [
  ['queue:media', 'of this queue; several with commas'],
  ['kind:media.image', 'of this kind; also kind:image, kind:media.*'],
  ['state:failed', statuses.join(', ')],
  ['error:media_*', 'the code of the last failure'],
  ['text:"timed out"', 'in the message of the last failure, or in the dedupe key'],
  ['payload.user.id:42', 'a value in the payload, by its path'],
  ['since:2h before:30m', 'when it ended, or was added; also since:2026-01-31, since:2026-01-31T12:00Z'],
  ['id:17', 'by id; several with commas'],
  ['worker:web-1', 'run by this worker now: its id or host'],
  ['key:order-17 file:8f3c…', 'by dedupe key; by file_id'],
];

const longest = 4_000;
const mostWords = 30;
const mostValues = 500;

type Word = { at: number; key: string; values: string[] };

/**
 * @param now what `since:2h` counts from
 * @throws SearchError
 */
export function parseSearch(text: string, now: Date = new Date()): Search {
  if (text.length > longest) throw new SearchError(longest, `a search has at most ${longest} characters`);
  if (!text.isWellFormed() || text.includes('\0')) throw new SearchError(1, 'Postgres cannot read this text');
  const search: Search = { paths: [] };
  const conditions: string[] = [];
  for (const { at, key, values } of wordsOf(text)) {
    if (key.startsWith('payload.')) {
      const path = key.slice('payload.'.length);
      search.paths.push(path);
      conditions.push(payloadCondition(at, path, values));
    } else take(search, { at, key, values }, now);
  }
  if (conditions.length > 0) search.payload = conditions.join(' && ');
  return search;
}

/** Splits at spaces and commas, but not within quotes. */
function wordsOf(text: string): Word[] {
  const words: Word[] = [];
  const pattern = /\s*(?:([^\s:",]+):)?((?:"(?:[^"\\]|\\.)*"|[^\s",]+)(?:,(?:"(?:[^"\\]|\\.)*"|[^\s",]+))*)/y;
  const end = text.trimEnd().length;
  while (pattern.lastIndex < end) {
    const from = pattern.lastIndex;
    const found = pattern.exec(text);
    const at = from + /^\s*/.exec(text.slice(from))![0].length + 1;
    if (!found) throw new SearchError(at, faultAt(text.slice(at - 1)));
    const [, key, list] = found as unknown as [string, string | undefined, string];
    if (key === undefined && /^[^\s:",]+:$/.test(list)) throw new SearchError(at, faultAt(text.slice(at - 1)));
    const values = [...list.matchAll(/"(?:[^"\\]|\\.)*"|[^",]+/g)].map(([value]) => unquoted(value));
    if (values.length > mostValues) throw new SearchError(at, `a word has at most ${mostValues} values`);
    words.push(key === undefined ? bare(at, values) : { at, key, values });
    if (words.length > mostWords) throw new SearchError(at, `a search has at most ${mostWords} words`);
  }
  return words;
}

function faultAt(rest: string): string {
  if (/^[^\s:",]+:(\s|$)/.test(rest)) return `${rest.split(':')[0]!.slice(0, 40)}: lacks its value`;
  return /"/.test(rest) ? 'a quote is not closed' : 'a word such as queue:media is expected here';
}

const unquoted = (value: string) => (value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value);

/** Without a key: a number is an id, all else text. */
const bare = (at: number, values: string[]): Word => ({
  at,
  key: values.every((value) => /^\d{1,15}$/.test(value)) ? 'id' : 'text',
  values,
});

const takers: Record<string, (search: Search, word: Word, now: Date) => void> = {
  queue: (search, { values }) => (search.queues = add(search.queues, values)),
  kind: (search, { values }) => (search.kinds = add(search.kinds, values.map(pattern))),
  state: (search, { at, values }) =>
    (search.states = add(
      search.states,
      values.map((value) => statusOf(at, value)),
    )),
  error: (search, { values }) => (search.errors = add(search.errors, values.map(pattern))),
  text: (search, { values }) =>
    (search.text = add(
      search.text,
      values.map((value) => `%${pattern(value)}%`),
    )),
  id: (search, { at, values }) =>
    (search.ids = add(
      search.ids,
      values.map((value) => idOf(at, value)),
    )),
  worker: (search, { values }) => (search.workers = add(search.workers, values.map(pattern))),
  key: (search, { values }) => (search.keys = add(search.keys, values)),
  file: (search, { values }) => (search.files = add(search.files, values)),
  since: (search, { at, values }, now) => (search.since = timeOf(at, values, now)),
  before: (search, { at, values }, now) => (search.before = timeOf(at, values, now)),
};

function take(search: Search, word: Word, now: Date): void {
  const { at, key } = word;
  if (Object.hasOwn(takers, key)) return takers[key]!(search, word, now);
  const meant = nearest(key, Object.keys(takers));
  const known = `${Object.keys(takers).join(', ')}, payload.<path>`;
  throw new SearchError(
    at,
    `there is no word ${key.slice(0, 40)}:${meant ? ` (is it ${meant}:?)` : ''}. There are ${known}`,
  );
}

const add = <T>(known: T[] | undefined, more: T[]): T[] => [...(known ?? []), ...more];

/** A pattern of LIKE, in which `*` stands for any characters. */
const pattern = (value: string): string => value.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');

function statusOf(at: number, value: string): Status {
  const status = statuses.find((each) => each === value);
  if (status) return status;
  throw new SearchError(at, `there is no state ${value.slice(0, 40)}: there are ${statuses.join(', ')}`);
}

function idOf(at: number, value: string): number {
  const id = Number(value);
  if (/^\d{1,16}$/.test(value) && Number.isSafeInteger(id)) return id;
  throw new SearchError(at, `${value.slice(0, 40)} is no id: an id is a whole number`);
}

const unitMs: Record<string, number> = {
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

function timeOf(at: number, [value = '', ...others]: string[], now: Date): Date {
  const [, many, unit] = /^(\d{1,6})(s|min|m|h|d|w)$/.exec(value) ?? [];
  const isDate = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.test(value);
  const time = new Date(unit ? now.getTime() - Number(many) * unitMs[unit]! : isDate ? value : NaN);
  if (others.length === 0 && !Number.isNaN(time.getTime())) return time;
  throw new SearchError(at, `a time is such as 2h, 30m, 7d, 2026-01-31 or 2026-01-31T12:00Z`);
}

/** As a jsonpath. A number is found as a number and as text. */
function payloadCondition(at: number, path: string, values: string[]): string {
  const keys = path.split('.');
  if (keys.some((key) => key === '') || keys.length > 20)
    throw new SearchError(at, 'a path in the payload is such as payload.user.id');
  const place = `$${keys.map((key) => `.${JSON.stringify(key)}`).join('')}`;
  const alternatives = values.flatMap((value) => {
    if (/^\*+$/.test(value)) return [`exists (${place})`];
    if (value.includes('*')) return [`${place} like_regex ${JSON.stringify(`^${regexOf(value)}$`)} flag "s"`];
    const plain = /^-?(0|[1-9]\d{0,17})(\.\d{1,17})?$|^(true|false|null)$/.test(value) ? [`${place} == ${value}`] : [];
    return [...plain, `${place} == ${JSON.stringify(value)}`];
  });
  return `(${alternatives.join(' || ')})`;
}

/** Without repetitions but those of `*`: no pattern takes long. */
const regexOf = (value: string): string =>
  value
    .split(/\*+/)
    .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
    .join('.*');
