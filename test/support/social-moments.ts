import type { Db } from '../../worker/base/db/db.ts';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { at, between, shuffled } from '../chaos/random.ts';
import { isOfFile, rangeIn, type Asked } from './platform.ts';
import type { Fakes } from './social.ts';

/** Where publishing stands still, so that the worker can be killed there. */

export const steps = ['prepare', 'upload', 'submit', 'poll'] as const;
export const moments = ['before', 'during', 'after'] as const;
type Step = (typeof steps)[number];
type Moment = (typeof moments)[number];

/**
 * before: the platform never sees the request. during: half of a file came; or the platform does what it was asked once
 * the worker is dead; or it did, and cannot answer. after: the worker has the answer, and its commit stands still.
 */
type Way = 'unseen' | 'cut' | 'late' | 'unanswered' | 'answered';

const waysOf = (moment: Moment, asked: Asked): Way[] => {
  if (moment === 'before') return ['unseen'];
  if (moment === 'after') return ['answered'];
  return isOfFile(asked) ? ['cut', 'late', 'unanswered'] : ['late', 'unanswered'];
};

/** The lock at which a commit stands still. */
const lock = 7_411;

export class Moments {
  readonly #db: Db;
  readonly #next: () => number;
  readonly #wanted = new Map<string, Moment[]>();
  readonly #ways = new WeakMap<Asked, Way>();
  /** How often each was reached: `tiktok submit during`. */
  readonly seen: Record<string, number> = {};
  #answered = 0;
  #dead = Promise.withResolvers<void>();

  constructor(fakes: Fakes, db: Db, next: () => number) {
    this.#db = db;
    this.#next = next;
    for (const platform of platforms) fakes[platform].onRequest = (when, asked) => this.#on(platform, when, asked);
  }

  /** The next requests of each step stand still, one at each moment. */
  async arm(): Promise<void> {
    this.#dead = Promise.withResolvers();
    this.#answered = 0;
    for (const platform of platforms)
      for (const step of steps) this.#wanted.set(`${platform} ${step}`, shuffled(this.#next, moments));
    await this.#db.query(`delete from stalls`);
  }

  /** How many moments are not reached yet. */
  async missing(): Promise<string[]> {
    const { rows } = await this.#db.query(
      `select from pg_locks where locktype = 'advisory' and objid = ${lock} and not granted
          and database = (select oid from pg_database where datname = current_database())`,
    );
    const open = [...this.#wanted].flatMap(([place, left]) => left.map((moment) => `${place} ${moment}`));
    return rows.length < this.#answered ? [...open, `${this.#answered - rows.length} commits`] : open;
  }

  /** The worker was killed. Commits that stood still were lost, or happen now. */
  async died(): Promise<void> {
    const { rows } = await this.#db.query<{ pid: number }>(
      `select pid from pg_locks where locktype = 'advisory' and objid = ${lock} and not granted`,
    );
    const lost = rows.filter(() => this.#next() < 0.5).map(({ pid }) => pid);
    await this.#db.query(`select pg_terminate_backend(pid) from unnest($1::int[]) as pid`, [lost]);
    for (const [place] of this.#wanted) this.#wanted.set(place, []);
    this.#dead.resolve();
  }

  async #on(platform: Platform, when: 'arrives' | 'before' | 'after', asked: Asked): Promise<unknown> {
    if (when === (isOfFile(asked) ? 'arrives' : 'before')) await this.#choose(platform, asked);
    const way = this.#ways.get(asked);
    const holds = { unseen: 'before', cut: 'arrives', late: 'before', unanswered: 'after', answered: undefined };
    if (way === undefined || holds[way] !== when) return undefined;
    await this.#dead.promise;
    return way === 'unseen' ? 'drop' : undefined;
  }

  async #choose(platform: Platform, asked: Asked): Promise<void> {
    const step = stepOf(platform, asked);
    const moment = this.#wanted.get(`${platform} ${step}`)?.pop();
    if (moment === undefined) return;
    const name = `${platform} ${step} ${moment}`;
    this.seen[name] = (this.seen[name] ?? 0) + 1;
    const way = at(waysOf(moment, asked), this.#next())!;
    this.#ways.set(asked, way);
    if (way !== 'answered') return;
    this.#answered++;
    await this.#db.query(`insert into stalls values ($1, $2)`, [platform, step]);
  }
}

/** One commit of a step stands still for each row of `stalls`, at a lock that the test holds. */
export const stalls = `
  create table stalls (platform text, step text);
  create function stall() returns trigger language plpgsql as $$
  begin
    perform from stalls s where s.platform = new.platform and s.step = old.step limit 1 for update skip locked;
    if found then perform pg_advisory_xact_lock(${lock}); end if;
    return new;
  end $$;
  create trigger stall before update on social_posts for each row
    when (old.job_attempt = new.job_attempt
          and (old.step, old.state, old.status, old.upload_url)
              is distinct from (new.step, new.state, new.status, new.upload_url))
    execute function stall()`;

export const holdCommits = `select pg_advisory_lock(${lock})`;
export const releaseCommits = `select pg_advisory_unlock(${lock})`;

const patterns: Record<Exclude<Platform, 'facebook'>, [RegExp, Step][]> = {
  tiktok: [
    [/creator_info|(?<!content\/)init/, 'prepare'],
    [/content\/init/, 'submit'],
    [/status\/fetch/, 'poll'],
  ],
  youtube: [
    [/^POST \/upload\//, 'prepare'],
    [/\/session$/, 'upload'],
    [/\/v3\/videos$/, 'poll'],
  ],
  instagram: [
    [/content_publishing_limit|^POST .*\/media$/, 'prepare'],
    [/\/media_publish$/, 'submit'],
    [/\/c\d+$/, 'upload'],
    [/\/post\d+$/, 'poll'],
  ],
};

/** Which step a request is of; undefined: it is none at which a worker is killed. */
function stepOf(platform: Platform, asked: Asked): Step | undefined {
  if (platform === 'facebook') return stepOfFacebook(asked);
  if (platform !== 'instagram' && /^bytes \d/.test(asked.headers['content-range'] ?? '')) {
    const { end, total } = rangeIn(asked);
    return end === total ? 'submit' : 'upload';
  }
  return patterns[platform].find(([pattern]) => pattern.test(`${asked.method} ${asked.path}`))?.[1];
}

function stepOfFacebook({ method, path, body }: Asked): Step | undefined {
  if (path.endsWith('/app/uploads') || body.includes('upload_phase=start')) return 'prepare';
  if (/upload:|rupload|\/photos$/.test(path)) return 'upload';
  if (method === 'POST') return /\/(feed|videos|video_reels)$/.test(path) ? 'submit' : undefined;
  return /\/post\d+$/.test(path) ? 'poll' : undefined;
}

export const oneOf = <T>(next: () => number, items: readonly T[]): T => items[between(next, 0, items.length - 1)]!;
