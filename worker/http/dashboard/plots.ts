import { html } from 'hono/html';
import { elapsed, number } from './elements.ts';
import type { Markup } from './layout.ts';

// Plots. The server draws them as SVG, with the numbers as a table; plots.js makes a uPlot of the table.

type Values = readonly (number | null)[];

/** A small line of one series, from zero. @param label for screen readers, such as `jobs a minute, last hour` */
export function sparkline(values: Values, label: string): Markup {
  const [width, height] = [120, 24];
  const line = pointsOf(values, { width, height, most: mostOf([values]) });
  const about = `${label}: ${summary(values)}`;
  return html`<svg
    class="spark"
    viewBox="0 0 ${width} ${height}"
    preserveAspectRatio="none"
    role="img"
    aria-label="${about}"
  >
    <polygon class="area" points="0,${height} ${line} ${width},${height}" />
    <polyline class="stroke" points="${line}" />
  </svg>`;
}

function summary(values: Values): string {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return 'none';
  return `now ${number(Math.round(known.at(-1)!))}, at most ${number(Math.round(Math.max(...known)))}`;
}

/** `marks`: its values are marked, and not joined by a line. */
type Series = { name: string; values: Values; tone: 'stroke' | 'errors' | 'late'; marks?: true };

export type Plot = {
  id: string;
  title: string;
  unit: 'count' | 'ms';
  /** When each period begins, in seconds since 1970. */
  at: readonly number[];
  series: Series[];
  note: Markup | string;
};

/** A plot with its table. Where the script runs, the SVG gives way to a plot that answers the mouse. */
export function plot({ id, title, unit, at, series, note }: Plot): Markup {
  const [width, height] = [1_200, 150];
  const most = mostOf(series.map(({ values }) => values));
  const points = (values: Values) => pointsOf(values, { width, height, most });
  const area = (values: Values) => `0,${height} ${points(values)} ${width},${height}`;
  const told = (value: number | null) => (value === null ? '' : unit === 'ms' ? elapsed(value) : number(value));
  return html`<section class="sheet" aria-labelledby="${id}">
    <h2><span id="${id}">${title}</span> <small>${note}</small></h2>
    <div class="plot" data-plot="${id}-table" data-unit="${unit}">
      <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label="${title}: see the table">
        ${series.map(
          ({ values, tone, marks }, n) =>
            html`${n === 0 ? html`<polygon class="area" points="${area(values)}" />` : ''}
            ${
              marks
                ? marksOf(values, { width, height }).map((line) => html`<polyline class="${tone}" points="${line}" />`)
                : html`<polyline class="${tone}" points="${points(values)}" />`
            }`,
        )}
      </svg>
      <ul class="keys">
        ${series.map(({ name, values, tone }) => html`<li class="${tone}">${name} <b>${told(lastOf(values))}</b></li>`)}
      </ul>
    </div>
    <details>
      <summary>As a table</summary>
      <div class="wide tall" tabindex="0" role="region" aria-label="${title}, as a table">
        <table id="${id}-table">
          <thead>
            <tr>
              <th>From (UTC)</th>
              ${series.map(
                ({ name, tone, marks }) =>
                  html`<th class="num" data-tone="${tone}" ${marks ? html`data-marks` : ''}>${name}</th>`,
              )}
            </tr>
          </thead>
          <tbody>
            ${at.map(
              (when, n) =>
                html`<tr>
                  <td data-at="${when}">${new Date(when * 1_000).toISOString().slice(5, 16).replace('T', ' ')}</td>
                  ${series.map(
                    ({ values }) =>
                      html`<td class="num" data-value="${values[n] ?? ''}">${told(values[n] ?? null)}</td>`,
                  )}
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>
  </section>`;
}

const lastOf = (values: Values) => values.findLast((value) => value !== null) ?? null;

const mostOf = (all: Values[]) => Math.max(1, ...all.flatMap((values) => values.filter((value) => value !== null)));

type Space = { width: number; height: number; most: number };

/** A line that is a little below the top. A gap is bridged. */
function pointsOf(values: Values, { width, height, most }: Space): string {
  const step = width / Math.max(1, values.length - 1);
  return values
    .flatMap((value, n) =>
      value === null ? [] : [`${round(n * step)},${round(height - (value / most) * (height - 2))}`],
    )
    .join(' ');
}

/** From top to bottom, where there is a value. */
function marksOf(values: Values, { width, height }: Omit<Space, 'most'>): string[] {
  const step = width / Math.max(1, values.length - 1);
  return values.flatMap((value, n) => (value === null ? [] : [`${round(n * step)},0 ${round(n * step)},${height}`]));
}

const round = (value: number) => Math.round(value * 10) / 10;
