import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Db } from '../../worker/base/db/db.ts';
import { at, random } from '../chaos/random.ts';

// Objects, and rows that name them: every table and column that can, in every state that such a row can have, any two
// for one object. What becomes of each object is said here by the plan alone: nothing here reads what the cleanups
// read.

/**
 * What a reference means for its object, when all cleanups are through: `shows`: it must stay. `lets go`: its time has
 * come, and it hands the object over. `names`: it is deleted or failed, but still there, so that the object is no
 * orphan. `nothing`: it does not name the object any more.
 */
type Meaning = 'shows' | 'lets go' | 'names' | 'nothing';

type Place = { name: string; means: Meaning; add(db: Db, names: Names): Promise<unknown> };
/** The key of an object, an address of it as somebody may have written it, and the file it was published for. */
type Names = { key: string; url: string; file: string; bytes: number };

export type Planned = { key: string; bytes: number; places: string[]; stays: boolean };

const old = { message: '366 days', story: '25 hours', temp: '25 hours', file: '31 days' };

const place = (name: string, means: Meaning, text: string, ...values: (keyof Names)[]): Place => ({
  name,
  means,
  add: (db, names) =>
    db.query(
      text,
      values.map((value) => names[value]),
    ),
});

const message = (age: string, more = 'false, false') =>
  `m as (insert into messages (media_type, created_at, pinned, legal_hold)
   values ('image', now() - interval '${age}', ${more}) returning id)`;
const story = (age: string) =>
  `u as (insert into users default values returning id), s
   as (insert into stories (user_id, created_at) select id, now() - interval '${age}' from u returning id)`;
const object = (rows: string, owners: string, from: string) =>
  `with ${rows} insert into media_objects (key, bytes, ${owners}) select $1, $2, ${from.replaceAll('+', '.id, ')}.id
    from ${from.replaceAll('+', ', ')}`;

const media = (columns: string, values: string, deleted = 'null') =>
  `insert into media (${columns}, deleted_at) values (${values}, ${deleted})`;
const listed = (key: string) => `jsonb_build_array(jsonb_build_object('width', 150, '${key}', $1::text))`;

const ofMedia: Place[] = [
  place('media.source_key', 'shows', media('source_key', '$1'), 'key'),
  place('media.url', 'shows', media('url', '$1'), 'url'),
  place('media.thumbnail_url', 'shows', media('thumbnail_url', '$1'), 'url'),
  place('media.thumbnails, a key', 'shows', media('thumbnails', listed('key')), 'key'),
  place('media.thumbnails, a URL', 'shows', media('thumbnails', listed('url')), 'url'),
  place('media, deleted, source_key', 'names', media('source_key', '$1', 'now()'), 'key'),
  place('media, deleted, url', 'names', media('url', '$1', 'now()'), 'url'),
];

const files = (column: string, deleted = 'null') =>
  `insert into auction_files (${column}, deleted_at) values ($1, ${deleted})`;
const ofFiles: Place[] = [
  place('auction_files.display_url', 'shows', files('display_url'), 'url'),
  place('auction_files.thumb_url', 'shows', files('thumb_url'), 'url'),
  place('auction_files.source_key', 'shows', files('source_key'), 'key'),
  place('auction_files, deleted lately', 'shows', files('thumb_url', `now() - interval '29 days'`), 'url'),
  place('auction_files, due', 'nothing', files('thumb_url', `now() - interval '${old.file}'`), 'url'),
];

/** For the pictures of the file alone. */
const own = (deleted: string) =>
  `insert into auction_files (id, display_url, display_bytes, deleted_at)
   values ($1, 'https://cdn.example.com/' || $2::text, $3, ${deleted}) on conflict do nothing`;
const ofOwnFile: Place[] = [
  place('its file', 'shows', own('null'), 'file', 'key', 'bytes'),
  place('its file, deleted lately', 'shows', own(`now() - interval '29 days'`), 'file', 'key', 'bytes'),
  place('its file, due', 'lets go', own(`now() - interval '${old.file}'`), 'file', 'key', 'bytes'),
];

const job = (status: string, path: string, text = '$1::text') =>
  `insert into media_jobs (kind, status, payload) values ('none', '${status}', jsonb_build_object('${path}', ${text}))`;
const ofJobs: Place[] = [
  place('a pending job, s3Key', 'shows', job('pending', 's3Key'), 'key'),
  place('a pending job, inputPath', 'shows', job('pending', 'inputPath', `'/' || $1::text`), 'key'),
  place('a pending job, key', 'shows', job('pending', 'key'), 'key'),
  place('a failed job', 'names', job('failed', 's3Key'), 'key'),
  place('a completed job', 'nothing', job('completed', 's3Key'), 'key'),
];

