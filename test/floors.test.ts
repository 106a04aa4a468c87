import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { suite, test } from 'node:test';

// Who may import whom. Each file of worker/ stands on a floor and imports from its own or a lower one, types too.

/** Lowest first. */
const floors = [
  ['base', 'embedded'],
  ['media', 'providers', 'templates'],
  ['app.ts', 'doubts.ts'],
  ['queue'],
  ['jobs', 'bridges', 'http', 'metrics', 'alerts'],
  ['main.ts', 'rowmill.ts', 'testing'],
  ['cli'],
];

/**
 * Each outside thing has one door: the part of worker/ that may import it. What is not listed needs a line here first.
 */
const doors: Record<string, string> = {
  pg: 'base/db',
  pino: 'base',
  'rotating-file-stream': 'base',
  'prom-client': 'metrics',
  '@opentelemetry/api': 'metrics',
  '@aws-sdk/client-s3': 'base/storage',
  '@aws-sdk/lib-storage': 'base/storage',
  '@aws-sdk/s3-request-presigner': 'base/storage',
  sharp: 'media/image',
  'file-type': 'media',
  'fluent-ffmpeg': 'media/ffmpeg',
  'libheif-js': 'media/image/heif',
  thumbhash: 'media/image',
  'libsodium-wrappers': 'jobs/cleanup',
  'firebase-admin': 'providers',
  twilio: 'providers',
  nodemailer: 'providers',
  handlebars: 'templates',
  'graphile-worker': 'queue/claim',
  'node-cron': 'queue/schedule',
  'simple-statistics': 'jobs/analytics',
  amqplib: 'bridges',
  '@aws-sdk/client-sqs': 'bridges',
  hono: 'http',
  '@hono/node-server': 'http',
  commander: 'cli',
  zod: '',
};

/** The embedded Postgres gives its children an environment of its own making. */
const readsEnvironment = ['base', 'embedded'];

/**
 * They import what they find at run time: the handlers of worker/jobs, the Postgres of this platform, and the stand-ins
 * of test/support, which are not in the package.
 */
const importsComputed = ['queue/registry.ts', 'embedded/binaries.ts', 'cli/demo/social.ts'];

const root = join(import.meta.dirname, '../worker');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));

for (const path of files.toSorted())
  test(`worker/${path} keeps to its floor`, () => {
    assert.deepEqual(faultsOf(path, readFileSync(join(root, path), 'utf8')), []);
  });

test('no room, and no file, imports itself by way of others', () => {
  assert.deepEqual(circleIn(arrowsBetween(roomOf)), []);
  assert.deepEqual(circleIn(arrowsBetween((path) => path)), []);
  assert.deepEqual(
    circleIn(
      new Map([
        ['a', new Set(['b'])],
        ['b', new Set(['c', 'a'])],
      ]),
    ),
    ['a', 'b', 'a'],
  );
});

/** Who imports whom, types too. */
function arrowsBetween(nameOf: (path: string) => string): Map<string, Set<string>> {
  const arrows = new Map<string, Set<string>>();
  for (const path of files)
    for (const name of importsOf(readFileSync(join(root, path), 'utf8')).filter((each) => each.startsWith('.'))) {
      const [from, to] = [nameOf(path), nameOf(posix.join(posix.dirname(path), name))];
      if (to !== from) arrows.set(from, (arrows.get(from) ?? new Set()).add(to));
    }
  return arrows;
}

/** A way along the arrows that comes back to where it began, or nothing. */
function circleIn(arrows: Map<string, Set<string>>): string[] {
  const done = new Set<string>();
  const walk = (room: string, way: string[]): string[] => {
    if (way.includes(room)) return [...way.slice(way.indexOf(room)), room];
    if (done.has(room)) return [];
    done.add(room);
    return (
      [...(arrows.get(room) ?? [])].map((next) => walk(next, [...way, room])).find((circle) => circle.length) ?? []
    );
  };
  return [...arrows.keys()].map((room) => walk(room, [])).find((circle) => circle.length) ?? [];
}

