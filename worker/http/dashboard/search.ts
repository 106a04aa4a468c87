import { UsageError } from '../../base/errors.ts';
import type { Search } from '../../queue/client/search-words.ts';
import type { House } from './house.ts';

/**
 * A search must not find out what a page hides: whether a payload has a value that is sensitive.
 * @throws UsageError
 */
export function checkSearch(search: Search, { app, registry }: Pick<House, 'app' | 'registry'>): Search {
  if (search.paths.length === 0) return search;
  if (app.config.dashboard.hidePayloads)
    throw new UsageError('Payloads are hidden here (DASHBOARD_HIDE_PAYLOADS), and cannot be searched');
  const sensitive = [...registry.values()].flatMap((kind) => kind.sensitive ?? []);
  const within = (a: string, b: string) => a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
  const path = search.paths.find((each) => sensitive.some((other) => within(each, other)));
  if (path !== undefined) throw new UsageError(`payload.${path} is sensitive, and cannot be searched`);
  return search;
}

/** A value as a word of a search has it. */
export const quotedWord = (value: string): string =>
  /^[\w.-]+$/.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
