import type { Limited } from './errors.ts';

/**
 * What publishes posts on one platform, in steps. Each verb makes as few requests as it can, tries once, and knows no
 * database: the caller commits what `save` is given before the next request goes out, and repeats a step that did not
 * end.
 *
 * Only `submit` makes a post public. Its errors say what became of it: UnknownOutcome, and any error that is not of
 * base/errors.ts or errors.ts beside this file, means that nobody knows; all others that it certainly was not
 * published.
 */
export type Adapter = {
  /** What is wrong with a post before anything is sent, in words for people. */
  faultsOf(post: Post, file: FileFacts | undefined): string[];
  /** How many posts a day the platform takes, if it says so: of an account, or of the app. */
  quota?: { of: 'account' | 'app'; max: number; zone?: string; type?: Settings['type'] };
  /** Asks what the account may do, and opens an upload or a container. Nothing is public yet, so it may be repeated. */
  prepare(task: Task): Promise<void>;
  /** Brings the bytes there, or waits until the platform has fetched them. It goes on where it was. */
  upload(task: Task): Promise<void>;
  submit(task: Task): Promise<Receipt>;
  /** After `submit`, which was `ageMs` ago. It only reads. */
  status(task: Task, ageMs: number): Promise<Fate>;
  /** Whether a submit of which nobody knows was taken. It only reads. */
  find(task: Task, since: Date): Promise<Found>;
};

export type Post = {
  title: string | undefined;
  description: string | undefined;
  tags: string[];
  link: string | undefined;
  /** It has a video, of which `Media.file` is the file; or so many pictures; or only text. */
  form: 'video' | 'photos' | 'text';
  images: number;
  hasThumbnail: boolean;
  settings: Settings;
};

/** What people may choose; each platform uses what it has. */
type Settings = {
  /** PUBLIC, PRIVATE, FRIENDS, FOLLOWERS, UNLISTED, or a word of the platform itself. */
  privacy?: string | undefined;
  allowComments?: boolean | undefined;
  allowDuet?: boolean | undefined;
  allowStitch?: boolean | undefined;
  mode?: 'direct' | 'inbox' | undefined;
  type?: 'video' | 'reel' | 'story' | undefined;
  aiGenerated?: boolean | undefined;
  brandContent?: boolean | undefined;
  brandOrganic?: boolean | undefined;
  coverMs?: number | undefined;
  madeForKids?: boolean | undefined;
  publishAt?: string | undefined;
  categoryId?: string | undefined;
  notifySubscribers?: boolean | undefined;
  shareToFeed?: boolean | undefined;
};

export type FileFacts = {
  bytes: number;
  /** Seconds; undefined if the container does not say. */
  duration: number | undefined;
  codec: string;
  /** As it is watched. */
  width: number;
  height: number;
  fps: number | undefined;
  /** Demuxer names, such as `mov,mp4,m4a,3gp,3g2,mj2`. */
  format: string;
};

/** What the platform named: ids, and how much it has. Never a token or an address that lets somebody in. */
export type State = Record<string, string | number | boolean | string[]>;

export type Task = {
  post: Post;
  access: { token: string; external_id: string };
  media: Media;
  readonly state: State;
  /** What the platform named the post when it took it. */
  readonly external_id: string | null;
  /** Where the bytes go. */
  readonly uploadUrl: string | null;
  signal: AbortSignal;
  /** Commits what is known of the step so far. Without `uploadUrl` that stays as it is. */
  save(state: State, uploadUrl?: string | null): Promise<void>;
  /** Waits for a turn of this account. @throws Snooze if it would take long */
  turn(operation: string, perMinute: number): Promise<void>;
  /** Of ids that the platform gave to posts, those that are of no other row of ours. */
  strangers(ids: string[]): Promise<string[]>;
  /** A limit is nearly used up: the next posts wait. */
  warn(limit: Limited): Promise<void>;
  /** For people: how much of the file is there, 0 to 1. */
  progress(share: number): void;
};

export type Media = {
  /** The video in a file of this machine. It is fetched when it is first asked for. */
  file(): Promise<{ path: string; facts: FileFacts }>;
  /** An address from which the platform can fetch the video. @throws PermanentError `social_media_not_public` */
  videoUrl(): Promise<string>;
  /** The same of the n-th picture. */
  imageUrl(n: number): Promise<string>;
  /** The bytes of the thumbnail. */
  thumbnail(): Promise<{ bytes: Buffer; type: string }>;
  thumbnailUrl(): Promise<string>;
};

/** What the platform named the post when it took it. */
export type Receipt = { external_id?: string | undefined; url?: string | undefined };

export type Fate =
  | { is: 'processing'; reason: string }
  /** `note`: what is left for a person to do. */
  | { is: 'published'; external_id: string; url?: string | undefined; note?: string }
  | { is: 'failed'; error: Error };

export type Found = ({ is: 'accepted' } & Receipt) | { is: 'absent' } | { is: 'unknown'; reason: string };