/** What is wrong with the imports of a file. @param path below worker/ */
function faultsOf(path: string, source: string): string[] {
  const names = importsOf(source);
  const faults = names
    .filter((name) => !name.startsWith('node:'))
    .flatMap((name) => (name.startsWith('.') ? floorFault(path, name) : doorFault(path, name)));
  if (floorOf(path) < 0) faults.push(`${partOf(path)} stands on no floor`);
  if (/\bprocess\s*(\.|\?\.|\[\s*['"])\s*env\b|=\s*process;/.test(source) || names.includes('node:process'))
    if (!readsEnvironment.includes(partOf(path)))
      faults.push(`reads process.env, whose door is ${readsEnvironment.join('/, ')}/`);
  if (/\bimport\(\s*[^'"\s]/.test(source) && !importsComputed.includes(path)) faults.push('imports what it computes');
  return faults;
}

/** Static, dynamic and type imports, and exports from elsewhere. */
function importsOf(source: string): string[] {
  const statics = /^\s*(?:import|export)\s(?:[^'";]*?\sfrom\s*)?['"]([^'"]+)['"]/gm;
  const calls = /\b(?:import|require)\(\s*['"]([^'"]+)['"]/g;
  return [...source.matchAll(statics), ...source.matchAll(calls)].map((match) => match[1]!);
}

function floorFault(path: string, name: string): string[] {
  const target = posix.normalize(posix.join(posix.dirname(path), name));
  if (target.startsWith('..')) return [`imports ${name}, outside of worker/`];
  if (floorOf(target) < 0) return [`imports ${target}, which stands on no floor`];
  return floorOf(target) > floorOf(path) ? [`imports ${target}, a floor above ${partOf(path)}`] : [];
}

function doorFault(path: string, name: string): string[] {
  const packageName = /^(@[^/]+\/)?[^/]+/.exec(name)![0];
  const door = doors[packageName];
  if (door === undefined) return [`imports ${packageName}, which has no door in test/floors.test.ts`];
  return door === '' || path.startsWith(`${door}/`) ? [] : [`imports ${packageName}, whose door is ${door}/`];
}

/** A folder of a floor, or a file that stands beside the folders. */
const roomOf = (path: string) => path.split('/').slice(0, 2).join('/');
const partOf = (path: string) => path.split('/')[0]!;
const floorOf = (path: string) => floors.findIndex((floor) => floor.includes(partOf(path)));

suite('these would not pass', () => {
  const refused: [string, string, string[]][] = [
    ['base/db.ts', `import { job } from '../queue/job.ts';`, ['imports queue/job.ts, a floor above base']],
    ['base/db.ts', `import type { Job } from '../queue/job.ts';`, ['imports queue/job.ts, a floor above base']],
    ['base/db.ts', `export { a } from '../media/image.ts';`, ['imports media/image.ts, a floor above base']],
    ['base/db.ts', `export * from "../media/image.ts";`, ['imports media/image.ts, a floor above base']],
    ['base/db.ts', `import '../cli/index.ts';`, ['imports cli/index.ts, a floor above base']],
    ['base/db.ts', `import {\n  a,\n  type B,\n} from '../app.ts';`, ['imports app.ts, a floor above base']],
    ['base/storage/s3.ts', `import { a } from '../../app.ts';`, ['imports app.ts, a floor above base']],
    [
      'queue/job.ts',
      `const { a } = await import('../jobs/publish/file.ts');`,
      ['imports jobs/publish/file.ts, a floor above queue'],
    ],
    ['queue/job.ts', `type A = import('../http/server.ts').A;`, ['imports http/server.ts, a floor above queue']],
    ['jobs/publish/file.ts', `import { a } from '../../main.ts';`, ['imports main.ts, a floor above jobs']],
    ['queue/job.ts', `await import(path);`, ['imports what it computes']],
    [
      'queue/job.ts',
      `import { a } from '../../test/support/jobs.ts';`,
      ['imports ../../test/support/jobs.ts, outside of worker/'],
    ],
    ['utils/text.ts', ``, ['utils stands on no floor']],
    ['cli/index.ts', `import { a } from '../utils/text.ts';`, ['imports utils/text.ts, which stands on no floor']],
    ['queue/ledger.ts', `import pg from 'pg';`, ['imports pg, whose door is base/db/']],
    ['queue/ledger.ts', `import type pg from 'pg';`, ['imports pg, whose door is base/db/']],
    ['app.ts', `import sharp from 'sharp';`, ['imports sharp, whose door is media/image/']],
    [
      'jobs/media/image.ts',
      `const { run } = await import('graphile-worker/x');`,
      ['imports graphile-worker, whose door is queue/claim/'],
    ],
    [
      'base/db.ts',
      `import { S3Client } from '@aws-sdk/client-s3';`,
      ['imports @aws-sdk/client-s3, whose door is base/storage/'],
    ],
    ['jobs/notification/sms.ts', `import twilio from 'twilio';`, ['imports twilio, whose door is providers/']],
    ['base/db.ts', `import _ from 'lodash';`, ['imports lodash, which has no door in test/floors.test.ts']],
    ['queue/job.ts', `const url = process.env['URL'];`, ['reads process.env, whose door is base/, embedded/']],
    ['queue/job.ts', `const { env } = process;`, ['reads process.env, whose door is base/, embedded/']],
    ['queue/job.ts', `import { env } from 'node:process';`, ['reads process.env, whose door is base/, embedded/']],
  ];
  for (const [path, source, faults] of refused)
    test(`${path}: ${source.replaceAll('\n', ' ')}`, () => assert.deepEqual(faultsOf(path, source), faults));
});

suite('these pass', () => {
  const accepted: [string, string][] = [
    ['cli/start.ts', `import { main } from '../main.ts';`],
    [
      'queue/job.ts',
      `import type { App } from '../app.ts';\nimport { query } from '../base/sql.ts';\nimport { a } from './b.ts';`,
    ],
    ['embedded/cluster.ts', `import { codeOf } from '../base/errors.ts';\nconst a = process.env;`],
    [
      'base/storage/s3.ts',
      `import { S3Client } from '@aws-sdk/client-s3';\nimport { readFile } from 'node:fs/promises';`,
    ],
    [
      'queue/job.ts',
      `import { z } from 'zod';\n/** As in \`import { a } from '../cli/x.ts'\`. */\n// import '../cli/x.ts';`,
    ],
  ];
  for (const [path, source] of accepted)
    test(`${path}: ${source.replaceAll('\n', ' ')}`, () => assert.deepEqual(faultsOf(path, source), []));
});
