import type { Db } from '../../worker/base/db/db.ts';
import type { Platform as Name } from '../../worker/providers/social/social.ts';
import { generate } from './clips.ts';
import { metaAccount, startMeta, type FakeMeta } from './meta.ts';
import type { Platform } from './platform.ts';
import { addAccount, sealEnv } from './social-account.ts';
import { startTikTok, type FakeTikTok } from './tiktok.ts';
import { startYouTube, type FakeYouTube } from './youtube.ts';

const page = '17841400000000001';

/** The far sides of all platforms, and what leads a worker to them. */
export type Fakes = {
  tiktok: FakeTikTok;
  youtube: FakeYouTube;
  instagram: FakeMeta;
  facebook: FakeMeta;
  env: Record<string, string>;
  close(): Promise<void>;
};

export async function startFakes(): Promise<Fakes> {
  const [tiktok, youtube, instagram, facebook] = await Promise.all([
    startTikTok(),
    startYouTube(),
    startMeta(),
    startMeta({ site: 'www.facebook.com', as: page }),
  ]);
  const all: Platform[] = [tiktok, youtube, instagram, facebook];
  const { INSTAGRAM_APP_ID, INSTAGRAM_APP_SECRET, INSTAGRAM_API_URL, INSTAGRAM_OAUTH_URL } = instagram.env;
  const env = {
    ...facebook.env,
    ...tiktok.env,
    ...youtube.env,
    ...sealEnv,
    INSTAGRAM_APP_ID: INSTAGRAM_APP_ID!,
    INSTAGRAM_APP_SECRET: INSTAGRAM_APP_SECRET!,
    INSTAGRAM_API_URL: INSTAGRAM_API_URL!,
    INSTAGRAM_OAUTH_URL: INSTAGRAM_OAUTH_URL!,
    SOCIAL_POLL: '1000',
    CDN_BASE_URL: 'https://cdn.example',
  };
  return {
    tiktok,
    youtube,
    instagram,
    facebook,
    env,
    close: async () => void (await Promise.all(all.map((fake) => fake.close()))),
  };
}

/** What each platform takes, as it is written into a row. */
export const samples: Record<Name, { settings: object; external_id: string }> = {
  tiktok: { settings: { privacy: 'PUBLIC' }, external_id: 'open-id' },
  youtube: { settings: { privacy: 'PUBLIC' }, external_id: 'UC1' },
  instagram: { settings: {}, external_id: metaAccount },
  facebook: { settings: {}, external_id: page },
};

export const accountOn = (db: Db, platform: Name): Promise<number> =>
  addAccount(db, platform, { external_id: samples[platform].external_id });

/** Schedules a post for now. @returns its id */
export async function addPost(db: Db, account_id: number, content: object, settings: object = {}): Promise<number> {
  const { rows } = await db.query<{ id: number }>(
    `insert into social_posts (account_id, content, settings) values ($1, $2, $3) returning id`,
    [account_id, JSON.stringify(content), JSON.stringify(settings)],
  );
  return rows[0]!.id;
}

export type PostRow = Record<string, any> & { id: number; status: string };

export async function postOf(db: Db, id: number): Promise<PostRow> {
  return (await db.query<PostRow>(`select * from social_posts where id = $1`, [id])).rows[0]!;
}

/** A video of four seconds that all platforms take. */
export const video = () =>
  generate(
    'social.mp4',
    '-f lavfi -i testsrc2=size=720x1280:rate=25:duration=4 -c:v libx264 -preset ultrafast -pix_fmt yuv420p',
  );

/** With a box of zeros behind it that players skip, so that it takes several chunks. */
export function padded(mp4: Buffer, bytes: number): Buffer {
  const all = Buffer.alloc(bytes);
  mp4.copy(all);
  all.writeUInt32BE(bytes - mp4.length, mp4.length);
  all.write('free', mp4.length + 4);
  return all;
}
