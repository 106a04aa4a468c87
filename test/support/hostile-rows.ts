import { at, between, random } from '../chaos/random.ts';

/**
 * Jobs as nobody should insert them: a statement each, as it would be typed into psql. The same seed gives the same.
 */
export function hostileRows(count: number, seed: number): string[] {
  const next = random('hostile rows', seed);
  const pick = <T>(items: readonly T[]): T => at(items, next())!;

  const value = (depth = 0): string => {
    if (depth < 3 && next() < 0.3) return pick([list, object])(depth + 1);
    return pick(scalars);
  };
  const list = (depth: number) => `[${Array.from({ length: between(next, 0, 5) }, () => value(depth)).join()}]`;
  const object = (depth: number) =>
    `{${Array.from({ length: between(next, 0, 5) }, () => `${JSON.stringify(pick(keys))}: ${value(depth)}`).join()}}`;

  return Array.from({ length: count }, (_, n) => {
    const payload =
      n % 5 === 0 ? pick(heavy) : n % 17 === 0 ? literal(pick(broken)) : literal(next() < 0.8 ? object(0) : value());
    const [queue, kind] = n % 11 === 0 ? ['media', pick(strangeKinds)] : pick(kinds).split('.');
    const [column, given] = n % 7 === 0 ? pick(columns) : ['payload', payload];
    const more = column === 'payload' ? '' : `, ${column}`;
    return `insert into jobs (queue, kind, payload${more})
      values ('${queue}', ${literal(kind!)}, ${payload}${more && `, ${given}`})`;
  });
}

const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;

const kinds = [
  ...['image', 'video', 'audio', 'thumbnails', 'transcode'].map((kind) => `media.${kind}`),
  ...['stories', 'messages', 'sessions', 'prekeys', 'temp_files', 'orphaned_media', 'soft_deleted_files'].map(
    (kind) => `cleanup.${kind}`,
  ),
  'publish.file',
  'social.youtube',
  'medai.image',
];

const strangeKinds = [
  '',
  ' ',
  'media.image',
  'imgae',
  '__proto__',
  'constructor',
  'image\n',
  '\u{202e}egami',
  'صورة',
  '图像',
  'i'.repeat(100),
  'i'.repeat(101),
];

/** JSON. */
const scalars = [
  'null',
  'true',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e308',
  '1e400',
  '-1e-400',
  '123456789012345678901234567890',
  '"42"',
  '""',
  '" "',
  '"../../etc/passwd"',
  '"/etc/passwd"',
  '"a/../../b"',
  '"C:\\\\x"',
  '"%2e%2e%2f"',
  '"http://127.0.0.1/"',
  '"$(id)"',
  `"'; drop table jobs; --"`,
  '"\\u0001\\u001b[2J"',
  '"\\\\u0000"',
  '"\\u202etxt.exe"',
  '"مرحبا"',
  '"👩‍👩‍👧‍👦"',
  '"e\\u0301\\u0301\\u0301"',
  '"\\ufeff"',
  `"${'x'.repeat(300)}"`,
  `"${'ü'.repeat(2_000)}"`,
  `"${'a/'.repeat(600)}"`,
  '"1 year"',
  '"-1 day"',
  '"webp"',
  '"hls"',
  '"00000000-0000-0000-0000-000000000000"',
  '{"length": 1e9}',
  '{"__proto__": {"s3Key": "a"}}',
  '[[[[[[]]]]]]',
];

const keys = [
  's3Key',
  's3key',
  'S3KEY',
  'inputPath',
  'key',
  'mediaId',
  'sizes',
  'format',
  'formats',
  'options',
  'olderThan',
  'dryRun',
  'goOn',
  'seconds',
  'type',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'then',
  'length',
  '',
  ' ',
  '\u{202e}yeK3s',
  'k'.repeat(3_000),
  '0',
  '-1',
];

/** JSON that jsonb does not take. */
const broken = [
  '',
  '{',
  '{"a": "\\u0000"}',
  '{"a": "\\ud800"}',
  '{"a": "\\udc00\\ud800"}',
  `{'a': 1}`,
  '{"a": NaN}',
  '"\u{1}"',
  '[1,]',
];

const nested = (depth: number) => `(repeat('[', ${depth}) || repeat(']', ${depth}))::jsonb`;
const heavy = [
  `jsonb_build_object('s3Key', repeat('x', 900000))`,
  `jsonb_build_object('s3Key', repeat('x', 1100000))`,
  `jsonb_build_object('s3Key', repeat(E'\\x01', 160000))`,
  `jsonb_build_object('s3Key', repeat(E'\\x01', 2000000))`,
  `jsonb_build_object('s3Key', (select array_agg(1) from generate_series(1, 300000)))`,
  `jsonb_build_object('sizes', (select array_agg(n) from generate_series(1, 140000) n))`,
  `jsonb_build_object('options',
   jsonb_build_object('formats', (select array_agg(true) from generate_series(1, 150000))))`,
  `jsonb_build_object('s3Key', (select jsonb_agg('{}'::jsonb) from generate_series(1, 200000)))`,
  `(select jsonb_object_agg('k' || n, n) from generate_series(1, 50000) n)`,
  `(select jsonb_object_agg(repeat('k', 9000) || n, n) from generate_series(1, 100) n)`,
  `jsonb_build_object('s3Key', '1e131071'::jsonb)`,
  `(select jsonb_agg('1e131071'::jsonb) from generate_series(1, 100))`,
  `jsonb_build_object('s3Key', ${nested(99)})`,
  nested(101),
  nested(1_000),
  nested(3_000),
  nested(100_000),
];

const columns: [column: string, value: string][] = [
  ['dedupe_key', `repeat('k', 501)`],
  ['dedupe_key', `repeat('ü', 500) `],
  ['error', `repeat('x', 2001)`],
  ['error_code', `repeat('x', 61)`],
  ['attempt', '2000000000'],
  ['attempt', '2000000001'],
  ['attempt', '-1'],
  ['retry_count', '2147483647'],
  ['max_retries', '-1'],
  ['priority', '32768'],
  ['priority', '-32768'],
  ['run_at', `'-infinity'`],
  ['created_at', `'infinity'`],
  ['started_at', `'-infinity'`],
  ['completed_at', 'now()'],
  ['locked_by', 'gen_random_uuid()'],
  ['progress', '101'],
  ['status', `'done'`],
  ['file_id', `'00000000-0000-4000-8000-000000000000'`],
  ['result', `to_jsonb(repeat('x', 1100000))`],
  ['snoozed_since', `'-infinity'`],
];
