import type { Post } from './adapter.ts';

/** Title, description and tags as one text, for platforms that have one. */
export function captionOf({ title, description, tags }: Post): string {
  const marks = tags.map((tag) => `#${tag.replace(/^#/, '').replace(/\s+/g, '')}`).join(' ');
  return [title, description, marks].filter(Boolean).join('\n\n');
}

/** What is wrong with the length of a text. Counted as the platforms do, in UTF-16. */
export const tooLong = (field: string, text: string | undefined, most: number): string[] =>
  text !== undefined && text.length > most ? [`${field} has ${text.length} characters, and may have ${most}`] : [];

/** What is wrong with a number that must be within bounds. */
export function outside(
  what: string,
  value: number | undefined,
  { least = -Infinity, most = Infinity }: { least?: number; most?: number },
  unit: string,
): string[] {
  if (value === undefined || (value >= least && value <= most)) return [];
  const shown = Math.round(value * 100) / 100;
  return [
    `the video's ${what} is ${shown} ${unit}, and must be ${value < least ? `at least ${least}` : `at most ${most}`}`,
  ];
}

export const megabytes = (bytes: number) => bytes / 1_000_000;

/** Words of ours for who may see a post, in the platform's own; a word of its own stays as it is. */
export const privacyIn = (words: Record<string, string>, privacy: string): string =>
  words[privacy.toUpperCase()] ?? privacy;
