import { styleText } from 'node:util';
import { surroundings } from '../base/surroundings.ts';

/**
 * Results are printed to stdout; with --json one JSON document and nothing else. Everything about the run itself is
 * printed to stderr. Colours are used only if stdout is a terminal and NO_COLOR is not set.
 */

export type Style = Parameters<typeof styleText>[0];

export function print(text = ''): void {
  surroundings().stdout.write(`${text}\n`);
}

export function note(text: string): void {
  surroundings().stderr.write(`${text}\n`);
}

/** Indented, but the numbers of an array, such as a waveform, are on one line. */
export function printJson(value: unknown): void {
  const numbers = /\[\n\s+(-?\d[^\n,]*(?:,\n\s+-?\d[^\n,]*)*)\n\s+\]/g;
  print(JSON.stringify(value, null, 2).replace(numbers, (_, inside: string) => `[${inside.replace(/\n\s+/g, ' ')}]`));
}

export const paint = (style: Style, text: string) => styleText(style, text, { stream: surroundings().stdout });

export type Column<Row> = {
  title: string;
  value: (row: Row) => string | number | null | undefined;
  align?: 'right';
  /** The least width, so that a redrawn table keeps its columns. */
  width?: number;
  style?: (row: Row) => Style | undefined;
};

/** Aligned lines, each column under its title. If the terminal is too narrow, the widest columns are cut. */
export function table<Row>(rows: Row[], columns: Column<Row>[]): string[] {
  const cells = rows.map((row) => columns.map(({ value }) => plain(String(value(row) ?? '-'))));
  const wanted = columns.map(({ title, width = 0 }, at) =>
    Math.max(width, ...[title, ...cells.map((row) => row[at]!)].map(widthOf)),
  );
  const widths = fitted(wanted, columns);

  const line = (texts: string[], style: (at: number) => Style | undefined) =>
    texts
      .map((text, at) => {
        const last = at === texts.length - 1;
        const { align } = columns[at]!;
        const padded = pad(cut(text, widths[at]!), last && align !== 'right' ? 0 : widths[at]!, align);
        const chosen = style(at);
        return chosen ? paint(chosen, padded) : padded;
      })
      .join('  ')
      .trimEnd();

  const head = line(
    columns.map(({ title }) => title),
    () => 'dim',
  );
  return [head, ...cells.map((texts, index) => line(texts, (at) => columns[at]!.style?.(rows[index]!)))];
}

/** Fits the widths to the terminal: the widest column shrinks first. Numbers and short columns stay whole. */
function fitted(wanted: number[], columns: Pick<Column<never>, 'align' | 'title'>[]): number[] {
  const { columns: wide } = surroundings().stdout;
  const widths = [...wanted];
  const least = columns.map(({ title, align }, at) => (align === 'right' ? wanted[at]! : Math.max(widthOf(title), 10)));
  let over = wide ? widths.reduce((sum, width) => sum + width + 2, -1) - wide : 0;
  for (; over > 0; over--) {
    const spare = widths.map((width, at) => (width > least[at]! ? width : 0));
    const widest = spare.indexOf(Math.max(...spare));
    if (spare[widest] === 0) break;
    widths[widest]!--;
  }
  return widths;
}

/** Text from a job must not move the cursor, or break a line. */
export function plain(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ').replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, '\u{fffd}');
}

export function pad(text: string, width: number, align?: 'right'): string {
  const space = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'right' ? space + text : text + space;
}

export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let kept = '';
  let room = width - 1;
  for (const character of text) {
    room -= widthOf(character);
    if (room < 0) break;
    kept += character;
  }
  return `${kept}…`;
}

// Characters that East Asian fonts and emoji draw two columns wide: https://www.unicode.org/reports/tr11/
const eastAsian = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/;
const emoji = /\p{Emoji_Presentation}/u;
const isWide = (character: string) => eastAsian.test(character) || emoji.test(character);

/** The width in columns of a terminal. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += /\p{M}/u.test(character) ? 0 : isWide(character) ? 2 : 1;
  return width;
}

/** `3 jobs`, `1 job`. */
export const count = (many: number, one: string) => `${many.toLocaleString('en')} ${one}${many === 1 ? '' : 's'}`;

/** `12 s`, `5 min`, `3 h`, `2 d`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, seconds);
  if (whole < 60) return `${Math.floor(whole)} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172_800) return `${Math.floor(whole / 3_600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
}

/** `12 s ago`, `in 5 min`. */
export function relative(time: Date): string {
  const seconds = (Date.now() - time.getTime()) / 1_000;
  return seconds >= 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

/** `123 kB`, `1.2 MB`. */
export function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

const statusStyles: Record<string, Style> = {
  pending: 'dim',
  processing: 'yellow',
  completed: 'green',
  failed: 'red',
  cancelled: 'magenta',
};

export const statusStyle = (status: string): Style => statusStyles[status] ?? 'reset';
