import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { settings } from '../worker/base/config/config.ts';
import { loadRegistry } from '../worker/queue/registry.ts';

// What READMEs say is so: kinds, payloads, settings, errors, files. And no line is too long to read.

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const readmes = globSync('**/*.md', { cwd: root, exclude: (name) => /node_modules|^\./.test(name) });
const kinds = await loadRegistry();

test('README has at most 150 lines', () => {
  assert.ok(read('README.md').trimEnd().split('\n').length <= 150);
});

for (const path of readmes)
  test(`the links of ${path} lead somewhere`, () => {
    const dead = linksOf(read(path)).filter((link) => !leadsSomewhere(path, link));
    assert.deepEqual(dead, []);
  });

test('README names kinds and settings that there are', () => {
  const named = cellsOf(read('README.md'), 'kind').flatMap(([kind]) => codesOf(kind!));
  assert.deepEqual(
    named.filter((name) => !kinds.has(name)),
    [],
  );
  const variables = cellsOf(read('README.md'), 'variable').flatMap(([variable]) => codesOf(variable!));
  const unknown = variables.filter(
    (name) => !settings.some((one) => new RegExp(`^${name.replace('*', '.*')}$`).test(one)),
  );
  assert.deepEqual(unknown, []);
});

test('worker/jobs/README.md names each kind', () => {
  const text = read('worker/jobs/README.md');
  assert.deepEqual(
    [...kinds.keys()].filter((kind) => !text.includes(kind)),
    [],
  );
});

// The table of fields of a queue's section says which field is of which kind.
for (const queue of new Set([...kinds.keys()].map((kind) => kind.split('.')[0]!)))
  test(`worker/jobs/README.md lists each field that a payload of ${queue} may have`, () => {
    const [section = ''] =
      new RegExp(`^## ${queue}\\.[^]*?(?=^## |(?![^]))`, 'm').exec(read('worker/jobs/README.md')) ?? [];
    const documented = cellsOf(section, 'field').flatMap(([fields, whose]) =>
      codesOf(fields!).flatMap((field) => whoseKinds(queue, whose!).map((kind) => `${kind}: ${field}`)),
    );
    const real = ofQueue(queue).flatMap((kind) => fieldsOf(schemaOf(kind)).map((field) => `${kind}: ${field}`));
    assert.deepEqual([...new Set(documented)].toSorted(), [...new Set(real)].toSorted());
  });

test('each error code in worker/jobs/README.md is in error_codes', () => {
  const named = cellsOf(read('worker/jobs/README.md'), 'code').flatMap(([codes]) => codesOf(codes!));
  const catalogue = globSync('migrations/*.sql', { cwd: root }).map(read).join('\n');
  assert.ok(named.length > 50);
  assert.deepEqual(
    named.filter((code) => !catalogue.includes(`('${code}',`)),
    [],
  );
});

test('no line has more than 120 columns, but for tables, addresses and what is generated', () => {
  const patterns = [
    '{worker,test,sql,migrations,.build,.ci}/**/*.{ts,js,mjs,sql,md}',
    '*.{ts,js,md,yml}',
    '.ci/*',
    'Dockerfile',
    '.env.example',
  ];
  const paths = globSync(patterns, { cwd: root }).filter((path) => !/node_modules|^sql.schema\.sql$/.test(path));
  assert.ok(paths.length > 500);
  const long = paths.flatMap((path) =>
    read(path)
      .split('\n')
      .flatMap((line, n) => (line.length > 120 && !/^\s*\||https?:/.test(line) ? [`${path}:${n + 1}`] : [])),
  );
  assert.deepEqual(long, []);
});

const ofQueue = (queue: string) => [...kinds.keys()].filter((kind) => kind.startsWith(`${queue}.`));

/** `all`, `image, video`, or `all but prekeys, stories`. */
function whoseKinds(queue: string, whose: string): string[] {
  const names = whose.replace(/^all but /, '').split(', ');
  const some = names.map((name) => `${queue}.${name}`);
  if (whose === 'all') return ofQueue(queue);
  return whose.startsWith('all but ') ? ofQueue(queue).filter((kind) => !some.includes(kind)) : some;
}

const schemaOf = (kind: string) =>
  kinds.get(kind)!.payload['~standard'].jsonSchema!.input({
    target: 'draft-2020-12',
    libraryOptions: { unrepresentable: 'any' },
  });

type Shape = { properties?: Record<string, unknown>; anyOf?: unknown[] };

/** `options`, `options.watermark`, `options.watermark.key`, ... What is in a list has no name of its own. */
function fieldsOf(schema: unknown): string[] {
  const { properties = {}, anyOf = [] } = schema as Shape;
  const own = Object.entries(properties).flatMap(([name, inner]) => [
    name,
    ...fieldsOf(inner).map((field) => `${name}.${field}`),
  ]);
  return [...own, ...anyOf.flatMap(fieldsOf)];
}

/** The rows of all tables whose first column has this title. */
function cellsOf(markdown: string, title: string): string[][] {
  const tables = markdown.matchAll(new RegExp(`^\\| ${title} \\|.*\\n\\|[-|]+\\|\\n((?:\\|.*\\n?)*)`, 'gm'));
  return [...tables].flatMap(([, rows]) =>
    rows!
      .trimEnd()
      .split('\n')
      .map((row) =>
        row
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      ),
  );
}

const codesOf = (cell: string) => Array.from(cell.matchAll(/`([^`]+)`/g), (match) => match[1]!);

const linksOf = (markdown: string) => Array.from(markdown.matchAll(/\]\(([^)\s]+)\)/g), (match) => match[1]!);

function leadsSomewhere(from: string, link: string): boolean {
  if (/^https?:/.test(link)) return true;
  const [path = '', heading] = link.split('#');
  const target = path ? join(dirname(from), path) : from;
  if (!existsSync(join(root, target))) return false;
  return heading === undefined || headingsOf(read(target)).includes(heading);
}

/** As GitHub makes them. */
const headingsOf = (markdown: string) =>
  Array.from(markdown.matchAll(/^#+ (.*)$/gm), (match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