const ofObjects: Place[] = [
  ['of a message', 'shows', object(message('1 day'), 'message_id', 'm')],
  ['of an old message', 'lets go', object(message(old.message), 'message_id', 'm')],
  ['of a pinned message', 'shows', object(message(old.message, 'true, false'), 'message_id', 'm')],
  ['of a message under legal hold', 'shows', object(message(old.message, 'false, true'), 'message_id', 'm')],
  ['of a story', 'shows', object(story('1 hour'), 'story_id', 's')],
  ['of an old story', 'lets go', object(story(old.story), 'story_id', 's')],
  [
    'of a message and an old story',
    'shows',
    object(`${message('1 day')}, ${story(old.story)}`, 'message_id, story_id', 'm+s'),
  ],
  [
    'of an old message and a story',
    'shows',
    object(`${message(old.message)}, ${story('1 hour')}`, 'message_id, story_id', 'm+s'),
  ],
  [
    'of an old message and an old story',
    'lets go',
    object(`${message(old.message)}, ${story(old.story)}`, 'message_id, story_id', 'm+s'),
  ],
].map(([name, means, text]) => place(`media_objects ${name}`, means as Meaning, text!, 'key', 'bytes'));

const thenByTheApplication = (name: string, means: Meaning, text: string, then: string): Place => ({
  name,
  means,
  async add(db, { key, bytes }) {
    const { rows } = await db.query<{ id: string }>(text, [key, bytes]);
    await db.query(then, [rows[0]!.id]);
  },
});

const deletedByOthers: Place[] = [
  thenByTheApplication(
    'media_objects of a story that the application deleted softly',
    'lets go',
    `${object(story('1 hour'), 'story_id', 's')} returning story_id as id`,
    'update stories set deleted_at = now() where id = $1',
  ),
  thenByTheApplication(
    'media_objects of a message that was deleted',
    'lets go',
    `${object(message('1 hour'), 'message_id', 'm')} returning message_id as id`,
    'delete from messages where id = $1',
  ),
  thenByTheApplication(
    'media_objects of a story whose user was deleted',
    'lets go',
    `${object(story('1 hour'), 'story_id', 's')} returning story_id as id`,
    'delete from users where id = (select user_id from stories where id = $1)',
  ),
  thenByTheApplication(
    'media_objects of a message, and of a story whose user was deleted',
    'shows',
    `${object(`${message('1 hour')}, ${story('1 hour')}`, 'message_id, story_id', 'm+s')} returning story_id as id`,
    'delete from users where id = (select user_id from stories where id = $1)',
  ),
  thenByTheApplication(
    'media_objects, deleted',
    'lets go',
    `insert into media_objects (key, bytes) values ($1, $2) returning id`,
    'delete from media_objects where id = $1',
  ),
  thenByTheApplication(
    'temp_files, deleted softly by the application',
    'lets go',
    `insert into temp_files (key, bytes) values ($1, $2) returning id`,
    'update temp_files set deleted_at = now() where id = $1',
  ),
  thenByTheApplication(
    'temp_files, deleted',
    'lets go',
    `insert into temp_files (key, bytes) values ($1, $2) returning id`,
    'delete from temp_files where id = $1',
  ),
];

const temp = (age: string) =>
  `insert into temp_files (key, bytes, created_at) values ($1, $2, now() - interval '${age}')`;
const url = (column: string, age: string, pinned = false) =>
  `insert into messages (media_type, ${column}, created_at, pinned)
    values ('image', $1, now() - interval '${age}', ${pinned})`;
const storyUrl = (column: string, age: string, deleted = 'null') =>
  `with u as (insert into users default values returning id)
   insert into stories (user_id, ${column}, created_at, deleted_at)
     select id, $1, now() - interval '${age}', ${deleted} from u`;
