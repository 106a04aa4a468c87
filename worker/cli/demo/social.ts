import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { loadConfig } from '../../base/config/config.ts';
import { codeOf } from '../../base/errors.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { LocalStorage } from '../../base/storage/local.ts';
import { beginConnect } from '../../jobs/social/account/connect.ts';
import { createSocial, platforms, type Platform } from '../../providers/social/social.ts';
import { Failed } from '../faults.ts';
import { paint, plain, print, printJson } from '../output.ts';
import { inventDays } from './days.ts';
import { onStage, tellStatement, tellWhatToTry, type Stage } from './stage.ts';
import type { Shown } from './view.ts';

const sql = loadStatements(import.meta.dirname, 'social.sql', [
  'add_posts',
  'published',
  'accounts_of',
  'add_analysis',
  'reports',
  'try_1',
  'try_2',
  'try_3',
]);

/** What test/support/social.ts has: the far sides of the platforms. */
type StandIn = { consents: { yes(link: string): URLSearchParams } };
type StandIns = Record<Platform, StandIn> & { env: Record<string, string>; close(): Promise<void> };

type Published = { platform: Platform; status: string; url: string | null; error: string | null };

/**
 * Connects accounts on four platforms, schedules a post on each, and reports on 60 invented days. The platforms are
 * stand-ins on loopback.
 * @returns the exit code: 0 if all posts were published
 */
export async function demoSocial({ json }: { json: boolean }): Promise<number> {
  return onStage({ queues: ['social', 'analytics'], title: 'POST', json }, async (stage) => {
    await stage.step('Starting stand-ins of four platforms, and a worker');
    const standIns = await startStandIns();
    stage.open.defer(standIns.close);
    const env = { ...standIns.env, ...redirects };
    const { port } = await stage.startWorker(env);
    const storage = new LocalStorage({ provider: 'local', dir: join(stage.config.dataDir, 'storage') });
    await storage.put('demo/launch.mp4', await standIns.video(), { contentType: 'video/mp4' });

    const accounts = await connect(stage, standIns, env, port);
    const posts = await publish(stage, accounts, json);
    const files = await report(stage, accounts, json);
    const ok = posts.length === platforms.length && posts.every(({ status }) => status === 'published');
    if (json) printJson({ ok, posts, files });
    else await tellWhatToTry(stage, [sql.try_1, sql.try_2, sql.try_3]);
    if (!ok && !json) print(paint('red', 'Not all came out as it should.'));
    return ok ? 0 : 1;
  });
}

const redirects = Object.fromEntries(
  platforms.map((name) => [`${name.toUpperCase()}_REDIRECT_URI`, `http://localhost/connect/${name}`]),
);

