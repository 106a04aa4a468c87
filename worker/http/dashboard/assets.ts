import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Http } from './house.ts';

const { resolve } = createRequire(import.meta.url);
const own = (name: string) => () => join(import.meta.dirname, 'assets', name);

/**
 * What the pages load, by name, and of which files. There is no build step: libraries come from node_modules as they
 * are. htmx and its extension are one script: htmx reads the page as soon as the browser has a moment, and a live part
 * whose extension arrives later would never be connected.
 */
const files = {
  'dashboard.css': [own('dashboard.css')],
  'dashboard.js': [own('dashboard.js')],
  'plots.js': [own('plots.js')],
  'htmx.js': [() => resolve('htmx.org/dist/htmx.min.js'), () => resolve('htmx.org/dist/ext/hx-sse.min.js')],
  'uplot.js': [() => resolve('uplot/dist/uPlot.iife.min.js')],
  'uplot.css': [() => resolve('uplot/dist/uPlot.min.css')],
} satisfies Record<string, (() => string)[]>;
type Asset = keyof typeof files;

const loaded = new Map<Asset, { body: string; version: string }>();

function load(name: Asset): { body: string; version: string } {
  const known = loaded.get(name);
  if (known) return known;
  const body = files[name].map((path) => readFileSync(path(), 'utf8')).join('\n');
  const asset = { body, version: createHash('sha256').update(body).digest('hex').slice(0, 12) };
  loaded.set(name, asset);
  return asset;
}

/** Where a page finds a file: with its version, so that browsers may keep it. */
export const assetPath = (name: Asset): string => `assets/${name}?v=${load(name).version}`;

export function assets(http: Http): void {
  http.get('/assets/:name', (context) => {
    const name = context.req.param('name');
    if (!Object.hasOwn(files, name)) return context.notFound();
    const { body, version } = load(name as Asset);
    const type = name.endsWith('.css') ? 'text/css' : 'text/javascript';
    context.header('content-type', `${type}; charset=utf-8`);
    if (context.req.query('v') === version) context.header('cache-control', 'private, max-age=31536000, immutable');
    return context.body(body);
  });
}