const others: Place[] = [
  place('media_objects of nobody', 'shows', `insert into media_objects (key, bytes) values ($1, $2)`, 'key', 'bytes'),
  place('temp_files', 'shows', temp('1 hour'), 'key', 'bytes'),
  place('temp_files, old', 'lets go', temp(old.temp), 'key', 'bytes'),
  place('messages.media_url', 'shows', url('media_url', '1 day'), 'url'),
  place('messages.thumbnail_url', 'shows', url('thumbnail_url', '1 day'), 'url'),
  place('messages.media_url, pinned', 'shows', url('media_url', old.message, true), 'url'),
  place('messages.media_url, old', 'nothing', url('media_url', old.message), 'url'),
  place('stories.media_url', 'shows', storyUrl('media_url', '1 hour'), 'url'),
  place('stories.thumbnail_url', 'shows', storyUrl('thumbnail_url', '1 hour'), 'url'),
  place('stories.media_url, old', 'nothing', storyUrl('media_url', old.story), 'url'),
  place(
    'stories.media_url, deleted softly by the application',
    'names',
    storyUrl('media_url', '1 hour', 'now()'),
    'url',
  ),
  place('products.photo_url', 'shows', `insert into products (photo_url) values ($1)`, 'url'),
];

const places = [...ofMedia, ...ofFiles, ...ofJobs, ...ofObjects, ...deletedByOthers, ...others];

/** What the README of sql/cleanup tells users to do for a table of their own. */
export async function addProducts(db: Db): Promise<void> {
  const readme = readFileSync(join(import.meta.dirname, '../../sql/cleanup/README.md'), 'utf8');
  await db.query(
    `create table products (id bigint generated always as identity,
     photo_url text); ${/```sql\n([^]*?)```/.exec(readme)![1]}`,
  );
}

/** @param share of all pairs of places, each for an object of its own. The same seed gives the same. */
export async function plantReferences(db: Db, share: number, seed: number): Promise<Planned[]> {
  const next = random('references', seed);
  const planned: Planned[] = [];
  const pairs: Place[][] = [[], [], [], ...[...places, ...ofOwnFile].map((one) => [one])];
  for (const [n, one] of places.entries()) {
    for (const other of [...places.slice(n), ...ofOwnFile]) if (next() < share) pairs.push([one, other]);
  }
  for (const pair of pairs) {
    const shape = pair.some((one) => ofOwnFile.includes(one)) ? published : at(shapes, next())!;
    planned.push(...(await plant(pair, shape)));
  }
  return planned;

  async function plant(pair: Place[], shape: Shape): Promise<Planned[]> {
    const file = randomUUID();
    const keys = shape(file, planned.length);
    const bytes = 1 + Math.floor(next() * 1_000);
    const folder = /^processed\/.*-[0-9a-f]{20}\//.exec(keys[0]!)?.[0];
    const letGo: string[] = [];
    for (const { name, means, add } of pair) {
      const named = folder && name.startsWith('media_objects') ? [...keys, folder] : keys;
      const key = at(named, next())!;
      await add(db, { key, url: at(addresses, next())!(key), file, bytes });
      if (means === 'lets go') letGo.push(key);
    }
    const means = pair.map((one) => one.means);
    const looked = /^(uploads|processed|stories|temp)\//.test(keys[0]!);
    const named = means.includes('names') || !looked;
    return keys.map((key) => {
      const goes = letGo.includes(key) || (folder !== undefined && letGo.includes(folder));
      return { key, bytes, places: pair.map(({ name }) => name), stays: means.includes('shows') || (!goes && named) };
    });
  }
}

type Shape = (file: string, n: number) => string[];
const published: Shape = (file) => [`${file}/0123456789abcdef0123-display.webp`];
const hex = (n: number) => n.toString(16).padStart(20, '0');
/** Keys of objects that are in use together. */
const shapes: Shape[] = [
  (_, n) => [`uploads/${n}.jpg`],
  (_, n) => [`temp/${n}`],
  (_, n) => [`stories/${n}/a b+c&d=é 100%25 'x' (1).mp4`],
  (_, n) => [`uploads/фото/${n} #1?.jpg`],
  (_, n) => [`object-${n}`],
  (_, n) =>
    ['master.m3u8', '720p/index.m3u8', '720p/0.m4s', 'poster.webp'].map(
      (name) => `processed/uploads/${n}-${hex(n)}/${name}`,
    ),
  (_, n) => ['image.jpg', 'thumbnail.webp'].map((name) => `processed/processed/a-${hex(n)}/b-${hex(n + 1)}/${name}`),
];

const encoded = (key: string) => key.split('/').map(encodeURIComponent).join('/');
const addresses: ((key: string) => string)[] = [
  (key) => `https://cdn.example.com/${encoded(key)}`,
  (key) => `https://cdn.example.com/a%20base/${encoded(key)}?X-Amz-Expires=604800&X-Amz-Signature=0a/b`,
  (key) => `http://minio:9000/bucket/${encoded(key)}#t=1`,
  (key) => `/${encoded(key)}`,
  (key) => `file:///var/storage/${encoded(key)}`,
  (key) => key,
];