/** They are those of the tests, so they are not in the package. */
async function startStandIns(): Promise<StandIns & { video(): Promise<Buffer> }> {
  const path = new URL('../../../test/support/social.ts', import.meta.url).href;
  try {
    const fakes = (await import(path)) as { startFakes(): Promise<StandIns>; video(): Promise<Buffer> };
    return Object.assign(await fakes.startFakes(), { video: fakes.video });
  } catch (error) {
    if (codeOf(error) !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Failed('The demo of social platforms needs a checkout of the repository: npm run demo -- social');
  }
}

/** As the owners do it: each opens a link, says yes, and is led back to the worker. @returns the ids of the accounts */
async function connect({ db, step }: Stage, standIns: StandIns, env: Record<string, string>, port: number) {
  await step('\nConnecting an account on each, by the link of rowmill account connect:');
  const config = loadConfig({ NODE_ENV: 'test', ...env });
  const ids: number[] = [];
  for (const platform of platforms) {
    const { url } = await beginConnect({ db, config, social: createSocial(config) }, platform);
    const answered = standIns[platform].consents.yes(url);
    const answer = await fetch(`http://127.0.0.1:${port}/connect/${platform}?${answered.toString()}`);
    if (!answer.ok) throw new Failed(`${platform} was not connected: ${await answer.text()}`);
    const [account] = await query<{ id: number; name: string }>(db, sql.accounts_of, { platform, ids: [] });
    ids.push(account!.id);
    await step(`${platform}: connected ${plain(account!.name)}`);
  }
  return ids;
}

const settings: Partial<Record<Platform, object>> = {
  tiktok: { privacy: 'PUBLIC', allowComments: true },
  youtube: { privacy: 'PUBLIC' },
};

async function publish(stage: Stage, accounts: number[], json: boolean): Promise<Published[]> {
  const { db, step } = stage;
  await step('\nScheduling a post on each, in two seconds. A row is all it takes; a trigger adds its job:\n');
  const content = {
    videoPath: 'demo/launch.mp4',
    title: 'Launch',
    description: `Launch of ${new Date().toISOString()}`,
  };
  const rows = platforms.map((platform, n) => ({
    account_id: accounts[n],
    content,
    settings: settings[platform] ?? {},
  }));
  if (!json) tellStatement(statementOf(rows[0]!));
  const added = await query<{ id: number; platform: Platform; job_id: number }>(db, sql.add_posts, {
    posts: JSON.stringify(rows),
  });
  await step('');
  await stage.watch(added.map(({ platform, job_id }) => shown(job_id, platform, 'a video of four seconds')));
  const posts = await query<Published>(db, sql.published, { ids: added.map(({ id }) => id) });
  await step('');
  for (const { platform, status, url, error } of posts)
    await step(
      `${platform}: ${status} ${status === 'published' ? plain(url ?? 'without an address') : plain(error ?? '')}`,
    );
  return posts;
}

/** As a person would write it. */
const statementOf = ({
  account_id,
  content,
  settings: given,
}: {
  account_id: number | undefined;
  content: object;
  settings: object;
}) =>
  [
    'INSERT INTO social_posts (account_id, content, settings, scheduled_at)',
    `VALUES (${account_id}, '${JSON.stringify(content)}',`,
    `        '${JSON.stringify(given)}', now() + interval '2 s')`,
  ].join('\n');

const shown = (id: number, name: string, about: string): Shown => ({
  id,
  name,
  about,
  broken: false,
  status: 'pending',
});

/** @returns the files of the report */
async function report(stage: Stage, accounts: number[], json: boolean): Promise<string[]> {
  const { db, config, step } = stage;
  await step('\nInventing 60 days of readings of each account, and reporting on them:');
  const known = await query<{ platform: Platform; external_id: string; name: string }>(db, sql.accounts_of, {
    platform: '',
    ids: accounts,
  });
  for (const { platform, external_id, name } of known) await inventDays(db, { platform, external_id, name });
  const run = new Date().toISOString();
  const ids: number[] = [];
  for (const [kind, payload] of analyses) {
    const [job] = await query<{ id: number }>(db, sql.add_analysis, {
      kind,
      payload: JSON.stringify(payload),
      dedupe_key: `demo/${run}/${kind}`,
    });
    ids.push(job!.id);
    await stage.watch([shown(job!.id, kind, `analytics.${kind}`)], 'analytics');
  }
  const [made] = await query<{ html: string; markdown: string }>(db, sql.reports, { ids });
  if (!made) throw new Failed('No report was written');
  const dir = join(config.dataDir, 'demo');
  await mkdir(dir, { recursive: true });
  const files = [join(dir, 'report.html'), join(dir, 'report.md')];
  await writeFile(files[0]!, made.html);
  await writeFile(files[1]!, made.markdown);
  const happened = made.markdown.split('\n').filter((line) => line.startsWith('- '));
  if (!json) for (const line of ['', ...happened.slice(0, 6)]) print(plain(line));
  await step('\nThe report, with the SQL of each figure:');
  for (const file of files) await step(`  ${relative('', file)}`);
  return files.map((file) => relative('', file));
}

const analyses: [kind: string, payload: object][] = [
  ['aggregate', { days: 62 }],
  ['anomalies', { days: 40 }],
  ['report', { days: 28, title: 'Four platforms' }],
];
