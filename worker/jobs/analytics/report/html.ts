import type { Insight } from './insights.ts';
import type { Whole } from './markdown.ts';
import { plotOf, type Plotted } from './plot.ts';
import type { Section } from './sections.ts';

/** A page of its own: no script, nothing that is loaded. Light or dark as the reader's system is. */
export function htmlOf({ title, facts, insights, recommendations, sections }: Whole): string {
  const plots = plotted.map((each) => plotOf(each, facts.days.rows, facts.anomalies.rows));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
<p>${facts.first} to ${facts.last} · ${facts.length} days · ${facts.accounts.length} ${
    facts.accounts.length === 1 ? 'account' : 'accounts'
  }</p>
</header>
${listOf('What happened', insights)}
${listOf('What to try', recommendations)}
<section>
<h2>Day by day</h2>
<p class="note"><span class="key now"></span> this period <span class="key before"></span> the ${
    facts.length
  } days before <span class="key mark"></span> stands out. A gap is a day that is not known.</p>
${plots.join('\n')}
${sqlOf(facts.days.sql)}
</section>
${sections.map(sectionOf).join('\n')}
</body>
</html>
`;
}

const plotted: Plotted[] = [
  { name: 'Views', of: ({ views }) => views, metrics: ['views'] },
  {
    name: 'Likes, comments, shares and saves',
    of: ({ engagements }) => engagements,
    metrics: ['likes', 'comments', 'shares', 'saves'],
  },
  { name: 'Followers', of: ({ followers }) => followers, metrics: ['followers'] },
];

function listOf(title: string, found: Insight[]): string {
  if (found.length === 0) return '';
  const items = found.map(
    ({ text, n, formula, from }) =>
      `<li>${escaped(text)} <small>n = ${n.toLocaleString('en')}; ${escaped(formula)}; ` +
      `<a href="#${from}">figures</a></small></li>`,
  );
  return `<section><h2>${title}</h2><ul>${items.join('')}</ul></section>`;
}

function sectionOf({ id, title, note, columns, rows, sql }: Section): string {
  const cell = (tag: string, text: string, n: number) =>
    `<${tag}${columns[n]!.isNumber ? ' class="number"' : ''}>${escaped(text)}</${tag}>`;
  const head = columns.map(({ name }, n) => cell('th', name, n)).join('');
  const body = rows.map((cells) => `<tr>${cells.map((text, n) => cell('td', text, n)).join('')}</tr>`).join('');
  return `<section id="${id}">
<h2>${title}</h2>
<p class="note">${escaped(note)}</p>
<div class="scroll" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>
${sqlOf(sql)}
</section>`;
}

const sqlOf = (sql: string) =>
  `<details><summary>Where these figures come from</summary><pre>${escaped(sql)}</pre></details>`;

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => entities[character]!);

const style = `
:root { --paper: #fff; --ink: #1c2026; --soft: #5b6470; --line: #d9dee4; --now: #1558c0; --before: #8a94a0;
  --mark: #c2410c; --well: #f5f7f9; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --soft: #a0a9b4; --line: #323941;
  --now: #7db1ff; --before: #77818d; --mark: #ff9a5c; --well: #1c2127; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 16px 64px; max-width: 1120px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
header p { margin: 4px 0 0; color: var(--soft); }
h2 { font-size: 1.15rem; margin: 36px 0 6px; }
ul { padding-left: 20px; } li { margin: 6px 0; overflow-wrap: anywhere; }
small, .note, figcaption { color: var(--soft); font-size: .875rem; } a { color: var(--now); }
li small { display: block; } .note { margin: 0 0 8px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; } td:first-child { min-width: 8rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details { margin: 8px 0; } summary { color: var(--soft); font-size: .875rem; cursor: pointer; padding: 6px 0; }
pre { background: var(--well); padding: 12px; overflow-x: auto; font-size: .8125rem; line-height: 1.4; }
figure { margin: 12px 0 20px; } svg { width: 100%; height: auto; display: block; } svg.narrow { display: none; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); } path { fill: none; stroke-width: 2; } path.now { stroke: var(--now); }
path.before { stroke: var(--before); stroke-dasharray: 4 4; } .dot { fill: var(--now); }
circle.mark { fill: var(--paper); stroke: var(--mark); stroke-width: 3; }
.key { display: inline-block; width: 18px; height: 0; border-top: 2px solid; vertical-align: middle;
  margin: 0 2px 0 8px; }
.key.now { border-color: var(--now); margin-left: 0; }
.key.before { border-color: var(--before); border-style: dashed; }
.key.mark { width: 10px; height: 10px; border: 3px solid var(--mark); border-radius: 50%; }
@media (max-width: 600px) { svg.wide { display: none; } svg.narrow { display: block; } }
@media print { details { display: none; } }
`;
