/** The one of `words` that was probably meant; undefined if none is close enough. */
export function nearest(word: string, words: Iterable<string>): string | undefined {
  if (word.length > longest) return undefined;
  let found: { word: string; edits: number } | undefined;
  for (const candidate of words) {
    const edits = editsBetween(plain(word), plain(candidate));
    if (edits <= Math.ceil(candidate.length / 3) && edits < (found?.edits ?? Infinity))
      found = { word: candidate, edits };
  }
  return found?.word;
}

const longest = 100;

/** People confuse case and separators most often: s3_key is s3Key. */
const plain = (word: string) => word.toLowerCase().replace(/[_-]/g, '');

/** The number of characters to insert, delete or replace. https://en.wikipedia.org/wiki/Levenshtein_distance */
function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row.at(-1)!;
}
