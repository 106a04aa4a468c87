import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { findChromium, startChromium } from './browser.ts';
import { unlessEverything } from './everything.ts';

const require = createRequire(import.meta.url);
const pages: Record<string, string> = {
  '/': join(import.meta.dirname, 'player.html'),
  '/hls.js': require.resolve('hls.js'),
  '/dash.js': require.resolve('dashjs'),
};

/** A browser at a page that plays videos of other sites. */
export type Player = {
  /** Plays it at four times its speed, by one of the players of player.html. */
  watch(by: 'hls' | 'hlsUpwards' | 'dash' | 'file', url: string): Promise<Played>;
  close(): Promise<void>;
};
export type Played = { start: number; end: number; time: number; heights: number[]; errors: string[] };

const executable = findChromium();
const noChromium = executable === undefined && 'no Chromium in PATH or CHROMIUM_PATH: HLS and DASH are not played';
export const noPlayer = unlessEverything || noChromium;
if (!unlessEverything && noChromium) console.log(noChromium);

export async function openPlayer(): Promise<Player> {
  const web = createServer((request, response) => {
    const type = extname(request.url!) === '.js' ? 'text/javascript' : 'text/html';
    readFile(pages[request.url!] ?? '').then(
      (bytes) => response.writeHead(200, { 'content-type': type }).end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((listening) => web.listen(0, '127.0.0.1', listening));
  const browser = await startChromium(executable!);
  return {
    async watch(by, url) {
      const page = await browser.newPage();
      const errors: string[] = [];
      page.on('pageerror', ({ message }) => errors.push(message));
      page.on('console', (said) => {
        if (said.type() === 'error') errors.push(said.text());
      });
      try {
        await page.goto(`http://127.0.0.1:${(web.address() as AddressInfo).port}`);
        const seen = await page.evaluate<Omit<Played, 'errors'>>(`watch('${by}', '${url}')`);
        return { ...seen, errors };
      } finally {
        await page.close();
      }
    },
    async close() {
      await browser.close();
      web.close();
      web.closeAllConnections();
    },
  };
}
