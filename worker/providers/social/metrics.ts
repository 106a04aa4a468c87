/** What a platform says of an account and its posts. It asks once, and knows no database. */
export type Metrics = {
  /** The account that the token is for. */
  account(token: string, options: Options): Promise<OfAccount>;
  /** Its posts, the newest first, page by page. */
  posts(token: string, options: Options): AsyncIterable<OfPost[]>;
  /** One post. Undefined: the account has none of this id. */
  post(token: string, id: string, options: Options): Promise<OfPost | undefined>;
};

type Options = { signal: AbortSignal };

/** Counters and levels, by the names of analytics_metrics. Null: the platform was asked and did not say. */
export type Readings = Record<string, number | null>;
export type OfAccount = { external_id: string; name?: string | undefined; readings: Readings };
export type OfPost = {
  external_id: string;
  published_at?: Date | undefined;
  title?: string | undefined;
  url?: string | undefined;
  readings: Readings;
};

/** A count, also one that is written as text. What is no whole number is not known. */
export const countIn = (value: number | undefined): number | null =>
  value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : null;

/** A time in seconds, or as ISO text. */
export function timeIn(value: string | undefined): Date | undefined {
  const time = new Date(/^\d+$/.test(value ?? '') ? Number(value) * 1_000 : (value ?? ''));
  return Number.isNaN(time.getTime()) ? undefined : time;
}
