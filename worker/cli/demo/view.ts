import { stripVTControlCharacters } from 'node:util';
import { print, statusStyle, table, type Column } from '../output.ts';
import type { Picture } from './tell.ts';

export type View = { show(pictures: Picture[]): void };

/** Shows how jobs change: on a terminal a table that is redrawn in place, otherwise a line for each change. */
export function createView(quiet: boolean): View {
  if (quiet) return { show: () => {} };
  const lines = changes();
  if (!process.stdout.isTTY) return lines;
  const live = redrawn();
  let fits: boolean | undefined;
  return {
    show(pictures) {
      // Decided once: a table that scrolls, or whose lines wrap, cannot be redrawn in place.
      fits ??= doesFit(draw(pictures));
      (fits ? live : lines).show(pictures);
    },
  };
}

const columns: Column<Picture>[] = [
  { title: 'JOB', value: ({ id }) => id, align: 'right' },
  { title: 'FILE', value: ({ name }) => name },
  { title: 'STATUS', width: 10, value: ({ status }) => status, style: ({ status }) => statusStyle(status) },
  { title: 'TOOK', width: 6, value: took, align: 'right' },
  { title: 'WHAT IT IS', value: ({ about }) => about, style: () => 'dim' },
];

const draw = (pictures: Picture[]) => ['', ...table(pictures, columns), ''];

function doesFit(lines: string[]): boolean {
  const { columns: width, rows: height } = process.stdout;
  return lines.length < height && lines.every((line) => stripVTControlCharacters(line).length < width);
}

function redrawn(): View {
  let drawn: string[] = [];
  return {
    show(pictures) {
      const lines = draw(pictures);
      if (lines.join('\n') === drawn.join('\n')) return;
      const up = drawn.length > 0 ? `\x1b[${drawn.length}A` : '';
      process.stdout.write(up + lines.map((line) => `${line}\x1b[K\n`).join(''));
      drawn = lines;
    },
  };
}

function changes(): View {
  const last = new Map<number, string>();
  return {
    show(pictures) {
      for (const picture of pictures) {
        const now = `${picture.status}${picture.error_code ? ` (${picture.error_code})` : ''}`;
        const before = last.get(picture.id);
        if (before === now) continue;
        last.set(picture.id, now);
        const line = `job ${picture.id}  ${picture.name}`;
        // A quick job starts and ends between two polls: its row says that it started.
        if (before === 'pending' && picture.completed_at && picture.started_at) print(`${line}  processing`);
        print(`${line}  ${now}  ${took(picture)}`.trimEnd());
      }
    },
  };
}

function took({ started_at, completed_at }: Picture): string {
  return started_at && completed_at ? `${((completed_at.getTime() - started_at.getTime()) / 1_000).toFixed(2)} s` : '';
}
